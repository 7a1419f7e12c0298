//! What we remember of a browser: its session, the requests it is deciding, and failed sign-ins.
//!
//! Implements AZ-11 and AZ-14: one HttpOnly cookie, set on the first hit and rotated at sign-in; the anti-CSRF token and
//! every pending request belong to it. The memory is bounded and per process: a restart asks people to sign in again,
//! and never leaves a session nobody can end.

use crate::signin::request::AuthorizationRequest;
use axum::http::{HeaderMap, header};
use remit_model::{Authority, Code, Refusal, UnixTime, json};
use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Mutex, PoisonError},
};
use subtle::ConstantTimeEq;

/// Most sessions, and most pending requests, remembered at once.
const MEMORY: usize = 10_000;
/// A person has this long to sign in and decide.
pub(crate) const PENDING_SECONDS: i64 = 600;

type Key = [u8; 32];

/// A browser's session; signed in once `user` is set.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) key: Key,
    pub(crate) csrf: String,
    pub(crate) user: Option<SignedIn>,
    expires: UnixTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedIn {
    pub(crate) name: String,
    pub(crate) at: UnixTime,
}

/// Exactly what a consent page showed; what is granted is this and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) user: String,
    pub(crate) authority: Authority,
    pub(crate) until: UnixTime,
    pub(crate) digest: String,
}

/// An authorization request waiting for a person.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) ask: AuthorizationRequest,
    /// Whether the person signed in for this very request.
    pub(crate) just_signed_in: bool,
    pub(crate) shown: Option<Shown>,
    session: Key,
    expires: UnixTime,
}

#[derive(Default)]
pub(crate) struct Browsers {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    sessions: HashMap<Key, Session>,
    pending: HashMap<String, Pending>,
    failures: HashMap<Key, Failures>,
}

struct Failures {
    count: u32,
    until: UnixTime,
}

impl Browsers {
    /// The session a cookie names, if it still lives.
    pub(crate) fn session(&self, cookie: Option<&str>, now: UnixTime) -> Option<Session> {
        let key = json::sha256(cookie?.as_bytes());
        self.with(|memory| memory.sessions.get(&key).filter(|session| session.expires > now).cloned())
    }

    /// Starts a session for the cookie value `token`. SPEC: AZ-14
    pub(crate) fn open(
        &self,
        token: &str,
        csrf: String,
        user: Option<SignedIn>,
        expires: UnixTime,
        now: UnixTime,
    ) -> Result<Session, Refusal> {
        let key = json::sha256(token.as_bytes());
        let session = Session { key, csrf, user, expires };
        self.with(|memory| {
            if memory.sessions.len() >= MEMORY {
                memory.sessions.retain(|_, session| session.expires > now);
            }
            let unused = |session: &Session| session.user.is_none().then_some(session.expires);
            if memory.sessions.len() >= MEMORY && !evict(&mut memory.sessions, unused) {
                return Err(full());
            }
            memory.sessions.insert(key, session.clone());
            Ok(session)
        })
    }

    pub(crate) fn close(&self, key: &Key) {
        self.with(|memory| memory.sessions.remove(key));
    }

    /// Ends the sessions of people whose account went, and what they were deciding.
    pub(crate) fn keep(&self, has_account: impl Fn(&str) -> bool) {
        self.with(|memory| {
            let keeps = |session: &Session| session.user.as_ref().is_none_or(|user| has_account(&user.name));
            memory.sessions.retain(|_, session| keeps(session));
            let sessions = &memory.sessions;
            memory.pending.retain(|_, pending| sessions.contains_key(&pending.session));
        });
    }

    /// Remembers a request under `id` for this session. SPEC: AZ-14
    pub(crate) fn wait(&self, id: String, ask: AuthorizationRequest, session: &Session, now: UnixTime) -> Result<(), Refusal> {
        let pending =
            Pending { ask, just_signed_in: false, shown: None, session: session.key, expires: now.plus(PENDING_SECONDS) };
        self.with(|memory| {
            if memory.pending.len() >= MEMORY {
                memory.pending.retain(|_, pending| pending.expires > now);
            }
            let unused = |pending: &Pending| (!pending.just_signed_in).then_some(pending.expires);
            if memory.pending.len() >= MEMORY && !evict(&mut memory.pending, unused) {
                return Err(full());
            }
            if let Some(session) = memory.sessions.get_mut(&session.key) {
                session.expires = session.expires.max(pending.expires);
            }
            memory.pending.insert(id, pending);
            Ok(())
        })
    }

    /// The request `id` of this very session; another browser's is not found. SPEC: N-AZ-09
    pub(crate) fn pending(&self, id: &str, session: &Session, now: UnixTime) -> Result<Pending, Refusal> {
        let found = self.with(|memory| memory.pending.get(id).cloned());
        found.filter(|pending| pending.expires > now && pending.session == session.key).ok_or_else(unknown_request)
    }

    /// Moves a request to the session that replaces its own when the person signs in.
    pub(crate) fn rebind(&self, id: &str, session: &Session) {
        self.with(|memory| {
            if let Some(pending) = memory.pending.get_mut(id) {
                pending.session = session.key;
                pending.just_signed_in = true;
            }
        });
    }

    pub(crate) fn show(&self, id: &str, shown: Shown) {
        self.with(|memory| {
            if let Some(pending) = memory.pending.get_mut(id) {
                pending.shown = Some(shown);
            }
        });
    }

    /// Ends a request: whoever removes it decides it, once.
    pub(crate) fn decide(&self, id: &str) -> Result<(), Refusal> {
        self.with(|memory| memory.pending.remove(id)).map(drop).ok_or_else(unknown_request)
    }

