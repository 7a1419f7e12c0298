//! Recovery: what a start reads and repairs before it writes anything new.

use crate::{
    batch::{Batch, Change},
    commit::spool::Spool,
    config::{Config, StoreError},
    db::{group::Head, sqlite::Db},
    vault::Vault,
    world::snapshot::Snapshot,
};
use remit_ledger::{
    Draft, Record,
    record::{EffectConfirmed, OutcomeStatus, ProducerKind, RecordType},
    vault::KeyId,
};
use remit_model::{ToolClass, id::TenantId};
use serde_json::{Value, json};

/// Binds the database to its log at first open, and checks the binding afterwards.
pub(crate) fn bind(db: &Db, config: &Config) -> Result<(), StoreError> {
    for (what, expected) in [("log origin", &config.log_origin), ("producer", &config.producer_id)] {
        match db.meta(what)? {
            None => db.set_meta(what, expected)?,
            Some(found) if found == *expected => {}
            Some(found) => return Err(StoreError::Foreign { what, found, expected: expected.clone() }),
        }
    }
    Ok(())
}

/// Opens the key store that belongs to this database, and destroys again what was erased before: a key may have come
/// back with an old backup.
pub(crate) fn vault(db: &Db, config: &Config) -> Result<Vault, StoreError> {
    let bound = db.meta("vault")?;
    let vault = Vault::open(config, bound.as_deref())?;
    db.set_meta("vault", &vault.id())?;
    // INVARIANT: what was erased stays erased, whichever backup the key store comes from.
    let mut erased = Vec::new();
    for erasure in db.erasures()? {
        erased.extend(erasure.key_ids.split(' ').filter_map(KeyId::parse));
    }
    vault.destroy(&erased, config.clock.unix())?;
    Ok(vault)
}

/// The world as it was committed last. Rows of agents are read when they are asked for: at 100,000 that is most of a start.
pub(crate) fn snapshot(db: &Db, config: &Config) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::empty(config.tenant.clone());
    db.world::<StoreError>(|row| Ok(snapshot.fold(row)?))?;
    let (head, _) = db.head()?;
    snapshot.set_revision(head.revision);
    Ok(snapshot)
}

/// Opens the spool and gives the database what a process that was killed left in it, before anything else is read.
pub(crate) fn spool(db: &mut Db, config: &Config) -> Result<Spool, StoreError> {
    let (Head { next_index, .. }, _) = db.head()?;
    let mut spool = Spool::open(&config.data_dir.join("spool"), config.spool_bytes, next_index)?;
    let lost = |what: &str, index| StoreError::Corrupt(format!("the spool {what} record {index}"));
    let mut next = next_index;
    let mut known = 0;
    for row in spool.rows() {
        if row.index < next_index {
            if db.leaf(row.index)? != Some(row.leaf_hash) {
                return Err(lost("and the database disagree about", row.index));
            }
            known += 1;
        } else if row.index == next {
            next = next.saturating_add(1);
        } else {
            return Err(lost("begins after what the database holds, at", row.index));
        }
    }
    // CRASH: until the spool is cleared the rows are in both places; the next start finds them equal and goes on.
    db.append(spool.rows().get(known..).unwrap_or_default())?;
    if !spool.rows().is_empty() {
        tracing::warn!(records = spool.rows().len(), "the spool of the last process was moved into the database");
        spool.clear();
    }
    Ok(spool)
}

/// Where the log stands, and its last record.
pub(crate) fn tail(db: &Db) -> Result<(Head, Option<Record>), StoreError> {
    let (head, bytes) = db.head()?;
    let Some(bytes) = bytes else { return Ok((head, None)) };
    let index = head.next_index.saturating_sub(1);
    let record = Record::parse(&bytes).map_err(|error| StoreError::Corrupt(format!("record {index}: {error}")))?;
    Ok((head, Some(record)))
}

/// The erasures that a crash left without their completion; their keys are destroyed by now. One batch each.
pub(crate) fn unfinished_erasures(db: &Db, tenant: &TenantId) -> Result<Vec<Batch>, StoreError> {
    let unfinished = db.erasures()?.into_iter().filter(|erasure| !erasure.done);
    let batches = unfinished.map(|erasure| {
        let draft = Draft::new(tenant.clone(), ProducerKind::AuthzServer, RecordType::Redaction)
            .action("ledger.erase.completed", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed);
        let keys: Vec<&str> = erasure.key_ids.split_ascii_whitespace().collect();
        let facts = redaction(&draft, &erasure.subject_ref, &keys);
        Batch::new(tenant.clone()).change(Change::Erased { id: erasure.id }).record(draft.ext("redaction", facts))
    });
    Ok(batches.collect())
}

/// What a redaction record says, beside what its draft already does: whom by pseudonym, and the keys.
pub(crate) fn redaction(draft: &Draft, subject_ref: &str, keys: &[&str]) -> Value {
    let mut facts = draft.ext.get("redaction").cloned().unwrap_or_else(|| json!({}));
    if let Some(members) = facts.as_object_mut() {
        members.insert("subject_ref".to_owned(), json!(subject_ref));
        members.insert("key_ids".to_owned(), json!(keys));
    }
    facts
}
