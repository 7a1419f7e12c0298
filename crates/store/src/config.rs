//! What a store needs to open, and why it may refuse to.

use crate::{batch::ApplyError, db::error::DbError, world::row::RowError};
use remit_clock::{Clock, Entropy};
use remit_model::id::TenantId;
use serde_json::Value;
use std::{collections::BTreeMap, error::Error, fmt, path::PathBuf, time::Duration};
use zeroize::Zeroizing;

/// How to open a store. One data directory holds one tenant's state and one log.
#[derive(Clone, Debug)]
pub struct Config {
    /// Holds the database and the lock. Created when missing.
    pub data_dir: PathBuf,
    /// Holds the published ledger. Created when missing.
    pub ledger_dir: PathBuf,
    /// Every row and record carries it; a batch of another tenant is refused.
    pub tenant: TenantId,
    /// Identity of this producer of records, for instance `spiffe://remit.local/main/server`.
    pub producer_id: String,
    /// Version of the running program, recorded.
    pub version: String,
    /// `sha-256:…` of the running program, recorded.
    pub build_digest: String,
    /// Ed25519 seed that signs each record.
    pub record_key: Secret,
    /// Checkpoint origin: a schema-less URL without `+` or spaces (LG-13).
    pub log_origin: String,
    /// Ed25519 seed that signs checkpoints.
    pub log_key: Secret,
    /// Keys pseudonyms (`subject_ref`) and the hashes of codes and refresh tokens.
    pub pepper: Secret,
    /// Wraps the keys of subjects (`keys.db`). A holder of only one of the two can read no value.
    pub vault: Secret,
    /// The public halves of the token issuer's keys that are at hand, the one to begin with first. The start takes a new one
    /// over; the published ones are put into the start record, so that an auditor needs nothing else.
    pub issuer_jwks: Value,
    /// Days after which the values of a class of records are destroyed, by class; others keep what their record says.
    pub retention: BTreeMap<String, u32>,
    pub clock: Clock,
    pub entropy: Entropy,
    /// Longest time between a commit and the checkpoint that covers it.
    pub publish_every: Duration,
    /// Batches that may wait for the writer; more wait outside.
    pub queue: usize,
    /// Longest wait for a place in the queue before `apply` answers `Unavailable`.
    pub queue_wait: Duration,
    /// How often an idle store says that it lives; zero for never.
    pub heartbeat: Duration,
    /// Bytes reserved for records that the database cannot take; zero for no spool.
    pub spool_bytes: u64,
}

impl Config {
    /// Default of [`Config::publish_every`].
    pub const PUBLISH_EVERY: Duration = Duration::from_millis(500);
    /// Default of [`Config::retention`].
    pub fn retention() -> BTreeMap<String, u32> {
        [("standard", 400), ("payment", 2_555), ("capture", 30)].map(|(class, days)| (class.to_owned(), days)).into()
    }

    /// Default of [`Config::queue`].
    pub const QUEUE: usize = 4096;
    /// Default of [`Config::queue_wait`].
    pub const QUEUE_WAIT: Duration = Duration::from_secs(5);
    /// Default of [`Config::heartbeat`].
    pub const HEARTBEAT: Duration = Duration::from_mins(1);
    /// Default of [`Config::spool_bytes`].
    pub const SPOOL_BYTES: u64 = 8 << 20;
}

/// Thirty-two secret bytes. Prints nothing and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// A secret of these bytes. They are zeroed when it is dropped.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for deriving keys.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a store does not open. Each is for the operator; none reaches a caller of the API.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("another process holds {0}: two servers must not write one log")]
    Locked(PathBuf),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the database failed: {0}")]
    Database(#[from] DbError),
    #[error("the database has schema version {found}, newer than {known} of this program")]
    SchemaTooNew { found: i64, known: i64 },
    #[error("the database belongs to {what} `{found}`, but the configuration says `{expected}`")]
    Foreign { what: &'static str, found: String, expected: String },
    /// LG-17, N-LG-04: typically an old backup of the database beside a newer ledger.
    #[error(
        "the ledger directory is ahead of the database ({directory} records published, {database} stored): was an old backup restored? Nothing was signed"
    )]
    LedgerAhead { directory: u64, database: u64 },
    #[error("the ledger directory and the database tell different stories: {0}. Nothing was signed")]
    LedgerInconsistent(String),
    #[error(
        "{path} is missing, and without it no value recorded so far can be read: put it back. If it is lost for good, make an empty file {lost} to begin with new keys"
    )]
    KeysMissing { path: PathBuf, lost: PathBuf },
    #[error("{path} is the key store of another database; the two must be restored together")]
    KeysForeign { path: PathBuf },
    #[error("{path} was made with another vault.seed; put the seed back that belongs to it")]
    VaultSeed { path: PathBuf },
    /// LG-17, N-LG-04: the same, when the directory was restored or lost as well.
    #[error(
        "witness {witness} has cosigned {size} records of this log and the database holds {database}: was an old backup restored? Nothing was signed"
    )]
    WitnessAhead { witness: String, size: u64, database: u64 },
    #[error(
        "witness {witness} has cosigned another history than the database holds: {}. Nothing was signed",
        first.map_or_else(|| format!("one of the first {size} records differs"), |index| format!("record {index} is the first that differs"))
    )]
    WitnessFork { witness: String, size: u64, first: Option<u64> },
    #[error("the ledger failed: {0}")]
    Ledger(#[source] Box<dyn Error + Send + Sync>),
    #[error("the start record could not be written: {0}")]
    Start(#[source] ApplyError),
    #[error("the stop record could not be written: {0}")]
    Stop(#[source] ApplyError),
    #[error("that values are destroyed could not be recorded, so they are kept: {0}")]
    Redaction(#[source] ApplyError),
    #[error(
        "a reader held the database for too long; what was erased may still be in its write-ahead log until the next checkpoint"
    )]
    Busy,
    #[error("the issuer's key files hold only keys that were revoked; `remit keys list` and docs/keys.md say how to go on")]
    IssuerKeyRevoked,
    #[error("the store is closed")]
    Closed,
    #[error("a stored row cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    pub(crate) fn ledger(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Ledger(error.into())
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl From<RowError> for StoreError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Database(error) => Self::Database(error),
            error => Self::Corrupt(error.to_string()),
        }
    }
}
