//! Durable state: one batch is one fact.
//!
//! [`Store::apply`] takes a [`Batch`] of preconditions, changes and audit records and commits it whole or not at all,
//! so an action and its record can never part. It resolves only after the commit has reached the disk. Reads that a
//! request needs before it may be refused come from the in-memory [`Snapshot`]; everything else is a point read.
//! A publisher thread writes the ledger directory (tiles, entries, signed checkpoints) from SQL, off the path.
//!
//! Specifications: C2SP tlog-tiles and tlog-checkpoint through `remit-ledger`; LG-17 (never two inconsistent checkpoints).
//! What this crate does not do: it decides nothing. It neither mints nor verifies tokens and evaluates no policy.
//!
//! ```
//! use remit_clock::Clock;
//! use remit_ledger::record::{ProducerKind, RecordType};
//! use remit_model::{Moment, TenantId, ToolClass, UnixTime};
//! use remit_store::{Batch, Draft, JtiKind, Store};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let dir = tempfile::tempdir()?;
//! let clock = Clock::manual(Moment::at(1_800_000_000));
//! let store = Store::open(remit_testkit::store_config(dir.path(), clock))?;
//!
//! // The identifier is used up and the record written, or neither.
//! let call = || {
//!     let record = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision);
//!     let batch = Batch::new(TenantId::main()).once(JtiKind::DpopAtCall, "jti-1", UnixTime(1_800_000_060));
//!     batch.record(record.action("tickets_read", ToolClass::Read))
//! };
//! let applied = store.apply(call()).await?;
//! assert_eq!(applied.receipts.len(), 1);
//! assert!(store.apply(call()).await.is_err(), "the identifier was used before");
//! store.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod commit;
mod config;
mod db;
mod erasure;
mod handles;
mod log;
mod private;
mod reads;
mod recovery;
mod store;
mod token_cache;
mod unproven;
mod vault;
mod world;

pub use batch::{
    Applied, ApplyError, Batch, Budget, Change, Erasing, Issued, JtiKind, KeyedHash, Necessity, Party, Precondition, ReadError,
    Receipt, Revocation, StoredCode, StoredProviderSession, StoredRecord, StoredRefresh, StoredToken,
};
pub use commit::outage::{Outage, WriteFailure};
pub use config::{Config, Secret, StoreError};
pub use db::error::{DbError, DbErrorKind};
pub use erasure::{EraseError, Erased};
pub use handles::Stats;
pub use log::witness::{Cosignatures, Sighting, Witnesses, Witnessing};
pub use remit_ledger::Draft;
pub use store::{Store, keyed_hash};
pub use vault::keyring;
pub use world::{
    follow::{Followed, Follower},
    snapshot::Snapshot,
};
