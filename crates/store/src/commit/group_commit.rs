//! One transaction for many batches: the group commit.
//!
//! The group is read, admitted, sealed, written and committed; nothing is written that was not admitted.
//!
//! Crash points, in order:
//! 1. before COMMIT returns: nothing of the group exists, and no caller was told otherwise;
//! 2. after COMMIT, before the answers: everything exists and no caller was told; one that retries meets its own
//!    precondition (`Once`, `Unused`) and is refused, never doubled;
//! 3. after the answers: everything exists and the snapshot shows it.

use super::{
    admit::{Surroundings, admit, guessed, needs},
    outage::Outage,
    seal::{Mark, Sealing},
    spool::Spool,
    sweep::Sweeper,
};
use crate::{
    batch::{Applied, ApplyError, Batch, Receipt},
    db::{
        error::DbError,
        group::{Head, RecordRow},
        sqlite::Db,
    },
    handles::Handles,
    world::{row::RowError, snapshot::Snapshot},
};
use remit_model::time::{ClockStatus, Moment};
use std::{
    sync::{Arc, atomic::Ordering},
    vec,
};
use thiserror::Error;

/// Groups that read identifiers before they write, after one that had to be done again for them: a caller that keeps
/// presenting used ones makes no group be done twice but the first.
const EXACT_GROUPS: u32 = 64;

/// Everything the writer thread owns for committing.
#[derive(Debug)]
pub(crate) struct GroupCommit {
    pub(crate) db: Db,
    pub(crate) handles: Arc<Handles>,
    pub(crate) sealing: Sealing,
    /// As committed, in the database or the spool; a group works on copies.
    pub(crate) state: CommitState,
    pub(crate) spool: Spool,
    pub(crate) sweeper: Sweeper,
    exact: u32,
}

/// What is true after the last commit.
#[derive(Clone, Debug)]
pub(crate) struct CommitState {
    pub(crate) snapshot: Snapshot,
    pub(crate) head: Head,
}

/// Why a whole group failed.
#[derive(Debug, Error)]
pub(crate) enum CommitFailure {
    #[error("the database failed: {0}")]
    Database(#[from] DbError),
    /// An identifier that was taken for new is not, or may not be: nothing is decided until it was read.
    #[error("identifiers have to be read first")]
    Guessed,
    /// New keys of subjects could not be made durable.
    #[error("the keys of side values cannot be kept: {0}")]
    Keys(String),
    #[error("a row of the world cannot be used: {0}")]
    World(#[from] RowError),
}

/// The answer to a batch.
pub(crate) type Attempt = Result<Applied, ApplyError>;

impl GroupCommit {
    pub(crate) fn new(db: Db, handles: Arc<Handles>, sealing: Sealing, spool: Spool, head: Head) -> Self {
        let state = CommitState { snapshot: Snapshot::clone(&handles.snapshot.load()), head };
        Self { db, handles, sealing, state, spool, sweeper: Sweeper::new(), exact: 0 }
    }

    /// Commits these batches in one transaction and answers each, in order. When it fails, nothing of them happened.
    pub(crate) fn settle(&mut self, batches: &[Batch]) -> Result<Vec<Attempt>, CommitFailure> {
        let mark = self.sealing.mark();
        let exact = self.exact > 0;
        self.exact = self.exact.saturating_sub(1);
        let mut outcome = self.transact(batches, exact);
        if matches!(outcome, Err(CommitFailure::Guessed)) {
            self.exact = EXACT_GROUPS;
            self.take_back(mark.clone());
            outcome = self.transact(batches, true);
        }
        match outcome {
            Ok((state, answers)) => {
                self.handles.conditions.set_disk(None);
                self.publish(state, &answers);
                Ok(answers)
            }
            Err(failure) => {
                self.take_back(mark);
                tracing::error!(%failure, batches = batches.len(), "a transaction failed; its actions are refused");
                Err(failure)
            }
        }
    }

    /// Undoes the transaction and everything that sealing moved on.
    pub(crate) fn take_back(&mut self, mark: Mark) {
        // INVARIANT: sequence numbers, hashes and keys of a failed group are not used up, so the log has no gap.
        self.db.rollback();
        self.sealing.rewind(mark);
        self.sealing.vault.discard();
    }

    /// Why no action may be recorded now, even if the database takes it.
    pub(crate) fn outage(&self, now: &Moment) -> Option<Outage> {
        let stepped = (now.status == ClockStatus::Disrupted).then_some(Outage::Clock);
        self.handles.conditions.without_disk().or(stepped)
    }

    fn transact(&mut self, batches: &[Batch], exact: bool) -> Result<(CommitState, Vec<Attempt>), CommitFailure> {
        let now = self.sealing.clock.now();
        let (mut head, news) = self.db.begin(self.state.head)?;
        for row in news {
            self.state.snapshot.fold(row)?;
        }
        let facts = self.db.facts(&needs(batches, exact))?;
        let around = Surroundings { now: now.unix(), outage: self.outage(&now) };
        let sealing = &mut self.sealing;
        let mut admitted =
            admit(&self.state.snapshot, facts, batches, &around, |world, batch, private| sealing.seal(world, batch, private));
        if !exact && guessed(batches, &admitted.verdicts) {
            return Err(CommitFailure::Guessed);
        }
        admitted.writes.sessions = sealing.sessions_to_write();
        // CRASH: a key without a record is harmless; a record without its key would be unreadable from the start.
        sealing.vault.flush(now.unix()).map_err(CommitFailure::Keys)?;
        self.db
            .write(&admitted.writes)
            .map_err(|error| if !exact && error.is_clash() { CommitFailure::Guessed } else { CommitFailure::Database(error) })?;
        let more = self.sweeper.sweep(&self.db, &mut admitted.snapshot, &now)?;
        self.handles.behind.store(more, Ordering::Relaxed);
        // CRASH: until here nothing of the group happened. From here all of it did; a caller without an answer finds its records.
        self.db.commit()?;
        head.next_index = self.sealing.next_index();
        head.revision = admitted.snapshot.revision();
        let mut records = admitted.writes.records.into_iter();
        let answers = admitted.verdicts.into_iter().map(|verdict| {
            let (revision, count) = verdict?;
            Ok(Applied { revision, receipts: receipts(&mut records, count) })
        });
        let answers = answers.collect();
        Ok((CommitState { snapshot: admitted.snapshot, head }, answers))
    }

    /// Makes a committed group visible; the answers go out after this.
    fn publish(&mut self, state: CommitState, answers: &[Attempt]) {
        // INVARIANT: a snapshot shows only what is committed, so no decision rests on a change that can be lost.
        self.handles.snapshot.store(Arc::new(state.snapshot.clone()));
        self.handles.committed.store(state.head.next_index, Ordering::Release);
        let counts = &self.handles.counts;
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
        self.state = state;
    }
}

/// The places of the next `count` records.
fn receipts(records: &mut vec::IntoIter<RecordRow>, count: usize) -> Vec<Receipt> {
    let receipt = |row: RecordRow| Receipt { index: row.index, record_id: row.record_id, leaf_hash: row.leaf_hash };
    records.by_ref().take(count).map(receipt).collect()
}
