use crate::world::{Token, World};
use remit_insight::{ExecutionReport, execution};
use remit_ledger::record::{Draft, Mcp};
use remit_model::resource::ToolClass::{Payment, Read};
use serde_json::{Value, json};

fn came() -> Value {
    let ticket = json!({"id": "T-1", "subject": "Late", "customer": {"email": "a@b.example"}});
    json!({"content": [{"type": "text", "text": ticket.to_string()}], "structuredContent": ticket, "isError": false, "resultType": "complete"})
}

fn shown() -> Value {
    let ticket = json!({"id": "T-1", "subject": "Late"});
    json!({"content": [{"type": "text", "text": ticket.to_string()}], "structuredContent": ticket, "isError": false})
}

fn captured(draft: &mut Draft, came: &Value, shown: &Value) {
    draft.mcp = Some(Mcp { method: "tools/call".to_owned(), request_id: None, protocol_version: None });
    draft.ext.insert("capture".to_owned(), json!({"class": "full"}));
    draft.ext.insert("withheld".to_owned(), json!(0));
    if let Some(resource) = draft.resources.first_mut() {
        resource.fields = vec!["/id".to_owned(), "/subject".to_owned()];
    }
    draft.committed.push(("/response/upstream".to_owned(), came.clone()));
    draft.committed.push(("/response/body".to_owned(), shown.clone()));
}

fn run(spoil: impl FnOnce(&mut Draft)) -> ExecutionReport {
    let mut world = World::new();
    let token = world.login(|_| {});
    read(&mut world, &token, spoil);
    execution(&world.publish().reader())
}

fn read(world: &mut World, token: &Token, spoil: impl FnOnce(&mut Draft)) {
    world.call(token, "tickets_read", Read, &json!({"id": "T-1", "amount": 5}), |draft| {
        captured(draft, &came(), &shown());
        spoil(draft);
    });
}

#[track_caller]
fn alarm(report: &ExecutionReport, why: &str) {
    let [mismatch] = report.mismatches.as_slice() else { panic!("{report}") };
    assert!(mismatch.detail.contains(why), "{report}");
}

#[test]
fn a_captured_call_gives_the_same_answer_again() {
    let report = run(|_| {});
    assert_eq!((report.calls, report.agree), (1, 1), "{report}");
    assert!(report.ok());
}

#[test]
fn that_nothing_was_replayed_is_not_called_good() {
    assert!(run(|_| {}).to_string().starts_with("ok  "));
    let nothing = run(|draft| {
        draft.ext.remove("capture");
    });
    assert!(nothing.ok(), "nothing failed");
    let told = nothing.to_string();
    assert!(told.starts_with("note ") && !told.contains("ok  ") && told.contains("nothing was replayed"), "{told}");
    assert!(ExecutionReport::default().to_string().contains("nothing was replayed"));
}

#[test]
fn an_answer_that_shows_more_is_an_alarm() {
    let mut world = World::new();
    let token = world.login(|_| {});
    world.call(&token, "tickets_read", Read, &json!({"id": "T-1", "amount": 5}), |draft| captured(draft, &came(), &came()));
    alarm(&execution(&world.publish().reader()), "not what the caller got");
}

#[test]
fn an_answer_to_a_call_that_the_token_does_not_cover_is_an_alarm() {
    let mut world = World::new();
    let token = world.login(|_| {});
    world.call(&token, "refund_create", Payment, &json!({"amount": 80}), |draft| captured(draft, &came(), &shown()));
    alarm(&execution(&world.publish().reader()), "does not cover it");
}

#[test]
fn an_answer_to_a_call_that_policies_refuse_is_an_alarm() {
    let mut world = World::new();
    let token = world.login(|_| {});
    let own = world.own("planner", |_| {});
    drop(token);
    world.call(&own, "refund_create", Payment, &json!({"amount": 40}), |draft| {
        captured(draft, &came(), &shown());
        draft.outcome.status = remit_ledger::record::OutcomeStatus::Success;
    });
    alarm(&execution(&world.publish().reader()), "the policies decide");
}

#[test]
fn what_was_not_captured_or_is_withheld_is_counted() {
    let report = run(|draft| {
        draft.ext.remove("capture");
    });
    assert_eq!((report.calls, report.not_captured, report.agree), (1, 1, 0), "{report}");
    let report = run(|draft| {
        draft.ext.insert("capture".to_owned(), json!({"class": "digest"}));
    });
    assert_eq!(report.not_captured, 1, "{report}");
    let report = run(|draft| {
        draft.ext.insert("capture".to_owned(), json!({"class": "full", "too_large": {"/response/body": "9"}}));
    });
    assert_eq!(report.not_captured, 1, "{report}");

    let mut world = World::new();
    let token = world.login(|_| {});
    read(&mut world, &token, |_| {});
    let log = world.publish();
    log.withhold();
    let report = execution(&log.reader());
    assert_eq!((report.undisclosed, report.agree), (1, 0), "{report}");
}

#[test]
fn an_altered_answer_is_an_alarm() {
    let mut world = World::new();
    let token = world.login(|_| {});
    read(&mut world, &token, |_| {});
    let log = world.publish();
    log.rewrite_side("a@b.example", "x@b.example");
    alarm(&execution(&log.reader()), "not those it commits to");
}
