//! Who is signed in, and the cookies that say so.
//!
//! Implements AZ-11 and AZ-14: one HttpOnly cookie, set on the first hit and rotated at sign-in. Only people who signed in
//! are remembered, each in a few browsers: what a browser costs before that, it keeps itself (`seal.rs`). The memory is
//! per process: a restart asks people to sign in again, and never leaves a session that cannot be ended.

use super::provider::evidence::Evidence;
use axum::http::{HeaderMap, header};
use remit_clock::Entropy;
use remit_model::{Authentication, UnixTime, json};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Most browsers in which one person is signed in at once; one more signs the oldest out.
const BROWSERS: usize = 16;
/// Days for which a browser is known after a person signed in with it.
pub(crate) const KNOWN_DAYS: i64 = 90;

/// The SHA-256 of a cookie.
pub(crate) type BrowserId = [u8; 32];

/// A person signed in with a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedIn {
    pub(crate) name: String,
    pub(crate) authentication: Authentication,
    /// What an identity provider signed of it; none where they signed in here.
    pub(crate) evidence: Option<Arc<Evidence>>,
}

/// The browser that a request comes from.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) id: BrowserId,
    pub(crate) user: Option<SignedIn>,
    /// The cookie to set, when it came without one.
    pub(crate) set_cookie: Option<String>,
}

/// The sessions of people.
#[derive(Default)]
pub(crate) struct Sessions {
    memory: Mutex<HashMap<BrowserId, Session>>,
}

struct Session {
    user: SignedIn,
    expires: UnixTime,
    /// The sign-in was taken for the request that it was made for.
    taken: bool,
}

impl Sessions {
    /// The browser of a request; one that is new gets a cookie. SPEC: AZ-14
    pub(crate) fn browser(&self, headers: &HeaderMap, issuer: &str, entropy: &Entropy, now: UnixTime) -> Browser {
        self.known(headers, issuer, now).unwrap_or_else(|| {
            let token = entropy.token(32);
            let set_cookie = Some(session_cookie(issuer, &token));
            Browser { id: json::sha256(token.as_bytes()), user: None, set_cookie }
        })
    }

    /// The browser of a request that came with our cookie.
    pub(crate) fn known(&self, headers: &HeaderMap, issuer: &str, now: UnixTime) -> Option<Browser> {
        let id = json::sha256(read_cookie(headers, &cookie_name(issuer, SESSION))?.as_bytes());
        let user =
            self.with(|memory| memory.get(&id).filter(|session| session.expires > now).map(|session| session.user.clone()));
        Some(Browser { id, user, set_cookie: None })
    }

    /// Starts a session for the cookie value `token`.
    pub(crate) fn open(&self, token: &str, user: SignedIn, expires: UnixTime, now: UnixTime) -> BrowserId {
        let id = json::sha256(token.as_bytes());
        self.with(|memory| {
            memory.retain(|_, session| session.expires > now);
            let mut own: Vec<_> = memory.iter().filter(|(_, session)| session.user.name == user.name).collect();
            own.sort_by_key(|(_, session)| session.expires);
            let oldest: Vec<BrowserId> = own.iter().rev().skip(BROWSERS - 1).map(|(id, _)| **id).collect();
            for id in oldest {
                memory.remove(&id);
            }
            memory.insert(id, Session { user, expires, taken: false });
        });
        id
    }

    /// Takes the sign-in that began a session for the request that it was made for. It proves one.
    pub(crate) fn take(&self, id: &BrowserId) -> bool {
        self.with(|memory| memory.get_mut(id).is_some_and(|session| !std::mem::replace(&mut session.taken, true)))
    }

    /// Whether it was.
    pub(crate) fn is_taken(&self, id: &BrowserId) -> bool {
        self.with(|memory| memory.get(id).is_some_and(|session| session.taken))
    }

    pub(crate) fn close(&self, id: &BrowserId) {
        self.with(|memory| memory.remove(id));
    }

    /// Ends the sessions of people whose account is gone.
    pub(crate) fn keep(&self, has_account: impl Fn(&str) -> bool) {
        self.with(|memory| memory.retain(|_, session| has_account(&session.user.name)));
    }

    fn with<T>(&self, run: impl FnOnce(&mut HashMap<BrowserId, Session>) -> T) -> T {
        // A panic while holding the lock cannot leave half a change: each change is one map operation.
        run(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

const SESSION: &str = "remit-session";
const KNOWN: &str = "remit-known";

/// `__Host-` wherever the issuer is https; plain on http loopback, where browsers refuse the prefix.
pub(crate) fn cookie_name(issuer: &str, name: &str) -> String {
    if issuer.starts_with("https:") { format!("__Host-{name}") } else { name.to_owned() }
}

/// SPEC: AZ-11
pub(crate) fn session_cookie(issuer: &str, token: &str) -> String {
    set_cookie(issuer, SESSION, token)
}

/// The cookie by which a browser is known after its session.
pub(crate) fn known_cookie(issuer: &str, sealed: &str) -> String {
    format!("{}; Max-Age={}", set_cookie(issuer, KNOWN, sealed), KNOWN_DAYS * 86_400)
}

pub(crate) fn read_known_cookie<'a>(headers: &'a HeaderMap, issuer: &str) -> Option<&'a str> {
    read_cookie(headers, &cookie_name(issuer, KNOWN))
}

pub(crate) fn set_cookie(issuer: &str, name: &str, value: &str) -> String {
    let secure = if issuer.starts_with("https:") { "; Secure" } else { "" };
    format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}", cookie_name(issuer, name))
}

/// A cookie's value; a request that carries it twice is treated as carrying none.
pub(crate) fn read_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
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

    fn signed_in(sessions: &Sessions, token: &str) -> bool {
        sessions.with(|memory| memory.contains_key(&json::sha256(token.as_bytes())))
    }

    fn open(sessions: &Sessions, name: &str, token: &str, expires: i64) {
        sessions.open(
            token,
            SignedIn { name: name.into(), authentication: Authentication::password(NOW), evidence: None },
            NOW.plus(expires),
            NOW,
        );
    }

    #[test]
    fn a_person_takes_room_from_nobody_else() {
        let sessions = Sessions::default();
        open(&sessions, "alice", "alice", 1);
        for n in 0..100 {
            open(&sessions, "mallory", &format!("mallory {n}"), 600 + n);
        }
        assert!(signed_in(&sessions, "alice"));
        assert_eq!(sessions.with(|memory| memory.len()), 1 + BROWSERS);
        assert!(!signed_in(&sessions, "mallory 0") && signed_in(&sessions, "mallory 99"), "the oldest goes");
    }

    #[test]
    fn a_sign_in_is_taken_once_for_the_request_that_it_was_made_for() {
        let sessions = Sessions::default();
        open(&sessions, "alice", "alice", 600);
        let id = json::sha256(b"alice");
        assert!(!sessions.is_taken(&id) && sessions.take(&id));
        assert!(sessions.is_taken(&id) && !sessions.take(&id));
        assert!(!sessions.take(&json::sha256(b"bob")), "there is no such session");
    }

    #[test]
    fn who_has_no_account_any_more_has_no_session_either() {
        let sessions = Sessions::default();
        for name in ["alice", "bob"] {
            open(&sessions, name, name, 600);
        }
        sessions.keep(|name| name != "alice");
        assert_eq!(["alice", "bob"].map(|name| signed_in(&sessions, name)), [false, true]);
    }
}
