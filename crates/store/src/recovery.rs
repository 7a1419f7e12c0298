//! Reads the state of the last commit back into memory when a store opens.

use crate::{
    batch::Revocation,
    commit::erase,
    commit::group_commit::set_meta,
    config::{Config, StoreError},
    db::readers::unsigned,
    vault::Vault,
    world::snapshot::Snapshot,
};
use remit_ledger::{Hash, Record};
use remit_model::{display, id::AgentId, time::UnixTime};

use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;

pub(crate) fn snapshot(conn: &Connection, config: &Config) -> Result<Snapshot, StoreError> {
    let tenant = config.tenant.as_str();
    let mut snapshot = Snapshot::empty(config.tenant.clone());
    agents(conn, tenant, &mut snapshot)?;
    rows(conn, "SELECT body FROM humans WHERE tenant = ?1", tenant, |human| snapshot.put_human(human))?;
    let mut revoked = conn.prepare("SELECT kind, key, until_s FROM revocations WHERE tenant = ?1")?;
    let revoked = revoked.query_map([tenant], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?)))?;
    for row in revoked {
        let (kind, key, until) = row?;
        let what = Revocation::from_parts(&kind, key).ok_or_else(|| StoreError::Corrupt(format!("revocation kind `{kind}`")))?;
        snapshot.revoke(&what, UnixTime(until));
    }
    let mut holds = conn.prepare("SELECT subject_ref, since_s FROM holds WHERE tenant = ?1")?;
    for row in holds.query_map([tenant], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))? {
        let (subject, since) = row?;
        snapshot.hold(&subject, UnixTime(since));
    }
    let revision = meta(conn, tenant, "revision")?.unwrap_or_else(|| "0".to_owned());
    snapshot.set_revision(revision.parse().map_err(|_| StoreError::Corrupt(format!("revision `{revision}`")))?);
    Ok(snapshot)
}

/// The number of records and the last of them. INVARIANT: indices are gapless, so the count is the last index plus one.
pub(crate) fn tail(conn: &Connection, tenant: &str) -> Result<(u64, Option<Record>), StoreError> {
    let last: Option<(u64, Vec<u8>)> = conn
        .query_row("SELECT idx, bytes FROM records WHERE tenant = ?1 ORDER BY idx DESC LIMIT 1", [tenant], |row| {
            Ok((unsigned(row, 0)?, row.get(1)?))
        })
        .optional()?;
    let Some((index, bytes)) = last else { return Ok((0, None)) };
    let record = Record::parse(&bytes).map_err(|error| StoreError::Corrupt(format!("record {index}: {error}")))?;
    Ok((index.saturating_add(1), Some(record)))
}

/// Opens the key store that belongs to this database, and destroys again what was erased before: a key may have come
/// back with an old backup.
pub(crate) fn vault(conn: &Connection, config: &Config) -> Result<Vault, StoreError> {
    let tenant = config.tenant.as_str();
    let bound = meta(conn, tenant, "vault")?;
    let vault = Vault::open(config, bound.as_deref())?;
    set_meta(conn, tenant, "vault", &vault.id())?;
    let erased = erase::keys(conn, tenant)?;
    vault.destroy(&erased, config.clock.unix())?;
    Ok(vault)
}

/// The leaf of one record.
pub(crate) fn leaf(conn: &Connection, tenant: &str, index: u64) -> rusqlite::Result<Option<Hash>> {
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    conn.query_row("SELECT leaf_hash FROM records WHERE tenant = ?1 AND idx = ?2", params![tenant, index], |row| {
        row.get::<_, [u8; 32]>(0)
    })
    .optional()
    .map(|found| found.map(Hash))
}

/// Binds the database to its log at first open, and checks the binding afterwards.
pub(crate) fn bind(conn: &Connection, config: &Config) -> Result<(), StoreError> {
    for (what, expected) in [("log origin", &config.log_origin), ("producer", &config.producer_id)] {
        match meta(conn, config.tenant.as_str(), what)? {
            None => set_meta(conn, config.tenant.as_str(), what, expected)?,
            Some(found) if found == *expected => {}
            Some(found) => return Err(StoreError::Foreign { what, found, expected: expected.clone() }),
        }
    }
    Ok(())
}

pub(crate) fn meta(conn: &Connection, tenant: &str, name: &str) -> rusqlite::Result<Option<String>> {
    conn.query_row("SELECT value FROM meta WHERE tenant = ?1 AND name = ?2", params![tenant, name], |row| row.get(0)).optional()
}

/// Rows of agents are read when somebody asks for them: at 100,000 that is most of a start.
fn agents(conn: &Connection, tenant: &str, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    let mut statement = conn.prepare("SELECT name, body FROM agents WHERE tenant = ?1")?;
    let mut rows = statement.query([tenant])?;
    while let Some(row) = rows.next()? {
        let text = |at| row.get_ref(at)?.as_str().map_err(|error| StoreError::Corrupt(error.to_string()));
        let name = text(0)?;
        let id = AgentId::parse(name)
            .map_err(|_| StoreError::Corrupt(format!("an agent is called `{}`", display::excerpt(name, 64))))?;
        snapshot.put_sleeping(id, text(1)?);
    }
    Ok(())
}

fn rows<T: DeserializeOwned>(conn: &Connection, sql: &str, tenant: &str, mut each: impl FnMut(T)) -> Result<(), StoreError> {
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([tenant])?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_str().map_err(|error| StoreError::Corrupt(error.to_string()))?;
        each(serde_json::from_str(body).map_err(|error| StoreError::Corrupt(error.to_string()))?);
    }
    Ok(())
}
