//! Forgets what has expired, a little at a time, inside transactions that happen anyway.

use crate::{batch::Revocation, group::Work};
use remit_model::time::UnixTime;
use rusqlite::{Connection, params};

/// Rows of one table that one step removes at most: the pause a request can meet stays small.
const STEP: i64 = 256;

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

/// One small step. A revocation is forgotten only when every token it can concern has expired, so the snapshot's
/// meaning, and therefore its revision, does not change.
pub(crate) fn step(conn: &Connection, work: &mut Work, now: UnixTime) -> rusqlite::Result<()> {
    let before = now.plus(-GRACE_SECONDS).0;
    let tenant = work.snapshot.tenant().as_str().to_owned();
    for sql in EXPIRED {
        conn.prepare_cached(sql)?.execute(params![tenant, before, STEP])?;
    }
    let mut select = conn.prepare_cached("SELECT kind, key FROM revocations WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3")?;
    let expired = select
        .query_map(params![tenant, before, STEP], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    for (kind, key) in expired {
        conn.prepare_cached("DELETE FROM revocations WHERE tenant = ?1 AND kind = ?2 AND key = ?3")?
            .execute(params![tenant, kind, key])?;
        if let Some(what) = Revocation::from_parts(&kind, key) {
            work.forget(&what);
        }
    }
    Ok(())
}
