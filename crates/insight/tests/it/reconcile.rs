use crate::world::{Token, World};
use proptest::prelude::*;
use remit_insight::{Calls, Reconciliation, Scope, UpstreamCall, reconcile, request_digest, upstream_log};
use remit_ledger::{
    Reader,
    record::{Draft, EffectConfirmed, Mcp, OutcomeStatus, RecordType},
};
use remit_model::resource::ToolClass::{Payment, Read};
use serde_json::{Value, json};

fn mcp(draft: &mut Draft) {
    draft.mcp = Some(Mcp { method: "tools/call".to_owned(), request_id: None, protocol_version: None });
}

/// A payment: an intent, and unless it was lost, its effect.
fn pay(world: &mut World, token: &Token, amount: u64, ended: Option<OutcomeStatus>) -> String {
    let mut intended = None;
    let at = world.call(token, "refund_create", Payment, &json!({"amount": amount}), |draft| {
        mcp(draft);
        draft.record_type = RecordType::Intent;
        draft.outcome.status = OutcomeStatus::Unknown;
        intended = Some(draft.clone());
    });
    let id = world.publish().reader().record(at).unwrap().record_id().to_owned();
    if let (Some(status), Some(mut effect)) = (ended, intended) {
        effect.record_type = RecordType::Effect;
        effect.intent_id = Some(id.clone());
        effect.decision = None;
        effect.committed.clear();
        effect.outcome.status = status;
        effect.outcome.effect_confirmed = EffectConfirmed::Acked;
        world.record(effect);
    }
    id
}

fn read(world: &mut World, token: &Token, id: &str) {
    world.call(token, "tickets_read", Read, &json!({"id": "T-1"}), |draft| {
        mcp(draft);
        draft.ext.insert("call".to_owned(), json!(id));
    });
}

fn said(call: &str, name: &str, arguments: &Value) -> UpstreamCall {
    UpstreamCall { call: Some(call.to_owned()), digest: request_digest(name, arguments), name: Some(name.to_owned()) }
}

struct Case {
    world: World,
    calls: Vec<UpstreamCall>,
}

/// One payment, one read, and the upstream that saw both.
fn honest() -> Case {
    let mut world = World::new();
    let token = world.login(|_| {});
    let paid = pay(&mut world, &token, 40, Some(OutcomeStatus::Success));
    read(&mut world, &token, "r-1");
    let calls = vec![said(&paid, "refund_create", &json!({"amount": 40})), said("r-1", "tickets_read", &json!({"id": "T-1"}))];
    Case { world, calls }
}

fn report(reader: &Reader, calls: &[UpstreamCall]) -> (Reconciliation, Calls) {
    let report = reconcile(reader, Some(calls), &Scope::default()).unwrap();
    let calls = report.upstream.clone().unwrap();
    (report, calls)
}

#[test]
fn honest_books_agree() {
    let case = honest();
    let (whole, calls) = report(&case.world.publish().reader(), &case.calls);
    assert!(whole.ok(), "{whole}");
    assert_eq!((calls.matched, calls.matched_by_id_only), (2, 0));
    assert_eq!((whole.tokens.matched, whole.intents.matched), (2, 1));
    assert_eq!(whole.summary()["upstream_matched"], "2");
}

#[test]
fn a_call_behind_the_gateways_back_is_upstream_only() {
    let mut case = honest();
    case.calls.push(UpstreamCall { call: None, ..said("", "refund_create", &json!({"amount": 9_000})) });
    case.calls.push(said("invented", "refund_create", &json!({"amount": 40})));
    let (whole, calls) = report(&case.world.publish().reader(), &case.calls);
    assert!(!whole.ok());
    assert_eq!(calls.upstream_only.iter().map(|finding| finding.at).collect::<Vec<_>>(), [3, 4]);
    assert!(whole.to_string().contains("FAIL upstream only, line 3 `refund_create`: the call carries no record's id"), "{whole}");
}

#[test]
fn a_tampered_line_is_upstream_only_and_its_call_ledger_only() {
    let mut case = honest();
    case.calls[0].digest = request_digest("refund_create", &json!({"amount": 4}));
    let (whole, calls) = report(&case.world.publish().reader(), &case.calls);
    assert!(!whole.ok());
    assert_eq!((calls.matched, calls.upstream_only.len(), calls.ledger_only.len()), (1, 1, 1), "{whole}");
    assert!(calls.upstream_only[0].why.contains("another than that of record 4"), "{whole}");
}

#[test]
fn a_line_that_is_missing_is_ledger_only() {
    let mut case = honest();
    case.calls.remove(0);
    let (whole, calls) = report(&case.world.publish().reader(), &case.calls);
    assert!(!whole.ok());
    assert_eq!((calls.matched, calls.ledger_only[0].at), (1, 4), "{whole}");
}

