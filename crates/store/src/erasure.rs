//! Forgetting a subject: recorded first, then the keys are destroyed, then that is recorded too.
//!
//! Crash points: before the first commit nothing happened; after it, the next start destroys the keys and records the
//! completion; a key that comes back with an old `keys.db` is destroyed again at the next start, for ever.

use crate::{
    batch::{Applied, ApplyError, Batch, Change, Erasing, Precondition, ReadError},
    commit::command::Command,
    config::StoreError,
    recovery::redaction,
    store::Store,
    vault::KeyStatus,
};
use remit_ledger::{
    Draft,
    record::{EffectConfirmed, OutcomeStatus, RecordType},
    vault::{KeyId, Subject},
};
use remit_model::{
    id::{AgentId, PrincipalKind},
    time::UnixTime,
};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::oneshot;

/// A subject forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The subject's pseudonym: all that is left of them.
    pub subject_ref: String,
    /// Keys destroyed.
    pub keys: Vec<KeyId>,
    /// `record_id` of the record that announced it, durable before any key was touched.
    pub record: String,
    /// `record_id` of the record of its completion.
    pub completed: String,
    /// Agents whose rows cannot be read. Those that mentioned the subject hold nothing any more; whom the others are about
    /// is unknown.
    pub unreadable: Vec<AgentId>,
}

