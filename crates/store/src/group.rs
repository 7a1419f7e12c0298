//! One transaction for many batches: the group commit.
//!
//! Crash points, in order:
//! 1. before COMMIT returns: nothing of the group exists, nobody was told otherwise;
//! 2. after COMMIT, before the answers: everything exists and nobody was told; a caller that retries meets its own
//!    precondition (`Absent`, `Unused`) and is refused, never doubled;
//! 3. after the answers: everything exists and the snapshot shows it.

use crate::{
    batch::{Applied, ApplyError, Batch, Necessity, Precondition, Receipt, Revocation},
    config::{Config, StoreError},
    erase,
    outage::Outage,
    rim::{Clock, Entropy},
    shared::Shared,
    snapshot::Snapshot,
    sweep,
    vault::Vault,
};
use remit_ledger::{
    Sealed, Sealer,
    record::{Draft, Position, SealError},
    vault::Subject,
};
use remit_model::{
    Fault,
    time::{Moment, UnixTime},
};
use rusqlite::{Connection, ErrorCode, params};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

/// Everything the writer thread owns.
#[derive(Debug)]
pub(crate) struct Group {
    conn: Connection,
    shared: Arc<Shared>,
    sealer: Sealer,
    clock: Clock,
    /// Days a class of records keeps its values, by name.
    retention: BTreeMap<String, u32>,
    /// State as committed; a group works on a copy.
    state: Work,
    swept: UnixTime,
}

/// State that a batch changes besides rows. Cloning is cheap: the maps are persistent.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) snapshot: Snapshot,
    pub(crate) next_index: u64,
    pub(crate) vault: Vault,
    pub(crate) entropy: Entropy,
    position: Position,
    /// Whether this batch already took its revision.
    bumped: bool,
}

/// Why a batch, or the whole group, stops.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Only this batch.
    Batch(ApplyError),
    /// The database failed: nothing of the group can be trusted to commit.
    Group(String),
}

/// A batch's answer together with what only counts once the group has committed.
type Attempt = Result<Applied, ApplyError>;

impl Group {
    pub(crate) fn new(conn: Connection, shared: Arc<Shared>, sealer: Sealer, vault: Vault, config: &Config) -> Self {
        let snapshot = Snapshot::clone(&shared.snapshot.load());
        let next_index = shared.committed.load(Ordering::Acquire);
        let entropy = config.entropy.clone();
        let state = Work { snapshot, next_index, vault, entropy, position: sealer.position(), bumped: false };
        let (clock, retention) = (config.clock.clone(), config.retention.clone());
        Self { conn, shared, sealer, clock, retention, state, swept: UnixTime(i64::MIN) }
    }

    /// Commits these batches in one transaction and answers each, in order.
    pub(crate) fn commit(&mut self, batches: Vec<Batch>) -> Vec<Attempt> {
        let count = batches.len();
        self.shared.conditions.set_side(self.state.vault.failure());
        let mut work = self.state.clone();
        match self.transact(&mut work, batches) {
            Ok(answers) => {
                self.shared.conditions.set_disk(None);
                self.publish(work, &answers);
                answers
            }
            Err(reason) => {
                // CRASH: the copy is dropped, so sequence numbers and hashes go on from the last commit.
                if !self.conn.is_autocommit() {
                    let _ = self.conn.execute_batch("ROLLBACK");
                }
                self.sealer.rewind(self.state.position.clone());
                self.state.vault.discard();
                tracing::error!(%reason, batches = count, "a transaction failed; its batches are refused");
                self.shared.counts.failures.fetch_add(count as u64, Ordering::Relaxed);
                let outage = match self.state.vault.last_failure() {
                    Some(why) => {
                        self.shared.conditions.set_side(Some(why.clone()));
                        Outage::SideStore(why)
                    }
                    None => {
                        self.shared.conditions.set_disk(Some(reason.clone()));
                        Outage::Disk(reason)
                    }
                };
                std::iter::repeat_n(Err(ApplyError::Unavailable(outage)), count).collect()
            }
        }
    }

