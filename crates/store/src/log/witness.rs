//! The seam to the witnesses of this log: plain data and one callback. The opener of the store talks to them.
//! SPEC: LG-17, LG-20.

use remit_ledger::{Hash, Reader, note::Signature};
use std::{fmt, sync::Arc};

/// The witnesses of a store: what they had seen before it opened, and how to ask them from now on.
#[derive(Clone, Default)]
pub struct Witnessing {
    /// Nothing is signed when the database does not hold what one of them saw.
    pub seen: Vec<Sighting>,
    pub witnesses: Option<Arc<dyn Witnesses>>,
}

/// A head of this log that a witness has cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Name of the witness, for the operator.
    pub witness: String,
    /// Entries the head covers.
    pub size: u64,
    /// `None` when the witness only said how far it is.
    pub root: Option<Hash>,
}

/// Shows new heads to the witnesses.
pub trait Witnesses: Send + Sync {
    /// Gathers cosignatures on the head of `log`, which is signed and about to be published. Called on the publisher's
    /// own thread, which may wait; it must come back in bounded time.
    fn cosign(&self, log: Reader) -> Cosignatures;
}

/// What the witnesses said of one head.
#[derive(Clone, Debug, Default)]
pub struct Cosignatures {
    pub lines: Vec<Signature>,
    /// Whether they are the quorum. If not, they are asked again for the same head.
    pub enough: bool,
}

impl fmt::Debug for Witnessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witnessing").field("seen", &self.seen).field("asked", &self.witnesses.is_some()).finish()
    }
}
