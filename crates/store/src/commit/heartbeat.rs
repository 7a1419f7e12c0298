//! What the writer does of itself: heartbeats, alarms, the spool, sessions that nobody closed.

use crate::{
    batch::{Applied, ApplyError, Batch, Necessity, Receipt},
    commit::group_commit::{Attempt, Group, Halt, Work, insert},
    commit::outage::Outage,
    commit::spool::{self, Row},
    commit::writer,
};
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{
    Code, ToolClass,
    time::{ClockStatus, Moment},
};
use serde_json::json;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Sessions closed by one batch.
const CLOSED_AT_ONCE: usize = 256;

/// When the next heartbeat is due.
#[derive(Debug)]
pub(crate) struct Beat {
    every_ns: u64,
    last_ns: u64,
}

impl Beat {
    pub(crate) fn new(every: Duration, now_ns: u64) -> Self {
        Self { every_ns: u64::try_from(every.as_nanos()).unwrap_or(u64::MAX), last_ns: now_ns }
    }

    fn is_due(&self, now_ns: u64) -> bool {
        self.every_ns > 0 && now_ns.saturating_sub(self.last_ns) >= self.every_ns
    }
}

impl Group {
    /// One look around; the publisher asks for it every round, and now and then (`sweep`) to forget what has expired.
    pub(crate) fn tend(&mut self, sweep: bool) {
        let now = self.clock.now();
        if self.state.snapshot.rest() {
            self.shared.snapshot.store(Arc::new(self.state.snapshot.clone()));
        }
        let mut batches = Vec::new();
        if self.beat.is_due(now.mono_ns) {
            self.beat.last_ns = now.mono_ns;
            batches.push(self.note().record(self.heartbeat()));
        }
        let degraded = self.shared.conditions.outage().is_some() || !self.spool.rows().is_empty();
        if sweep || self.sweeper.is_due(&now) || degraded || !batches.is_empty() || self.notices().is_some() {
            self.commit(batches);
        }
    }

    fn note(&self) -> Batch {
        Batch::new(self.state.snapshot.tenant().clone()).note()
    }

