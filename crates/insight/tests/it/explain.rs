use crate::world::{Way, World};
use remit_insight::{explain, explain_at};
use remit_ledger::{
    Record,
    record::{DecisionFacts, DecisionResult, OutcomeStatus},
};
use remit_model::{
    Call, UnixTime,
    resource::ToolClass::{Payment, Read},
};
use serde_json::json;

fn explained(world: &World, index: u64) -> String {
    without_digests(&explain_at(&world.publish().reader(), index).unwrap().to_string())
}

/// Digests change with every word of a policy or the schema; the rest of the text does not.
fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha-256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "sha-256:[…]" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

#[test]
fn a_delegation() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    world.hand(Way::Named, &planner, |_| {});
    insta::assert_snapshot!(explained(&world, 4));
}

#[test]
fn a_call_that_a_policy_refuses() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "refund_create", Payment, &json!({"amount": 500, "currency": "EUR"}), |_| {});
    insta::assert_snapshot!(explained(&world, index));
}

#[test]
fn a_time_without_bound_orders_no_events_of_other_systems() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "tickets_read", Read, &json!({"id": "T-1"}), |_| {});
    let record = world.publish().reader().record(index).unwrap();
    let mut value = record.value().clone();
    value["time"]["clock_status"] = json!("unknown");
    value["time"]["error_bound_ns"] = json!(u64::MAX.to_string());
    value["time"]["source"] = json!("none");
    let record = Record::parse(&remit_model::json::canonical(&value)).unwrap();
    let when = explain(&record, None).when;
    assert!(when[0].ends_with("(error not known; clock unknown)."), "{when:?}");
    assert_eq!(when[1], "This time says nothing about the order of this record and events of other systems.");
}

#[test]
fn what_a_caller_wrote_cannot_move_the_readers_cursor() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "tickets_read", Read, &json!({"id": "T-1\u{9b}2J\u{202e}\u{1b}[1mVERIFIED"}), |draft| {
        draft.action.name = "tickets_read\nWhy   It was allowed.\u{1b}[8m".to_owned();
    });
    let told = explained(&world, index);
    assert!(told.contains("VERIFIED") && !told.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{told}");
    assert!(!told.lines().any(|line| line.starts_with("Why   It was allowed")), "{told}");
}

#[test]
fn a_call_that_the_authority_does_not_cover() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let arguments = json!({"amount": 80});
    let call =
        Call { location: crate::world::HELPDESK, action: "refund_create", arguments: &arguments, now: UnixTime(world.now) };
    let refusal = planner.claims.authority.permits(&call).unwrap_err();
    let index = world.call(&planner, "refund_create", Payment, &arguments, |draft| {
        draft.decision = Some(DecisionFacts {
            explanation: Some("The arguments are outside what was granted; the values are kept beside the log.".to_owned()),
            ..DecisionFacts::refused(&refusal)
        });
        draft.committed.push(("/decision/reason".to_owned(), json!(refusal.reason)));
        draft.outcome.status = OutcomeStatus::Denied;
        draft.outcome.code = Some(refusal.code.as_str().to_owned());
    });
    insta::assert_snapshot!(explained(&world, index));
}

#[test]
fn an_answer_with_fields_masked() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let child = world.hand(Way::Statement, &planner, |_| {});
    let index = world.call(&child, "tickets_read", Read, &json!({"id": "T-1"}), |draft| {
        draft.decision.as_mut().unwrap().result = DecisionResult::Mask;
        draft.ext.insert("grants".to_owned(), json!([child.claims.authority.grants()[0].digest()]));
        let returned = vec!["/id".to_owned(), "/subject".to_owned()];
        let resource = draft.resources.remove(0).projected(returned, vec!["/customer/email".to_owned()], "grant");
        draft.resources.push(resource);
    });
    insta::assert_snapshot!(explained(&world, index));
}

#[test]
fn a_withheld_value_is_named_as_withheld() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "tickets_read", Read, &json!({"id": "T-1"}), |_| {});
    let reader = world.publish().reader();
    let told = explain(&reader.record(index).unwrap(), None).to_string();
    assert!(!told.contains("T-1") && !told.contains("alice") && !told.contains("planner"), "{told}");
    insta::assert_snapshot!(without_digests(&told));
}

