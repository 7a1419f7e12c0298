//! Why nothing may be done now: logging itself is in trouble.

use arc_swap::ArcSwapOption;
use remit_model::refusal::{Code, Refusal};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// One way in which logging fails. Changes are refused during any; see [`crate::Necessity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The database cannot be written: the disk is full or fails. The text is for the operator.
    Disk(String),
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
    disk: ArcSwapOption<String>,
    side: ArcSwapOption<String>,
    clock: AtomicBool,
    witnesses: AtomicBool,
}

impl Conditions {
    /// The gravest outage under way.
    pub(crate) fn outage(&self) -> Option<Outage> {
        if let Some(why) = self.disk.load_full() {
            return Some(Outage::Disk(why.to_string()));
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
        let disk = self.disk.load_full().map(|why| Outage::Disk(why.to_string()));
        let side = self.side.load_full().map(|why| Outage::SideStore(why.to_string()));
        let clock = self.clock.load(Ordering::Acquire).then_some(Outage::Clock);
        let witnesses = self.witnesses.load(Ordering::Acquire).then_some(Outage::Witnesses);
        [disk, side, clock, witnesses].into_iter().flatten().collect()
    }

    pub(crate) fn set_clock(&self, disrupted: bool) {
        self.clock.store(disrupted, Ordering::Release);
    }

    pub(crate) fn set_disk(&self, why: Option<String>) {
        self.disk.store(why.map(Arc::new));
    }

    pub(crate) fn set_side(&self, why: Option<String>) {
        self.side.store(why.map(Arc::new));
    }

    pub(crate) fn set_witnesses(&self, lost: bool) {
        self.witnesses.store(lost, Ordering::Release);
    }
}
