//! The schema, and what a database of every age becomes.

use super::*;
use crate::db::error::DbErrorKind;

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
        .prepare("SELECT r.place, r.record_id, s.body, s.until_s FROM records AS r JOIN sides AS s ON s.place = r.place ORDER BY r.place")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(rows, [(7, "record-7".to_owned(), vec![3], 67), (8, "record-8".to_owned(), vec![3], 68)]);
    let insert =
        |tenant: &str| conn.execute(&format!("INSERT INTO records VALUES (9, '{tenant}', 'record-8', x'00', x'00')"), []);
    assert!(insert("main").is_err(), "an identifier names one record of a tenant");
    assert!(insert("other").is_ok());
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

#[test]
fn every_shared_statement_is_understood_and_numbers_its_parameters_in_the_order_of_their_use() {
    let dir = tempfile::tempdir().unwrap();
    let conn = open_writer(&dir.path().join("db")).unwrap();
    for sql in sql::ALL {
        let statement = conn.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        for number in 1..=statement.parameter_count() {
            assert_eq!(statement.parameter_name(number), Some(format!("${number}").as_str()), "{sql}");
        }
    }
}

/// A database as the version before the world table left it.
fn older(path: &Path) {
    let old = Connection::open(path).unwrap();
    for sql in MIGRATIONS.iter().take(4) {
        old.execute_batch(sql).unwrap();
    }
    old.pragma_update(None, "user_version", 4).unwrap();
    old.execute_batch(
        r#"INSERT INTO agents VALUES
            ('main', 'planner', '{"id":"planner","owner":"user:alice"}', 3), ('main', 'damaged', '{"id":"dam', 4),
            ('main', 'blank', '{}', 5), ('other', 'planner', '{"id":"planner"}', 1);
        INSERT INTO humans VALUES ('main', 'alice', '{"name":"alice"}', 2);
        INSERT INTO revocations VALUES
            ('main', 'jti', 'j', 100, 6), ('main', 'txn', 't', 200, 7), ('main', 'family', 'f', 300, 8);
        INSERT INTO holds VALUES ('main', 'ref-1', 'case "7"', 50);
        INSERT INTO meta VALUES ('main', 'revision', '8');
        INSERT INTO records VALUES (0, 'main', 'record-0', x'00', x'01'), (1, 'main', 'record-1', x'00', x'02');
        INSERT INTO sides VALUES (1, 'main', x'03', 60);"#,
    )
    .unwrap();
}

