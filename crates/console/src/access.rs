//! Reading the ledger is itself recorded: who, how, which records, how many. SPEC: PCI DSS 10.2.1.3.
//!
//! Whoever copies the log bundle by bundle must not make it grow by reading it, so fetches of bundles are gathered: at
//! most one record in a minute, which states how many there were since the last one.

use crate::{
    Console,
    admin::{Admin, record},
    error::No,
};
use remit_store::Batch;
use serde_json::json;
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
    fn add(&self, from: u64, to: u64, now_ns: u64) -> Option<(u64, u64, u64)> {
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
    fn rest(&self) -> Option<(u64, u64, u64)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = (state.reads > 0).then_some((state.reads, state.from, state.to));
        *state = State { recorded_ns: state.recorded_ns, ..State::default() };
        rest
    }
}

/// Records one read through the admin API. No record, no reply.
pub(crate) async fn read(console: &Console, admin: Admin, action: &str, from: u64, count: u64) -> Result<(), No> {
    write(console, admin, action, 1, from, from.saturating_add(count)).await
}

/// Records, or gathers, the read of a bundle.
pub(crate) async fn bundle(console: &Console, admin: Admin, from: u64, to: u64) -> Result<(), No> {
    match console.gathered.add(from, to, console.clock.now().mono_ns) {
        Some((reads, from, to)) => write(console, admin, "log.entries", reads, from, to).await,
        None => Ok(()),
    }
}

/// Records what was gathered and not yet recorded; for a clean stop.
pub(crate) async fn flush(console: &Console) -> Result<(), No> {
    match console.gathered.rest() {
        Some((reads, from, to)) => write(console, Admin::several(), "log.entries", reads, from, to).await,
        None => Ok(()),
    }
}

async fn write(console: &Console, admin: Admin, action: &str, reads: u64, from: u64, to: u64) -> Result<(), No> {
    let facts = json!({"from": from.to_string(), "to": to.to_string(), "reads": reads.to_string()});
    let draft = admin.read(console, action).ext("access", facts);
    record(console, Batch::new(console.tenant.clone()).note().record(draft)).await.map(drop)
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
