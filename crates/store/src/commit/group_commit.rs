//! One transaction for many batches: the group commit.
//!
//! Crash points, in order:
//! 1. before COMMIT returns: nothing of the group exists, nobody was told otherwise;
//! 2. after COMMIT, before the answers: everything exists and nobody was told; a caller that retries meets its own
//!    precondition (`Once`, `Unused`) and is refused, never doubled;
//! 3. after the answers: everything exists and the snapshot shows it.

use crate::{
    batch::{Applied, ApplyError, Batch, Necessity, Precondition, Receipt, Revocation},
    commit::erase,
    commit::heartbeat::Beat,
    commit::outage::Outage,
    commit::outage_records::Alarms,
    commit::session_counts::Book,
    commit::spool::{Row, Spool},
    commit::sweep::Sweeper,
    config::{Config, StoreError},
    handles::Shared,
    log::publisher::signed,
    vault::Vault,
    world::snapshot::Snapshot,
};
use remit_clock::{Clock, Entropy, EntropyPool};
use remit_ledger::{
    Sealer,
    record::{Draft, Identity, Position, SealError},
    vault::Subject,
};
use remit_model::{
    Fault,
    time::{ClockStatus, Moment},
};
use rusqlite::{Connection, ErrorCode, params};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::Ordering},
};

/// Everything the writer thread owns.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) conn: Connection,
    pub(crate) shared: Arc<Shared>,
    pub(crate) sealer: Sealer,
    /// Randomness of the records.
    pool: EntropyPool,
    pub(crate) clock: Clock,
    /// Days a class of records keeps its values, by name.
    retention: BTreeMap<String, u32>,
    /// State as committed, in the database or the spool; a group works on a copy.
    pub(crate) state: Work,
    pub(crate) spool: Spool,
    pub(crate) alarms: Alarms,
    pub(crate) beat: Beat,
    pub(crate) sweeper: Sweeper,
    /// Groups that still mark every batch.
    careful: u32,
}

/// Groups that mark every batch after one had to be done again, so that whoever provokes that costs little more than before.
const CAREFUL: u32 = 64;

/// State that a batch changes besides rows. Cloning is cheap: the maps are persistent.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) snapshot: Snapshot,
    pub(crate) next_index: u64,
    pub(crate) vault: Vault,
    pub(crate) entropy: Entropy,
    pub(crate) position: Position,
    pub(crate) book: Book,
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

/// How what a refused batch has written is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    /// With the whole group, which is then done again. Hardly any batch is refused after it wrote.
    Together,
    /// By a savepoint of its own, for which the database copies every page before it changes.
    Each,
}

/// Why a group stops before its end.
#[derive(Debug)]
enum Stop {
    /// A batch was refused that had written something already.
    Again,
    /// The database failed.
    Failed(String),
}

/// A batch's answer together with what only counts once the group has committed.
pub(crate) type Attempt = Result<Applied, ApplyError>;

/// What a group begins with besides its connection.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) sealer: Sealer,
    pub(crate) vault: Vault,
    pub(crate) spool: Spool,
    pub(crate) book: Book,
}

impl Group {
    pub(crate) fn new(conn: Connection, shared: Arc<Shared>, config: &Config, beginning: Beginning) -> Self {
        let Beginning { sealer, vault, spool, book } = beginning;
        let snapshot = Snapshot::clone(&shared.snapshot.load());
        let next_index = shared.committed.load(Ordering::Acquire);
        let entropy = config.entropy.clone();
        let state = Work { snapshot, next_index, vault, entropy, position: sealer.position(), book, bumped: false };
        let (clock, retention) = (config.clock.clone(), config.retention.clone());
        let beat = Beat::new(config.heartbeat, clock.now().mono_ns);
        let (alarms, sweeper) = (Alarms::default(), Sweeper::new());
        let pool = EntropyPool::of(config.entropy.clone());
        Self { conn, shared, sealer, pool, clock, retention, state, spool, alarms, beat, sweeper, careful: 0 }
    }

    /// Commits these batches in one transaction and answers each, in order. What the log has to say of itself goes first.
    pub(crate) fn commit(&mut self, mut batches: Vec<Batch>) -> Vec<Attempt> {
        self.shared.conditions.set_side(self.state.vault.failure());
        let drained = self.drain();
        let notices = self.notices();
        let noticed = notices.is_some();
        batches.splice(0..0, notices);
        let mut answers = match drained {
            Ok(()) => self.settle(&batches),
            Err(reason) => self.spill(&reason, &batches),
        };
        if noticed && answers.remove(0).is_ok() {
            self.alarms.recorded(self.clock.steps());
        }
        answers
    }

