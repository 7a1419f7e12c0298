//! When a transaction fails: records that must be noted go into the spool, and from there into the database as soon as it
//! works again.

use super::{
    admit::permitted,
    group_commit::{Attempt, GroupCommit},
    outage::{Outage, WriteFailure},
    outage_records::OutageRecords,
    spool,
};
use crate::{
    batch::{Applied, ApplyError, Batch, Necessity, Receipt},
    db::{error::DbError, group::RecordRow},
};
use remit_ledger::record::RecordType;
use remit_model::Code;
use std::sync::{Arc, atomic::Ordering};

impl GroupCommit {
    /// Moves what the spool holds into the database, before anything else is written there.
    pub(crate) fn drain(&mut self) -> Result<(), DbError> {
        if self.spool.rows().is_empty() {
            return Ok(());
        }
        self.db.append(self.spool.rows())?;
        tracing::warn!(records = self.spool.rows().len(), "the spool was moved into the database");
        // CRASH: before this the rows are in both places, and the next start finds them equal.
        self.spool.clear();
        self.handles.conditions.set_disk(None);
        self.handles.committed.store(self.state.head.next_index, Ordering::Release);
        Ok(())
    }

    /// The database takes nothing: actions are refused, and what must be noted goes into the spool.
    pub(crate) fn spill(&mut self, failure: &WriteFailure, batches: &[Batch], outages: &mut OutageRecords) -> Vec<Attempt> {
        let now = self.sealing.clock.now();
        let conditions = &self.handles.conditions;
        conditions.set_disk(Some(failure.clone()));
        let refused = conditions.take_refused(Code::LedgerFull);
        outages.observe(Code::LedgerFull, Some(&Outage::Disk(failure.clone())), refused, &now);
        let (mark, mut rows) = (self.sealing.mark(), Vec::new());
        let tenant = self.state.snapshot.tenant().clone();
        let beginning = outages.beginning(&tenant, Code::LedgerFull);
        let beginning = beginning.map(|draft| Batch::new(tenant).note().record(draft));
        let announced = beginning.is_some_and(|batch| self.spool_one(&batch, &mut rows).is_ok());
        let mut answers: Vec<Attempt> = batches.iter().map(|batch| self.spool_one(batch, &mut rows)).collect();
        let spooled = rows.len() as u64;
        let appended = if rows.is_empty() { Ok(()) } else { self.spool.append(rows) };
        match appended {
            Ok(()) => {
                self.state.head.next_index = self.sealing.next_index();
                outages.count_spooled(Code::LedgerFull, spooled);
                if announced {
                    outages.announced(Code::LedgerFull);
                }
            }
            Err(error) => {
                self.sealing.rewind(mark);
                let outage = Outage::Disk(WriteFailure::Spool(Arc::new(error)));
                answers = answers.into_iter().map(|_| Err(ApplyError::Unavailable(outage.clone()))).collect();
            }
        }
        self.count_failures(&answers);
        answers
    }

    /// Keys of side values cannot be made durable: actions are refused, and notes are tried one by one, because most need
    /// no new key.
    pub(crate) fn without_keys(&mut self, why: String, batches: &[Batch]) -> Vec<Attempt> {
        let outage = Outage::SideStore(why.clone());
        self.handles.conditions.set_side(Some(why));
        let alone = batches.len() == 1;
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches.chunks(1) {
            let note = batch.iter().all(|batch| batch.necessity == Necessity::Note);
            let settled = if note && !alone { self.settle(batch).ok() } else { None };
            answers.extend(settled.unwrap_or_else(|| vec![Err(ApplyError::Unavailable(outage.clone()))]));
        }
        self.count_failures(&answers);
        answers
    }

    fn spool_one(&mut self, batch: &Batch, rows: &mut Vec<RecordRow>) -> Attempt {
        let now = self.sealing.clock.now();
        permitted(batch, self.outage(&now).as_ref())?;
        if batch.necessity == Necessity::Act {
            let outage = self.handles.conditions.outage().unwrap_or(Outage::Busy);
            return Err(ApplyError::Unavailable(outage));
        }
        let mark = self.sealing.mark();
        let sealed = self.sealing.seal(&self.state.snapshot, batch, &[]).and_then(|sealed| {
            self.fits(&sealed.records, batch, rows)?;
            // CRASH: as in a transaction, keys come before the records that need them.
            let flushed = self.sealing.vault.flush(now.unix());
            flushed.map_err(|why| ApplyError::Unavailable(Outage::SideStore(why)))?;
            Ok(sealed.records)
        });
        match sealed {
            Ok(sealed) => {
                let receipt =
                    |row: &RecordRow| Receipt { index: row.index, record_id: row.record_id.clone(), leaf_hash: row.leaf_hash };
                let receipts = sealed.iter().map(receipt).collect();
                rows.extend(sealed);
                Ok(Applied { revision: self.state.snapshot.revision(), receipts })
            }
            Err(error) => {
                self.sealing.vault.discard();
                self.sealing.rewind(mark);
                Err(error)
            }
        }
    }

    /// Whether the spool has room for these behind `taken`.
    fn fits(&self, records: &[RecordRow], batch: &Batch, taken: &[RecordRow]) -> Result<(), ApplyError> {
        let mut taken: u64 = taken.iter().map(spool::size_of).sum();
        for (row, draft) in records.iter().zip(&batch.records) {
            taken = taken.saturating_add(spool::size_of(row));
            if self.spool.room(must_fit(draft.record_type)) < taken {
                return Err(ApplyError::Unavailable(Outage::Disk(WriteFailure::SpoolFull)));
            }
        }
        Ok(())
    }

    fn count_failures(&self, answers: &[Attempt]) {
        let failed = answers.iter().filter(|answer| matches!(answer, Err(ApplyError::Unavailable(_)))).count() as u64;
        self.handles.counts.failures.fetch_add(failed, Ordering::Relaxed);
    }
}

/// What may use the last quarter of the spool: the other half of something begun, and what the log says of itself.
fn must_fit(kind: RecordType) -> bool {
    matches!(kind, RecordType::Effect | RecordType::SessionClose | RecordType::LogControl | RecordType::Heartbeat)
}
