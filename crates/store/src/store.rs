//! The store as its callers see it.

use crate::{
    batch::{Applied, ApplyError, Batch, KeyedHash, ReadError, StoredCode, StoredRecord, StoredRefresh, StoredToken},
    config::{Config, StoreError},
    snapshot::Snapshot,
};
use remit_model::id::TenantId;
use std::{path::Path, sync::Arc};

/// Durable state of one tenant: one database, one log. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Store(Arc<()>);

/// Counts since opening; they depend on no clock, so tests and benchmarks can assert them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions committed, each one fsync of the write-ahead log.
    pub transactions: u64,
    /// Batches committed.
    pub batches: u64,
    /// Batches refused because a precondition did not hold.
    pub conflicts: u64,
    /// Batches answered `Unavailable` because the database failed.
    pub failures: u64,
    /// Records committed.
    pub records: u64,
    /// Checkpoints signed and published.
    pub checkpoints: u64,
}

impl Store {
    /// Opens or creates the store, checks the ledger directory against the database, and writes the start record.
    /// Blocks; call it before the server serves.
    pub fn open(_config: Config) -> Result<Self, StoreError> {
        Err(StoreError::Ledger("not yet written".to_owned()))
    }

    /// Commits a batch whole or not at all. Resolves only after the commit is on disk; the snapshot shows it by then.
    /// Dropping the future does not undo a batch that was already queued.
    pub async fn apply(&self, _batch: Batch) -> Result<Applied, ApplyError> {
        Err(ApplyError::Unavailable("not yet written".to_owned()))
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot::empty(TenantId::main()))
    }

    pub fn tenant(&self) -> TenantId {
        TenantId::main()
    }

    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Where the published ledger is.
    pub fn ledger_dir(&self) -> &Path {
        Path::new("")
    }

    /// HMAC-SHA-256 of a secret under a key derived from the pepper for this purpose (`code`, `refresh`, …).
    pub fn keyed_hash(&self, _purpose: &str, _secret: &[u8]) -> KeyedHash {
        [0; 32]
    }

    /// Number of committed records: the next index.
    pub fn len(&self) -> u64 {
        0
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of records the last published checkpoint covers.
    pub fn published(&self) -> u64 {
        0
    }

    /// The code, used or not, until it is swept after its expiry.
    pub async fn code(&self, _hash: KeyedHash) -> Result<Option<StoredCode>, ReadError> {
        Ok(None)
    }

    /// The refresh token, current or not.
    pub async fn refresh(&self, _hash: KeyedHash) -> Result<Option<StoredRefresh>, ReadError> {
        Ok(None)
    }

    pub async fn token(&self, _jti: &str) -> Result<Option<StoredToken>, ReadError> {
        Ok(None)
    }

    /// What has been counted under a budget key.
    pub async fn spent(&self, _key: &str) -> Result<i64, ReadError> {
        Ok(0)
    }

    pub async fn record(&self, _index: u64) -> Result<Option<StoredRecord>, ReadError> {
        Ok(None)
    }

    pub async fn record_by_id(&self, _record_id: &str) -> Result<Option<StoredRecord>, ReadError> {
        Ok(None)
    }

    /// Records `from..from + limit`, as far as they exist.
    pub async fn records(&self, _from: u64, _limit: u32) -> Result<Vec<StoredRecord>, ReadError> {
        Ok(Vec::new())
    }

    /// Bytes pinned by `PutObject`, by the hex SHA-256.
    pub async fn object(&self, _sha256_hex: &str) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(None)
    }

    /// Publishes everything committed so far now: entries, tiles, side values, a signed checkpoint.
    pub async fn publish(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Writes the stop record and the final checkpoint, and stops both threads. Later calls answer `Unavailable`.
    pub async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
