//! Bounds the memory of used client assertions.
//!
//! The `jti` of an assertion is kept until its `exp` (TK-04). Those of short assertions are bounded by the client's rate; of long
//! ones, which libraries sign for an hour, each client may have [`bounds::LONG_ASSERTIONS`] at a time. Beyond that an assertion
//! that cannot be remembered is not accepted. What an earlier process kept is not counted: it is gone within the hour.

use remit_model::{Code, Refusal, UnixTime, bounds};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// An assertion that ends later than this many seconds ahead is a long one.
pub(crate) const LONG: i64 = 330;
/// Ends are counted together that lie within one minute.
const SLOT: i64 = 60;

/// Whose an identifier is that is accepted once: the client that signed, or the issuer that vouched.
pub(crate) fn owner(key: &str) -> &str {
    key.split(' ').next().unwrap_or_default()
}

/// For each client, how many of its long assertions end in each minute.
#[derive(Debug)]
pub(crate) struct LongAssertions {
    limit: u64,
    used: Mutex<HashMap<String, BTreeMap<i64, u64>>>,
}

impl LongAssertions {
    /// Each client may have `limit` at a time.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: Mutex::default() }
    }

    /// Whether this client may use one more that is remembered until `until`.
    ///
    /// # Errors
    /// `rate_limited`, until enough have ended.
    pub(crate) fn check(&self, client: &str, until: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        if until.since(now) <= LONG {
            return Ok(());
        }
        let mut used = self.used();
        let Some(slots) = used.get_mut(client) else { return Ok(()) };
        slots.retain(|slot, _| slot.saturating_add(1).saturating_mul(SLOT) > now.0);
        let count: u64 = slots.values().sum();
        if count < self.limit {
            return Ok(());
        }
        let first = slots.keys().next().map_or(SLOT, |slot| slot.saturating_add(1).saturating_mul(SLOT).saturating_sub(now.0));
        let reason = format!(
            "this client has {count} client assertions in use that end more than {LONG} seconds ahead, which is the most; sign them for less, or wait"
        );
        Err(Refusal { retry_after_s: u32::try_from(first).ok(), ..Refusal::new(Code::RateLimited, reason) })
    }

    /// Counts one that was used: until then it counted for nothing, so a copy of it that is refused costs its client nothing.
    pub(crate) fn used_one(&self, client: &str, until: UnixTime, now: UnixTime) {
        if until.since(now) <= LONG {
            return;
        }
        let mut used = self.used();
        // INVARIANT: only assertions that verified are counted, so there are no more clients here than registered agents.
        let slot = until.0.div_euclid(SLOT);
        let count = used.entry(client.to_owned()).or_default().entry(slot).or_default();
        *count = count.saturating_add(1);
    }

    fn used(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<i64, u64>>> {
        // A panic while holding the lock cannot leave a half-made entry.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limit of a running server.
pub(crate) const LIMIT: u64 = bounds::LONG_ASSERTIONS.value();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tk_04_long_assertions_are_bounded_for_each_client_until_they_end() {
        let (memory, now) = (LongAssertions::new(3), UnixTime(1_800_000_000));
        for _ in 0..3 {
            memory.check("agent:a", now.plus(3_600), now).unwrap();
            memory.used_one("agent:a", now.plus(3_600), now);
        }
        let full = memory.check("agent:a", now.plus(3_600), now).unwrap_err();
        assert_eq!(full.code, Code::RateLimited);
        assert!(full.retry_after_s.is_some_and(|wait| (3_600..=3_660).contains(&wait)), "{full:?}");
        memory.check("agent:a", now.plus(LONG), now).unwrap();
        memory.check("agent:b", now.plus(3_600), now).unwrap();
        memory.check("agent:a", now.plus(7_300), now.plus(3_599)).unwrap_err();
        memory.check("agent:a", now.plus(7_300), now.plus(3_660)).unwrap();
    }

    #[test]
    fn tk_04_short_assertions_are_not_counted() {
        let (memory, now) = (LongAssertions::new(1), UnixTime(1_800_000_000));
        for _ in 0..5 {
            memory.used_one("agent:a", now.plus(LONG), now);
        }
        memory.check("agent:a", now.plus(3_600), now).unwrap();
    }
}
