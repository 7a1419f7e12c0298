//! A batch: what must hold, what changes, what is recorded. Plain data, committed whole or not at all.

use crate::{commit::outage::Outage, db::error::DbError};
use remit_ledger::{Draft, Hash, Side, vault::KeyId};
use remit_model::{
    agent::{Agent, AgentStatus, Human},
    authority::Authority,
    chain::{Chain, Hop},
    criterion,
    id::{AgentId, Principal, PrincipalKind, TenantId},
    issuer_keys::IssuerKey,
    passkey::Passkey,
    time::UnixTime,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, sync::Arc};
use thiserror::Error;

/// HMAC of a code or refresh token under the store's pepper; see [`crate::Store::keyed_hash`]. The secret itself is never stored.
pub type KeyedHash = [u8; 32];

/// One fact. Requirements are checked first, then changes apply in order, then records are sealed in order; the first
/// unmet requirement undoes this batch and no other.
#[derive(Clone, Debug)]
pub struct Batch {
    pub tenant: TenantId,
    pub necessity: Necessity,
    pub require: Vec<Precondition>,
    pub changes: Vec<Change>,
    pub records: Vec<Draft>,
}

impl Batch {
    /// An empty batch of a tenant. Unless [`Batch::note`] says otherwise, it is an action.
    pub fn new(tenant: TenantId) -> Self {
        Self { tenant, necessity: Necessity::Act, require: Vec::new(), changes: Vec::new(), records: Vec::new() }
    }

    /// Says that this only notes what happened anyway; see [`Necessity::Note`].
    #[must_use]
    pub fn note(mut self) -> Self {
        self.necessity = Necessity::Note;
        self
    }

    /// Adds a precondition: if one does not hold, nothing of the batch happens.
    #[must_use]
    pub fn require(mut self, precondition: Precondition) -> Self {
        self.require.push(precondition);
        self
    }

    /// Adds a change, in order.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Adds a record, in order.
    #[must_use]
    pub fn record(mut self, draft: Draft) -> Self {
        self.records.push(draft);
        self
    }

    /// Accepts this identifier once. SPEC: J-09.
    #[must_use]
    pub fn once(self, kind: JtiKind, key: impl Into<String>, until: UnixTime) -> Self {
        self.require(Precondition::Once { kind, key: key.into(), until })
    }

    /// Uses up an authorization code and remembers what it gave. SPEC: AC-01, RFC 6749 §4.1.2.
    #[must_use]
    pub fn use_code(self, code: KeyedHash, txn: impl Into<String>) -> Self {
        self.require(Precondition::Unused(code)).change(Change::UseCode { code, txn: txn.into() })
    }

    /// Replaces a refresh token by its successor.
    #[must_use]
    pub fn rotate_refresh(self, old: KeyedHash, new: StoredRefresh) -> Self {
        self.require(Precondition::RefreshCurrent(old)).change(Change::RotateRefresh { old, new })
    }
}

/// What becomes of a batch while logging itself is in trouble. SPEC: record.md §1.10, PCI DSS 10.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Necessity {
    /// Something is about to be done or allowed: refused during any [`Outage`].
    #[default]
    Act,
    /// What happened anyway, or was refused: written as long as anything can be written. Such a batch holds records alone.
    Note,
}

/// What must hold at the instant of commit; checked by the single writer, so two racing batches cannot both pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// This authorization code is known, unused and unexpired. SPEC: N-AC-01.
    Unused(KeyedHash),
    /// This identifier is not remembered; from here on it is, until `until` at least.
    Once { kind: JtiKind, key: String, until: UnixTime },
    /// No agent of this name was ever registered; names are never reused.
    NewAgent(AgentId),
    /// The snapshot has not changed since this revision.
    Revision(u64),
    /// The batch is committed before this time, by the clock of the commit. A batch that ends what was issued before a time needs
    /// it: what another batch issues while this one waits would else be later than that time, and would not end.
    Before(UnixTime),
    /// There is room; the amount is counted in the same step.
    Budget(Budget),
    /// No legal hold is on this subject (a pseudonym).
    NotHeld(String),
    /// There is one.
    Held(String),
    /// This refresh token is the newest of an unrevoked family and unexpired.
    RefreshCurrent(KeyedHash),
    /// The person has exactly these passkeys, with these counters: of two that sign in at once with a copied one, the second
    /// finds the counter of the first.
    Passkeys { human: String, enrolled: Vec<Passkey> },
    /// Every party may act, and neither the token, one it descends from, their chain nor a key that signed them is revoked.
    /// What was true when a request was looked at may have changed by its commit, here or at another replica: this is asked at
    /// the commit.
    Active {
        parties: Vec<Party>,
        /// The `jti` of the token that is used, then of those it descends from; none for what needs no token.
        tokens: Vec<String>,
        txn: String,
        /// When the person at the root authenticated: not before their [`Human::ended_before`]. `None` for who is asked about
        /// by name.
        since: Option<UnixTime>,
        /// The `kid`s of the issuer that signed them, or will.
        keys: Vec<String>,
        /// The token, or whatever else a new one is issued from.
        issued: Box<Issued>,
    },
}

