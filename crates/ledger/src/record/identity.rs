//! Who writes records, and where its sequence stands.

use crate::hash::Hash;
use serde::Serialize;

/// Where the producer runs. A sandbox record can never pass for a production one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    Prod,
    Stage,
    Sandbox,
    Replay,
}

/// Who writes the records of one process.
#[derive(Clone, Debug)]
pub struct Identity {
    /// SPIFFE URI of this installation's writer, for instance `spiffe://remit.local/node/main`.
    pub producer_id: String,
    pub version: String,
    /// `sha-256:…` of the running build.
    pub build_digest: String,
    pub env: Environment,
}

/// Where a producer's sequence stands. Take one before a transaction and [`Sealer::rewind`] when it rolls back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: u64,
    /// Sequence number the next record gets.
    pub seq: u64,
    pub prev_hash: Hash,
    /// Hybrid logical clock: milliseconds and counter of the last record.
    pub hlc: (u64, u64),
}
