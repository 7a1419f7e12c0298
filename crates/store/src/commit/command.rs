//! The commands of the writer thread: plain data with an answer to each, so that callers know nothing of the writer.

use crate::{
    batch::{Applied, ApplyError, Batch},
    config::StoreError,
    db::group::Task,
};
use remit_model::time::UnixTime;
use std::{collections::BTreeMap, fmt};
use tokio::sync::oneshot;

/// Where an answer goes. A caller that went away undoes nothing.
pub(crate) type Answer<T> = oneshot::Sender<T>;

pub(crate) enum Command {
    Apply(Batch, Answer<Result<Applied, ApplyError>>),
    /// The last batch; later ones are refused, while bookkeeping goes on.
    Stop(Batch, Answer<Result<Applied, ApplyError>>),
    /// Looks after heartbeats, outages and the spool, and now and then (`sweep`) forgets what has expired.
    Tend {
        sweep: bool,
        done: Option<Answer<()>>,
    },
    /// Bookkeeping in a transaction of its own.
    Aside(Task, Answer<Result<(), StoreError>>),
    /// Destroys what no hold protects, after a record of it. Answers with what was closed.
    DestroyValues {
        due: Vec<DueValues>,
        now: UnixTime,
        answer: Answer<Result<SideBodies, StoreError>>,
    },
    /// Takes what was deleted out of the write-ahead log.
    Compact(Answer<Result<(), StoreError>>),
    /// The thread ends.
    End,
    #[cfg(test)]
    LimitGrowth(i64, Answer<()>),
}

/// Side values by index, as they are stored.
pub(crate) type SideBodies = BTreeMap<u64, Vec<u8>>;

/// Side values whose time has come: whose they are, by pseudonym, and what is left of them afterwards.
#[derive(Debug)]
pub(crate) struct DueValues {
    pub(crate) index: u64,
    pub(crate) owners: Vec<String>,
    pub(crate) closed: Vec<u8>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply(..) => "Apply",
            Self::Stop(..) => "Stop",
            Self::Tend { .. } => "Tend",
            Self::Aside(..) => "Aside",
            Self::DestroyValues { .. } => "DestroyValues",
            Self::Compact(_) => "Compact",
            Self::End => "End",
            #[cfg(test)]
            Self::LimitGrowth(..) => "LimitGrowth",
        })
    }
}
