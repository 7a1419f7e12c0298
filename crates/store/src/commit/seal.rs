//! Sealing what was admitted: records in their place in the log, and rows that name people under their keys.
//!
//! Everything that a record's place depends on is here and is put back when the batch, or its group, does not come to be.

use super::{admit::Sealed, outage::Outage, session_counts::SessionCounts, weighing::Private};
use crate::{
    batch::{ApplyError, Batch},
    db::group::{OpenSessions, PrivateRow, RecordRow},
    vault::{
        Vault,
        rows::{context, seal_row},
    },
    world::snapshot::Snapshot,
};
use remit_clock::{Clock, Entropy, EntropyPool};
use remit_ledger::{
    Draft, Sealer,
    record::{Position, SealError},
    vault::Subject,
};
use remit_model::{Fault, time::Moment};
use std::collections::BTreeMap;

/// The sealer of the log's records with everything it draws from.
#[derive(Debug)]
pub(crate) struct Sealing {
    sealer: Sealer,
    /// Randomness of the records.
    pool: EntropyPool,
    entropy: Entropy,
    pub(crate) vault: Vault,
    pub(crate) clock: Clock,
    /// Days a class of records keeps its values, by name.
    retention: BTreeMap<String, u32>,
    next_index: u64,
    counts: SessionCounts,
    /// The open sessions should be written down with the next commit.
    sessions_due: bool,
}

/// Where the log stood; see [`Sealing::rewind`].
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    position: Position,
    next_index: u64,
    counts: SessionCounts,
    sessions_due: bool,
}

impl Sealing {
    pub(crate) fn new(
        sealer: Sealer,
        vault: Vault,
        (entropy, clock): (Entropy, Clock),
        retention: BTreeMap<String, u32>,
        (next_index, counts): (u64, SessionCounts),
    ) -> Self {
        let pool = EntropyPool::of(entropy.clone());
        Self { sealer, pool, entropy, vault, clock, retention, next_index, counts, sessions_due: false }
    }

    /// Index of the next record.
    pub(crate) fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Sessions that are open, with the record that opened each.
    pub(crate) fn open_sessions(&self) -> Vec<(String, Option<String>)> {
        self.counts.open()
    }

    pub(crate) fn mark(&self) -> Mark {
        let (position, next_index, counts) = (self.sealer.position(), self.next_index, self.counts.clone());
        Mark { position, next_index, counts, sessions_due: self.sessions_due }
    }