    pub(crate) fn settle(&mut self, batches: &[Batch]) -> Vec<Attempt> {
        let mut work = self.state.clone();
        let undo = if self.careful > 0 { Undo::Each } else { Undo::Together };
        self.careful = self.careful.saturating_sub(1);
        let mut outcome = self.transact(&mut work, batches, undo);
        if matches!(outcome, Err(Stop::Again)) {
            self.careful = CAREFUL;
            self.roll_back();
            work = self.state.clone();
            outcome = self.transact(&mut work, batches, Undo::Each);
        }
        match outcome {
            Ok(answers) => {
                self.shared.conditions.set_disk(None);
                self.publish(work, &answers);
                answers
            }
            Err(stop) => {
                let reason = stop.to_string();
                // CRASH: the copy is dropped, so sequence numbers and hashes go on from the last commit.
                self.roll_back();
                tracing::error!(%reason, batches = batches.len(), "a transaction failed; its actions are refused");
                match self.state.vault.last_failure() {
                    Some(why) => self.without_keys(why, batches),
                    None => self.spill(&reason, batches),
                }
            }
        }
    }

    pub(crate) fn roll_back(&mut self) {
        if !self.conn.is_autocommit() {
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        self.sealer.rewind(self.state.position.clone());
        self.state.vault.discard();
    }

    fn transact(&mut self, work: &mut Work, batches: &[Batch], undo: Undo) -> Result<Vec<Attempt>, Stop> {
        self.statement("BEGIN IMMEDIATE")?;
        let revision = work.snapshot.revision();
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            answers.push(self.attempt(work, batch, undo)?);
        }
        let moment = self.clock.now();
        let more = self.sweeper.sweep(&self.conn, work, &moment).map_err(|error| Stop::Failed(error.to_string()))?;
        self.shared.behind.store(more, Ordering::Relaxed);
        if work.snapshot.revision() != revision {
            set_meta(&self.conn, work.snapshot.tenant().as_str(), "revision", &work.snapshot.revision().to_string())
                .map_err(|error| Stop::Failed(error.to_string()))?;
        }
        // CRASH: a key without a record harms nobody; a record without its key would be unreadable from the start.
        work.vault.flush(moment.unix())?;
        self.statement("COMMIT")?;
        Ok(answers)
    }

    /// One batch: an unmet precondition undoes it and leaves its neighbours alone.
    fn attempt(&mut self, work: &mut Work, batch: &Batch, undo: Undo) -> Result<Attempt, Stop> {
        let marked = undo == Undo::Each && batch.writes_before_records();
        if marked {
            self.statement("SAVEPOINT batch")?;
        }
        let (before, written) = (work.clone(), self.conn.total_changes());
        work.bumped = false;
        match self.run(work, batch) {
            Ok(applied) => {
                if marked {
                    self.statement("RELEASE batch")?;
                }
                Ok(Ok(applied))
            }
            Err(Halt::Batch(error)) => {
                *work = before;
                self.sealer.rewind(work.position.clone());
                if marked {
                    self.statement("ROLLBACK TO batch")?;
                    self.statement("RELEASE batch")?;
                } else if self.conn.total_changes() != written {
                    return Err(Stop::Again);
                }
                Ok(Err(error))
            }
            Err(Halt::Group(reason)) => Err(Stop::Failed(reason)),
        }
    }

    fn run(&mut self, work: &mut Work, batch: &Batch) -> Result<Applied, Halt> {
        let moment = self.clock.now();
        if batch.tenant != *work.snapshot.tenant() {
            return Err(Halt::invalid(format!("this store belongs to tenant `{}`", work.snapshot.tenant())));
        }
        self.admit(batch, &moment).map_err(Halt::Batch)?;
        for need in &batch.require {
            if !work.holds(&self.conn, need, moment.unix())? {
                return Err(Halt::conflict(need));
            }
        }
        for change in &batch.changes {
            work.change(&self.conn, change, moment.unix())?;
        }
        // INVARIANT: every record of the batch is sealed before the first is inserted, so what refuses the batch leaves no
        // row, and what fails from here on fails the group.
        let rows = batch.records.iter().map(|draft| self.seal(work, draft, &moment)).collect::<Result<Vec<_>, _>>()?;
        for row in &rows {
            insert(&self.conn, work.tenant(), row).map_err(Halt::failed)?;
        }
        if batch.records.iter().any(|draft| work.book.is_due(draft, work.next_index)) {
            let tenant = work.tenant().to_owned();
            work.book.keep(&self.conn, &tenant, work.next_index).map_err(Halt::failed)?;
        }
        let receipts =
            rows.into_iter().map(|row| Receipt { index: row.index, record_id: row.record_id, leaf_hash: row.leaf_hash });
        let receipts = receipts.collect();
        work.position = self.sealer.position();
        Ok(Applied { revision: work.snapshot.revision(), receipts })
    }

