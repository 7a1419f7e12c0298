//! The decision against an oracle that is computed from its parts by hand, over every chain of a small registry.

use crate::registry::{ISSUER, LOCATION, NOW, Registry, agents, call, calls, helpdesk, humans, named, policies};
use proptest::prelude::*;
use remit_decide::{World, decide};
use remit_model::{AgentStatus, Authority, Call, HumanStatus, Principal, PrincipalKind};
use serde_json::{Value, json};
use std::cell::Cell;

const POLICIES: &str = r#"
    @id("all") permit (principal, action, resource);
    @id("no-money-by-sub-agents") forbid (principal is Agent, action == Action::"call", resource == Tool::"helpdesk/refund")
      when { context.depth > 1 };
    @id("not-the-money-team") forbid (principal in Group::"team=money", action == Action::"call", resource == Tool::"helpdesk/read");
    @id("people-ask-nothing") @effect("step_up") forbid (principal is Human, action == Action::"call", resource);
"#;

/// Whether someone may act, and what they may have at most: read from the fixture, not from the registry.
fn fixture(principal: &Principal) -> Option<Authority> {
    if principal.iss != ISSUER {
        return None;
    }
    match principal.kind() {
        PrincipalKind::Human => {
            let found = humans().into_iter().find(|(name, ..)| principal.sub == format!("user:{name}"));
            found.filter(|(_, status, _)| *status == HumanStatus::Active).map(|(.., most)| most)
        }
        PrincipalKind::Agent => {
            let found = agents().into_iter().find(|(name, ..)| principal.sub == format!("agent:{name}"));
            found.filter(|(_, status, _)| *status == AgentStatus::Active).map(|(.., most)| most)
        }
    }
}

/// The policies above, by hand.
fn allowed(root: &Principal, actors: &[Principal], action: &str) -> bool {
    let holder = actors.last().unwrap_or(root);
    let money = action == "refund" && actors.len() > 1 && holder.kind() == PrincipalKind::Agent;
    let team = action == "read" && holder.sub == "agent:clerk" && holder.iss == ISSUER;
    !money && !team && holder.kind() == PrincipalKind::Agent
}

fn principal() -> impl Strategy<Value = Principal> {
    prop_oneof![
        24 => prop::sample::select(vec!["user:alice", "user:bob", "agent:planner", "agent:scribe", "agent:clerk"]).prop_map(named),
        3 => prop::sample::select(vec!["user:carol", "user:nobody", "agent:stopped", "agent:gone", "agent:nobody", "", "agent:"])
            .prop_map(named),
        1 => Just(Principal::local("https://elsewhere.example", "agent:planner")),
        1 => Just(Principal::new(ISSUER, "agent:planner", PrincipalKind::Human)),
        1 => Just(Principal::new("https://idp.example", "00u1f9xk", PrincipalKind::Human)),
    ]
}

fn authority() -> impl Strategy<Value = Authority> {
    (prop::sample::subsequence(vec!["read", "refund"], 1..=2), 10_i64..250).prop_map(|(actions, most)| calls(&actions, most))
}

/// A permit has all three parts, and nothing else is refused.
#[test]
fn ce_01_a_decision_is_a_permit_exactly_when_each_of_its_parts_is() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registry = runtime.block_on(Registry::new());
    let (snapshot, bundle, server) = (registry.snapshot(), policies(POLICIES), helpdesk(&[]));
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let seen = [Cell::new(0_u32), Cell::new(0)];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 3_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let asks = (principal(), prop::collection::vec(principal(), 0..3), authority(), prop::bool::ANY, 0_i64..120);
    runner
        .run(&asks, |(root, actors, held, reads, amount)| {
            let (action, arguments): (_, Value) = (if reads { "read" } else { "refund" }, json!({"amount": amount}));
            let verdict = decide(&world, &call(&root, &actors, &held, (&server, action, &arguments)));

            let parties: Vec<&Principal> = std::iter::once(&root).chain(&actors).collect();
            let most: Option<Vec<Authority>> = parties.iter().map(|party| fixture(party)).collect();
            let asked = Call { location: LOCATION, action, arguments: &arguments, now: NOW };
            let covered = |most: &Vec<Authority>| most.iter().chain([&held]).all(|one| one.permits(&asked).is_ok());
            let expected = most.as_ref().is_some_and(covered) && allowed(&root, &actors, action);

            prop_assert_eq!(verdict.result.is_ok(), expected, "{:?}", verdict.result);
            prop_assert_eq!(verdict.effective.is_some(), most.is_some(), "an authority is worked out only for those who may act");
            prop_assert_eq!(verdict.asked.is_some(), most.as_ref().is_some_and(covered), "policies are asked last");
            seen[usize::from(expected)].update(|count| count + 1);
            Ok(())
        })
        .unwrap();
    assert!(seen.iter().all(|count| count.get() > 50), "the universe has both endings: {seen:?}");
}
