//! Failed sign-ins: how often a name may be tried, and from where.
//!
//! Attempts are counted for a name together with their source, so that a stranger's guesses do not lock an account for its
//! owner. All strangers together have a limit for each name, against guessing from many addresses; a browser in which the
//! person signed in before is not under it. SPEC: TK-11 (per user, per IP), X-11

use crate::http::origin::network;
use remit_model::{Code, Refusal, UnixTime, json};
use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Most counters remembered at once.
const MEMORY: usize = 10_000;
/// How many times the limit of one source all unknown sources together may try a name.
const ALL_SOURCES: u32 = 20;

type Key = [u8; 32];

/// Where an attempt comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// A browser in which this person signed in before, by the id it was given then.
    Known(&'a str),
    Address(Option<IpAddr>),
}

/// Counts failed attempts.
#[derive(Default)]
pub(crate) struct Throttle {
    memory: Mutex<HashMap<Key, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    until: UnixTime,
}

impl Throttle {
    /// Counts an attempt as failed until [`Throttle::succeeded`].
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) fn attempt(&self, name: &str, source: Source<'_>, limit: u32, window: i64, now: UnixTime) -> Result<(), Refusal> {
        let counters = counters(name, source, limit);
        self.with(|memory| {
            let full = |(key, limit): &(Key, u32)| {
                memory.get(key).is_some_and(|failures| failures.until > now && failures.count >= *limit)
            };
            if counters.iter().any(full) {
                return Err(Refusal::new(
                    Code::RateLimited,
                    "too many failed attempts; try again later, or in a browser in which you signed in before",
                ));
            }
            for (key, _) in &counters {
                make_room(memory, key, now);
                let failures = memory.entry(*key).or_insert(Failures { count: 0, until: now.plus(window) });
                if failures.until <= now {
                    *failures = Failures { count: 0, until: now.plus(window) };
                }
                failures.count += 1;
            }
            Ok(())
        })
    }

    /// The attempt was right after all.
    pub(crate) fn succeeded(&self, name: &str, source: Source<'_>) {
        self.with(|memory| {
            let mut counters = counters(name, source, 0).into_iter();
            if let Some((own, _)) = counters.next() {
                memory.remove(&own);
            }
            for (shared, _) in counters {
                if let Some(failures) = memory.get_mut(&shared) {
                    failures.count = failures.count.saturating_sub(1);
                }
            }
        });
    }

    fn with<T>(&self, run: impl FnOnce(&mut HashMap<Key, Failures>) -> T) -> T {
        // A panic while holding the lock cannot leave half a change: each change is one map operation.
        run(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The source's own counter with its limit, then the one it shares.
fn counters(name: &str, source: Source<'_>, limit: u32) -> Vec<(Key, u32)> {
    let key = |kind: &str, of: &str| json::sha256(format!("{kind}\0{of}\0{name}").as_bytes());
    match source {
        Source::Known(id) => vec![(key("browser", id), limit)],
        Source::Address(address) => {
            vec![
                (key("address", &address.map(network).unwrap_or_default()), limit),
                (key("all", ""), limit.saturating_mul(ALL_SOURCES)),
            ]
        }
    }
}

/// The fewest failures are forgotten first: names tried once cannot push out a name under attack.
fn make_room(memory: &mut HashMap<Key, Failures>, key: &Key, now: UnixTime) {
    if memory.len() < MEMORY || memory.contains_key(key) {
        return;
    }
    memory.retain(|_, failures| failures.until > now);
    if memory.len() >= MEMORY {
        let least = memory.iter().min_by_key(|(_, failures)| (failures.count, failures.until)).map(|(key, _)| *key);
        least.and_then(|key| memory.remove(&key));
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn at(address: &str) -> Source<'static> {
        Source::Address(Some(address.parse().unwrap()))
    }

    fn tries(throttle: &Throttle, source: Source<'_>, count: usize) -> usize {
        (0..count).filter(|_| throttle.attempt("alice", source, 5, 900, NOW).is_ok()).count()
    }

    #[test]
    fn a_strangers_failures_lock_nobody_else_out() {
        let throttle = Throttle::default();
        assert_eq!(tries(&throttle, at("192.0.2.1"), 10), 5);
        assert_eq!(tries(&throttle, at("192.0.2.2"), 1), 1, "another address");
        assert_eq!(tries(&throttle, at("2001:db8::1"), 10), 5);
        assert_eq!(tries(&throttle, at("2001:db8::2:1"), 1), 0, "the same subscriber");
        assert_eq!(tries(&throttle, at("::ffff:192.0.2.1"), 1), 0, "the same address in another spelling");
        throttle.attempt("alice", at("192.0.2.1"), 5, 900, NOW.plus(900)).unwrap();
    }

    #[test]
    fn many_strangers_have_one_limit_and_a_known_browser_is_not_under_it() {
        let throttle = Throttle::default();
        let passed: usize = (0..200).map(|n| tries(&throttle, at(&format!("198.51.100.{n}")), 1)).sum();
        assert_eq!(passed, 100);
        assert_eq!(tries(&throttle, at("203.0.113.9"), 1), 0);
        assert_eq!(tries(&throttle, Source::Known("laptop"), 10), 5);
        assert_eq!(tries(&throttle, Source::Known("phone"), 10), 5);
    }

    #[test]
    fn the_right_password_clears_its_own_failures() {
        let throttle = Throttle::default();
        for _ in 0..50 {
            assert_eq!(tries(&throttle, at("192.0.2.1"), 4), 4);
            throttle.succeeded("alice", at("192.0.2.1"));
            throttle.succeeded("alice", at("192.0.2.1"));
            throttle.succeeded("alice", at("192.0.2.1"));
            throttle.succeeded("alice", at("192.0.2.1"));
        }
    }

    #[test]
    fn a_flood_of_names_neither_locks_others_out_nor_forgets_a_name_under_attack() {
        let throttle = Throttle::default();
        assert_eq!(tries(&throttle, at("192.0.2.1"), 9), 5);
        for n in 0..MEMORY + 10 {
            throttle.attempt(&format!("flood {n}"), at("192.0.2.2"), 5, 900, NOW).unwrap();
        }
        assert_eq!(tries(&throttle, at("192.0.2.1"), 1), 0);
        throttle.attempt("bob", at("192.0.2.1"), 5, 900, NOW).unwrap();
        assert!(throttle.with(|memory| memory.len()) <= MEMORY);
    }
}
