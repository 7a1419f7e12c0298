//! SQLite: one file, one connection that writes, a few that read.
//!
//! One process at a time holds the data directory, so that its writer is the only one: `begin` has nothing to follow, and
//! what was committed last is in memory.

mod read;
mod rows;
mod start;
mod write;

pub(crate) use read::{DbReader, StoredRow};

use self::rows::{Log, signed};
use super::{
    error::DbError,
    group::{Facts, Head, Needs, RecordRow, Swept, Task, WriteSet},
    sql,
};
use crate::{config::StoreError, private, world::row::Row};
use remit_model::{id::TenantId, time::UnixTime};
use rusqlite::{Connection, OpenFlags};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Each file raises `user_version` by one. Files are never changed once released.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_vault.sql"),
    include_str!("../migrations/0003_sessions.sql"),
    include_str!("../migrations/0004_records_by_number.sql"),
    include_str!("../migrations/0005_world.sql"),
    include_str!("../migrations/0006_provider_sessions.sql"),
];

/// Bytes of a page in a new database: a record and its values fill about one, so that a commit writes few.
const PAGE: u32 = 8_192;

/// Memory of the writing connection for pages, in KiB: tokens and used identifiers lie all over their trees.
const CACHE_KIB: i32 = 16 << 10;

/// Pages that the write-ahead log may hold before the writer itself moves them into the database. Before that the
/// publisher does ([`Backfill`]), off the path.
const LOG_PAGES: u32 = 8_192;

/// How long a connection waits for another's lock; only backups and checkpoints of the write-ahead log ever hold one.
const BUSY: Duration = Duration::from_secs(5);

/// Name of the database in the data directory.
pub(crate) const NAME: &str = "remit.db";

/// The one connection that writes: every commit is synced to disk before it returns.
#[derive(Debug)]
pub(crate) struct Db {
    conn: Connection,
    path: PathBuf,
    log: Log,
}

impl Db {
    /// Opens or creates the database of a data directory, for its owner alone, and brings its schema up to date.
    pub(crate) fn open(data_dir: &Path, tenant: &TenantId) -> Result<Self, StoreError> {
        let path = data_dir.join(NAME);
        private::create(&path).map_err(StoreError::io(&path))?;
        let conn = open_writer(&path)?;
        let tx = conn.unchecked_transaction()?;
        tx.execute(sql::NEW_HEAD, [tenant.as_str()])?;
        let new_log = "INSERT INTO logs (tenant, number) SELECT ?1, (SELECT coalesce(max(number) + 1, 0) FROM logs)
            WHERE NOT EXISTS (SELECT 1 FROM logs WHERE tenant = ?1)";
        tx.execute(new_log, [tenant.as_str()])?;
        tx.commit()?;
        let log = Log::of(&conn, tenant)?;
        Ok(Self { conn, path, log })
    }

    /// Begins a group's transaction and says where the log stands, given where it stood for this process, with the rows of
    /// the world that others wrote since. Here there are no others.
    pub(crate) fn begin(&self, mine: Head) -> Result<(Head, Vec<Row>), DbError> {
        self.statement("BEGIN IMMEDIATE")?;
        Ok((mine, Vec::new()))
    }

    /// What a group needs to know, in one read. A group that needs nothing asks nothing.
    pub(crate) fn facts(&self, needs: &Needs<'_>) -> Result<Facts, DbError> {
        read::facts(&self.conn, self.log.tenant.as_str(), needs).map_err(DbError::from)
    }

    /// Writes what was admitted. [`DbErrorKind::Clash`] says that an identifier which the group took for new is not.
    pub(crate) fn write(&self, writes: &WriteSet) -> Result<(), DbError> {
        write::write(&self.conn, &self.log, writes).map_err(DbError::from)
    }

    /// Forgets what expired before a time, at most `limit` rows of each table; inside a group's transaction.
    pub(crate) fn sweep(&self, before: UnixTime, limit: u32) -> Result<Swept, DbError> {
        write::sweep(&self.conn, &self.log, before, limit).map_err(DbError::from)
    }

    /// Makes the transaction durable.
    pub(crate) fn commit(&self) -> Result<(), DbError> {
        self.statement("COMMIT")
    }

    /// Undoes the transaction, if there is one.
    pub(crate) fn rollback(&self) {
        if !self.conn.is_autocommit() {
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }

    /// Bookkeeping between groups, in a transaction of its own.
    pub(crate) fn aside(&mut self, task: &Task) -> Result<(), DbError> {
        let tx = self.conn.transaction()?;
        write::task(&tx, &self.log, task)?;
        tx.commit()?;
        Ok(())
    }

    /// Puts sealed records where their indices say, in a transaction of its own.
    pub(crate) fn append(&mut self, rows: &[RecordRow]) -> Result<(), DbError> {
        let tx = self.conn.transaction()?;
        write::records(&tx, &self.log, rows)?;
        tx.commit()?;
        Ok(())
    }

    /// Empties the write-ahead log into the database; what was overwritten is then nowhere. False when a reader is in the way.
    pub(crate) fn compact(&self) -> Result<bool, DbError> {
        let busy: i64 = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        Ok(busy == 0)
    }

    /// Makes further connections to the same rows.
    pub(crate) fn source(&self) -> Source {
        Source { path: self.path.clone(), log: self.log.clone() }
    }

    fn statement(&self, sql: &str) -> Result<(), DbError> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Lets the database grow by so many pages only, as a disk does that is nearly full.
    #[cfg(test)]
    pub(crate) fn limit_growth(&self, pages: i64) {
        let used: i64 = self.conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        self.conn.pragma_update(None, "max_page_count", used + pages).unwrap();
    }

    /// Every row of every table, as text.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> Vec<String> {
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let mut select = self.conn.prepare(names).unwrap();
        let tables: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let mut rows = Vec::new();
        for table in tables {
            let mut select = self.conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = select.column_count();
            let mut found = select.query([]).unwrap();
            while let Some(row) = found.next().unwrap() {
                let values: Vec<_> = (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap())).collect();
                rows.push(format!("{table}: {}", values.join(", ")));
            }
        }
        rows.sort();
        rows
    }
}

/// Where further connections are opened.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    log: Log,
}

impl Source {
    /// The database of a data directory that a server may be writing.
    pub(crate) fn at(data_dir: &Path, tenant: &TenantId) -> Result<Self, DbError> {
        let path = data_dir.join(NAME);
        let log = Log::of(&open_reader(&path)?, tenant)?;
        Ok(Self { path, log })
    }

    /// A connection that can only read.
    pub(crate) fn reader(&self) -> Result<DbReader, DbError> {
        Ok(DbReader::new(open_reader(&self.path)?, self.log.clone()))
    }

    pub(crate) fn backfill(&self) -> Result<Backfill, DbError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Ok(Backfill(Connection::open_with_flags(&self.path, flags)?))
    }
}

/// A connection that moves what is in the write-ahead log into the database, as far as no reader or writer is held up by it.
#[derive(Debug)]
pub(crate) struct Backfill(Connection);

impl Backfill {
    pub(crate) fn step(&self) -> Result<(), DbError> {
        Ok(self.0.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
    }
}

fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let mut conn = Connection::open(path)?;
    configure(&conn)?;
    migrate(&mut conn)?;
    Ok(conn)
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "page_size", PAGE)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // What is deleted is overwritten: an erased person must not be found in a free page.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let known = signed(MIGRATIONS.len() as u64);
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::SchemaTooNew { found, known });
    }
    for (version, sql) in (1..=known).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        // CRASH: schema and version change in one transaction, so a migration is done or not begun.
        let tx = conn.transaction()?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
