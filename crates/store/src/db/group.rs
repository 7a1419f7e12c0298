//! What one group of batches reads and writes: plain data, the same for every engine.

use crate::{
    batch::{JtiKind, KeyedHash},
    world::row::Row,
};
use remit_ledger::Hash;
use remit_model::time::UnixTime;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Where a log and its world stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Index of the next record.
    pub(crate) next_index: u64,
    /// Of the newest change that a snapshot shows.
    pub(crate) revision: u64,
    /// A snapshot older than this has missed rows that are gone without a tombstone and must be loaded again.
    pub(crate) min_revision: u64,
}

/// What has to be known before a group can be admitted.
#[derive(Debug, Default)]
pub(crate) struct Needs<'a> {
    pub(crate) codes: BTreeSet<&'a KeyedHash>,
    /// Refresh tokens; their families come with them.
    pub(crate) refresh: BTreeSet<&'a KeyedHash>,
    pub(crate) budgets: BTreeSet<&'a str>,
    /// Subjects to be erased: their live chains.
    pub(crate) subjects: BTreeSet<&'a str>,
    pub(crate) once: BTreeSet<(JtiKind, &'a str)>,
    pub(crate) tokens: BTreeSet<&'a str>,
    pub(crate) families: BTreeSet<&'a str>,
}

/// What the database answered, and what admitted batches made of it since. What was asked for and is not here does not exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) codes: BTreeMap<KeyedHash, CodeFact>,
    pub(crate) refresh: BTreeMap<KeyedHash, RefreshFact>,
    pub(crate) families: BTreeMap<String, FamilyFact>,
    pub(crate) budgets: BTreeMap<String, BudgetFact>,
    pub(crate) once: BTreeSet<(JtiKind, String)>,
    pub(crate) tokens: BTreeSet<String>,
    /// By subject: chains that begin with it, and when the last token of each expires.
    pub(crate) chains: BTreeMap<String, Vec<(String, UnixTime)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodeFact {
    pub(crate) expires: UnixTime,
    pub(crate) used: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefreshFact {
    pub(crate) family: String,
    pub(crate) generation: u64,
    pub(crate) expires: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FamilyFact {
    /// Generation of its newest token.
    pub(crate) generation: u64,
    pub(crate) revoked: bool,
    pub(crate) until: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BudgetFact {
    pub(crate) spent: i64,
    /// `None`: never forgotten.
    pub(crate) until: Option<UnixTime>,
}

/// Everything an admitted group writes. The kinds are written in the order of the members; no row occurs twice within
/// one, except in `world`, where the later wins.
#[derive(Debug, Default)]
pub(crate) struct WriteSet {
    pub(crate) once: Vec<(JtiKind, String, UnixTime)>,
    pub(crate) budgets: BTreeMap<String, BudgetFact>,
    pub(crate) private: Vec<PrivateRow>,
    /// Codes that were used, and the chain each gave.
    pub(crate) used_codes: BTreeMap<KeyedHash, String>,
    /// Codes that were tried in vain, and how often.
    pub(crate) failed_codes: BTreeMap<KeyedHash, u32>,
    /// Families that were rotated: their newest generation, and until when they are kept.
    pub(crate) rotated: BTreeMap<String, (u64, UnixTime)>,
    pub(crate) revoked_families: BTreeSet<String>,
    pub(crate) world: Vec<Row>,
    /// Names of people whose rows go without a tombstone, which would name them.
    pub(crate) forgotten: Vec<Arc<str>>,
    pub(crate) erasures: Vec<Erasure>,
    /// Erasures whose keys are destroyed.
    pub(crate) finished: Vec<String>,
    pub(crate) objects: Vec<(String, Vec<u8>)>,
    /// The new revision, and the new `min_revision` or zero.
    pub(crate) head: Option<(u64, u64)>,
    pub(crate) records: Vec<RecordRow>,
    pub(crate) sessions: Option<OpenSessions>,
}

/// A row that names a person: its body is sealed under their key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PrivateRow {
    Code {
        hash: KeyedHash,
        client: String,
        payload: String,
        until: UnixTime,
        subject: String,
    },
    Family {
        family: String,
        until: UnixTime,
        subject: String,
    },
    Refresh {
        hash: KeyedHash,
        family: String,
        generation: u64,
        client: String,
        jkt: String,
        payload: String,
        until: UnixTime,
    },
    Token {
        jti: String,
        txn: String,
        body: String,
        until: UnixTime,
        subject: String,
    },
    /// In place of what was kept of this person.
    ProviderSession {
        human: String,
        payload: String,
        until: UnixTime,
        subject: String,
    },
    NoProviderSession {
        human: String,
    },
}

/// A sealed record in its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordRow {
    pub(crate) index: u64,
    pub(crate) record_id: String,
    pub(crate) leaf_hash: Hash,
    /// When the side values are to be destroyed, in Unix seconds.
    pub(crate) until: i64,
    pub(crate) bytes: Vec<u8>,
    /// Empty when the record commits to nothing.
    pub(crate) side: Vec<u8>,
}

/// An erasure that was recorded; its keys are destroyed after the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) id: String,
    pub(crate) subject_ref: String,
    /// Separated by spaces.
    pub(crate) key_ids: String,
}

/// The open sessions as of the record before `upto`, as far as they changed since they were last written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenSessions {
    pub(crate) gone: Vec<Arc<str>>,
    pub(crate) changed: Vec<(Arc<str>, String)>,
    pub(crate) upto: u64,
}

/// Bookkeeping of the publisher, in a transaction of its own.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// The object's file is in the ledger directory.
    ObjectPublished(String),
    /// This head was signed; only the newest `keep` are remembered.
    HeadSigned { size: u64, root: Hash, keep: u32 },
    /// Side values by index: those to close, and those to look at again at `later`.
    CloseSides { closed: BTreeMap<u64, Vec<u8>>, held: Vec<u64>, later: UnixTime },
    /// Nothing of these side values is left to destroy.
    SidesDone(Vec<u64>),
}

/// What one step of forgetting removed.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// There is more.
    pub(crate) more: bool,
    /// Rows of the world that expired. A snapshot forgets them without a new revision.
    pub(crate) world: Vec<Row>,
}
