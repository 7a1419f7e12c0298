//! How much may be written for callers without a name.
//!
//! Every refusal is recorded. But a caller without credentials must not be able to fill the disk with refusals, so refusals
//! beyond the quota of a second are counted and logged, not recorded.

use remit_model::time::UnixTime;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// A count per second.
#[derive(Debug)]
pub struct Quota {
    limit: u32,
    second: AtomicI64,
    used: AtomicU32,
    skipped: AtomicU32,
}

impl Quota {
    /// At most `limit` in each second of the wall clock.
    pub fn per_second(limit: u32) -> Self {
        Self { limit, second: AtomicI64::new(i64::MIN), used: AtomicU32::new(0), skipped: AtomicU32::new(0) }
    }

    /// Whether one more may be written in this second.
    pub fn take(&self, now: UnixTime) -> bool {
        if self.second.swap(now.0, Ordering::Relaxed) != now.0 {
            self.used.store(0, Ordering::Relaxed);
            let skipped = self.skipped.swap(0, Ordering::Relaxed);
            if skipped > 0 {
                tracing::warn!(skipped, "refusals of unidentified callers were not recorded");
            }
        }
        let allowed = self.used.load(Ordering::Relaxed) < self.limit;
        if allowed {
            self.used.fetch_add(1, Ordering::Relaxed);
        } else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_the_next_second_begins_anew() {
        let quota = Quota::per_second(3);
        let taken = |now| (0..10).filter(|_| quota.take(UnixTime(now))).count();
        assert_eq!((taken(1), taken(1), taken(2)), (3, 0, 3));
    }
}
