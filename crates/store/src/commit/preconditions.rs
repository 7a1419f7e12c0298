//! Preconditions, checked by the writer inside the transaction: what passes here still holds at commit.

use crate::{
    batch::{Budget, JtiKind, KeyedHash, Precondition},
    commit::group_commit::{Halt, Work},
};
use remit_model::time::UnixTime;
use rusqlite::{Connection, OptionalExtension, params};

impl Work {
    /// Whether the requirement holds; a budget is counted, an identifier remembered, in the same step.
    pub(crate) fn holds(&self, conn: &Connection, need: &Precondition, now: UnixTime) -> Result<bool, Halt> {
        let tenant = self.snapshot.tenant().as_str();
        Ok(match need {
            Precondition::Unused(code) => is_unused(conn, tenant, code, now)?,
            Precondition::Once { kind, key, until } => remember(conn, tenant, *kind, key, *until)?,
            Precondition::NewAgent(agent) => !self.snapshot.has_agent(agent),
            Precondition::Revision(revision) => self.snapshot.revision() == *revision,
            Precondition::Budget(budget) => count(conn, tenant, budget)?,
            Precondition::NotHeld(subject) => !self.snapshot.is_held(subject),
            Precondition::Held(subject) => self.snapshot.is_held(subject),
            Precondition::RefreshCurrent(hash) => is_current(conn, tenant, hash, now)?,
        })
    }
}

/// Whether the identifier was new: one statement, for it is on the way of every request that a client signs.
fn remember(conn: &Connection, tenant: &str, kind: JtiKind, key: &str, until: UnixTime) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "INSERT INTO jtis (tenant, kind, key, until_s) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (tenant, kind, key) DO NOTHING",
    )?
    .execute(params![tenant, kind.as_str(), key, until.0])
    .map(|rows| rows > 0)
}

/// SPEC: N-AC-01: of two racing redeemers the second finds `used_txn` set by the first.
fn is_unused(conn: &Connection, tenant: &str, code: &KeyedHash, now: UnixTime) -> Result<bool, Halt> {
    let found = conn
        .prepare_cached("SELECT 1 FROM codes WHERE tenant = ?1 AND hash = ?2 AND used_txn IS NULL AND until_s > ?3")?
        .query_row(params![tenant, code, now.0], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

fn is_current(conn: &Connection, tenant: &str, hash: &KeyedHash, now: UnixTime) -> Result<bool, Halt> {
    let found = conn
        .prepare_cached(
            "SELECT 1 FROM refresh_tokens AS t JOIN families AS f ON f.tenant = t.tenant AND f.family = t.family
             WHERE t.tenant = ?1 AND t.hash = ?2 AND t.until_s > ?3 AND f.revoked = 0 AND f.generation = t.generation",
        )?
        .query_row(params![tenant, hash, now.0], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// INVARIANT: no sequence of batches takes a budget past its limit, because check and count are one step of one writer.
fn count(conn: &Connection, tenant: &str, budget: &Budget) -> Result<bool, Halt> {
    if budget.add < 0 {
        return Err(Halt::invalid("a budget counts amounts of zero or more; use `Spend` to give back"));
    }
    let spent = spent(conn, tenant, &budget.key)?;
    let Some(total) = spent.checked_add(budget.add).filter(|total| *total <= budget.limit) else { return Ok(false) };
    set_spent(conn, tenant, &budget.key, total, budget.until)?;
    Ok(true)
}

pub(crate) fn spent(conn: &Connection, tenant: &str, key: &str) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT spent FROM budgets WHERE tenant = ?1 AND key = ?2")?
        .query_row(params![tenant, key], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

/// Keeps the latest `until`: a count must never be forgotten while any caller still relies on it.
pub(crate) fn set_spent(conn: &Connection, tenant: &str, key: &str, total: i64, until: Option<UnixTime>) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO budgets (tenant, key, spent, until_s) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (tenant, key) DO UPDATE SET spent = excluded.spent, until_s = max(until_s, excluded.until_s)",
    )?
    .execute(params![tenant, key, total, until.map(|t| t.0)])
    .map(drop)
}