/// What can be revoked by what it is: nothing that fits one of the criteria and was issued then has ended. SPEC: RV-05
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issued {
    /// As [`remit_model::criterion`] spells them.
    pub criteria: Vec<String>,
    pub at: UnixTime,
}

/// Someone whose status decides whether a batch may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    Agent(AgentId),
    /// A person, by their local name.
    Human(String),
}

/// An amount to count against a limit. Amounts are whole numbers of a unit the caller fixes per key (calls; millionths of a currency).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// For instance `{txn}/{grant digest}/calls`.
    pub key: String,
    pub add: i64,
    pub limit: i64,
    /// The count may be forgotten after this time; `None` keeps it for ever.
    pub until: Option<UnixTime>,
}

/// Which single-use space an identifier belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JtiKind {
    ClientAssertion,
    Statement,
    DpopAtCall,
    SubjectToken,
    Other,
}

impl JtiKind {
    /// The word for this kind in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientAssertion => "client_assertion",
            Self::Statement => "statement",
            Self::DpopAtCall => "dpop_at_call",
            Self::SubjectToken => "subject_token",
            Self::Other => "other",
        }
    }
}

/// What changes.
#[derive(Clone, Debug)]
pub enum Change {
    /// Registers or replaces an agent.
    PutAgent(Agent),
    SetAgentStatus {
        agent: AgentId,
        status: AgentStatus,
    },
    /// Adds or replaces a human. What has ended stays so: `ended_before` never moves back. One who is there keeps the passkeys
    /// they have enrolled.
    PutHuman(Human),
    /// What passkeys a person has from now on.
    SetPasskeys {
        human: String,
        enrolled: Vec<Passkey>,
    },
    /// Ends everything that rests on an authentication of this person before a time: their tokens, and those of every agent
    /// that holds a part of their authority.
    EndHuman {
        name: String,
        before: UnixTime,
    },
    /// Keeps what a person's identity provider can be asked with, in place of what was kept of them. The person has an account.
    PutProviderSession(StoredProviderSession),
    /// Forgets it, if it is there.
    DropProviderSession {
        human: String,
    },
    /// Adds or replaces a key of the issuer. A revoked one stays revoked.
    PutIssuerKey(IssuerKey),
    /// Forgets a key of the issuer whose tokens have all expired.
    RemoveIssuerKey(String),
    PutCode(StoredCode),
    /// Marks a code used; `txn` is what a replay revokes (N-AC-04).
    UseCode {
        code: KeyedHash,
        txn: String,
    },
    /// Counts a failed redemption (N-AC-02).
    FailCode(KeyedHash),
    /// The first refresh token of a family.
    PutRefresh(StoredRefresh),
    RotateRefresh {
        old: KeyedHash,
        new: StoredRefresh,
    },
    IssueToken(Arc<StoredToken>),
    /// Refuses from now on; visible in the snapshot when `apply` resolves. Kept until `until`, the last expiry it can concern.
    Revoke {
        what: Revocation,
        until: UnixTime,
    },
    /// Refuses from now on whatever fits a criterion ([`remit_model::criterion`]) and was issued before a time. Kept until
    /// `until`, the last expiry it can concern. SPEC: RV-05
    RevokeIssued {
        criterion: String,
        before: UnixTime,
        until: UnixTime,
    },
    /// Adds to a budget without a limit; negative gives back.
    Spend {
        key: String,
        amount: i64,
        until: Option<UnixTime>,
    },
    /// Begins an erasure, in the batch that records it: live chains end, rows that name the subject go. The keys follow.
    Erase(Erasing),
    /// The keys of an erasure are destroyed.
    Erased {
        id: String,
    },
    /// Nothing of this subject (a pseudonym) may be destroyed until released.
    Hold {
        subject_ref: String,
        basis: String,
    },
    Release {
        subject_ref: String,
    },
    /// Pins bytes (a policy set, a schema) in the ledger directory under their SHA-256.
    PutObject(Vec<u8>),
}

impl Change {
    /// The token this issues, if it does.
    pub(crate) fn issued(&self) -> Option<&Arc<StoredToken>> {
        match self {
            Self::IssueToken(token) => Some(token),
            _ => None,
        }
    }
}

/// What an erasure destroys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasing {
    pub id: String,
    /// The subject's pseudonym.
    pub subject_ref: String,
    pub keys: Vec<KeyId>,
    /// Local name of the person, when it is one: their account goes.
    pub account: Option<String>,
}

/// What is revoked: one token (and its descendants), a whole chain, or a refresh family.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    Jti(String),
    Txn(String),
    Family(String),
}