#[test]
fn the_hop_that_does_not_cover_it_is_named() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let child = world.hand(Way::Statement, &planner, |_| {});
    let index = world.call(&child, "refund_create", Payment, &json!({"amount": 40}), |_| {});
    let why = explain_at(&world.publish().reader(), index).unwrap().why;
    insta::assert_snapshot!(without_digests(&why.join("\n")));
}

#[test]
fn altered_values_are_not_shown() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "tickets_read", Read, &json!({"id": "T-1"}), |_| {});
    let log = world.publish();
    log.rewrite_side("T-1", "T-2");
    let told = explain_at(&log.reader(), index).unwrap().to_string();
    assert!(!told.contains("T-2") && told.contains("not those it commits to"), "{told}");
}

#[test]
fn the_same_as_json() {
    let world = World::new();
    let reader = world.publish().reader();
    let value = serde_json::to_value(explain(&reader.record(0).unwrap(), None)).unwrap();
    insta::assert_snapshot!(without_digests(&serde_json::to_string_pretty(&value).unwrap()));
}

/// The lines that name what would have been enough.
fn enough(world: &World, index: u64) -> String {
    let why = explain_at(&world.publish().reader(), index).unwrap().why;
    let said: Vec<&str> = why
        .iter()
        .map(String::as_str)
        .filter(|line| ["enough", "nough", "decided"].iter().any(|word| line.contains(word)))
        .collect();
    without_digests(&said.join("\n"))
}

fn refused(world: &mut World, tool: &str, arguments: &serde_json::Value, now: i64) -> u64 {
    let planner = world.login(|_| {});
    let child = world.hand(Way::Statement, &planner, |_| {});
    let call = Call { location: crate::world::HELPDESK, action: tool, arguments, now: UnixTime(world.now + now) };
    let refusal = child.claims.authority.permits(&call).unwrap_err();
    world.call(&child, tool, Payment, arguments, |draft| {
        draft.decision = Some(DecisionFacts::refused(&refusal));
        draft.outcome.status = OutcomeStatus::Denied;
    })
}

#[test]
fn enough_for_an_argument() {
    let mut world = World::new();
    let index = refused(&mut world, "tickets_read", &json!({"id": "T-1", "amount": 80}), 0);
    insta::assert_snapshot!(enough(&world, index), @r"
    This would have been enough, at hop 1, user:alice to agent:planner: `/amount` 50 instead of 80 (tried: grant sha-256:[…] then covers the call).
    This would have been enough, at hop 2, agent:planner to agent:summarizer: `/amount` 50 instead of 80 (tried: grant sha-256:[…] then covers the call).
    ");
}

#[test]
fn enough_for_a_tool() {
    let mut world = World::new();
    let index = refused(&mut world, "refund_create", &json!({"amount": 40}), 0);
    insta::assert_snapshot!(enough(&world, index), @"This would have been enough, at hop 2, agent:planner to agent:summarizer: a grant of `refund_create` at `https://remit.example/mcp/helpdesk`.");
}

#[test]
fn enough_for_a_policy_that_forbids() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "refund_create", Payment, &json!({"amount": 500.5}), |_| {});
    insta::assert_snapshot!(enough(&world, index), @r"
    The condition of `payment-ceiling` decided: nothing else stood in the way.
    This would have been enough: `/amount` of at most 200 (tried: that is permitted, 200.01 is not).
    ");
}

#[test]
fn enough_for_a_sub_agent() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let child = world.hand(Way::Statement, &planner, |_| {});
    let index = world.call(&child, "refund_create", Payment, &json!({"amount": 40}), |_| {});
    insta::assert_snapshot!(enough(&world, index), @r"
    The condition of `payment-not-by-sub-agents` decided: nothing else stood in the way.
    This would have been enough: the same call by agent:summarizer one hop from its origin instead of 2 (tried).
    ");
}

#[test]
fn enough_for_two_rules_is_no_single_value() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let child = world.hand(Way::Statement, &planner, |_| {});
    let index = world.call(&child, "refund_create", Payment, &json!({"amount": 400}), |_| {});
    insta::assert_snapshot!(enough(&world, index), @r"
    The conditions of `payment-ceiling` and `payment-not-by-sub-agents` decided: each alone is enough to refuse it.
    No single value of the question was found that would have been enough.
    ");
}

