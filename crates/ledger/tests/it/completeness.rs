//! What a log must state so that an omission shows, and what the verifier says when it does not add up.
//! SPEC: record.md §1.9.

use crate::world::World;
use remit_ledger::{
    Report, Trust,
    record::{Draft, ProducerKind, RecordType},
    verify::verify_log,
};
use remit_model::TenantId;
use serde_json::{Value, json};

fn of(kind: RecordType, seq: Option<u64>) -> Draft {
    let mut draft = Draft::new(TenantId::main(), ProducerKind::Gateway, kind);
    draft.session.id = Some("one".to_owned());
    draft.session_seq = seq;
    draft
}

fn close(seq: u64, counts: Value) -> Draft {
    of(RecordType::SessionClose, Some(seq)).ext("session", counts)
}

fn heartbeat(counts: Value) -> Draft {
    Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Heartbeat).ext("counts", counts)
}

fn report(drafts: Vec<Draft>) -> Report {
    let mut world = World::new();
    for draft in drafts {
        world.seal(draft);
    }
    verify_log(&world.reader(), &Trust::default())
}

fn fails(drafts: Vec<Draft>, check: &str, index: u64) {
    let report = report(drafts);
    let found: Vec<_> = report.failures().map(|failure| (failure.name, failure.index)).collect();
    assert_eq!(found, [(report.failures().next().map_or("none", |failure| failure.name), Some(index))], "{report}");
    assert_eq!(found[0].0, check, "{report}");
}

#[test]
fn a_session_that_adds_up_passes_and_an_open_one_is_noted() {
    let counts = json!({"records": "3", "types": {"session_open": "1", "decision": "1", "session_close": "1"}});
    let open = || vec![of(RecordType::SessionOpen, Some(0)), of(RecordType::Decision, Some(1))];
    let whole = report([open(), vec![close(2, counts)]].concat());
    assert!(whole.ok() && whole.notes.is_empty(), "{whole}");
    let left = report(open());
    assert!(left.ok(), "{left}");
    assert_eq!(left.notes, ["the session that begins at record 1 was never closed"]);
}

#[test]
fn gaps_repeats_and_missing_numbers_in_a_session_are_caught() {
    let open = || of(RecordType::SessionOpen, Some(0));
    fails(vec![open(), of(RecordType::Decision, Some(2))], "sessions", 2);
    fails(vec![open(), of(RecordType::Decision, Some(0))], "sessions", 2);
    fails(vec![open(), of(RecordType::Decision, None)], "sessions", 2);
    fails(vec![of(RecordType::SessionOpen, Some(1))], "sessions", 1);
    let mut homeless = of(RecordType::Decision, Some(0));
    homeless.session.id = None;
    fails(vec![homeless], "sessions", 1);
}

#[test]
fn a_close_must_count_exactly_its_session() {
    let open = || of(RecordType::SessionOpen, Some(0));
    let types = json!({"session_open": "1", "session_close": "1"});
    for wrong in [
        json!({"records": "3", "types": types}),
        json!({"records": 2, "types": types}),
        json!({"records": "2", "types": {"session_open": "1"}}),
        json!({"records": "2", "types": {"session_open": "1", "session_close": "1", "decision": "0"}}),
        json!({}),
    ] {
        fails(vec![open(), close(1, wrong)], "sessions", 2);
    }
    fails(vec![open(), of(RecordType::SessionClose, Some(1))], "sessions", 2);
}

#[test]
fn a_heartbeat_must_count_exactly_what_came_since_the_last() {
    let decision = || Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision);
    let right = json!({"from": "1", "records": "1", "types": {"decision": "1"}});
    let none = json!({"from": "3", "records": "0", "types": {}});
    let fine = report(vec![decision(), heartbeat(right.clone()), heartbeat(none)]);
    assert!(fine.ok(), "{fine}");
    fails(vec![heartbeat(right)], "counts", 1);
    fails(vec![decision(), heartbeat(json!({"from": "0", "records": "1", "types": {"decision": "1"}}))], "counts", 2);
    fails(vec![decision(), heartbeat(json!({"from": "1", "records": "1", "types": {"token": "1"}}))], "counts", 2);
    fails(vec![Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Heartbeat)], "counts", 1);
    let stop = Draft::stop(TenantId::main(), ProducerKind::AuthzServer);
    fails(vec![decision(), stop.ext("epoch", json!({"from": "0", "records": "1", "types": {}}))], "counts", 2);
}

#[test]
fn a_silence_longer_than_the_announced_heartbeat_is_noted() {
    let mut world = World::new();
    let counts = json!({"from": "1", "records": "0", "types": {}});
    world.seal(heartbeat(counts).ext("heartbeat", json!({"every_ns": "1000000"})));
    world.pass(10_000_000);
    world.seal(Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision));
    let report = verify_log(&world.reader(), &Trust::default());
    assert!(report.ok(), "{report}");
    assert!(report.notes.iter().any(|note| note.contains("record 2") && note.contains("silence")), "{report}");
}