    /// Whether the batch may be tried at all: no action during an outage.
    pub(crate) fn admit(&self, batch: &Batch, now: &Moment) -> Result<(), ApplyError> {
        match batch.necessity {
            Necessity::Act => {
                let stepped = (now.status == ClockStatus::Disrupted).then_some(Outage::Clock);
                match self.shared.conditions.without_disk().or(stepped) {
                    Some(outage) => Err(ApplyError::Unavailable(outage)),
                    None => Ok(()),
                }
            }
            Necessity::Note if batch.require.is_empty() && batch.changes.is_empty() => Ok(()),
            Necessity::Note => Err(ApplyError::Invalid("a note changes nothing".to_owned())),
        }
    }

    /// Seals a draft in its place and moves on to the next one. SPEC: LG-11, record.md §1.6
    pub(crate) fn seal(&mut self, work: &mut Work, draft: &Draft, moment: &Moment) -> Result<Row, Halt> {
        if draft.tenant != *self.state.snapshot.tenant() {
            return Err(Halt::invalid("a record of another tenant"));
        }
        let index = work.next_index;
        let mut turn = work.book.enter(draft, index);
        if let Some(days) = self.retention.get(&draft.retention.class) {
            turn.keep_days = *days;
        }
        turn.legal_hold |= work.anyone_held(draft, self.sealer.identity());
        let until = moment.unix().plus(i64::from(turn.keep_days).saturating_mul(86_400));
        let pool = &mut self.pool;
        let mut keys = |subject: &Subject| work.vault.key(subject, &work.snapshot);
        let sealed = match self.sealer.seal_in_turn(draft, &turn, moment, |bytes| pool.fill(bytes), &mut keys) {
            Ok(sealed) => sealed,
            Err(SealError::Key { fault }) => return Err(Halt::side(&fault)),
            Err(error) => return Err(Halt::invalid(error.to_string())),
        };
        work.book.sealed(draft.session.id.as_deref(), draft.record_type, &sealed.record_id);
        work.next_index = index.saturating_add(1);
        let side = if sealed.side.count() > 0 { sealed.side.to_bytes() } else { Vec::new() };
        let (record_id, leaf_hash) = (sealed.record_id, sealed.leaf_hash);
        Ok(Row { index, record_id, leaf_hash, until: until.0, bytes: sealed.bytes, side })
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

    pub(crate) fn statement(&self, sql: &str) -> Result<(), String> {
        self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(drop).map_err(|error| error.to_string())
    }

    pub(crate) fn unfinished_erasures(&self) -> Result<Vec<Batch>, StoreError> {
        erase::unfinished(&self.conn, self.state.snapshot.tenant())
    }

    /// Empties the write-ahead log into the database; what was overwritten is then nowhere.
    pub(crate) fn compact(&self) -> Result<(), StoreError> {
        let _alone = self.shared.backfilling();
        let busy: i64 = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 { Ok(()) } else { Err(StoreError::Busy) }
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

    /// Whether anyone a draft is about is on legal hold.
    fn anyone_held(&self, draft: &Draft, identity: &Identity) -> bool {
        let mut subjects = if self.snapshot.holds().next().is_none() { Vec::new() } else { draft.subjects(identity) }.into_iter();
        subjects.any(|subject| self.snapshot.is_held(&self.vault.reference(&subject)))
    }

    pub(crate) fn tenant(&self) -> &str {
        self.snapshot.tenant().as_str()
    }
}

/// Puts a sealed record where its index says.
pub(crate) fn insert(conn: &Connection, tenant: &str, row: &Row) -> rusqlite::Result<()> {
    let idx = signed(row.index);
    conn.prepare_cached("INSERT INTO records (tenant, idx, record_id, leaf_hash, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![tenant, idx, row.record_id, row.leaf_hash.as_bytes(), row.bytes])?;
    if !row.side.is_empty() {
        conn.prepare_cached("INSERT INTO sides (tenant, idx, body, until_s) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![tenant, idx, row.side, row.until])?;
    }
    Ok(())
}

impl Halt {
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Batch(ApplyError::Invalid(reason.into()))
    }

    /// A row that the log must hold cannot be written. A place that is already taken is no fault of the batch: someone else
    /// wrote this log.
    #[expect(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
    fn failed(error: rusqlite::Error) -> Self {
        Self::Group(error.to_string())
    }

    /// The keys cannot be used.
    pub(crate) fn side(fault: &Fault) -> Self {
        Self::Batch(ApplyError::Unavailable(Outage::SideStore(fault.context.clone())))
    }

    fn conflict(need: &Precondition) -> Self {
        Self::Batch(ApplyError::Conflict(need.clone()))
    }
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again => f.write_str("a refused batch could not be taken back"),
            Self::Failed(reason) => f.write_str(reason),
        }
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