impl Revocation {
    /// The word for this kind in the database.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Jti(_) => "jti",
            Self::Txn(_) => "txn",
            Self::Family(_) => "family",
        }
    }

    /// The identifier that is revoked.
    pub fn key(&self) -> &str {
        match self {
            Self::Jti(key) | Self::Txn(key) | Self::Family(key) => key,
        }
    }
}

/// An authorization code at rest. `payload` is the authorization server's own (challenge, redirect URI, authority, …).
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCode {
    pub hash: KeyedHash,
    pub client: String,
    /// The person whose consent it is; the payload is sealed under their key.
    pub subject: Principal,
    pub payload: Value,
    pub expires: UnixTime,
    /// Set by the store: the chain this code gave, once used.
    pub used: Option<String>,
    /// Set by the store: failed redemptions.
    pub failures: u32,
}

/// A refresh token at rest.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRefresh {
    pub hash: KeyedHash,
    pub family: String,
    pub client: String,
    /// Origin of the chain it renews; the payload is sealed under their key.
    pub subject: Principal,
    /// Thumbprint of the key it is bound to; `None` of a client whose tokens are bound to no key.
    pub jkt: Option<String>,
    pub payload: Value,
    pub expires: UnixTime,
    /// Set by the store: 0 for the first of the family, then one more with each rotation.
    pub generation: u64,
    /// Set by the store: false once rotated or its family revoked.
    pub current: bool,
}

/// What an identity provider can be asked with whether a person may still act. At most one for each person; the payload is the
/// authorization server's own (a refresh token, …) and sealed under the person's key.
#[derive(Clone, PartialEq)]
pub struct StoredProviderSession {
    /// Local name of the person.
    pub human: String,
    pub subject: Principal,
    pub payload: Value,
    /// Forgotten after this time.
    pub expires: UnixTime,
}

impl fmt::Debug for StoredProviderSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredProviderSession").field("human", &self.human).finish_non_exhaustive()
    }
}

/// An issued access token, without the token itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredToken {
    pub jti: String,
    pub chain: Chain,
    /// What the token carries; within the last hop's.
    pub authority: Authority,
    /// `jti` of the token this one was derived from.
    pub parent: Option<String>,
    pub client: String,
    /// What it is bound to, if anything: the text of a [`Confirmation`](remit_model::Confirmation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    pub audience: String,
    pub issued: UnixTime,
    pub expires: UnixTime,
    /// Refresh family, if it came with one.
    pub family: Option<String>,
    /// The `kid`s that signed it and the tokens it descends from. Rows of older builds do not say.
    #[serde(default)]
    pub keys: Vec<String>,
}

impl StoredToken {
    /// What it can be revoked by, besides its own identifiers. SPEC: RV-05
    pub fn criteria(&self) -> Vec<String> {
        let parties = self.chain.parties().filter(|party| party.kind() == PrincipalKind::Agent);
        let hops = self.chain.hops.iter().filter_map(Hop::confirmation).map(|one| one.to_string());
        let keys: Vec<String> = hops.chain(self.jkt.clone()).collect();
        criterion::of(
            parties.map(|party| party.sub.as_str()),
            keys.iter().map(String::as_str),
            Some(&self.audience),
            &self.authority,
        )
    }
}

/// One stored record and the values it only commits to.
#[derive(Clone)]
pub struct StoredRecord {
    pub index: u64,
    pub record_id: String,
    /// The canonical record, exactly as its leaf hash covers it.
    pub bytes: Vec<u8>,
    /// Openings of the committed values; `None` when there are none or they were erased.
    pub side: Option<Side>,
}

impl fmt::Debug for StoredRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRecord").field("index", &self.index).field("record_id", &self.record_id).finish_non_exhaustive()
    }
}

/// A committed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Revision of the snapshot that shows this batch.
    pub revision: u64,
    /// One for each record, in the batch's order.
    pub receipts: Vec<Receipt>,
}

/// Proof of place: the record is durable at this index of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub index: u64,
    pub record_id: String,
    pub leaf_hash: Hash,
}

/// Why a batch did not commit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// This requirement did not hold; nothing of the batch happened.
    #[error("a requirement did not hold: {0:?}")]
    Conflict(Precondition),
    /// The batch can never commit: another tenant, an unknown agent, a record beyond the entry limit (N-LG-09).
    #[error("the batch is not valid: {0}")]
    Invalid(String),
    /// The store cannot make anything durable now. Refuse the action.
    #[error("the store is unavailable: {0}")]
    Unavailable(Outage),
}

/// A read failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("the store cannot be read: {0}")]
    Database(#[from] DbError),
    /// A stored row is not what was written.
    #[error("a stored row {what} cannot be read: {source}")]
    Row { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the store is stopping, so nothing is read")]
    Stopped,
}

impl ReadError {
    pub(crate) fn row(what: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Row { what, source: Box::new(source) }
    }
}