    /// Goes back to where the log stood. CRASH: sequence numbers and hashes go on from the last commit.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.sealer.rewind(mark.position);
        (self.next_index, self.counts, self.sessions_due) = (mark.next_index, mark.counts, mark.sessions_due);
    }

    /// Seals what a batch brings, all of it or nothing. `snapshot` is the world as the batch leaves it.
    pub(crate) fn seal(&mut self, snapshot: &Snapshot, batch: &Batch, private: &[Private<'_>]) -> Result<Sealed, ApplyError> {
        let mark = (!batch.records.is_empty()).then(|| self.mark());
        let sealed = self.seal_batch(snapshot, batch, private);
        if let (Err(_), Some(mark)) = (&sealed, mark) {
            self.rewind(mark);
        }
        sealed
    }

    /// The open sessions, when it is time to write them down.
    pub(crate) fn sessions_to_write(&mut self) -> Option<OpenSessions> {
        std::mem::take(&mut self.sessions_due).then(|| self.counts.keep(self.next_index))
    }

    fn seal_batch(&mut self, snapshot: &Snapshot, batch: &Batch, private: &[Private<'_>]) -> Result<Sealed, ApplyError> {
        let mut sealed = Sealed::default();
        for row in private {
            self.seal_private(snapshot, row, &mut sealed.private)?;
        }
        if batch.records.is_empty() {
            return Ok(sealed);
        }
        let moment = self.clock.now();
        sealed.records.reserve_exact(batch.records.len());
        for draft in &batch.records {
            sealed.records.push(self.seal_record(snapshot, draft, &moment)?);
        }
        self.sessions_due |= batch.records.iter().any(|draft| self.counts.is_due(draft, self.next_index));
        Ok(sealed)
    }

    fn seal_private(&self, snapshot: &Snapshot, row: &Private<'_>, rows: &mut Vec<PrivateRow>) -> Result<(), ApplyError> {
        let seal = (&self.vault, &self.entropy, snapshot);
        match row {
            Private::Code(code) => {
                let body = (&code.subject, &code.payload);
                let (subject, payload) = seal_row(seal, &code.subject, &context::code(&code.hash), &body)?;
                rows.push(PrivateRow::Code {
                    hash: code.hash,
                    client: code.client.clone(),
                    payload,
                    until: code.expires,
                    subject,
                });
            }
            Private::Refresh(refresh, generation) => {
                let body = (&refresh.subject, &refresh.payload);
                let (subject, payload) = seal_row(seal, &refresh.subject, &context::refresh(&refresh.hash), &body)?;
                if *generation == 0 {
                    rows.push(PrivateRow::Family { family: refresh.family.clone(), until: refresh.expires, subject });
                }
                rows.push(PrivateRow::Refresh {
                    hash: refresh.hash,
                    family: refresh.family.clone(),
                    generation: *generation,
                    client: refresh.client.clone(),
                    // The column takes no NULL.
                    jkt: refresh.jkt.clone().unwrap_or_default(),
                    payload,
                    until: refresh.expires,
                });
            }
            Private::Token(token) => {
                let (subject, body) = seal_row(seal, &token.chain.root, &context::token(&token.jti), *token)?;
                let (jti, txn) = (token.jti.clone(), token.chain.id.clone());
                rows.push(PrivateRow::Token { jti, txn, body, until: token.expires, subject });
            }
            Private::ProviderSession(session) => {
                let context = context::provider_session(&session.human);
                let body = (&session.subject, &session.payload);
                let (subject, payload) = seal_row(seal, &session.subject, &context, &body)?;
                let (human, until) = (session.human.clone(), session.expires);
                rows.push(PrivateRow::ProviderSession { human, payload, until, subject });
            }
            Private::NoProviderSession(human) => rows.push(PrivateRow::NoProviderSession { human: (*human).to_owned() }),
        }
        Ok(())
    }

    /// Seals a draft in its place and moves on to the next one. SPEC: LG-11, record.md §1.6
    fn seal_record(&mut self, snapshot: &Snapshot, draft: &Draft, moment: &Moment) -> Result<RecordRow, ApplyError> {
        if draft.tenant != *snapshot.tenant() {
            return Err(ApplyError::Invalid("a record of another tenant".to_owned()));
        }
        let index = self.next_index;
        let mut turn = self.counts.enter(draft, index);
        if let Some(days) = self.retention.get(&draft.retention.class) {
            turn.keep_days = *days;
        }
        turn.legal_hold |= self.is_held(snapshot, draft);
        let until = moment.unix().plus(i64::from(turn.keep_days).saturating_mul(86_400));
        let (pool, vault) = (&mut self.pool, &self.vault);
        let mut keys = |subject: &Subject| vault.key(subject, snapshot);
        let sealed = match self.sealer.seal_in_turn(draft, &turn, moment, |bytes| pool.fill(bytes), &mut keys) {
            Ok(sealed) => sealed,
            Err(SealError::Key { fault }) => return Err(without_keys(&fault)),
            Err(error) => return Err(ApplyError::Invalid(error.to_string())),
        };
        self.counts.sealed(draft.session.id.as_deref(), draft.record_type, &sealed.record_id);
        self.next_index = index.saturating_add(1);
        let side = if sealed.side.count() > 0 { sealed.side.to_bytes() } else { Vec::new() };
        let (record_id, leaf_hash) = (sealed.record_id, sealed.leaf_hash);
        Ok(RecordRow { index, record_id, leaf_hash, until: until.0, bytes: sealed.bytes, side })
    }

    /// Whether a subject of the draft is on legal hold.
    fn is_held(&self, snapshot: &Snapshot, draft: &Draft) -> bool {
        if snapshot.holds().next().is_none() {
            return false;
        }
        let subjects = draft.subjects(self.sealer.identity());
        subjects.iter().any(|subject| snapshot.is_held(&self.vault.reference(subject)))
    }
}

/// The keys cannot be used.
pub(crate) fn without_keys(fault: &Fault) -> ApplyError {
    ApplyError::Unavailable(Outage::SideStore(fault.context.clone()))
}
