//! Gapless numbers per session, counts at their close, heartbeats: what makes an omission visible.
//! SPEC: record.md §1.9.

use crate::fixture::{NOW, batch, config, draft};
use remit_clock::Clock;
use remit_ledger::{
    Record, Trust,
    record::{Draft, RecordType},
    verify,
};
use remit_model::time::Moment;
use remit_store::{Config, Precondition, Store};
use std::{path::Path, time::Duration};

fn of(session: &str, kind: RecordType) -> Draft {
    let mut draft = Draft { record_type: kind, ..draft("in-session") };
    draft.session.id = Some(session.to_owned());
    // Whatever a part claims, the store assigns the number.
    draft.session_seq = Some(99);
    draft
}

async fn records(store: &Store) -> Vec<Record> {
    store.records(0, 1_000).await.unwrap().iter().map(|stored| Record::parse(&stored.bytes).unwrap()).collect()
}

fn verified(dir: &Path) -> remit_ledger::Report {
    let report = verify(&dir.join("ledger"), &Trust::default());
    assert!(report.ok(), "{report}");
    report
}

#[tokio::test]
async fn a_session_is_numbered_without_gaps_and_its_close_counts_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    store.apply(batch().note().record(of("a", RecordType::SessionOpen))).await.unwrap();
    store.apply(batch().note().record(of("b", RecordType::SessionOpen))).await.unwrap();
    let undone = batch().record(of("a", RecordType::Decision)).require(Precondition::Revision(999));
    store.apply(undone).await.unwrap_err();
    store.apply(batch().record(of("a", RecordType::Decision)).record(of("b", RecordType::Decision))).await.unwrap();
    store.apply(batch().record(of("a", RecordType::Decision))).await.unwrap();
    store.apply(batch().note().record(of("a", RecordType::SessionClose))).await.unwrap();
    let all = records(&store).await;
    let numbers = |id: &str| {
        let of = all.iter().filter(|record| record.text("/session/id") == Some(id));
        of.map(|record| record.number("/session_seq").unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((numbers("a"), numbers("b")), (vec![0, 1, 2, 3], vec![0, 1]));
    let close = all.last().unwrap();
    let expected = serde_json::json!({"records": "4", "types": {"decision": "2", "session_open": "1", "session_close": "1"}});
    assert_eq!(close.ext("session"), Some(&expected));
    store.close().await.unwrap();
    let report = verified(dir.path());
    assert!(report.notes.is_empty(), "{report}");
}

#[tokio::test]
async fn sessions_left_open_by_a_crash_are_closed_as_unknown_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Moment::at(NOW));
    let copy = tempfile::tempdir().unwrap();
    {
        let store = Store::open(Config { clock: clock.clone(), ..config(dir.path()) }).unwrap();
        store.apply(batch().note().record(of("kept", RecordType::SessionOpen))).await.unwrap();
        // A heartbeat writes the counts down; what comes after is read back from the records.
        clock.advance(Duration::from_mins(2));
        store.tend().await;
        store.apply(batch().record(of("kept", RecordType::Decision))).await.unwrap();
        store.apply(batch().note().record(of("late", RecordType::SessionOpen))).await.unwrap();
        store.publish().await.unwrap();
        // What a crash leaves behind: the files as they are now.
        copy_all(dir.path(), copy.path());
        store.close().await.unwrap();
    }
    let store = Store::open(Config { clock, ..config(copy.path()) }).unwrap();
    let all = records(&store).await;
    let closes: Vec<_> = all.iter().filter(|record| record.record_type() == "session_close").collect();
    let facts: Vec<_> = closes
        .iter()
        .map(|close| {
            let counted = close.ext("session").unwrap()["records"].as_str().unwrap().to_owned();
            (
                close.text("/session/id").unwrap(),
                close.text("/outcome/status").unwrap(),
                counted,
                close.number("/session_seq").unwrap(),
            )
        })
        .collect();
    assert_eq!(facts, [("kept", "unknown", "3".to_owned(), 2), ("late", "unknown", "2".to_owned(), 1)]);
    let opened = all.iter().find(|record| record.text("/session/id") == Some("late")).unwrap();
    assert_eq!(closes[1].text("/caused_by/0"), Some(opened.record_id()));
    store.close().await.unwrap();
    verified(copy.path());
}

#[tokio::test]
async fn a_store_that_closes_records_the_end_of_every_session_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    for id in ["ended", "open"] {
        store.apply(batch().note().record(of(id, RecordType::SessionOpen))).await.unwrap();
    }
    // One end is still on its way when the store is told to close.
    let ending = tokio::spawn({
        let store = store.clone();
        async move { store.apply(batch().note().record(of("ended", RecordType::SessionClose))).await }
    });
    tokio::task::yield_now().await;
    store.close().await.unwrap();
    ending.await.unwrap().expect("what was handed in before the close is committed");
    let all = records(&store).await;
    let kinds: Vec<_> = all.iter().map(|record| (record.record_type(), record.text("/session/id"))).collect();
    let expected = [("session_close", Some("ended")), ("session_close", Some("open")), ("log_control", None)];
    assert_eq!(kinds[3..], expected, "then the log stops");
    let close = &all[4];
    assert_eq!(close.text("/outcome/status"), Some("success"), "its end is known: the server stopped");
    assert_eq!(close.ext("closed").unwrap()["why"], "stop");
    verified(dir.path());
}

#[tokio::test]
async fn an_idle_store_still_says_that_it_lives_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Moment::at(NOW));
    let store = Store::open(Config { clock: clock.clone(), ..config(dir.path()) }).unwrap();
    store.apply(batch().record(draft("one")).record(draft("two"))).await.unwrap();
    store.count_public_read("checkpoint");
    store.count_public_read("checkpoint");
    for _ in 0..2 {
        store.tend().await;
        clock.advance(Config::HEARTBEAT);
        store.tend().await;
    }
    store.apply(batch().record(draft("three"))).await.unwrap();
    store.close().await.unwrap();
    let store = Store::open(Config { clock, ..config(dir.path()) }).unwrap();
    let all = records(&store).await;
    let kinds: Vec<_> = all.iter().map(|record| (record.record_type(), record.action())).collect();
    assert_eq!(kinds[3..6], [("heartbeat", "heartbeat"), ("heartbeat", "heartbeat"), ("decision", "three")]);
    let counts = |at: usize| all[at].ext("counts").unwrap().clone();
    assert_eq!(counts(3), serde_json::json!({"from": "1", "records": "2", "types": {"decision": "2"}}));
    assert_eq!(all[3].ext("public_reads").unwrap()["checkpoint"], "2");
    assert_eq!(counts(4), serde_json::json!({"from": "4", "records": "0", "types": {}}), "silence is stated");
    assert_eq!((all[6].action(), counts(6)["records"].as_str()), ("stop", Some("1")));
    let epoch =
        serde_json::json!({"from": "0", "records": "6", "types": {"log_control": "1", "decision": "3", "heartbeat": "2"}});
    assert_eq!(all[6].ext("epoch"), Some(&epoch));
    store.close().await.unwrap();
    verified(dir.path());
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn every_record_type_is_counted_by_its_own_name() {
    for kind in RecordType::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}
