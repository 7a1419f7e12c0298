//! Point reads: a small pool of read connections, used off the async threads.

use crate::{
    batch::{KeyedHash, ReadError, StoredCode, StoredRecord, StoredRefresh, StoredToken},
    commit::preconditions,
    db::sqlite,
    vault::{Vault, context, open_row},
};
use remit_ledger::Side;
use remit_model::{id::TenantId, time::UnixTime};
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};
use serde::de::DeserializeOwned;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

/// Connections open at most; a point read takes tens of microseconds, so few serve many.
const CONNECTIONS: usize = 4;

/// Most records one read hands out.
const PAGE: u32 = 1_000;

#[derive(Clone, Debug)]
pub(crate) struct Readers(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    tenant: TenantId,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, tenant: TenantId) -> Self {
        Self(Arc::new(Pool { path, tenant, idle: Mutex::default(), places: Semaphore::new(CONNECTIONS) }))
    }

    /// Runs one read on a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection, &str) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let pool = self.0.clone();
        let _place = pool.places.acquire().await.map_err(|error| ReadError(error.to_string()))?;
        let worker = pool.clone();
        tokio::task::spawn_blocking(move || {
            let conn = worker.take()?;
            let result = query(&conn, worker.tenant.as_str());
            if result.is_ok() {
                worker.give_back(conn);
            }
            result
        })
        .await
        .map_err(|error| ReadError(error.to_string()))?
        .map_err(|error| ReadError(error.to_string()))
    }
}

impl Pool {
    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| sqlite::open_reader(&self.path), Ok)
    }

    fn give_back(&self, conn: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
    }
}

pub(crate) fn code(conn: &Connection, tenant: &str, hash: &KeyedHash, vault: &Vault) -> rusqlite::Result<Option<StoredCode>> {
    conn.prepare_cached("SELECT client, payload, until_s, used_txn, failures FROM codes WHERE tenant = ?1 AND hash = ?2")?
        .query_row(params![tenant, hash], |row| {
            let Some((subject, payload)) = sealed(row, 1, vault, &context::code(hash))? else { return Ok(None) };
            Ok(Some(StoredCode {
                hash: *hash,
                client: row.get(0)?,
                subject,
                payload,
                expires: UnixTime(row.get(2)?),
                used: row.get(3)?,
                failures: row.get(4)?,
            }))
        })
        .optional()
        .map(Option::flatten)
}

pub(crate) fn refresh(
    conn: &Connection,
    tenant: &str,
    hash: &KeyedHash,
    vault: &Vault,
) -> rusqlite::Result<Option<StoredRefresh>> {
    conn.prepare_cached(
        "SELECT t.family, t.client, t.jkt, t.payload, t.until_s, t.generation, f.revoked = 0 AND f.generation = t.generation
         FROM refresh_tokens AS t JOIN families AS f ON f.tenant = t.tenant AND f.family = t.family
         WHERE t.tenant = ?1 AND t.hash = ?2",
    )?
    .query_row(params![tenant, hash], |row| {
        let Some((subject, payload)) = sealed(row, 3, vault, &context::refresh(hash))? else { return Ok(None) };
        Ok(Some(StoredRefresh {
            hash: *hash,
            subject,
            family: row.get(0)?,
            client: row.get(1)?,
            jkt: row.get(2)?,
            payload,
            expires: UnixTime(row.get(4)?),
            generation: unsigned(row, 5)?,
            current: row.get(6)?,
        }))
    })
    .optional()
    .map(Option::flatten)
}

pub(crate) fn token(conn: &Connection, tenant: &str, jti: &str, vault: &Vault) -> rusqlite::Result<Option<StoredToken>> {
    conn.prepare_cached("SELECT body FROM tokens WHERE tenant = ?1 AND jti = ?2")?
        .query_row(params![tenant, jti], |row| sealed(row, 0, vault, &context::token(jti)))
        .optional()
        .map(Option::flatten)
}

/// Those of these tokens that are stored, in no order, in one statement.
pub(crate) fn tokens(conn: &Connection, tenant: &str, jtis: &[String], vault: &Vault) -> rusqlite::Result<Vec<StoredToken>> {
    let wanted = serde_json::Value::from(jtis).to_string();
    conn.prepare_cached("SELECT body, jti FROM tokens WHERE tenant = ?1 AND jti IN (SELECT value FROM json_each(?2))")?
        .query_map(params![tenant, wanted], |row| sealed(row, 0, vault, &context::token(&row.get::<_, String>(1)?)))?
        .filter_map(Result::transpose)
        .collect()
}

pub(crate) fn spent(conn: &Connection, tenant: &str, key: &str) -> rusqlite::Result<i64> {
    preconditions::spent(conn, tenant, key)
}

pub(crate) fn object(conn: &Connection, tenant: &str, sha256: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    conn.prepare_cached("SELECT bytes FROM objects WHERE tenant = ?1 AND sha256 = ?2")?
        .query_row(params![tenant, sha256], |row| row.get(0))
        .optional()
}

pub(crate) fn record_by_id(conn: &Connection, tenant: &str, id: &str, vault: &Vault) -> rusqlite::Result<Option<StoredRecord>> {
    conn.prepare_cached(
        "SELECT r.idx, r.record_id, r.bytes, s.body FROM records AS r
         LEFT JOIN sides AS s ON s.tenant = r.tenant AND s.idx = r.idx WHERE r.tenant = ?1 AND r.record_id = ?2",
    )?
    .query_row(params![tenant, id], |row| record(row, vault))
    .optional()
}

/// Records `from..from + limit`, as far as they exist; at most a page.
pub(crate) fn records(
    conn: &Connection,
    tenant: &str,
    from: u64,
    limit: u32,
    vault: &Vault,
) -> rusqlite::Result<Vec<StoredRecord>> {
    conn.prepare_cached(
        "SELECT r.idx, r.record_id, r.bytes, s.body FROM records AS r
         LEFT JOIN sides AS s ON s.tenant = r.tenant AND s.idx = r.idx
         WHERE r.tenant = ?1 AND r.idx >= ?2 ORDER BY r.idx LIMIT ?3",
    )?
    .query_map(params![tenant, i64::try_from(from).unwrap_or(i64::MAX), limit.min(PAGE)], |row| record(row, vault))?
    .collect()
}

/// A record with its side values opened, as far as their keys still exist.
fn record(row: &Row<'_>, vault: &Vault) -> rusqlite::Result<StoredRecord> {
    let record_id: String = row.get(1)?;
    let side = match row.get_ref(3)?.as_blob_or_null()? {
        None => None,
        Some(bytes) => {
            let mut side = Side::parse(bytes).map_err(|error| unreadable(3, Type::Blob, error))?;
            side.open(&record_id, &vault.keyring()).map_err(|error| unreadable(3, Type::Blob, error))?;
            Some(side)
        }
    };
    Ok(StoredRecord { index: unsigned(row, 0)?, record_id, bytes: row.get(2)?, side })
}

/// SQLite knows signed integers only.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// A sealed row's body; `None` when its subject was erased, and the row is as good as gone.
fn sealed<T: DeserializeOwned>(row: &Row<'_>, column: usize, vault: &Vault, context: &str) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str()?;
    open_row(vault, context, text).map_err(|fault| unreadable(column, Type::Text, std::io::Error::other(fault.context)))
}

fn unreadable(column: usize, kind: Type, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}
