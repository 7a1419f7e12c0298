//! The one thread that writes: it drains the queue and commits what it finds together.
//!
//! No lingering: while one group is being synced the next one gathers by itself (speed.md §4). On a busy core a caller that is
//! about to hand in a batch goes first; on an idle one no caller is waited for.

use super::{
    admit::goes_alone,
    command::{Answer, Command},
    group_commit::{Attempt, CommitFailure, GroupCommit},
    heartbeat::{Heartbeat, Left, closings},
    outage::{Outage, RECORDED, WriteFailure},
    outage_records::OutageRecords,
};
use crate::{
    batch::{Applied, ApplyError, Batch, Necessity},
    config::StoreError,
    db::error::DbError,
    unproven::Summary,
};
use remit_model::time::{ClockStatus, Moment};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Most batches in one transaction; bounds what a crash can leave unanswered and how long readers wait for news.
const GROUP: usize = 512;

/// The writer thread: the commit, and what the log says of itself.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) group: GroupCommit,
    outages: OutageRecords,
    heartbeat: Heartbeat,
    /// Counted refusals whose record is not durable yet.
    summary: Option<Summary>,
}

impl Writer {
    pub(crate) fn new(group: GroupCommit, heartbeat: Duration) -> Self {
        let heartbeat = Heartbeat::new(heartbeat, group.sealing.clock.now().mono_ns);
        Self { group, outages: OutageRecords::default(), heartbeat, summary: None }
    }

    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut stopped = false;
        let mut next = queue.blocking_recv();
        while let Some(command) = next {
            next = match command {
                Command::Apply(_, answer) | Command::Stop(_, answer) if stopped => {
                    let _ = answer.send(Err(ApplyError::Unavailable(Outage::Closed)));
                    None
                }
                Command::Apply(batch, answer) => self.gather(&mut queue, batch, answer),
                Command::Stop(batch, answer) => {
                    stopped = true;
                    self.summarise_rest();
                    self.close_sessions(Left::Stop);
                    let _ = answer.send(self.single(batch));
                    None
                }
                Command::End => return,
                other => {
                    self.serve(other);
                    None
                }
            };
            if next.is_none() {
                next = queue.blocking_recv();
            }
        }
    }

    /// Commits one batch.
    pub(crate) fn single(&mut self, batch: Batch) -> Result<Applied, ApplyError> {
        self.commit(vec![batch]).pop().unwrap_or(Err(ApplyError::Unavailable(Outage::Closed)))
    }

    /// Closes the sessions that no gateway closed.
    pub(crate) fn close_sessions(&mut self, left: Left) {
        let open = self.group.sealing.open_sessions();
        for batch in closings(self.group.state.snapshot.tenant(), &open, left) {
            let sessions = batch.records.len();
            if let Err(error) = self.single(batch) {
                tracing::error!(%error, sessions, "sessions that were open could not be closed in the ledger");
            }
        }
    }

    /// Records the refusals that were only counted, whether or not it is time: the process ends.
    fn summarise_rest(&mut self) {
        // One may be left over from a commit that failed.
        for _ in 0..2 {
            self.summary = self.summary.take().or_else(|| self.group.handles.unproven.all());
            let Some(refusals) = self.summary.as_ref().map(Summary::count) else { return };
            self.commit(Vec::new());
            if self.summary.is_some() {
                tracing::error!(refusals, "refusals of callers that proved nothing could not be recorded");
                return;
            }
        }
    }

    /// Bookkeeping between groups.
    fn serve(&mut self, command: Command) {
        match command {
            Command::Tend { sweep, done } => {
                self.tend(sweep);
                done.map(|done| done.send(()));
            }
            Command::Aside(task, answer) => {
                let _ = answer.send(self.group.db.aside(&task).map_err(StoreError::from));
            }
            Command::DestroyValues { due, now, answer } => {
                let _ = answer.send(self.destroy_values(due, now));
            }
            Command::Compact(answer) => {
                let _ = answer.send(self.compact());
            }
            #[cfg(test)]
            Command::LimitGrowth(pages, answer) => {
                self.group.db.limit_growth(pages);
                let _ = answer.send(());
            }
            Command::Apply(..) | Command::Stop(..) | Command::End => {}
        }
    }

    /// Commits one batch with every other that waits; gives back a command that ended the gathering.
    fn gather(&mut self, queue: &mut mpsc::Receiver<Command>, batch: Batch, answer: Answer<Attempt>) -> Option<Command> {
        let (mut batches, mut answers, mut next) = (vec![batch], vec![answer], None);
        std::thread::yield_now();
        while batches.len() < GROUP && !batches.last().is_some_and(goes_alone) {
            match queue.try_recv() {
                Ok(Command::Apply(batch, answer)) if !goes_alone(&batch) => {
                    batches.push(batch);
                    answers.push(answer);
                }
                Ok(command) => {
                    next = Some(command);
                    break;
                }
                Err(_) => break,
            }
        }
        for (answer, result) in answers.into_iter().zip(self.commit(batches)) {
            // A caller that went away does not undo its batch.
            let _ = answer.send(result);
        }
        next
    }

    /// Commits these batches in one transaction and answers each, in order. What the log has to say of itself goes first.
    fn commit(&mut self, mut batches: Vec<Batch>) -> Vec<Attempt> {
        let conditions = &self.group.handles.conditions;
        conditions.set_side(self.group.sealing.vault.failure());
        let drained = self.group.drain();
        let notices = self.notices();
        let noticed = notices.is_some();
        // An erasing batch goes alone, so that the chains which end with it are all in the database.
        let mut answers = if batches.iter().any(goes_alone) {
            notices.map(|notices| self.settle(&drained, &[notices])).unwrap_or_default()
        } else {
            batches.splice(0..0, notices);
            Vec::new()
        };
        answers.extend(self.settle(&drained, &batches));
        if noticed && answers.remove(0).is_ok() {
            self.outages.recorded(self.group.sealing.clock.steps());
            self.summary = None;
        }
        let acts = batches.iter().rev().zip(answers.iter().rev()).filter(|(batch, _)| batch.necessity == Necessity::Act);
        for (_, answer) in acts {
            if let Err(ApplyError::Unavailable(outage)) = answer {
                self.group.handles.conditions.count_refused(outage.code());
            }
        }
        answers
    }

    fn settle(&mut self, drained: &Result<(), DbError>, batches: &[Batch]) -> Vec<Attempt> {
        let failure = match drained {
            Ok(()) => match self.group.settle(batches) {
                Ok(answers) => return answers,
                Err(CommitFailure::Keys(why)) => return self.group.without_keys(why, batches),
                Err(CommitFailure::Database(error)) => WriteFailure::Database(error),
                // The second time, identifiers were read.
                Err(CommitFailure::Guessed) => WriteFailure::Damaged(Arc::new(CommitFailure::Guessed)),
                Err(CommitFailure::World(error)) => WriteFailure::Damaged(Arc::new(error)),
            },
            Err(error) => WriteFailure::Database(error.clone()),
        };
        self.group.spill(&failure, batches, &mut self.outages)
    }

    /// One look around; the publisher asks for it every round.
    fn tend(&mut self, sweep: bool) {
        let now = self.group.sealing.clock.now();
        let (handles, group) = (Arc::clone(&self.group.handles), &mut self.group);
        if group.state.snapshot.rest() {
            handles.snapshot.store(Arc::new(group.state.snapshot.clone()));
        }
        let mut batches = Vec::new();
        if self.heartbeat.take(now.mono_ns) {
            let tenant = group.state.snapshot.tenant();
            batches.push(Batch::new(tenant.clone()).note().record(self.heartbeat.record(tenant, &handles.reads.take())));
        }
        let degraded = handles.conditions.outage().is_some() || !group.spool.rows().is_empty();
        let sweep = sweep || group.sweeper.is_due(&now);
        if sweep || degraded || !batches.is_empty() || self.notices().is_some() {
            self.commit(batches);
        }
    }

    /// What is to be recorded of outages, of the clock and of refusals that were counted, if anything.
    fn notices(&mut self) -> Option<Batch> {
        let (now, steps): (Moment, _) = (self.group.sealing.clock.now(), self.group.sealing.clock.steps());
        let conditions = &self.group.handles.conditions;
        conditions.set_clock(now.status == ClockStatus::Disrupted);
        let outages = conditions.all();
        for code in RECORDED {
            let outage = outages.iter().find(|outage| outage.code() == code);
            self.outages.observe(code, outage, conditions.take_refused(code), &now);
        }
        let tenant = self.group.state.snapshot.tenant();
        let mut drafts = self.outages.drafts(tenant, steps);
        if self.summary.is_none() {
            self.summary = self.group.handles.unproven.due(&now);
        }
        // It holds addresses, which need the keys of side values: that these are gone must be recorded nevertheless.
        let keys = !outages.iter().any(|outage| matches!(outage, Outage::SideStore(_)));
        drafts.extend(self.summary.as_ref().filter(|_| keys).map(|summary| summary.record(tenant)));
        (!drafts.is_empty()).then(|| drafts.into_iter().fold(Batch::new(tenant.clone()).note(), Batch::record))
    }

    /// Empties the write-ahead log into the database; what was overwritten is then nowhere.
    fn compact(&self) -> Result<(), StoreError> {
        let _alone = self.group.handles.backfilling();
        if self.group.db.compact()? { Ok(()) } else { Err(StoreError::Busy) }
    }
}
