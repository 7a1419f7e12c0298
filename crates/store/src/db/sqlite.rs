//! Opens database connections and brings the schema up to date.

use crate::config::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::{path::Path, time::Duration};

/// Each file raises `user_version` by one. Files are never changed once released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_vault.sql"),
    include_str!("migrations/0003_sessions.sql"),
    include_str!("migrations/0004_records_by_number.sql"),
];

/// Bytes of a page in a new database: a record and its values fill about one, so that a commit writes few.
const PAGE: u32 = 8_192;

/// Memory of the writing connection for pages, in KiB: tokens and used identifiers lie all over their trees.
const CACHE_KIB: i32 = 16 << 10;

/// Pages that the write-ahead log may hold before the writer itself moves them into the database. Before that the
/// publisher does ([`open_backfill`]), off the path.
const LOG_PAGES: u32 = 8_192;

/// How long a connection waits for another's lock; only backups and checkpoints of the log ever hold one.
const BUSY: Duration = Duration::from_secs(5);

/// The one connection that writes: every commit is synced to disk before it returns.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let mut conn = Connection::open(path)?;
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
    migrate(&mut conn)?;
    Ok(conn)
}

/// A connection that moves what is in the write-ahead log into the database, as far as nobody is held up by it.
pub(crate) fn open_backfill(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// A connection that can only read.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
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
mod tests {
    use super::*;

    #[test]
    fn every_table_carries_its_tenant_and_migrations_run_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        drop(open_writer(&path).unwrap());
        let conn = open_writer(&path).unwrap();
        let tables: Vec<(String, String)> = conn
            .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(tables.len() > 10);
        for (name, sql) in tables {
            assert!(sql.contains("tenant") && sql.contains("TEXT NOT NULL"), "{name} has no tenant");
        }
    }

    #[test]
    fn records_of_an_older_schema_keep_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let old = Connection::open(&path).unwrap();
        for sql in MIGRATIONS.iter().take(3) {
            old.execute_batch(sql).unwrap();
        }
        old.pragma_update(None, "user_version", 3).unwrap();
        for idx in [7, 8] {
            let id = format!("record-{idx}");
            old.execute("INSERT INTO records VALUES ('main', ?1, ?2, x'00', x'0102')", rusqlite::params![idx, id]).unwrap();
            old.execute("INSERT INTO sides VALUES ('main', ?1, x'03', ?2)", rusqlite::params![idx, 60 + idx]).unwrap();
        }
        drop(old);
        let conn = open_writer(&path).unwrap();
        let rows: Vec<(i64, String, Vec<u8>, i64)> = conn
            .prepare(
                "SELECT r.idx, r.record_id, s.body, s.until_s FROM records AS r JOIN sides AS s ON s.idx = r.idx ORDER BY r.idx",
            )
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(rows, [(7, "record-7".to_owned(), vec![3], 67), (8, "record-8".to_owned(), vec![3], 68)]);
        let twice = "INSERT INTO records VALUES (9, 'main', 'record-8', x'00', x'00')";
        assert!(conn.execute(twice, []).is_err(), "an identifier names one record");
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        open_writer(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(open_writer(&path), Err(StoreError::SchemaTooNew { found: 99, .. })));
    }

    #[test]
    fn the_writer_syncs_every_commit_and_readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let conn = open_writer(&path).unwrap();
        let synchronous: i64 = conn.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        let journal: String = conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!((synchronous, journal.as_str()), (2, "wal"));
        assert!(open_reader(&path).unwrap().execute("DELETE FROM meta", []).is_err());
    }
}
