//! What a group, a sweep and the publisher's bookkeeping write.

use super::rows::{Log, SESSIONS_UPTO, put_meta, signed, world_row};
use crate::{
    db::{
        group::{OpenSessions, PrivateRow, RecordRow, Swept, Task, WriteSet},
        sql,
    },
    world::row::Row,
};
use remit_model::time::UnixTime;
use rusqlite::{Connection, Statement, params};

/// What only its expiry keeps. Refresh tokens go with their family.
const EXPIRED: [&str; 6] = [
    "DELETE FROM jtis WHERE (tenant, kind, key) IN (SELECT tenant, kind, key FROM jtis WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
    "DELETE FROM codes WHERE rowid IN (SELECT rowid FROM codes WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
    "DELETE FROM tokens WHERE rowid IN (SELECT rowid FROM tokens WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
    "DELETE FROM provider_sessions WHERE rowid IN (SELECT rowid FROM provider_sessions WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
    "DELETE FROM families WHERE (tenant, family) IN (SELECT tenant, family FROM families WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
    "DELETE FROM budgets WHERE (tenant, key) IN (SELECT tenant, key FROM budgets WHERE tenant = ?1 AND until_s < ?2 LIMIT ?3)",
];

pub(super) fn write(conn: &Connection, log: &Log, writes: &WriteSet) -> rusqlite::Result<()> {
    let tenant = log.tenant.as_str();
    each(conn, sql::ONCE, &writes.once, |insert, (kind, key, until)| {
        insert.execute(params![tenant, kind.as_str(), key, until.0])
    })?;
    each(conn, sql::PUT_BUDGET, &writes.budgets, |put, (key, budget)| {
        put.execute(params![tenant, key, budget.spent, budget.until.map(|until| until.0)])
    })?;
    for row in &writes.private {
        private(conn, tenant, row)?;
    }
    each(conn, sql::USE_CODE, &writes.used_codes, |update, (code, txn)| update.execute(params![txn, tenant, code]))?;
    each(conn, sql::FAIL_CODE, &writes.failed_codes, |update, (code, times)| update.execute(params![times, tenant, code]))?;
    each(conn, sql::ROTATE_FAMILY, &writes.rotated, |update, (family, (generation, until))| {
        update.execute(params![signed(*generation), until.0, tenant, family])
    })?;
    each(conn, sql::REVOKE_FAMILY, &writes.revoked_families, |update, family| update.execute(params![tenant, family]))?;
    world(conn, tenant, writes)?;
    each(conn, sql::PUT_OBJECT, &writes.objects, |put, (name, bytes)| put.execute(params![tenant, name, bytes]))?;
    if let Some((revision, min_revision)) = writes.head {
        conn.prepare_cached(sql::MOVE_HEAD)?.execute(params![signed(revision), signed(min_revision), tenant])?;
    }
    records(conn, log, &writes.records)?;
    writes.sessions.as_ref().map_or(Ok(()), |open| sessions(conn, tenant, open))
}

