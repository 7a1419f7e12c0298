//! The one thread that writes: it drains the queue and commits what it finds together.
//!
//! No lingering: while one group is being synced the next one gathers by itself (speed.md §4). On a busy core whoever is
//! about to hand in a batch goes first; on an idle one nobody is waited for.

use crate::{
    batch::{Applied, ApplyError, Batch},
    commit::group_commit::Group,
    commit::outage::Outage,
};
use std::fmt;
use tokio::sync::{mpsc, oneshot};

/// Most batches in one transaction; bounds what a crash can leave unanswered and how long readers wait for news.
const GROUP: usize = 512;

type Answer = oneshot::Sender<Result<Applied, ApplyError>>;

pub(crate) enum Job {
    Apply(Batch, Answer),
    /// Bookkeeping of the publisher, between groups.
    Aside(Box<dyn FnOnce(&mut Group) + Send>),
    /// The last batch; later ones are refused, while bookkeeping goes on.
    Stop(Batch, Answer),
    End,
}

pub(crate) fn run(mut group: Group, mut queue: mpsc::Receiver<Job>) {
    let mut stopped = false;
    let mut next = queue.blocking_recv();
    while let Some(job) = next {
        next = match job {
            Job::Apply(_, answer) | Job::Stop(_, answer) if stopped => {
                let _ = answer.send(Err(ApplyError::Unavailable(Outage::Closed)));
                None
            }
            Job::Apply(batch, answer) => commit(&mut group, &mut queue, batch, answer),
            Job::Stop(batch, answer) => {
                stopped = true;
                group.close_sessions("stop");
                let _ = answer.send(single(&mut group, batch));
                None
            }
            Job::Aside(work) => {
                work(&mut group);
                None
            }
            Job::End => return,
        };
        if next.is_none() {
            next = queue.blocking_recv();
        }
    }
}

/// Commits one batch with every other that waits; gives back a job that ended the gathering.
fn commit(group: &mut Group, queue: &mut mpsc::Receiver<Job>, batch: Batch, answer: Answer) -> Option<Job> {
    let (mut batches, mut answers, mut next) = (vec![batch], vec![answer], None);
    std::thread::yield_now();
    while batches.len() < GROUP {
        match queue.try_recv() {
            Ok(Job::Apply(batch, answer)) => {
                batches.push(batch);
                answers.push(answer);
            }
            Ok(job) => {
                next = Some(job);
                break;
            }
            Err(_) => break,
        }
    }
    for (answer, result) in answers.into_iter().zip(group.commit(batches)) {
        // A caller that went away does not undo its batch.
        let _ = answer.send(result);
    }
    next
}

pub(crate) fn single(group: &mut Group, batch: Batch) -> Result<Applied, ApplyError> {
    group.commit(vec![batch]).pop().unwrap_or(Err(ApplyError::Unavailable(Outage::Closed)))
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply(..) => "Apply",
            Self::Aside(_) => "Aside",
            Self::Stop(..) => "Stop",
            Self::End => "End",
        })
    }
}