#[test]
fn one_record_answers_for_one_line() {
    let mut case = honest();
    case.calls.push(case.calls[0].clone());
    let (_, calls) = report(&case.world.publish().reader(), &case.calls);
    assert!(calls.upstream_only[0].why.contains("already another line's"), "{calls:?}");
}

#[test]
fn a_lost_effect_is_unknown_and_not_a_failure() {
    let mut world = World::new();
    let token = world.login(|_| {});
    let lost = pay(&mut world, &token, 40, None);
    pay(&mut world, &token, 41, Some(OutcomeStatus::Timeout));
    let reader = world.publish().reader();
    let (whole, calls) = report(&reader, &[]);
    assert!(whole.ok(), "{whole}");
    assert_eq!(whole.intents.unknown_outcome, [4]);
    assert_eq!((calls.ledger_only.len(), calls.unknown_outcome.len()), (0, 2));
    // The upstream's log settles it.
    let (whole, calls) = report(&reader, &[said(&lost, "refund_create", &json!({"amount": 40}))]);
    assert_eq!((calls.matched, calls.unknown_outcome.len()), (1, 1), "{whole}");
}

#[test]
fn withheld_arguments_are_matched_by_id_and_counted_apart() {
    let case = honest();
    let log = case.world.publish();
    log.withhold();
    let (whole, calls) = report(&log.reader(), &case.calls);
    assert_eq!((calls.matched, calls.matched_by_id_only), (2, 2), "{whole}");
}

#[test]
fn another_servers_calls_are_not_this_upstreams() {
    let case = honest();
    let scope = Scope { server: Some("billing".to_owned()), since_ns: None };
    let whole = reconcile(&case.world.publish().reader(), Some(&case.calls), &scope).unwrap();
    let calls = whole.upstream.unwrap();
    assert_eq!((calls.matched, calls.ledger_only.len(), calls.upstream_only.len()), (0, 0, 2));
}

#[test]
fn what_began_before_the_period_is_no_finding_in_it() {
    let mut world = World::new();
    let token = world.login(|_| {});
    read(&mut world, &token, "r-0");
    let paid = pay(&mut world, &token, 40, Some(OutcomeStatus::Success));
    let reader = world.publish().reader();
    let effect = reader.record(reader.len() - 1).unwrap();
    // The period begins with the effect: the intent, the read and the upstream's lines of both are older.
    let scope = Scope { server: Some("helpdesk".to_owned()), since_ns: Some(effect.wall_ns()) };
    let calls = [
        said(&paid, "refund_create", &json!({"amount": 40})),
        said("r-0", "tickets_read", &json!({"id": "T-1"})),
        said("behind-its-back", "tickets_read", &json!({"id": "T-1"})),
    ];
    let whole = reconcile(&reader, Some(&calls), &scope).unwrap();
    let found = whole.upstream.as_ref().unwrap();
    assert!(whole.intents.effect_only.is_empty(), "{whole}");
    assert_eq!((found.upstream_only.len(), found.upstream_only[0].at), (1, 3), "{whole}");
}

#[test]
fn every_finding_is_counted_however_many_are_listed() {
    let case = honest();
    let strange = UpstreamCall { name: Some("x\u{1b}[2J\nok   upstream: all matched".to_owned()), ..UpstreamCall::default() };
    let (whole, calls) = report(&case.world.publish().reader(), &vec![strange; 1500]);
    assert_eq!((calls.upstream_only.len(), calls.counts.upstream_only, calls.unlisted), (1000, 1500, 500));
    assert_eq!(whole.summary()["upstream_only"], "1500");
    let shown = whole.to_string();
    assert!(!shown.contains('\u{1b}') && !shown.lines().any(|line| line.starts_with("ok   upstream")), "a line of its own");
}

#[test]
fn a_use_without_an_issued_token_is_gateway_only() {
    let mut world = World::new();
    let mut forged = world.login(|_| {});
    forged.claims.jti = "forged".to_owned();
    read(&mut world, &forged, "r-1");
    let whole = reconcile(&world.publish().reader(), None, &Scope::default()).unwrap();
    assert_eq!((whole.tokens.gateway_only.as_slice(), whole.tokens.token_service_only), (&[4][..], 1));
    assert!(!whole.ok() && whole.upstream.is_none());
}

#[test]
fn a_line_that_is_no_call_is_refused_with_its_number() {
    assert_eq!(upstream_log("").unwrap(), []);
    assert_eq!(upstream_log("\n{\"digest\":\"x\",\"at\":5}\n").unwrap()[0].digest, "x");
    for (text, line) in [("{}", "line 1"), ("{\"digest\":\"x\"}\n[]", "line 2"), ("{\"digest\":1}", "line 1")] {
        assert!(upstream_log(text).unwrap_err().to_string().starts_with(line), "{text}");
    }
    assert!(upstream_log(&format!("{{\"digest\":\"{}\"}}", "x".repeat(70_000))).is_err());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = upstream_log(&text);
    }
}