    fn transact(&mut self, work: &mut Work, batches: Vec<Batch>) -> Result<Vec<Attempt>, String> {
        self.statement("BEGIN IMMEDIATE")?;
        let revision = work.snapshot.revision();
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            answers.push(self.attempt(work, batch)?);
        }
        let now = self.clock.unix();
        if now != self.swept {
            sweep::step(&self.conn, work, now).map_err(|error| error.to_string())?;
            self.swept = now;
        }
        if work.snapshot.revision() != revision {
            set_meta(&self.conn, work.snapshot.tenant().as_str(), "revision", &work.snapshot.revision().to_string())
                .map_err(|error| error.to_string())?;
        }
        // CRASH: a key without a record harms nobody; a record without its key would be unreadable from the start.
        work.vault.flush(now)?;
        self.statement("COMMIT")?;
        Ok(answers)
    }

    /// One batch under its savepoint: an unmet precondition undoes it and leaves its neighbours alone.
    fn attempt(&mut self, work: &mut Work, batch: Batch) -> Result<Attempt, String> {
        self.statement("SAVEPOINT batch")?;
        let before = work.clone();
        work.bumped = false;
        match self.run(work, batch) {
            Ok(applied) => {
                self.statement("RELEASE batch")?;
                Ok(Ok(applied))
            }
            Err(Halt::Batch(error)) => {
                *work = before;
                self.sealer.rewind(work.position.clone());
                self.statement("ROLLBACK TO batch")?;
                self.statement("RELEASE batch")?;
                Ok(Err(error))
            }
            Err(Halt::Group(reason)) => Err(reason),
        }
    }

    fn run(&mut self, work: &mut Work, batch: Batch) -> Result<Applied, Halt> {
        let moment = self.clock.now();
        if batch.tenant != *work.snapshot.tenant() {
            return Err(Halt::invalid(format!("this store belongs to tenant `{}`", work.snapshot.tenant())));
        }
        match batch.necessity {
            Necessity::Act => {
                if let Some(outage) = self.shared.conditions.without_disk() {
                    return Err(Halt::Batch(ApplyError::Unavailable(outage)));
                }
            }
            Necessity::Note if batch.require.is_empty() && batch.changes.is_empty() => {}
            Necessity::Note => return Err(Halt::invalid("a note changes nothing")),
        }
        for need in &batch.require {
            if !work.holds(&self.conn, need, moment.unix())? {
                return Err(Halt::conflict(need));
            }
        }
        for change in &batch.changes {
            work.change(&self.conn, change, moment.unix())?;
        }
        let mut receipts = Vec::with_capacity(batch.records.len());
        for draft in batch.records {
            let (sealed, until) = self.seal(work, draft, &moment)?;
            receipts.push(work.append(&self.conn, &sealed, until)?);
        }
        work.position = self.sealer.position();
        Ok(Applied { revision: work.snapshot.revision(), receipts })
    }

    /// The record, its values sealed, and when they are to be destroyed. SPEC: LG-11, record.md §1.6
    fn seal(&mut self, work: &Work, mut draft: Draft, moment: &Moment) -> Result<(Sealed, UnixTime), Halt> {
        if draft.tenant != *self.state.snapshot.tenant() {
            return Err(Halt::invalid("a record of another tenant"));
        }
        if let Some(days) = self.retention.get(&draft.retention.class) {
            draft.retention.keep_days = *days;
        }
        let subjects = draft.subjects(self.sealer.identity());
        draft.retention.legal_hold |= subjects.iter().any(|subject| work.snapshot.is_held(&work.vault.reference(subject)));
        let until = moment.unix().plus(i64::from(draft.retention.keep_days).saturating_mul(86_400));
        let entropy = &work.entropy;
        let mut keys = |subject: &Subject| work.vault.key(subject, &work.snapshot);
        match self.sealer.seal_for(draft, moment, |bytes| entropy.fill(bytes), &mut keys) {
            Ok(sealed) => Ok((sealed, until)),
            Err(SealError::Key { fault }) => Err(Halt::side(&fault)),
            Err(error) => Err(Halt::invalid(error.to_string())),
        }
    }

    /// Makes a committed group visible; the answers go out after this.
    fn publish(&mut self, work: Work, answers: &[Attempt]) {
        self.shared.snapshot.store(Arc::new(work.snapshot.clone()));
        self.shared.committed.store(work.next_index, Ordering::Release);
        let counts = &self.shared.counts;
        counts.transactions.fetch_add(u64::from(!answers.is_empty()), Ordering::Relaxed);
        for answer in answers {
            match answer {
                Ok(applied) => {
                    counts.batches.fetch_add(1, Ordering::Relaxed);
                    counts.records.fetch_add(applied.receipts.len() as u64, Ordering::Relaxed);
                }
                Err(_) => {
                    counts.conflicts.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.state = work;
    }

    fn statement(&self, sql: &str) -> Result<(), String> {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(drop).map_err(|error| error.to_string())
    }

    pub(crate) fn unfinished_erasures(&self) -> Result<Vec<Batch>, StoreError> {
        erase::unfinished(&self.conn, self.state.snapshot.tenant())
    }

    /// Empties the write-ahead log into the database; what was overwritten is then nowhere.
    pub(crate) fn compact(&self) -> Result<(), StoreError> {
        let busy: i64 = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 { Ok(()) } else { Err(StoreError::Busy) }
    }

    /// Lets an idle store forget what has expired.
    pub(crate) fn sweep(&mut self) {
        self.commit(Vec::new());
    }

    /// Runs `job` in a transaction of its own, for the publisher's bookkeeping.
    pub(crate) fn aside(&mut self, job: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<(), StoreError> {
        let tx = self.conn.transaction()?;
        job(&tx)?;
        tx.commit()?;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.conn
    }
}

impl Work {
    /// The revision of the running batch; the first change the snapshot shows takes it.
    pub(crate) fn next_revision(&mut self) -> i64 {
        if !self.bumped {
            self.bumped = true;
            self.snapshot.set_revision(self.snapshot.revision().saturating_add(1));
        }
        i64::try_from(self.snapshot.revision()).unwrap_or(i64::MAX)
    }

    pub(crate) fn forget(&mut self, what: &Revocation) {
        self.snapshot.forget(what);
    }

    pub(crate) fn tenant(&self) -> &str {
        self.snapshot.tenant().as_str()
    }

    fn append(&mut self, conn: &Connection, sealed: &Sealed, until: UnixTime) -> Result<Receipt, Halt> {
        let tenant = self.snapshot.tenant().as_str();
        let index = self.next_index;
        let idx = i64::try_from(index).map_err(|_| Halt::Group("the log is full".to_owned()))?;
        conn.prepare_cached("INSERT INTO records (tenant, idx, record_id, leaf_hash, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![tenant, idx, sealed.record_id, sealed.leaf_hash.as_bytes(), sealed.bytes])
            // A place that is already taken is no fault of the batch: someone else wrote this log.
            .map_err(|error| Halt::Group(error.to_string()))?;
        if sealed.side.count() > 0 {
            conn.prepare_cached("INSERT INTO sides (tenant, idx, body, until_s) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
                tenant,
                idx,
                sealed.side.to_bytes(),
                until.0
            ])?;
        }
        self.next_index = index.saturating_add(1);
        Ok(Receipt { index, record_id: sealed.record_id.clone(), leaf_hash: sealed.leaf_hash })
    }
}

impl Halt {
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Batch(ApplyError::Invalid(reason.into()))
    }

    /// The keys cannot be used.
    pub(crate) fn side(fault: &Fault) -> Self {
        Self::Batch(ApplyError::Unavailable(Outage::SideStore(fault.context.clone())))
    }

    fn conflict(need: &Precondition) -> Self {
        Self::Batch(ApplyError::Conflict(need.clone()))
    }
}

impl From<rusqlite::Error> for Halt {
    /// A row that may not be (duplicate, unknown family) is the batch's fault; anything else is the database's.
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => Self::invalid(error.to_string()),
            _ => Self::Group(error.to_string()),
        }
    }
}

pub(crate) fn set_meta(conn: &Connection, tenant: &str, name: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (tenant, name, value) VALUES (?1, ?2, ?3) ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![tenant, name, value])
    .map(drop)
}
