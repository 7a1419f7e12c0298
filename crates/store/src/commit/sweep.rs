//! Forgets what has expired, a little at a time: inside transactions that happen anyway, or in ones of its own while nobody asks.

use crate::{batch::Revocation, commit::group_commit::Work};
use remit_model::time::{ClockStatus, Moment, UnixTime};
use rusqlite::{Connection, params};

/// Rows of one table that one step removes at most: the pause a request can meet stays small.
const STEP: i64 = 128;

/// A step that left something behind is followed by another after so long: six thousand rows a second can go, more than
/// requests on one core make.
const AGAIN_NS: u64 = 20_000_000;

/// Rows live this much longer than they say, so that skewed clocks and late replays still meet them.
pub(crate) const GRACE_SECONDS: i64 = 600;

/// Rows that only their expiry keeps. Refresh tokens go with their family.
const EXPIRED: &[&str] = &[
    "DELETE FROM jtis WHERE (tenant, kind, key) IN (SELECT tenant, kind, key FROM jtis WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
    "DELETE FROM codes WHERE rowid IN (SELECT rowid FROM codes WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
    "DELETE FROM tokens WHERE rowid IN (SELECT rowid FROM tokens WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
    "DELETE FROM families WHERE (tenant, family) IN (SELECT tenant, family FROM families WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
    "DELETE FROM budgets WHERE (tenant, key) IN (SELECT tenant, key FROM budgets WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
];

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
    pub(crate) fn sweep(&mut self, conn: &Connection, work: &mut Work, moment: &Moment) -> rusqlite::Result<bool> {
        let now = moment.unix();
        // A clock set forward by mistake must not forget a revocation that is needed again once it is set back.
        if (now != self.at && moment.status != ClockStatus::Disrupted) || self.is_due(moment) {
            self.behind = step(conn, work, now)?;
            (self.at, self.mono_ns) = (now, moment.mono_ns);
        }
        Ok(self.behind)
    }

    /// Whether a step left something behind and it is time for the next.
    pub(crate) fn is_due(&self, moment: &Moment) -> bool {
        let waited = moment.mono_ns.saturating_sub(self.mono_ns) >= AGAIN_NS;
        self.behind && waited && moment.status != ClockStatus::Disrupted
    }
}

/// One small step; says whether there is more. A revocation is forgotten only when every token it can concern has expired,
/// so the snapshot's meaning, and therefore its revision, does not change.
fn step(conn: &Connection, work: &mut Work, now: UnixTime) -> rusqlite::Result<bool> {
    let before = now.plus(-GRACE_SECONDS).0;
    let tenant = work.snapshot.tenant().as_str().to_owned();
    let (all, mut more) = (usize::try_from(STEP).unwrap_or(usize::MAX), false);
    for sql in EXPIRED {
        more |= conn.prepare_cached(sql)?.execute(params![tenant, before, STEP])? >= all;
    }
    let mut select = conn.prepare_cached("SELECT kind, key FROM revocations WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3")?;
    let expired = select
        .query_map(params![tenant, before, STEP], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    more |= expired.len() >= all;
    for (kind, key) in expired {
        conn.prepare_cached("DELETE FROM revocations WHERE tenant = ?1 AND kind = ?2 AND key = ?3")?
            .execute(params![tenant, kind, key])?;
        if let Some(what) = Revocation::from_parts(&kind, key) {
            work.forget(&what);
        }
    }
    Ok(more)
}
