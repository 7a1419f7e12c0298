//! What a start reads before anything is written, on the connection that will write.

use super::{
    Db,
    rows::{SESSIONS_UPTO, put_meta, unsigned, world_row},
};
use crate::{
    db::{error::DbError, group::Head, sql},
    world::row::Row,
};
use remit_ledger::Hash;
use rusqlite::{OptionalExtension as _, params};

/// An erasure that was recorded once.
pub(crate) struct ErasureRow {
    pub(crate) id: String,
    pub(crate) subject_ref: String,
    pub(crate) key_ids: String,
    /// Its completion is recorded.
    pub(crate) done: bool,
}

impl Db {
    pub(crate) fn meta(&self, name: &str) -> Result<Option<String>, DbError> {
        let found = self.conn.query_row(sql::META, params![self.tenant(), name], |row| row.get(0));
        Ok(found.optional()?)
    }

    pub(crate) fn set_meta(&self, name: &str, value: &str) -> Result<(), DbError> {
        Ok(put_meta(&self.conn, self.tenant(), name, value)?)
    }

    /// Where the log stands, and its last record. INVARIANT: indices are gapless, so the count is the last index plus one.
    pub(crate) fn head(&self) -> Result<(Head, Option<Vec<u8>>), DbError> {
        let (revision, min_revision) =
            self.conn.query_row(sql::HEAD, [self.tenant()], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?;
        let last: Option<(i64, Vec<u8>)> = self
            .conn
            .query_row(
                "SELECT place, bytes FROM records WHERE place >= ?1 AND place < ?2 ORDER BY place DESC LIMIT 1",
                [self.log.base, self.log.end()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let (next_index, bytes) = match last {
            Some((place, bytes)) => (self.log.index(place).saturating_add(1), Some(bytes)),
            None => (0, None),
        };
        Ok((Head { next_index, revision, min_revision }, bytes))
    }

    /// The leaf of one record.
    pub(crate) fn leaf(&self, index: u64) -> Result<Option<Hash>, DbError> {
        let found =
            self.conn.query_row("SELECT leaf_hash FROM records WHERE place = ?1", [self.log.place(index)], |row| row.get(0));
        Ok(found.optional()?.map(Hash))
    }

    /// Hands over every row that a snapshot shows.
    pub(crate) fn world<E: From<DbError>>(&self, mut each: impl FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        let mut select = self.conn.prepare(sql::WORLD).map_err(DbError::from)?;
        let mut rows = select.query([self.tenant()]).map_err(DbError::from)?;
        while let Some(row) = rows.next().map_err(DbError::from)? {
            if let Some(row) = world_row(row).map_err(DbError::from)? {
                each(row)?;
            }
        }
        Ok(())
    }

    /// The sessions that were written down, and the first index they do not count.
    pub(crate) fn sessions(&self) -> Result<(Vec<(String, String)>, u64), DbError> {
        let mut select = self.conn.prepare(sql::SESSIONS)?;
        let rows = select.query_map([self.tenant()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let upto = self.meta(SESSIONS_UPTO)?.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok((rows, upto))
    }

    /// Hands over index and bytes of every record from `from` on.
    pub(crate) fn records_from(&self, from: u64, mut each: impl FnMut(u64, &[u8])) -> Result<(), DbError> {
        let mut select = self.conn.prepare("SELECT place, bytes FROM records WHERE place >= ?1 AND place < ?2 ORDER BY place")?;
        let mut rows = select.query([self.log.place(from), self.log.end()])?;
        while let Some(row) = rows.next()? {
            each(self.log.index(row.get(0)?), row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
        }
        Ok(())
    }

    /// Every erasure that was ever recorded.
    pub(crate) fn erasures(&self) -> Result<Vec<ErasureRow>, DbError> {
        let mut select = self.conn.prepare(sql::ERASURES)?;
        let rows = select.query_map([self.tenant()], |row| {
            Ok(ErasureRow { id: row.get(0)?, subject_ref: row.get(1)?, key_ids: row.get(2)?, done: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn tenant(&self) -> &str {
        self.log.tenant.as_str()
    }
}