    /// Whether another sign-in attempt for this name is allowed; counts it as failed until [`Browsers::succeeded`].
    pub(crate) fn attempt(&self, name: &str, limit: u32, window: i64, now: UnixTime) -> Result<(), Refusal> {
        let key = json::sha256(name.as_bytes());
        self.with(|memory| {
            if memory.failures.len() >= MEMORY {
                memory.failures.retain(|_, failures| failures.until > now);
            }
            if memory.failures.len() >= MEMORY && !memory.failures.contains_key(&key) {
                // The fewest failures go first: names tried once cannot push out a name under attack.
                evict(&mut memory.failures, |failures| Some((failures.count, failures.until)));
            }
            let failures = memory.failures.entry(key).or_insert(Failures { count: 0, until: now.plus(window) });
            if failures.until <= now {
                *failures = Failures { count: 0, until: now.plus(window) };
            }
            if failures.count >= limit {
                return Err(Refusal::new(Code::RateLimited, "too many failed attempts for this name; try again later"));
            }
            failures.count += 1;
            Ok(())
        })
    }

    pub(crate) fn succeeded(&self, name: &str) {
        let key = json::sha256(name.as_bytes());
        self.with(|memory| memory.failures.remove(&key));
    }

    fn with<T>(&self, run: impl FnOnce(&mut Memory) -> T) -> T {
        // A panic while holding the lock cannot leave half a change: each change is one map operation.
        run(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Session {
    /// SPEC: AZ-11, X-11
    pub(crate) fn check_csrf(&self, sent: Option<&str>) -> Result<(), Refusal> {
        let same = sent.is_some_and(|sent| bool::from(sent.as_bytes().ct_eq(self.csrf.as_bytes())));
        if same { Ok(()) } else { Err(unknown_request()) }
    }
}

impl fmt::Debug for Browsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browsers").finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Makes room by forgetting the least of what may be forgotten: anyone can make us remember a browser or a name, and
/// must not be able to lock everyone else out by it.
fn evict<K: Clone + Eq + Hash, V, Rank: Ord>(map: &mut HashMap<K, V>, rank: impl Fn(&V) -> Option<Rank>) -> bool {
    let least = map.iter().filter_map(|(key, value)| Some((rank(value)?, key))).min_by(|a, b| a.0.cmp(&b.0));
    let least = least.map(|(_, key)| key.clone());
    least.is_some_and(|key| map.remove(&key).is_some())
}

fn unknown_request() -> Refusal {
    Refusal::new(
        Code::SessionForeign,
        "this request is not open in this browser; start again from the program that sent you here",
    )
}

fn full() -> Refusal {
    Refusal::new(Code::RateLimited, "too many people are signing in; try again in a minute")
}

/// The cookie's name: `__Host-` wherever the issuer is https, plain on http loopback, where browsers refuse the prefix.
pub(crate) fn cookie_name(issuer: &str) -> &'static str {
    if issuer.starts_with("https:") { "__Host-remit-session" } else { "remit-session" }
}

/// SPEC: AZ-11
pub(crate) fn set_cookie(issuer: &str, token: &str) -> String {
    let secure = if issuer.starts_with("https:") { "; Secure" } else { "" };
    format!("{}={token}; Path=/; HttpOnly; SameSite=Lax{secure}", cookie_name(issuer))
}

/// Our cookie's value; a request that carries it twice is treated as carrying none.
pub(crate) fn read_cookie<'a>(headers: &'a HeaderMap, issuer: &str) -> Option<&'a str> {
    let name = cookie_name(issuer);
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let first = found.next()?;
    if found.next().is_some() { None } else { Some(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    #[test]
    fn a_flood_of_browsers_locks_nobody_out_and_signs_nobody_out() {
        let browsers = Browsers::default();
        let alice = SignedIn { name: "alice".into(), at: NOW };
        let signed_in = browsers.open("alice", "c".into(), Some(alice), NOW.plus(1), NOW).unwrap();
        for n in 0..MEMORY + 10 {
            browsers.open(&format!("flood {n}"), "c".into(), None, NOW.plus(600), NOW).unwrap();
        }
        let held = browsers.with(|memory| memory.sessions.len());
        assert_eq!(held, MEMORY);
        assert!(browsers.with(|memory| memory.sessions.contains_key(&signed_in.key)));
        browsers.open("bob", "c".into(), None, NOW.plus(601), NOW).unwrap();
        assert!(browsers.session(Some("bob"), NOW).is_some());
    }

    #[test]
    fn who_has_no_account_any_more_has_no_session_either() {
        let browsers = Browsers::default();
        for name in ["alice", "bob"] {
            let user = SignedIn { name: name.into(), at: NOW };
            browsers.open(name, "c".into(), Some(user), NOW.plus(600), NOW).unwrap();
        }
        browsers.open("nobody", "c".into(), None, NOW.plus(600), NOW).unwrap();
        browsers.keep(|name| name != "alice");
        let known = ["alice", "bob", "nobody"].map(|cookie| browsers.session(Some(cookie), NOW).is_some());
        assert_eq!(known, [false, true, true]);
    }

    #[test]
    fn a_flood_of_names_neither_locks_others_out_nor_forgets_a_name_under_attack() {
        let browsers = Browsers::default();
        for _ in 0..3 {
            browsers.attempt("alice", 3, 900, NOW).unwrap();
        }
        for n in 0..MEMORY + 10 {
            browsers.attempt(&format!("flood {n}"), 3, 900, NOW).unwrap();
        }
        assert!(browsers.attempt("alice", 3, 900, NOW).is_err());
        assert!(browsers.attempt("bob", 3, 900, NOW).is_ok());
        assert_eq!(browsers.with(|memory| memory.failures.len()), MEMORY);
    }
}