#[test]
fn enough_for_a_step_up() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let mut question = world.question(&planner, "admin_purge", remit_model::resource::ToolClass::Admin, &json!({}));
    question.auth_age = Some(4_000);
    let index = world.asked(&planner, &question, |_| {});
    insta::assert_snapshot!(enough(&world, index), @r"
    The condition of `administration-needs-a-recent-sign-in` decided: nothing else stood in the way.
    This would have been enough: a sign-in at most 900 seconds before (tried: 900 is permitted, 901 is not).
    ");
}

#[test]
fn enough_for_a_limit_is_said_not_to_be_recorded() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "tickets_read", Read, &json!({}), |draft| {
        let facts = draft.decision.as_mut().unwrap();
        facts.result = DecisionResult::Quota;
        facts.reason_code = Some("limit_exhausted".to_owned());
    });
    insta::assert_snapshot!(enough(&world, index), @"This would have been enough: a grant whose limit is not used up, or a new delegation. How much was left is not in the record.");
}

#[test]
fn enough_is_not_guessed_when_values_are_withheld() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "refund_create", Payment, &json!({"amount": 500}), |_| {});
    let log = world.publish();
    log.withhold();
    let why = explain_at(&log.reader(), index).unwrap().why.join("\n");
    assert!(why.contains("What would have been enough cannot be said"), "{why}");
    assert!(!why.contains("This would have been enough"), "{why}");
}

#[test]
fn an_allowed_call_names_nothing_that_would_have_been_enough() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let index = world.call(&planner, "tickets_read", Read, &json!({"id": "T-1"}), |_| {});
    assert!(!enough(&world, index).contains("nough"));
}

#[test]
fn enough_for_a_narrowed_token_is_found_in_the_token() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    // The holder narrowed its own token: its last hop would cover the call.
    let mut narrower = planner.clone();
    narrower.claims.authority = crate::world::authority(&json!([{
        "type": "tool_access", "locations": [crate::world::HELPDESK], "actions": ["refund_create"],
        "arguments": {"/amount": {"max": 10}}
    }]));
    let token = world.reissue(&narrower);
    let arguments = json!({"amount": 40});
    let call =
        Call { location: crate::world::HELPDESK, action: "refund_create", arguments: &arguments, now: UnixTime(world.now) };
    let refusal = token.claims.authority.permits(&call).unwrap_err();
    let index = world.call(&token, "refund_create", Payment, &arguments, |draft| {
        draft.decision = Some(DecisionFacts::refused(&refusal));
        draft.outcome.status = OutcomeStatus::Denied;
    });
    insta::assert_snapshot!(enough(&world, index), @"This would have been enough, in the token itself, which agent:planner holds: `/amount` 10 instead of 40 (tried: grant sha-256:[…] then covers the call).");
    let why = explain_at(&world.publish().reader(), index).unwrap().why.join("\n");
    assert!(why.contains("The token itself does not cover it"), "{why}");
    assert!(!why.contains("digest only"), "{why}");
}

#[test]
fn enough_names_every_alternative_nearest_first() {
    let mut world = World::new();
    let planner = world.login(|_| {});
    let grant = |max: i64, currency: &str| {
        json!({
            "type": "tool_access", "locations": [crate::world::HELPDESK], "actions": ["refund_create"],
            "arguments": {"/amount": {"max": max}, "/currency": {"in": [currency]}}
        })
    };
    let mut narrower = planner.clone();
    narrower.claims.authority = crate::world::authority(&json!([grant(10, "EUR"), grant(30, "EUR"), grant(45, "USD")]));
    let token = world.reissue(&narrower);
    let arguments = json!({"amount": 40, "currency": "EUR"});
    let call =
        Call { location: crate::world::HELPDESK, action: "refund_create", arguments: &arguments, now: UnixTime(world.now) };
    let refusal = token.claims.authority.permits(&call).unwrap_err();
    assert_eq!(refusal.reason.matches("; or ").count(), 1, "both near grants are named: {}", refusal.reason);
    let index = world.call(&token, "refund_create", Payment, &arguments, |draft| {
        draft.decision = Some(DecisionFacts::refused(&refusal));
        draft.outcome.status = OutcomeStatus::Denied;
    });
    let told = enough(&world, index);
    let places: Vec<usize> = ["`/currency` \"USD\" instead of \"EUR\"", "`/amount` 30 instead of 40"]
        .iter()
        .map(|change| told.find(change).unwrap_or_else(|| panic!("{change} is missing: {told}")))
        .collect();
    assert!(places.is_sorted(), "{told}");
}
