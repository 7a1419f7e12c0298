//! Retention: values whose time has come are destroyed; their records stay, and every proof holds. SPEC: LG-11.
//!
//! Crash points: after the record nothing else may have happened yet; after the rows are closed the files may still hold
//! sealed values. Either way the rows keep their `until_s`, and the next step does it all again.

use crate::{
    batch::Batch,
    config::StoreError,
    publish::{Desk, Publisher, aside, signed},
    writer::Job,
};
use remit_ledger::{
    Draft, Side,
    record::{EffectConfirmed, OutcomeStatus, ProducerKind, RecordType},
};
use remit_model::{ToolClass, id::TenantId};
use rusqlite::params;
use serde_json::json;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Records whose values one step destroys at most.
const STEP: u32 = 256;
/// What is on hold is looked at again after so many seconds.
const LOOK_AGAIN: i64 = 86_400;

/// Side values by index, as they are stored.
type Bodies = BTreeMap<u64, Vec<u8>>;

impl Publisher {
    /// One step; gives back how many records lost their values. Blocks; runs on the publisher's thread.
    pub(crate) fn retain(&mut self, desk: &Desk) -> Result<usize, StoreError> {
        if self.ledger.is_none() {
            // The directory could not be written a moment ago: nothing is announced that cannot be done.
            return Ok(0);
        }
        let now = self.clock.unix();
        let (due, held) = self.due(desk, now.0)?;
        if !held.is_empty() {
            let tenant = self.tenant.clone();
            aside(desk, move |conn| {
                for idx in held {
                    conn.prepare_cached("UPDATE sides SET until_s = ?3 WHERE tenant = ?1 AND idx = ?2")?.execute(params![
                        tenant,
                        signed(idx),
                        now.0.saturating_add(LOOK_AGAIN)
                    ])?;
                }
                Ok(())
            })?;
        }
        let (Some((first, _)), Some((last, _))) = (due.first_key_value(), due.last_key_value()) else { return Ok(0) };
        record(desk, &self.tenant, due.len(), *first, *last)?;
        let (tenant, rows) = (self.tenant.clone(), due.clone());
        aside(desk, move |conn| {
            for (idx, body) in rows {
                conn.prepare_cached("UPDATE sides SET body = ?3 WHERE tenant = ?1 AND idx = ?2")?.execute(params![
                    tenant,
                    signed(idx),
                    body
                ])?;
            }
            Ok(())
        })?;
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
        Ok(count)
    }

    /// What is due, closed already, and what would be but for a legal hold.
    fn due(&self, desk: &Desk, now: i64) -> Result<(Bodies, Vec<u64>), StoreError> {
        let mut select = self
            .conn
            .prepare_cached("SELECT idx, body FROM sides WHERE tenant = ?1 AND until_s < ?2 ORDER BY until_s LIMIT ?3")?;
        let rows = select
            .query_map(params![self.tenant, now, STEP], |row| Ok((crate::read::unsigned(row, 0)?, row.get::<_, Vec<u8>>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        let snapshot = desk.shared.snapshot.load_full();
        let (mut due, mut held) = (BTreeMap::new(), Vec::new());
        for (index, body) in rows {
            let mut side = Side::parse(&body).map_err(|error| StoreError::Corrupt(format!("side {index}: {error}")))?;
            if self.vault.owners(side.key_ids())?.iter().any(|subject| snapshot.is_held(subject)) {
                held.push(index);
            } else {
                side.close();
                due.insert(index, side.to_bytes());
            }
        }
        Ok((due, held))
    }

    /// The files of what is published already; the rest is published closed.
    fn rewrite(&mut self, due: &Bodies) -> Result<(), StoreError> {
        let Some(ledger) = &mut self.ledger else { return Err(StoreError::Ledger("the directory is not open".to_owned())) };
        let size = ledger.size();
        let published: Bodies = due.range(..size).map(|(index, body)| (*index, body.clone())).collect();
        ledger.replace_sides(&published).map_err(|error| StoreError::Ledger(error.to_string()))
    }
}

/// Nothing is destroyed in silence.
fn record(desk: &Desk, tenant: &str, count: usize, first: u64, last: u64) -> Result<(), StoreError> {
    let tenant = TenantId::parse(tenant).map_err(|refusal| StoreError::Corrupt(refusal.to_string()))?;
    let draft = Draft::new(tenant.clone(), ProducerKind::AuthzServer, RecordType::Redaction)
        .action("ledger.retention", ToolClass::Admin)
        .outcome(OutcomeStatus::Success, EffectConfirmed::DispatchedOnly)
        .ext(
            "redaction",
            json!({"cause": "retention", "records": count.to_string(), "first": first.to_string(), "last": last.to_string()}),
        );
    let (answer, result) = oneshot::channel();
    let job = Job::Apply(Batch::new(tenant).record(draft), answer);
    desk.writer.blocking_send(job).map_err(|_| StoreError::Closed)?;
    let applied = result.blocking_recv().map_err(|_| StoreError::Closed)?;
    applied.map(drop).map_err(|error| StoreError::Ledger(error.to_string()))
}
