//! Outages: why the store accepts no action now, such as a full disk or too few witnesses.

use crate::db::error::DbError;
use arc_swap::ArcSwapOption;
use remit_model::refusal::{Code, Refusal};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use thiserror::Error;

/// One way in which logging fails. Changes are refused during any; see [`crate::Necessity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The database cannot be written: the disk is full or fails. For the operator.
    Disk(WriteFailure),
    /// The keys of the values beside the log are gone or unreadable. The text is for the operator.
    SideStore(String),
    /// Fewer witnesses sign than the quorum policy asks for.
    Witnesses,
    /// The wall clock was stepped and has not settled yet.
    Clock,
    /// More waits for the disk than the queue holds.
    Busy,
    /// The store was closed.
    Closed,
}

/// What keeps records from being written.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum WriteFailure {
    /// The database took nothing.
    #[error("{0}")]
    Database(#[from] DbError),
    /// Nor did the spool, which replaces it.
    #[error("the spool failed: {0}")]
    Spool(Arc<io::Error>),
    /// The spool has no room left for this.
    #[error("the spool is full too")]
    SpoolFull,
    /// What the database holds cannot be used.
    #[error("{0}")]
    Damaged(Arc<dyn std::error::Error + Send + Sync>),
}

impl WriteFailure {
    /// Whether it is for want of room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Database(error) => error.is_full(),
            Self::Spool(error) => error.kind() == io::ErrorKind::StorageFull,
            Self::SpoolFull => true,
            Self::Damaged(_) => false,
        }
    }
}

impl PartialEq for WriteFailure {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Database(one), Self::Database(other)) => one == other,
            (Self::Spool(one), Self::Spool(other)) => one.kind() == other.kind(),
            (Self::SpoolFull, Self::SpoolFull) => true,
            (Self::Damaged(one), Self::Damaged(other)) => one.to_string() == other.to_string(),
            _ => false,
        }
    }
}

impl Eq for WriteFailure {}

/// The outages that are recorded as they begin and end, by code.
pub(crate) const RECORDED: [Code; 4] =
    [Code::LedgerFull, Code::SideStoreUnavailable, Code::ClockDisrupted, Code::WitnessQuorumLost];

impl Outage {
    /// The stable code a refused caller sees.
    pub fn code(&self) -> Code {
        match self {
            Self::Disk(_) => Code::LedgerFull,
            Self::SideStore(_) => Code::SideStoreUnavailable,
            Self::Witnesses => Code::WitnessQuorumLost,
            Self::Clock => Code::ClockDisrupted,
            Self::Busy | Self::Closed => Code::LedgerUnavailable,
        }
    }

    /// The refusal of an action during this outage. Says nothing of paths or system errors.
    pub fn refusal(&self) -> Refusal {
        let why = match self {
            Self::Disk(_) => "the audit ledger's disk takes no record",
            Self::SideStore(_) => "the keys of the values beside the audit ledger cannot be used",
            Self::Witnesses => "too few witnesses sign the audit ledger",
            Self::Clock => "the clock was stepped and has not settled yet",
            Self::Busy => "too much waits to be recorded",
            Self::Closed => "the server is stopping",
        };
        Refusal::new(self.code(), format!("{why}, so nothing is done; the server's log says more"))
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(why) => write!(f, "the disk takes no record: {why}"),
            Self::SideStore(why) => write!(f, "the keys of the side values cannot be used: {why}"),
            Self::Witnesses => f.write_str("the quorum of witnesses is lost"),
            Self::Clock => f.write_str("the clock was stepped"),
            Self::Busy => f.write_str("too many batches wait for the disk"),
            Self::Closed => f.write_str("the store is closed"),
        }
    }
}

/// What is wrong at this moment, as the parts of the store report it.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    disk: ArcSwapOption<WriteFailure>,
    side: ArcSwapOption<String>,
    clock: AtomicBool,
    witnesses: AtomicBool,
    /// Actions refused since they were last counted in, in the order of [`RECORDED`].
    refused: [AtomicU64; RECORDED.len()],
}

impl Conditions {
    /// The gravest outage under way.
    pub(crate) fn outage(&self) -> Option<Outage> {
        if let Some(why) = self.disk.load_full() {
            return Some(Outage::Disk(WriteFailure::clone(&why)));
        }
        self.without_disk()
    }

    /// What stops an action even where the database would take it.
    pub(crate) fn without_disk(&self) -> Option<Outage> {
        if let Some(why) = self.side.load_full() {
            return Some(Outage::SideStore(why.to_string()));
        }
        if self.clock.load(Ordering::Acquire) {
            return Some(Outage::Clock);
        }
        self.witnesses.load(Ordering::Acquire).then_some(Outage::Witnesses)
    }

    /// Every outage under way.
    pub(crate) fn all(&self) -> Vec<Outage> {
        let disk = self.disk.load_full().map(|why| Outage::Disk(WriteFailure::clone(&why)));
        let side = self.side.load_full().map(|why| Outage::SideStore(why.to_string()));
        let clock = self.clock.load(Ordering::Acquire).then_some(Outage::Clock);
        let witnesses = self.witnesses.load(Ordering::Acquire).then_some(Outage::Witnesses);
        [disk, side, clock, witnesses].into_iter().flatten().collect()
    }

    pub(crate) fn set_clock(&self, disrupted: bool) {
        self.clock.store(disrupted, Ordering::Release);
    }

    /// Says why nothing can be written, or that everything can.
    pub(crate) fn set_disk(&self, why: Option<WriteFailure>) {
        // Nearly always nothing changes: every commit says that it worked.
        if why.is_some() || self.disk.load().is_some() {
            self.disk.store(why.map(Arc::new));
        }
    }

    /// Counts an action that was refused for an outage of this code, by the writer or before it was asked.
    pub(crate) fn count_refused(&self, code: Code) {
        if let Some(count) = RECORDED.iter().position(|known| *known == code).and_then(|at| self.refused.get(at)) {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The actions refused for an outage of this code since the last time this was asked.
    pub(crate) fn take_refused(&self, code: Code) -> u64 {
        let count = RECORDED.iter().position(|known| *known == code).and_then(|at| self.refused.get(at));
        count.map_or(0, |count| count.swap(0, Ordering::AcqRel))
    }

    pub(crate) fn set_side(&self, why: Option<String>) {
        self.side.store(why.map(Arc::new));
    }

    pub(crate) fn set_witnesses(&self, lost: bool) {
        self.witnesses.store(lost, Ordering::Release);
    }
}
