//! Durable state: one batch is one fact.
//!
//! [`Store::apply`] takes a [`Batch`] of preconditions, changes and audit records and commits it whole or not at all,
//! so an action and its record can never part. It resolves only after the commit has reached the disk. Reads that a
//! request needs before it may be refused come from the in-memory [`Snapshot`]; everything else is a point read.
//! A publisher thread writes the ledger directory (tiles, entries, signed checkpoints) from SQL, off the path.
//!
//! Specifications: C2SP tlog-tiles and tlog-checkpoint through `remit-ledger`; LG-17 (never two inconsistent checkpoints).
//! What this crate does not do: it decides nothing. It neither mints nor verifies tokens and evaluates no policy.

mod alarms;
mod batch;
mod change;
mod check;
mod config;
mod erase;
mod group;
mod load;
mod lock;
mod outage;
mod publish;
mod quota;
mod read;
mod recent;
mod retain;
pub mod rim;
mod schema;
mod shared;
mod snapshot;
mod spool;
mod store;
mod sweep;
mod tally;
mod tend;
mod vault;
mod witness;
mod writer;

pub use batch::{
    Applied, ApplyError, Batch, Budget, Change, Erasing, JtiKind, KeyedHash, Necessity, Precondition, ReadError, Receipt,
    Revocation, StoredCode, StoredRecord, StoredRefresh, StoredToken,
};
pub use config::{Config, Secret, StoreError};
pub use erase::{EraseError, Erased};
pub use outage::Outage;
pub use quota::Quota;
pub use remit_ledger::Draft;
pub use snapshot::Snapshot;
pub use store::{Stats, Store, keyed_hash};
pub use vault::keyring;
pub use witness::{Cosignatures, Sighting, Witnesses, Witnessing};
