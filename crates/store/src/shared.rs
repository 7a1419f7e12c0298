//! What the writer, the publisher and every handle of a store share.

use crate::{outage::Conditions, snapshot::Snapshot, store::Stats};
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// Committed records: the next index.
    pub(crate) committed: AtomicU64,
    /// Records the newest published checkpoint covers.
    pub(crate) published: AtomicU64,
    pub(crate) counts: Counts,
    pub(crate) conditions: Conditions,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) transactions: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
}

impl Shared {
    pub(crate) fn new(snapshot: Snapshot, committed: u64) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            committed: AtomicU64::new(committed),
            published: AtomicU64::new(0),
            counts: Counts::default(),
            conditions: Conditions::default(),
        }
    }
}

impl Counts {
    pub(crate) fn stats(&self) -> Stats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            transactions: read(&self.transactions),
            batches: read(&self.batches),
            conflicts: read(&self.conflicts),
            failures: read(&self.failures),
            records: read(&self.records),
            checkpoints: read(&self.checkpoints),
        }
    }
}
