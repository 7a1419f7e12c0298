//! Retention: values whose time has come are destroyed; their records stay, and every proof holds. SPEC: LG-11.
//!
//! Crash points: after the record nothing else may have happened yet; after the rows are closed the files may still hold
//! sealed values. Either way the rows keep their `until_s`, and the next step does it all again.

use crate::{
    batch::Batch,
    commit::group_commit::Group,
    commit::writer::{self, Job},
    config::StoreError,
    log::publisher::{Desk, Publisher, aside, signed},
};
use remit_ledger::{
    Draft, Side,
    record::{EffectConfirmed, OutcomeStatus, ProducerKind, RecordType},
};
use remit_model::{ToolClass, id::TenantId, time::UnixTime};
use rusqlite::params;
use serde_json::json;
use std::{collections::BTreeMap, sync::mpsc as blocking};

/// Records whose values one step destroys at most.
const STEP: u32 = 256;
/// What is on hold is looked at again after so many seconds.
const LOOK_AGAIN: i64 = 86_400;

/// Side values by index, as they are stored.
type Bodies = BTreeMap<u64, Vec<u8>>;

/// Values whose time has come: whose they are, by pseudonym, and what is left of them afterwards.
struct Found {
    index: u64,
    owners: Vec<String>,
    closed: Vec<u8>,
}

impl Publisher {
    /// One step; gives back how many records lost their values. Blocks; runs on the publisher's thread.
    pub(crate) fn retain(&mut self, desk: &Desk) -> Result<usize, StoreError> {
        if self.ledger.is_none() {
            // The directory could not be written a moment ago: nothing is announced that cannot be done.
            return Ok(0);
        }
        let now = self.clock.unix();
        let found = self.due(now.0)?;
        if found.is_empty() {
            return Ok(0);
        }
        // One job for all of it: no hold can come between the last look at the holds and the destruction.
        let due = on_writer(desk, move |group| group.destroy_values(found, now))?;
        if due.is_empty() {
            return Ok(0);
        }
        let count = due.len();
        self.rewrite(&due)?;
        let tenant = self.tenant.clone();
        aside(desk, move |conn| {
            for idx in due.keys() {
                conn.prepare_cached("UPDATE sides SET until_s = NULL WHERE tenant = ?1 AND idx = ?2")?
                    .execute(params![tenant, signed(*idx)])?;
            }
            Ok(())
        })?;
        if let Err(error) = on_writer(desk, |group| group.compact()) {
            tracing::warn!(%error, "the database's write-ahead log could not be emptied after values were destroyed");
        }
        Ok(count)
    }

    /// What is due, whoever it is about.
    fn due(&self, now: i64) -> Result<Vec<Found>, StoreError> {
        let mut select = self
            .conn
            .prepare_cached("SELECT idx, body FROM sides WHERE tenant = ?1 AND until_s < ?2 ORDER BY until_s LIMIT ?3")?;
        let rows = select
            .query_map(params![self.tenant, now, STEP], |row| {
                Ok((crate::db::readers::unsigned(row, 0)?, row.get::<_, Vec<u8>>(1)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let mut found = Vec::new();
        for (index, body) in rows {
            let mut side = Side::parse(&body).map_err(|error| StoreError::Corrupt(format!("side {index}: {error}")))?;
            let owners = self.vault.owners(side.key_ids())?;
            side.close();
            found.push(Found { index, owners, closed: side.to_bytes() });
        }
        Ok(found)
    }

    /// The files of what is published already; the rest is published closed.
    fn rewrite(&mut self, due: &Bodies) -> Result<(), StoreError> {
        let Some(ledger) = &mut self.ledger else { return Err(StoreError::Ledger("the directory is not open".to_owned())) };
        let size = ledger.size();
        let published: Bodies = due.range(..size).map(|(index, body)| (*index, body.clone())).collect();
        ledger.replace_sides(&published).map_err(|error| StoreError::Ledger(error.to_string()))
    }
}

impl Group {
    /// Closes what no hold protects, after a record of it; the rest is looked at again later. Gives back what was closed.
    fn destroy_values(&mut self, found: Vec<Found>, now: UnixTime) -> Result<Bodies, StoreError> {
        let snapshot = &self.state.snapshot;
        let tenant = snapshot.tenant().clone();
        let (held, due): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|one| one.owners.iter().any(|subject| snapshot.is_held(subject)));
        let due: Bodies = due.into_iter().map(|one| (one.index, one.closed)).collect();
        if let (Some((first, _)), Some((last, _))) = (due.first_key_value(), due.last_key_value()) {
            let announced = writer::single(self, Batch::new(tenant.clone()).record(record(&tenant, due.len(), *first, *last)));
            announced.map_err(|error| StoreError::Ledger(error.to_string()))?;
        }
        let later = now.0.saturating_add(LOOK_AGAIN);
        self.aside(|conn| {
            for one in &held {
                conn.prepare_cached("UPDATE sides SET until_s = ?3 WHERE tenant = ?1 AND idx = ?2")?.execute(params![
                    tenant.as_str(),
                    signed(one.index),
                    later
                ])?;
            }
            for (idx, body) in &due {
                conn.prepare_cached("UPDATE sides SET body = ?3 WHERE tenant = ?1 AND idx = ?2")?.execute(params![
                    tenant.as_str(),
                    signed(*idx),
                    body
                ])?;
            }
            Ok(())
        })?;
        Ok(due)
    }
}

/// Runs a job on the writer's thread, between groups, and waits for its result.
pub(crate) fn on_writer<T: Send + 'static>(
    desk: &Desk,
    work: impl FnOnce(&mut Group) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (answer, result) = blocking::sync_channel(1);
    let job = Job::Aside(Box::new(move |group| {
        let _ = answer.send(work(group));
    }));
    desk.writer.blocking_send(job).map_err(|_| StoreError::Closed)?;
    result.recv().map_err(|_| StoreError::Closed)?
}

/// Nothing is destroyed in silence.
fn record(tenant: &TenantId, count: usize, first: u64, last: u64) -> Draft {
    Draft::new(tenant.clone(), ProducerKind::AuthzServer, RecordType::Redaction)
        .action("ledger.retention", ToolClass::Admin)
        .outcome(OutcomeStatus::Success, EffectConfirmed::DispatchedOnly)
        .ext(
            "redaction",
            json!({"cause": "retention", "records": count.to_string(), "first": first.to_string(), "last": last.to_string()}),
        )
}