#[test]
fn a_database_of_the_version_before_keeps_everything_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    older(&dir.path().join(NAME));
    for _ in 0..2 {
        let db = Db::open(dir.path(), &TenantId::main()).unwrap();
        let mut rows = Vec::new();
        db.world::<DbError>(|row| {
            rows.push((row.kind.as_str(), row.key.to_string(), row.body.unwrap().to_string(), row.until.map(|until| until.0)));
            Ok(())
        })
        .unwrap();
        rows.sort();
        let row = |kind, key: &str, body: &str, until| (kind, key.to_owned(), body.to_owned(), until);
        let expected = [
            row("agent", "blank", "{}", None),
            row("agent", "damaged", r#"{"v":1,"id":"dam"#, None),
            row("agent", "planner", r#"{"v":1,"id":"planner","owner":"user:alice"}"#, None),
            row("hold", "ref-1", r#"{"v":1,"basis":"case \"7\"","since":50}"#, None),
            row("human", "alice", r#"{"v":1,"name":"alice"}"#, None),
            row("revoked_chain", "t", r#"{"v":1}"#, Some(200)),
            row("revoked_family", "f", r#"{"v":1}"#, Some(300)),
            row("revoked_token", "j", r#"{"v":1}"#, Some(100)),
        ];
        assert_eq!(rows, expected);
        let (head, last) = db.head().unwrap();
        assert_eq!(head, Head { next_index: 2, revision: 8, min_revision: 8 });
        assert_eq!(last, Some(vec![2]));
        let reader = db.source().reader().unwrap();
        assert_eq!(reader.record_by_id("record-1").unwrap().map(|row| row.index), Some(1));
        assert_eq!(reader.due_sides(UnixTime(61), 10).unwrap(), [(1, vec![3])]);
    }
}

#[test]
fn two_tenants_share_a_database_and_see_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (TenantId::main(), TenantId::parse("other").unwrap());
    let [mut one, mut other] = [&one, &other].map(|tenant| Db::open(dir.path(), tenant).unwrap());
    for byte in [1, 2, 3] {
        let db = if byte == 2 { &mut other } else { &mut one };
        let (head, _) = db.head().unwrap();
        let record = RecordRow {
            index: head.next_index,
            record_id: format!("record-{}", head.next_index),
            leaf_hash: remit_ledger::Hash([byte; 32]),
            until: 60,
            bytes: vec![byte],
            side: vec![byte],
        };
        db.append(&[record]).unwrap();
        let mut writes = WriteSet::default();
        let (kind, key, body) = (crate::world::row::Kind::Hold, "ref".into(), Some(format!("{{\"n\":{byte}}}").into()));
        writes.world.push(Row { kind, key, body, revision: u64::from(byte), until: None });
        writes.budgets.insert("k".to_owned(), crate::db::group::BudgetFact { spent: i64::from(byte), until: None });
        writes.head = Some((u64::from(byte), 0));
        db.begin(head).unwrap();
        db.write(&writes).unwrap();
        db.commit().unwrap();
    }
    for (db, bytes, spent) in [(&one, vec![1, 3], 3), (&other, vec![2], 2)] {
        let reader = db.source().reader().unwrap();
        let rows = reader.records(0, 10).unwrap();
        assert_eq!(rows.iter().map(|row| row.bytes[0]).collect::<Vec<_>>(), bytes);
        assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), (0..bytes.len() as u64).collect::<Vec<_>>());
        assert_eq!(reader.record_by_id("record-0").unwrap().unwrap().bytes, [bytes[0]]);
        assert_eq!(reader.spent("k").unwrap(), spent);
        assert_eq!(reader.due_sides(UnixTime(61), 10).unwrap().len(), bytes.len());
        let (head, rows, all) = reader.world_since(None).unwrap();
        assert_eq!((head.revision, rows.len(), all), (spent.unsigned_abs(), 1, true));
        let (head, _) = db.head().unwrap();
        assert_eq!(head.next_index, bytes.len() as u64);
        let mut leaves = Vec::new();
        reader
            .leaves(10, |leaf| {
                leaves.push(leaf.as_bytes()[0]);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(leaves, bytes);
    }
}

#[test]
fn a_database_belongs_to_its_owner_alone_and_an_older_one_is_taken_back() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    let db = Db::open(dir.path(), &TenantId::main()).unwrap();
    for name in ["remit.db", "remit.db-wal", "remit.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
        std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    // As a process leaves them that is killed.
    std::mem::forget(db);
    let _db = Db::open(dir.path(), &TenantId::main()).unwrap();
    for name in ["remit.db", "remit.db-wal", "remit.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

#[test]
fn what_fails_is_known_by_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = Db::open(dir.path(), &TenantId::main()).unwrap();
    db.set_meta("k", "v").unwrap();
    db.limit_growth(0);
    let large = "x".repeat(1 << 20);
    let error = db.set_meta("large", &large).unwrap_err();
    assert!(error.is_full() && !error.is_clash(), "{error:?}");
    db.limit_growth(100);
    let row = |id: &str| RecordRow {
        index: 0,
        record_id: id.to_owned(),
        leaf_hash: remit_ledger::Hash::ZERO,
        until: 0,
        bytes: Vec::new(),
        side: Vec::new(),
    };
    db.append(&[row("a")]).unwrap();
    assert_eq!(db.append(&[row("b")]).unwrap_err().kind(), DbErrorKind::Clash);
    let other = Connection::open(dir.path().join(NAME)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    db.conn.busy_timeout(Duration::ZERO).unwrap();
    assert_eq!(db.begin(Head::default()).unwrap_err().kind(), DbErrorKind::Busy);
}
