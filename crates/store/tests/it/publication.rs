//! The ledger directory: always a prefix of SQL, never a second story.

use crate::fixture::{batch, config, draft, open};
use remit_ledger::{Reader, Trust, verify};
use remit_store::{Store, StoreError};
use remit_testkit::eventually;
use std::{fs, path::Path, time::Duration};

fn assert_verifies(ledger: &Path) {
    let report = verify(ledger, &Trust::default());
    assert!(report.ok(), "{report}");
}

async fn write(store: &Store, count: u64) {
    for n in 0..count {
        store.apply(batch().record(draft(&format!("call-{n}")))).await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_closed_log_verifies_and_begins_and_ends_each_run_with_a_control_record() {
    let dir = tempfile::tempdir().unwrap();
    for run in 1..=3_u64 {
        let store = open(dir.path());
        write(&store, 300).await;
        store.close().await.unwrap();
        store.close().await.unwrap();
        let reader = Reader::open(&dir.path().join("ledger")).unwrap();
        assert_eq!(reader.len(), run * 302);
        assert_verifies(&dir.path().join("ledger"));
        let (first, last) = (reader.record((run - 1) * 302).unwrap(), reader.record(run * 302 - 1).unwrap());
        assert_eq!((first.record_type(), first.action(), first.epoch(), first.seq()), ("log_control", "start", run, 0));
        assert_eq!((last.record_type(), last.action(), last.epoch()), ("log_control", "stop", run));
        assert!(first.ext("keys").is_some());
    }
}

#[tokio::test]
async fn commits_are_published_by_themselves_within_the_period() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.publish_every = Duration::from_millis(20);
    let store = Store::open(config).unwrap();
    write(&store, 10).await;
    eventually("everything is published", || store.published() == store.len()).await;
    assert_eq!(store.published(), 11);
    assert_verifies(store.ledger_dir());
    store.close().await.unwrap();
}

#[tokio::test]
async fn records_read_back_are_those_in_the_published_log_with_their_side_values() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let applied = store.apply(batch().record(draft("one")).record(draft("two"))).await.unwrap();
    store.publish().await.unwrap();
    let reader = Reader::open(store.ledger_dir()).unwrap();
    for receipt in &applied.receipts {
        let stored = store.record(receipt.index).await.unwrap().unwrap();
        assert_eq!(stored.record_id, receipt.record_id);
        assert_eq!(reader.entry(receipt.index).unwrap(), stored.bytes);
        let by_id = store.record_by_id(&receipt.record_id).await.unwrap().unwrap();
        assert_eq!((by_id.index, &by_id.bytes), (receipt.index, &stored.bytes));
        assert!(stored.side.unwrap().value("/call/arguments").is_some());
    }
    assert_eq!(store.records(0, 10).await.unwrap().len(), 3);
    assert!(store.record(3).await.unwrap().is_none());
    assert!(store.record_by_id("none").await.unwrap().is_none());
    store.close().await.unwrap();
}

#[tokio::test]
async fn n_lg_04_a_restored_old_database_is_refused_and_nothing_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 5).await;
    store.close().await.unwrap();
    copy(&dir.path().join("data"), &dir.path().join("backup"));

    let store = open(dir.path());
    write(&store, 5).await;
    store.close().await.unwrap();
    let signed = fs::read(dir.path().join("ledger/checkpoint")).unwrap();

    fs::remove_dir_all(dir.path().join("data")).unwrap();
    copy(&dir.path().join("backup"), &dir.path().join("data"));
    let refused = Store::open(config(dir.path())).unwrap_err();
    assert!(matches!(refused, StoreError::LedgerAhead { directory: 14, database: 7 }), "{refused}");
    assert_eq!(fs::read(dir.path().join("ledger/checkpoint")).unwrap(), signed);
}

#[tokio::test]
async fn n_lg_04_an_old_database_that_grew_past_the_ledger_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 5).await;
    store.close().await.unwrap();
    copy(&dir.path().join("data"), &dir.path().join("fork/data"));
    copy(&dir.path().join("ledger"), &dir.path().join("fork/ledger"));
    let store = open(dir.path());
    write(&store, 5).await;
    store.close().await.unwrap();

    let forked = open(&dir.path().join("fork"));
    write(&forked, 50).await;
    forked.close().await.unwrap();
    let mut mixed = config(&dir.path().join("fork"));
    mixed.ledger_dir = dir.path().join("ledger");
    let refused = Store::open(mixed).unwrap_err();
    assert!(matches!(refused, StoreError::LedgerInconsistent(_)), "{refused}");
}

#[tokio::test]
async fn a_lost_or_older_ledger_directory_is_rebuilt_to_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let store = open(dir.path());
    write(&store, 300).await;
    store.publish().await.unwrap();
    copy(&ledger, &dir.path().join("older"));
    write(&store, 300).await;
    store.close().await.unwrap();
    let before = Reader::open(&ledger).unwrap();

    for replacement in [None, Some(dir.path().join("older"))] {
        fs::remove_dir_all(&ledger).unwrap();
        if let Some(older) = replacement {
            copy(&older, &ledger);
        }
        let store = open(dir.path());
        store.publish().await.unwrap();
        let rebuilt = Reader::open(&ledger).unwrap();
        let proof = rebuilt.consistency(before.len()).unwrap();
        let (old, new) = (before.checkpoint(), rebuilt.checkpoint());
        remit_ledger::tree::verify_consistency(old.size, &old.root, new.size, &new.root, &proof).unwrap();
        store.close().await.unwrap();
        assert_verifies(&ledger);
    }
}

#[tokio::test]
async fn another_log_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().await.unwrap();
    let mut config = config(dir.path());
    config.log_key = remit_store::Secret::new([7; 32]);
    assert!(matches!(Store::open(config).unwrap_err(), StoreError::LedgerInconsistent(_)));
}

#[tokio::test]
async fn a_ledger_directory_that_fails_delays_publication_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 3).await;
    let obstacle = store.ledger_dir().join("tile");
    fs::write(&obstacle, "not a directory").unwrap();
    assert!(store.publish().await.is_err());
    write(&store, 3).await;
    assert_eq!((store.len(), store.published()), (7, 0), "commits go on, the lag shows");
    fs::remove_file(&obstacle).unwrap();
    store.publish().await.unwrap();
    assert_eq!(store.published(), 7);
    store.close().await.unwrap();
    assert_verifies(&dir.path().join("ledger"));
}
