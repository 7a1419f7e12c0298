//! Forgetting a subject: recorded first, then the keys are destroyed, then that is recorded too.
//!
//! Crash points: before the first commit nothing happened; after it, the next start destroys the keys and records the
//! completion; a key that comes back with an old `keys.db` is destroyed again at the next start, for ever.

use crate::{
    batch::{Applied, ApplyError, Batch, Change, Erasing, Precondition, ReadError, Revocation},
    commit::group_commit::{Group, Halt, Work},
    commit::writer::Job,
    config::StoreError,
    store::Store,
    vault::Standing,
};
use remit_ledger::{
    Draft,
    record::{EffectConfirmed, OutcomeStatus, ProducerKind, RecordType},
    vault::{KeyId, Subject},
};
use remit_model::{
    ToolClass,
    agent::AgentStatus,
    id::{AgentId, PrincipalKind, TenantId},
    time::UnixTime,
};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::oneshot;

/// Longest time a token of a chain that ends can still be presented after its row is gone, in seconds.
const AFTERLIFE: i64 = 24 * 3_600;

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
    /// nobody can say.
    pub unreadable: Vec<AgentId>,
}

/// Why nobody was forgotten.
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
    /// Nobody is forgotten then, with one exception: [`EraseError::Store`] after the first record is durable; asking
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
        let keys = match self.0.vault.standing(&subject_ref)? {
            Standing::Live(key) => vec![key],
            // Nothing recorded is left of them, but their account names them too.
            _ if account.as_ref().is_some_and(|name| self.snapshot().human(name).is_some()) => Vec::new(),
            Standing::Destroyed(at) => return Err(EraseError::Already(at)),
            Standing::Unknown => return Err(EraseError::Unknown),
        };
        let named: Vec<&str> = keys.iter().map(KeyId::as_str).collect();
        draft.ext.insert("redaction".to_owned(), redaction(&draft, &subject_ref, &named));
        if self.held_beside(&keys).await? {
            return self.refuse_held(draft).await;
        }
        // A key's name is random and belongs to one subject once: it names the erasure as well.
        let id = if keys.is_empty() { format!("{subject_ref} {}", self.0.clock.unix()) } else { named.join(" ") };
        let erasing = Erasing { id: id.clone(), subject_ref: subject_ref.clone(), keys: keys.clone(), account };
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
            if let Standing::Live(id) = self.0.vault.standing(subject)? {
                held.push(id.to_string());
            }
        }
        if held.is_empty() {
            return Ok(false);
        }
        let found = self.0.readers.read(move |conn, tenant| {
            let mut select = conn.prepare("SELECT body FROM sides WHERE tenant = ?1 AND instr(body, ?2) > 0")?;
            let mut rows = select.query(params![tenant, key.as_bytes()])?;
            while let Some(row) = rows.next()? {
                let body = String::from_utf8_lossy(row.get_ref(0)?.as_blob()?);
                if held.iter().any(|id| body.contains(id.as_str())) {
                    return Ok(true);
                }
            }
            Ok(false)
        });
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
        let job = Job::Aside(Box::new(move |group: &mut Group| {
            let _ = answer.send(group.compact());
        }));
        self.0.queue.send(job).await.map_err(|_| StoreError::Closed)?;
        result.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Work {
    /// Ends every live chain of the subject and takes out every row that names them.
    pub(crate) fn erase(&mut self, conn: &Connection, erasing: &Erasing) -> Result<(), Halt> {
        let tenant = self.tenant().to_owned();
        let subject = &erasing.subject_ref;
        let keys: Vec<&str> = erasing.keys.iter().map(KeyId::as_str).collect();
        // An erasure that stopped half-way may be asked for again.
        conn.prepare_cached(
            "INSERT INTO erasures (tenant, id, subject_ref, key_ids) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (tenant, id) DO UPDATE SET done = 0",
        )?
        .execute(params![tenant, erasing.id, subject, keys.join(" ")])?;
        for (chain, until) in chains(conn, &tenant, subject)? {
            let until = until.plus(AFTERLIFE);
            self.revoke(conn, &Revocation::Family(chain.clone()), until)?;
            self.revoke(conn, &Revocation::Txn(chain), until)?;
        }
        for sql in [
            "DELETE FROM tokens WHERE tenant = ?1 AND subject = ?2",
            "DELETE FROM codes WHERE tenant = ?1 AND subject = ?2",
            "DELETE FROM families WHERE tenant = ?1 AND subject = ?2",
        ] {
            conn.execute(sql, params![tenant, subject])?;
        }
        if let Some(name) = &erasing.account {
            self.forget_account(conn, name, subject)?;
        }
        Ok(())
    }

    /// The account goes. An agent without an accountable human does nothing until it gets one.
    fn forget_account(&mut self, conn: &Connection, name: &str, subject_ref: &str) -> Result<(), Halt> {
        let owner = PrincipalKind::Human.subject(name);
        for agent in self.snapshot.owned_by(&owner) {
            let mut agent = match agent {
                Ok(agent) => remit_model::agent::Agent::clone(&agent),
                Err(id) => {
                    self.blank_agent(conn, id)?;
                    continue;
                }
            };
            agent.owner = format!("erased:{subject_ref}");
            if agent.status == AgentStatus::Active {
                agent.status = AgentStatus::Quarantined;
            }
            self.put_agent(conn, agent)?;
        }
        let gone = conn.execute("DELETE FROM humans WHERE tenant = ?1 AND name = ?2", params![self.tenant(), name])?;
        if gone > 0 {
            self.next_revision();
            self.snapshot.remove_human(name);
        }
        Ok(())
    }

    pub(crate) fn hold(&mut self, conn: &Connection, subject_ref: &str, basis: &str, now: UnixTime) -> Result<(), Halt> {
        conn.prepare_cached("INSERT INTO holds (tenant, subject_ref, basis, since_s) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![self.tenant(), subject_ref, basis, now.0])?;
        self.next_revision();
        self.snapshot.hold(subject_ref, now);
        Ok(())
    }

    pub(crate) fn release(&mut self, conn: &Connection, subject_ref: &str) -> Result<(), Halt> {
        conn.prepare_cached("DELETE FROM holds WHERE tenant = ?1 AND subject_ref = ?2")?
            .execute(params![self.tenant(), subject_ref])?;
        self.next_revision();
        self.snapshot.release(subject_ref);
        Ok(())
    }
}

/// Live chains that begin with the subject, and when their last token expires.
fn chains(conn: &Connection, tenant: &str, subject: &str) -> rusqlite::Result<Vec<(String, UnixTime)>> {
    conn.prepare_cached(
        "SELECT txn, max(until_s) FROM (SELECT txn, until_s FROM tokens WHERE tenant = ?1 AND subject = ?2
         UNION ALL SELECT family, until_s FROM families WHERE tenant = ?1 AND subject = ?2) GROUP BY txn",
    )?
    .query_map(params![tenant, subject], |row| Ok((row.get(0)?, UnixTime(row.get(1)?))))?
    .collect()
}

