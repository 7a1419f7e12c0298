//! Deletes expired rows, a few at a time: inside transactions that happen anyway, or in its own while the store is idle.

use crate::{
    db::{error::DbError, sqlite::Db},
    world::snapshot::{GRACE_SECONDS, Snapshot},
};
use remit_model::time::{ClockStatus, Moment, UnixTime};

/// Rows of one table that one step removes at most: the pause a request can meet stays small.
const STEP: u32 = 128;

/// A step that left something behind is followed by another after so long: six thousand rows a second can go, more than
/// requests on one core make.
const AGAIN_NS: u64 = 20_000_000;

/// When there is something to forget.
#[derive(Debug)]
pub(crate) struct Sweeper {
    /// When the last step was.
    at: UnixTime,
    mono_ns: u64,
    /// The last step removed as much as it may: there is more.
    behind: bool,
}

impl Sweeper {
    pub(crate) fn new() -> Self {
        Self { at: UnixTime(i64::MIN), mono_ns: 0, behind: false }
    }

    /// One step, if it is time: once a second, and sooner while there is more. Says whether there is more.
    pub(crate) fn sweep(&mut self, db: &Db, snapshot: &mut Snapshot, moment: &Moment) -> Result<bool, DbError> {
        let now = moment.unix();
        // A clock set forward by mistake must not forget a revocation that is needed again once it is set back.
        if (now != self.at && moment.status != ClockStatus::Disrupted) || self.is_due(moment) {
            // A revocation is forgotten only when every token it can concern has expired, so the snapshot's meaning, and
            // therefore its revision, does not change.
            let swept = db.sweep(now.plus(-GRACE_SECONDS), STEP)?;
            for row in &swept.world {
                snapshot.expire(row);
            }
            (self.behind, self.at, self.mono_ns) = (swept.more, now, moment.mono_ns);
        }
        Ok(self.behind)
    }

    /// Whether a step left something behind and it is time for the next.
    pub(crate) fn is_due(&self, moment: &Moment) -> bool {
        let waited = moment.mono_ns.saturating_sub(self.mono_ns) >= AGAIN_NS;
        self.behind && waited && moment.status != ClockStatus::Disrupted
    }
}
