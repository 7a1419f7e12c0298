//! Reads of entry bundles, gathered so that a reader of the whole log does not make it grow by reading.

use std::sync::{Mutex, PoisonError};

/// Nanoseconds between two records of gathered reads.
const INTERVAL_NS: u64 = 60_000_000_000;

/// Reads of entry bundles that are not yet recorded.
#[derive(Debug, Default)]
pub struct Gathered(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    recorded_ns: Option<u64>,
    reads: u64,
    from: u64,
    to: u64,
}

impl Gathered {
    /// Counts a read of records `from..to`; gives back what is to be recorded now.
    pub(crate) fn add(&self, from: u64, to: u64, now_ns: u64) -> Option<(u64, u64, u64)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.from, state.to) = if state.reads == 0 { (from, to) } else { (state.from.min(from), state.to.max(to)) };
        state.reads = state.reads.saturating_add(1);
        if state.recorded_ns.is_some_and(|at| now_ns.saturating_sub(at) < INTERVAL_NS) {
            return None;
        }
        let due = (state.reads, state.from, state.to);
        *state = State { recorded_ns: Some(now_ns), ..State::default() };
        Some(due)
    }

    /// What is not recorded yet, if anything.
    pub(crate) fn rest(&self) -> Option<(u64, u64, u64)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = (state.reads > 0).then_some((state.reads, state.from, state.to));
        *state = State { recorded_ns: state.recorded_ns, ..State::default() };
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_makes_one_record_a_minute_and_nothing_is_left_uncounted() {
        let gathered = Gathered::default();
        assert_eq!(gathered.add(0, 256, 0), Some((1, 0, 256)), "the first is recorded at once");
        for n in 1..100 {
            assert_eq!(gathered.add(n * 256, n * 256 + 256, n), None);
        }
        assert_eq!(gathered.add(0, 10, INTERVAL_NS), Some((100, 0, 25_600)));
        assert_eq!(gathered.add(512, 768, 2 * INTERVAL_NS), Some((1, 512, 768)));
        assert_eq!(gathered.rest(), None, "everything is recorded");
        assert_eq!(gathered.add(768, 1_024, 2 * INTERVAL_NS + 1), None);
        assert_eq!(gathered.rest(), Some((1, 768, 1_024)), "a stop records what is left");
        assert_eq!(gathered.rest(), None, "and records it once");
    }
}
