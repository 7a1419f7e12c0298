//! State that the writer, the publisher and every handle of a store share.

use crate::{commit::outage::Conditions, token_cache::TokenCache, unproven::Unproven, world::snapshot::Snapshot};
use arc_swap::ArcSwap;
use remit_model::time::Moment;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

#[derive(Debug)]
pub(crate) struct Handles {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// Committed records: the next index.
    pub(crate) committed: AtomicU64,
    /// Records the newest published checkpoint covers.
    pub(crate) published: AtomicU64,
    /// More has expired than was forgotten yet.
    pub(crate) behind: AtomicBool,
    pub(crate) counts: Counts,
    pub(crate) conditions: Conditions,
    pub(crate) reads: Reads,
    pub(crate) unproven: Unproven,
    pub(crate) tokens: TokenCache,
    /// Held by the thread that moves the write-ahead log into the database: SQLite turns a second one away at once.
    pub(crate) backfilling: Mutex<()>,
    pub(crate) forgetting: Forgetting,
}

/// What is to be done in memory after an erasure.
#[derive(Default)]
pub(crate) struct Forgetting(Mutex<Vec<Box<Forget>>>);

type Forget = dyn Fn(&Snapshot) + Send + Sync;

impl Forgetting {
    pub(crate) fn add(&self, forget: impl Fn(&Snapshot) + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(forget));
    }
}

impl fmt::Debug for Forgetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forgetting").finish_non_exhaustive()
    }
}

/// Reads of the public part of the log, counted in the next heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Reads(Mutex<BTreeMap<&'static str, u64>>);

impl Reads {
    pub(crate) fn count(&self, what: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(what).or_default();
        *count = count.saturating_add(1);
    }

    /// The counts since the last time, as texts.
    pub(crate) fn take(&self) -> BTreeMap<&'static str, String> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        counts.into_iter().map(|(what, count)| (what, count.to_string())).collect()
    }
}

/// Counts since opening; they depend on no clock, so tests and benchmarks can assert them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions committed, each one fsync of the write-ahead log.
    pub transactions: u64,
    /// Batches committed.
    pub batches: u64,
    /// Batches refused: a precondition did not hold, or they were invalid.
    pub conflicts: u64,
    /// Batches answered `Unavailable` because the database failed.
    pub failures: u64,
    /// Records committed.
    pub records: u64,
    /// Checkpoints signed and published.
    pub checkpoints: u64,
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

impl Handles {
    pub(crate) fn new(snapshot: Snapshot, committed: u64, now: &Moment) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            committed: AtomicU64::new(committed),
            published: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            counts: Counts::default(),
            conditions: Conditions::default(),
            reads: Reads::default(),
            unproven: Unproven::new(now),
            tokens: TokenCache::default(),
            backfilling: Mutex::default(),
            forgetting: Forgetting::default(),
        }
    }

    /// Empties what is remembered of tokens, here and wherever else it is.
    pub(crate) fn forget(&self) {
        self.tokens.forget();
        let world = self.snapshot.load_full();
        for forget in self.forgetting.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            forget(&world);
        }
    }

    pub(crate) fn backfilling(&self) -> MutexGuard<'_, ()> {
        self.backfilling.lock().unwrap_or_else(PoisonError::into_inner)
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
