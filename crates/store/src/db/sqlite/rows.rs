//! What every part of the engine needs of a row: whose it is and where it lies, numbers, and how the driver's errors read.

use crate::{
    config::StoreError,
    db::{
        error::{DbError, DbErrorKind},
        sql,
    },
    world::row::{Kind, Row},
};
use remit_model::{id::TenantId, time::UnixTime};
use rusqlite::{Connection, ErrorCode, params};
use std::sync::Arc;

/// Name in `meta` of the first index that the open sessions, as they were written down, do not count.
pub(super) const SESSIONS_UPTO: &str = "sessions_upto";

/// Records of one log: the places of the next log begin behind them.
const LOG_PLACES: i64 = 1 << 40;

/// Whose rows a connection reads and writes, and where their records lie.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) tenant: TenantId,
    /// Place of its first record.
    pub(super) base: i64,
}

impl Log {
    pub(super) fn of(conn: &Connection, tenant: &TenantId) -> Result<Self, DbError> {
        let number: i64 = conn.query_row("SELECT number FROM logs WHERE tenant = ?1", [tenant.as_str()], |row| row.get(0))?;
        Ok(Self { tenant: tenant.clone(), base: number.saturating_mul(LOG_PLACES) })
    }

    pub(super) fn place(&self, index: u64) -> i64 {
        self.base.saturating_add(signed(index).min(LOG_PLACES - 1))
    }

    /// The first place that is not this log's any more.
    pub(super) fn end(&self) -> i64 {
        self.base.saturating_add(LOG_PLACES)
    }

    pub(super) fn index(&self, place: i64) -> u64 {
        unsigned(place.saturating_sub(self.base))
    }
}

/// A row of the world; `None` for a kind that this version does not know.
pub(super) fn world_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Row>> {
    let Some(kind) = Kind::parse(row.get_ref(0)?.as_str()?) else { return Ok(None) };
    Ok(Some(Row {
        kind,
        key: Arc::from(row.get_ref(1)?.as_str()?),
        body: row.get_ref(2)?.as_str_or_null()?.map(Arc::from),
        revision: unsigned(row.get(3)?),
        until: row.get::<_, Option<i64>>(4)?.map(UnixTime),
    }))
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => DbErrorKind::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DbErrorKind::Busy,
            Some(ErrorCode::ConstraintViolation) => DbErrorKind::Clash,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DbErrorKind::Damaged,
            Some(ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                DbErrorKind::Io
            }
            _ => DbErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(DbError::from(error))
    }
}

/// SQLite knows signed integers only.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn put_meta(conn: &Connection, tenant: &str, name: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql::PUT_META)?.execute(params![tenant, name, value]).map(drop)
}