    fn heartbeat(&self) -> Draft {
        let reads = self.shared.reads.take();
        let mut draft = Draft::new(self.state.snapshot.tenant().clone(), ProducerKind::AuthzServer, RecordType::Heartbeat)
            .action("heartbeat", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .ext("heartbeat", json!({"every_ns": self.beat.every_ns.to_string()}));
        if !reads.is_empty() {
            draft = draft.ext("public_reads", json!(reads));
        }
        draft
    }

    /// What is to be recorded of outages and of the clock, if anything.
    pub(crate) fn notices(&mut self) -> Option<Batch> {
        let now = self.clock.now();
        let conditions = &self.shared.conditions;
        conditions.set_clock(now.status == ClockStatus::Disrupted);
        let outages = conditions.all();
        for code in [Code::LedgerFull, Code::SideStoreUnavailable, Code::ClockDisrupted, Code::WitnessQuorumLost] {
            self.alarms.observe(code, outages.iter().find(|outage| outage.code() == code), &now);
        }
        let drafts = self.alarms.drafts(self.state.snapshot.tenant(), self.clock.steps());
        (!drafts.is_empty()).then(|| drafts.into_iter().fold(self.note(), Batch::record))
    }

    /// Moves what the spool holds into the database, before anything else is written there.
    pub(crate) fn drain(&mut self) -> Result<(), String> {
        if self.spool.rows().is_empty() {
            return Ok(());
        }
        let moved = self.move_rows();
        if moved.is_err() {
            self.roll_back();
            return moved;
        }
        tracing::warn!(records = self.spool.rows().len(), "the spool was moved into the database");
        // CRASH: before this the rows are in both places, and the next start finds them equal.
        self.spool.clear();
        self.shared.conditions.set_disk(None);
        self.shared.committed.store(self.state.next_index, Ordering::Release);
        Ok(())
    }

    fn move_rows(&self) -> Result<(), String> {
        self.statement("BEGIN IMMEDIATE")?;
        let tenant = self.state.snapshot.tenant().as_str();
        for row in self.spool.rows() {
            insert(&self.conn, tenant, row).map_err(|error| error.to_string())?;
        }
        self.statement("COMMIT")
    }

    /// The database takes nothing: actions are refused, and what must be noted goes into the spool.
    pub(crate) fn spill(&mut self, reason: &str, batches: &[Batch]) -> Vec<Attempt> {
        let now = self.clock.now();
        let outage = Outage::Disk(reason.to_owned());
        self.shared.conditions.set_disk(Some(reason.to_owned()));
        self.alarms.observe(Code::LedgerFull, Some(&outage), &now);
        let mut work = self.state.clone();
        let mut rows = Vec::new();
        let tenant = self.state.snapshot.tenant().clone();
        let beginning = self.alarms.beginning(&tenant, Code::LedgerFull).map(|draft| self.note().record(draft));
        let announced = beginning.is_some_and(|batch| self.spool_one(&mut work, &batch, &mut rows).is_ok());
        let mut answers: Vec<Attempt> = batches.iter().map(|batch| self.spool_one(&mut work, batch, &mut rows)).collect();
        let spooled = rows.len();
        if spooled > 0
            && let Err(error) = self.spool.append(rows)
        {
            self.sealer.rewind(self.state.position.clone());
            let outage = Outage::Disk(format!("the spool failed: {error}"));
            answers = answers.into_iter().map(|_| Err(ApplyError::Unavailable(outage.clone()))).collect();
        } else {
            if announced {
                self.alarms.announced(Code::LedgerFull);
            }
            self.state = work;
        }
        let refused = answers.iter().filter(|answer| matches!(answer, Err(ApplyError::Unavailable(_)))).count() as u64;
        self.alarms.count(Code::LedgerFull, refused, spooled as u64);
        self.shared.counts.failures.fetch_add(refused, Ordering::Relaxed);
        answers
    }

    /// Keys of side values cannot be made durable: actions are refused, and notes are tried one by one, because most need
    /// no new key.
    pub(crate) fn without_keys(&mut self, why: String, batches: &[Batch]) -> Vec<Attempt> {
        let outage = Outage::SideStore(why.clone());
        self.shared.conditions.set_side(Some(why));
        let alone = batches.len() == 1;
        let refused = |outage: &Outage| vec![Err(ApplyError::Unavailable(outage.clone()))];
        let answers: Vec<Attempt> = batches
            .chunks(1)
            .flat_map(|batch| {
                let note = batch.iter().all(|batch| batch.necessity == Necessity::Note);
                if note && !alone { self.settle(batch) } else { refused(&outage) }
            })
            .collect();
        let count = answers.iter().filter(|answer| matches!(answer, Err(ApplyError::Unavailable(_)))).count() as u64;
        self.shared.counts.failures.fetch_add(count, Ordering::Relaxed);
        answers
    }

    fn spool_one(&mut self, work: &mut Work, batch: &Batch, rows: &mut Vec<Row>) -> Attempt {
        let now = self.clock.now();
        self.admit(batch, &now)?;
        let reason = || self.shared.conditions.outage().unwrap_or(Outage::Busy);
        if batch.necessity == Necessity::Act {
            return Err(ApplyError::Unavailable(reason()));
        }
        let (before, kept) = (work.clone(), rows.len());
        let sealed = self.seal_all(work, batch, &now, rows).and_then(|receipts| {
            // CRASH: as in a transaction, keys come before the records that need them.
            let flushed = work.vault.flush(now.unix()).map_err(|why| ApplyError::Unavailable(Outage::SideStore(why)));
            flushed.map(|()| receipts)
        });
        match sealed {
            Ok(receipts) => Ok(Applied { revision: work.snapshot.revision(), receipts }),
            Err(error) => {
                *work = before;
                rows.truncate(kept);
                work.vault.discard();
                self.sealer.rewind(work.position.clone());
                Err(error)
            }
        }
    }

    fn seal_all(
        &mut self,
        work: &mut Work,
        batch: &Batch,
        now: &Moment,
        rows: &mut Vec<Row>,
    ) -> Result<Vec<Receipt>, ApplyError> {
        let mut receipts = Vec::with_capacity(batch.records.len());
        for draft in &batch.records {
            let row = self.seal(work, draft, now).map_err(|halt| match halt {
                Halt::Batch(error) => error,
                Halt::Group(reason) => ApplyError::Unavailable(Outage::Disk(reason)),
            })?;
            let taken: u64 = rows.iter().map(spool::size_of).sum();
            if self.spool.room(must_fit(draft.record_type)) < taken.saturating_add(spool::size_of(&row)) {
                return Err(ApplyError::Unavailable(Outage::Disk("the spool is full too".to_owned())));
            }
            receipts.push(Receipt { index: row.index, record_id: row.record_id.clone(), leaf_hash: row.leaf_hash });
            rows.push(row);
        }
        work.position = self.sealer.position();
        Ok(receipts)
    }

    /// Closes the sessions that nobody closed: what became of them is not known.
    pub(crate) fn close_sessions(&mut self, why: &str) {
        let open = self.state.book.open();
        for some in open.chunks(CLOSED_AT_ONCE) {
            let batch =
                some.iter().fold(self.note(), |batch, (id, opened)| batch.record(self.closing(id, opened.as_deref(), why)));
            if let Err(error) = writer::single(self, batch) {
                tracing::error!(%error, sessions = some.len(), "sessions that were open could not be closed in the ledger");
            }
        }
    }

    fn closing(&self, id: &str, opened: Option<&str>, why: &str) -> Draft {
        let mut draft = Draft::new(self.state.snapshot.tenant().clone(), ProducerKind::Gateway, RecordType::SessionClose)
            .action("session.close", ToolClass::Read)
            .ext("closed", json!({"why": why}));
        draft.session.id = Some(id.to_owned());
        draft.caused_by.extend(opened.map(str::to_owned));
        draft
    }
}

/// What may use the last quarter of the spool: the other half of something begun, and what the log says of itself.
fn must_fit(kind: RecordType) -> bool {
    matches!(kind, RecordType::Effect | RecordType::SessionClose | RecordType::LogControl | RecordType::Heartbeat)
}