/// Executes one statement for each item; prepares nothing for none.
fn each<T>(
    conn: &Connection,
    sql: &str,
    items: impl IntoIterator<Item = T>,
    mut execute: impl FnMut(&mut Statement<'_>, T) -> rusqlite::Result<usize>,
) -> rusqlite::Result<()> {
    let mut items = items.into_iter().peekable();
    if items.peek().is_none() {
        return Ok(());
    }
    let mut statement = conn.prepare_cached(sql)?;
    for item in items {
        execute(&mut statement, item)?;
    }
    Ok(())
}

fn private(conn: &Connection, tenant: &str, row: &PrivateRow) -> rusqlite::Result<()> {
    match row {
        PrivateRow::Code { hash, client, payload, until, subject } => {
            conn.prepare_cached(sql::PUT_CODE)?.execute(params![tenant, hash, client, payload, until.0, subject])
        }
        PrivateRow::Family { family, until, subject } => {
            conn.prepare_cached(sql::PUT_FAMILY)?.execute(params![tenant, family, until.0, subject])
        }
        PrivateRow::Refresh { hash, family, generation, client, jkt, payload, until } => {
            let generation = signed(*generation);
            conn.prepare_cached(sql::PUT_REFRESH)?
                .execute(params![tenant, hash, family, generation, client, jkt, payload, until.0])
        }
        PrivateRow::Token { jti, txn, body, until, subject } => {
            conn.prepare_cached(sql::PUT_TOKEN)?.execute(params![tenant, jti, txn, body, until.0, subject])
        }
        PrivateRow::ProviderSession { human, payload, until, subject } => {
            conn.prepare_cached(sql::PUT_PROVIDER_SESSION)?.execute(params![tenant, human, payload, until.0, subject])
        }
        PrivateRow::NoProviderSession { human } => {
            conn.prepare_cached(sql::DROP_PROVIDER_SESSION)?.execute(params![tenant, human])
        }
    }
    .map(drop)
}

/// Rows of the world, and what an erasure takes out: the subject's rows, and their account without a tombstone.
fn world(conn: &Connection, tenant: &str, writes: &WriteSet) -> rusqlite::Result<()> {
    each(conn, sql::PUT_WORLD, &writes.world, |put, row| {
        let until = row.until.map(|until| until.0);
        put.execute(params![tenant, row.kind.as_str(), &*row.key, row.body.as_deref(), signed(row.revision), until])
    })?;
    each(conn, sql::DELETE_WORLD, &writes.forgotten, |delete, name| delete.execute(params![tenant, "human", &**name]))?;
    for erasure in &writes.erasures {
        conn.prepare_cached(sql::PUT_ERASURE)?.execute(params![tenant, erasure.id, erasure.subject_ref, erasure.key_ids])?;
        for sql in sql::FORGET {
            conn.execute(sql, params![tenant, erasure.subject_ref])?;
        }
    }
    each(conn, sql::FINISH_ERASURE, &writes.finished, |update, id| update.execute(params![tenant, id]))
}

/// Puts sealed records where their indices say.
pub(super) fn records(conn: &Connection, log: &Log, rows: &[RecordRow]) -> rusqlite::Result<()> {
    let tenant = log.tenant.as_str();
    for row in rows {
        let place = log.place(row.index);
        conn.prepare_cached("INSERT INTO records (place, tenant, record_id, leaf_hash, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![place, tenant, row.record_id, row.leaf_hash.as_bytes(), row.bytes])?;
        if !row.side.is_empty() {
            conn.prepare_cached("INSERT INTO sides (place, tenant, body, until_s) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![place, tenant, row.side, row.until])?;
        }
    }
    Ok(())
}

fn sessions(conn: &Connection, tenant: &str, open: &OpenSessions) -> rusqlite::Result<()> {
    each(conn, sql::DELETE_SESSION, &open.gone, |delete, id| delete.execute(params![tenant, &**id]))?;
    each(conn, sql::PUT_SESSION, &open.changed, |put, (id, body)| put.execute(params![tenant, &**id, body]))?;
    put_meta(conn, tenant, SESSIONS_UPTO, &open.upto.to_string())
}

pub(super) fn sweep(conn: &Connection, log: &Log, before: UnixTime, limit: u32) -> rusqlite::Result<Swept> {
    let tenant = log.tenant.as_str();
    let (all, mut swept) = (usize::try_from(limit).unwrap_or(usize::MAX), Swept::default());
    for sql in EXPIRED {
        swept.more |= conn.prepare_cached(sql)?.execute(params![tenant, before.0, limit])? >= all;
    }
    let mut delete = conn.prepare_cached(sql::EXPIRED_WORLD)?;
    let rows = delete.query_map(params![tenant, before.0, limit], world_row)?.collect::<Result<Vec<_>, _>>()?;
    swept.more |= rows.len() >= all;
    swept.world = rows.into_iter().flatten().collect();
    // A follower that has not seen these tombstones will not see them any more.
    let missed = swept.world.iter().filter(|row| row.body.is_none()).map(|row: &Row| row.revision).max();
    if let Some(revision) = missed {
        conn.prepare_cached(sql::MOVE_HEAD)?.execute(params![0, signed(revision), tenant])?;
    }
    Ok(swept)
}

pub(super) fn task(conn: &Connection, log: &Log, task: &Task) -> rusqlite::Result<()> {
    let tenant = log.tenant.as_str();
    match task {
        Task::ObjectPublished(name) => {
            conn.prepare_cached(sql::OBJECT_PUBLISHED)?.execute(params![tenant, name])?;
        }
        Task::HeadSigned { size, root, keep } => {
            conn.prepare_cached(sql::PUT_CHECKPOINT)?.execute(params![tenant, signed(*size), root.as_bytes()])?;
            conn.prepare_cached(sql::DROP_CHECKPOINTS)?.execute(params![tenant, keep])?;
        }
        Task::CloseSides { closed, held, later } => {
            each(conn, "UPDATE sides SET until_s = ?2 WHERE place = ?1", held, |update, index| {
                update.execute(params![log.place(*index), later.0])
            })?;
            each(conn, "UPDATE sides SET body = ?2 WHERE place = ?1", closed, |update, (index, body)| {
                update.execute(params![log.place(*index), body])
            })?;
        }
        Task::SidesDone(indices) => {
            each(conn, "UPDATE sides SET until_s = NULL WHERE place = ?1", indices, |update, index| {
                update.execute([log.place(*index)])
            })?;
        }
    }
    Ok(())
}