pub(crate) fn finish(conn: &Connection, tenant: &str, id: &str) -> Result<(), Halt> {
    conn.prepare_cached("UPDATE erasures SET done = 1 WHERE tenant = ?1 AND id = ?2")?.execute(params![tenant, id])?;
    Ok(())
}

/// The keys of every erasure that was ever recorded.
pub(crate) fn keys(conn: &Connection, tenant: &str) -> Result<Vec<KeyId>, StoreError> {
    let mut select = conn.prepare("SELECT key_ids FROM erasures WHERE tenant = ?1")?;
    let mut keys = Vec::new();
    for names in select.query_map([tenant], |row| row.get::<_, String>(0))? {
        let names = names?;
        keys.extend(names.split(' ').filter_map(KeyId::parse));
    }
    Ok(keys)
}

/// The erasures that a crash left without their completion; their keys are destroyed by now. One batch each.
pub(crate) fn unfinished(conn: &Connection, tenant: &TenantId) -> Result<Vec<Batch>, StoreError> {
    let mut select = conn.prepare("SELECT id, subject_ref, key_ids FROM erasures WHERE tenant = ?1 AND done = 0")?;
    let rows = select
        .query_map([tenant.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))?;
    let mut batches = Vec::new();
    for row in rows {
        let (id, subject_ref, keys) = row?;
        let draft = Draft::new(tenant.clone(), ProducerKind::AuthzServer, RecordType::Redaction)
            .action("ledger.erase.completed", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed);
        let keys: Vec<&str> = keys.split_ascii_whitespace().collect();
        let facts = redaction(&draft, &subject_ref, &keys);
        batches.push(Batch::new(tenant.clone()).change(Change::Erased { id }).record(draft.ext("redaction", facts)));
    }
    Ok(batches)
}

/// What a redaction record says, beside what its draft already does: whom by pseudonym, and the keys.
fn redaction(draft: &Draft, subject_ref: &str, keys: &[&str]) -> Value {
    let mut facts = draft.ext.get("redaction").cloned().unwrap_or_else(|| json!({}));
    if let Some(members) = facts.as_object_mut() {
        members.insert("subject_ref".to_owned(), json!(subject_ref));
        members.insert("key_ids".to_owned(), json!(keys));
    }
    facts
}

fn record_id(applied: &Applied) -> String {
    applied.receipts.first().map(|receipt| receipt.record_id.clone()).unwrap_or_default()
}