/// Why no subject was erased.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EraseError {
    #[error("nothing was ever recorded about this subject")]
    Unknown,
    #[error("this subject was erased at {}, and nothing was recorded about them since", .0.utc())]
    Already(UnixTime),
    /// The refusal is itself a record: its `record_id`.
    #[error("a legal hold is on this subject, or on someone recorded together with them")]
    Held { record: String },
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Store {
    /// The pseudonym of a subject in this installation's records.
    pub fn reference(&self, subject: &Subject) -> String {
        self.0.vault.reference(subject)
    }

    /// Forgets a subject. `draft` says who asks, and becomes the `redaction` records; it must not name the subject.
    ///
    /// # Errors
    /// No subject is erased then, with one exception: [`EraseError::Store`] after the first record is durable; asking
    /// again, or the next start, completes what was recorded.
    pub async fn erase(&self, subject: &Subject, draft: Draft) -> Result<Erased, EraseError> {
        // In a task of its own: a caller that goes away must not leave keys behind that a record announced the end of.
        let (store, subject) = (self.clone(), subject.clone());
        tokio::spawn(async move { store.forget(&subject, draft).await }).await.map_err(|_| StoreError::Closed)?
    }

    async fn forget(&self, subject: &Subject, mut draft: Draft) -> Result<Erased, EraseError> {
        let subject_ref = self.reference(subject);
        draft.record_type = RecordType::Redaction;
        let account = match subject {
            Subject::Principal { sub, .. } => PrincipalKind::Human.name_in(sub).map(str::to_owned),
            Subject::Data { .. } => None,
        };
        let keys = match self.0.vault.status(&subject_ref)? {
            KeyStatus::Live(key) => vec![key],
            // Nothing recorded is left of them, but their account names them too.
            _ if account.as_ref().is_some_and(|name| self.snapshot().has_human(name)) => Vec::new(),
            KeyStatus::Destroyed(at) => return Err(EraseError::Already(at)),
            KeyStatus::Unknown => return Err(EraseError::Unknown),
        };
        let named: Vec<&str> = keys.iter().map(KeyId::as_str).collect();
        draft.ext.insert("redaction".to_owned(), redaction(&draft, &subject_ref, &named));
        if self.held_beside(&keys).await? {
            return self.refuse_held(draft).await;
        }
        // A key's name is random and belongs to one subject once: it names the erasure as well.
        let id = if keys.is_empty() { format!("{subject_ref} {}", self.0.clock.unix()) } else { named.join(" ") };
        let erasing = Erasing { id: id.clone(), subject_ref: subject_ref.clone(), keys: keys.clone(), account };
        // INVARIANT: a record announces the erasure before a key is destroyed: no value vanishes without one.
        let mut announced = draft.clone();
        announced.outcome.effect_confirmed = EffectConfirmed::DispatchedOnly;
        let batch = self.batch().require(Precondition::NotHeld(subject_ref.clone())).change(Change::Erase(erasing));
        let record = match self.apply(batch.record(announced)).await {
            Ok(applied) => record_id(&applied),
            Err(ApplyError::Conflict(_)) => return self.refuse_held(draft).await,
            Err(error) => return Err(error.into()),
        };
        // CRASH: from here on the next start completes it.
        let (vault, now) = (self.0.vault.clone(), self.0.clock.unix());
        let gone = keys.clone();
        let destroyed = tokio::task::spawn_blocking(move || vault.destroy(&gone, now)).await;
        destroyed.map_err(|_| StoreError::Closed)??;
        draft.action.name = format!("{}.completed", draft.action.name);
        let done = self.batch().change(Change::Erased { id }).record(draft.caused_by(record.clone()));
        let completed = record_id(&self.apply(done).await?);
        if let Err(error) = self.compact().await {
            // The keys are gone whatever happens here; only rows that named an account could still be in the log.
            tracing::warn!(%error, "the database's write-ahead log could not be emptied after an erasure");
        }
        let world = self.snapshot();
        let unreadable = tokio::task::spawn_blocking(move || world.unreadable()).await.map_err(|_| StoreError::Closed)?;
        Ok(Erased { subject_ref, keys, record, completed, unreadable })
    }

    /// Whether a record about the owner of these keys is also about someone on hold: what is sealed under both would go
    /// with either. Reads every stored side, but only while there are holds.
    async fn held_beside(&self, keys: &[KeyId]) -> Result<bool, EraseError> {
        let Some(key) = keys.first().map(ToString::to_string) else { return Ok(false) };
        let mut held = Vec::new();
        for (subject, _) in self.snapshot().holds() {
            if let KeyStatus::Live(id) = self.0.vault.status(subject)? {
                held.push(id.to_string());
            }
        }
        if held.is_empty() {
            return Ok(false);
        }
        let found = self.0.readers.read(move |reader| Ok(reader.sides_mention(&key, &held)?));
        Ok(found.await?)
    }

    /// Records that a legal hold stands against it.
    async fn refuse_held(&self, mut refused: Draft) -> Result<Erased, EraseError> {
        refused.outcome.status = OutcomeStatus::Denied;
        refused.outcome.effect_confirmed = EffectConfirmed::None;
        refused.outcome.code = Some("legal_hold".to_owned());
        refused.decision = Some(remit_ledger::record::DecisionFacts::refused(&remit_model::Refusal::new(
            remit_model::Code::LegalHold,
            "a legal hold is on this subject, or on someone recorded together with them",
        )));
        let applied = self.apply(self.batch().record(refused)).await?;
        Err(EraseError::Held { record: record_id(&applied) })
    }

    /// The keys of some subjects, or of all, for an auditor. Record that before handing them out.
    ///
    /// # Errors
    /// The key store cannot be read.
    pub fn disclose(&self, subjects: Option<&[Subject]>) -> Result<Value, StoreError> {
        let references: Option<Vec<String>> =
            subjects.map(|subjects| subjects.iter().map(|subject| self.reference(subject)).collect());
        let keys = self.0.vault.disclosed(references.as_deref())?;
        let encoded = |key: &remit_ledger::vault::Key| json!(crate::vault::encoded(&key.secret));
        let keys: serde_json::Map<String, Value> = keys.iter().map(|key| (key.id.to_string(), encoded(key))).collect();
        Ok(Value::Object(keys))
    }

    fn batch(&self) -> Batch {
        Batch::new(self.tenant().clone())
    }

    /// Takes what was deleted out of the write-ahead log: an old page must not outlive the row.
    pub(crate) async fn compact(&self) -> Result<(), StoreError> {
        let (answer, result) = oneshot::channel();
        self.0.queue.send(Command::Compact(answer)).await.map_err(|_| StoreError::Closed)?;
        result.await.unwrap_or(Err(StoreError::Closed))
    }
}

fn record_id(applied: &Applied) -> String {
    applied.receipts.first().map(|receipt| receipt.record_id.clone()).unwrap_or_default()
}
