//! Random exchanges, honest and greedy, over a real server: no token ever exceeds any of its ancestors.

use crate::{flow::*, world::*};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use remit_model::Human;
use remit_store::Change;
use serde_json::{Value, json};
use std::{cell::RefCell, collections::HashMap};

/// What one step asks, relative to the token it starts from.
#[derive(Clone, Debug)]
struct Move {
    /// Which of the tokens so far.
    from: usize,
    /// 0: the holder narrows; 1: names a child; 2: states to a child.
    way: u8,
    to: usize,
    changes: Vec<(u8, i64)>,
    lifetime: Option<u32>,
    wait: u64,
}

/// A token that was issued, with what it was issued from.
struct Held {
    token: String,
    holder: usize,
    parent: Option<usize>,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let change = (0_u8..9, -60_i64..60);
    let one = (any::<usize>(), 0_u8..3, 0_usize..3, prop::collection::vec(change, 0..3), prop::option::of(1_u32..900), 0_u64..20)
        .prop_map(|(from, way, to, changes, lifetime, wait)| Move { from, way, to, changes, lifetime, wait });
    prop::collection::vec(one, 1..9)
}

/// What a child may get at most: one step less to go.
fn handed(details: &Value) -> Value {
    let mut details = details.clone();
    for grant in details.as_array_mut().unwrap() {
        match grant.pointer("/delegate/depth").and_then(Value::as_i64) {
            Some(depth) if depth > 1 => grant["delegate"]["depth"] = json!(depth - 1),
            _ => drop(grant.as_object_mut().unwrap().remove("delegate")),
        }
    }
    details
}

/// The parent's details, changed: sometimes narrower, sometimes wider, sometimes another resource.
fn changed(details: &Value, changes: &[(u8, i64)]) -> Value {
    let mut details = details.clone();
    for (kind, by) in changes {
        let count = details.as_array().unwrap().len().max(1);
        let at = usize::try_from(by.unsigned_abs()).unwrap() % count;
        let Some(grant) = details.get_mut(at) else { continue };
        match kind {
            0 => grant["actions"] = json!(["tickets_read"]),
            1 => grant["actions"] = json!(["tickets_read", "admin_reset"]),
            2 => grant["arguments"] = json!({"/amount": {"max": 50 + by}}),
            3 => grant["fields"] = json!(if *by < 0 { vec!["/id"] } else { vec!["/id", "/customer"] }),
            4 => grant["delegate"] = json!({"to": ["*"], "depth": by.rem_euclid(5) + 1}),
            5 => drop(grant.as_object_mut().unwrap().remove("delegate")),
            6 => grant["limits"] = json!({"calls": 10 + by.max(&-9)}),
            7 => grant["not_after"] = json!(START + 300 + 10 * by),
            _ => drop(grant.as_object_mut().unwrap().remove(if *by < 0 { "fields" } else { "arguments" })),
        }
    }
    details
}

async fn world() -> World {
    let world = World::new().await;
    let details = json!([
        {"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read", "tickets_search"],
         "fields": ["/id", "/subject", "/customer/name"], "delegate": {"to": ["*"], "depth": 3}},
        {"type": "tool_access", "locations": [HELPDESK], "actions": ["refund_create"], "arguments": {"/amount": {"max": 50}},
         "limits": {"calls": 10}, "delegate": {"to": ["*"], "depth": 2}},
    ]);
    world.change(Change::PutHuman(Human { entitlements: grants(&details), ..human("alice") })).await;
    world
}

/// Plays the moves and returns what came of each: `issued`, or the code of the refusal.
async fn play(world: &World, moves: &[Move]) -> Result<Vec<String>, TestCaseError> {
    let mut seen = Vec::new();
    let agents = [&world.planner, &world.summarizer, &world.scribe];
    let root = text(&world.delegated("alice").await, "access_token").to_owned();
    let mut held = vec![Held { token: root, holder: 0, parent: None }];
    for step in moves {
        world.advance(step.wait);
        let from = step.from % held.len();
        let Held { token, holder, .. } = &held[from];
        // Mostly another agent, sometimes oneself.
        let to = if step.to == 2 && step.wait == 0 { *holder } else { (*holder + 1 + step.to % 2) % 3 };
        let (actor, child) = (agents[*holder], agents[to]);
        let held_now = &claims(token)["authorization_details"];
        let most = if step.way == 0 { held_now.clone() } else { handed(held_now) };
        let details = changed(&most, &step.changes);
        let asked = details.to_string();
        let lifetime = step.lifetime.map(|seconds| seconds.to_string());
        let mut more = vec![];
        if !step.changes.is_empty() {
            more.push(("authorization_details", asked.as_str()));
        }
        more.extend(lifetime.as_deref().map(|seconds| ("requested_lifetime", seconds)));
        let (reply, to) = match step.way {
            0 => (world.narrow(actor, token, &more).await, *holder),
            1 => (world.hand(actor, token, child, &more).await, to),
            _ => {
                let Ok(authority) = remit_model::Authority::parse(&details) else { continue };
                let statement = world.statement(actor, token, child, &authority.to_value());
                let mut all = vec![("grant_type", EXCHANGE), ("subject_token", statement.as_str()), ("subject_token_type", JWT)];
                all.extend(more.iter().filter(|(name, _)| *name == "requested_lifetime"));
                (world.token(child, &all).await, to)
            }
        };
        seen.push(reply.body["remit_code"].as_str().unwrap_or("issued").to_owned());
        if reply.status == 200 {
            held.push(Held { token: reply.access_token(), holder: to, parent: Some(from) });
            check(&held)?;
        }
    }
    Ok(seen)
}

/// The newest token against every token above it.
fn check(held: &[Held]) -> Result<(), TestCaseError> {
    let newest = held.last().unwrap();
    let said = claims(&newest.token);
    let authority = grants(&said["authorization_details"]);
    let mut above = newest.parent;
    while let Some(index) = above {
        let parent = claims(&held[index].token);
        prop_assert!(said["exp"].as_i64() <= parent["exp"].as_i64(), "outlives an ancestor");
        prop_assert_eq!((&said["sub"], &said["txn"]), (&parent["sub"], &parent["txn"]));
        let ancestor = grants(&parent["authorization_details"]);
        prop_assert!(authority.within(&ancestor).is_ok(), "{} exceeds {}", said, parent);
        prop_assert!(said["urn:remit:ancestors"].as_array().unwrap().contains(&parent["jti"]));
        prop_assert!(said["act"].to_string().contains(&parent["act"].to_string()), "DC-03: the inbound chain is beneath");
        above = held[index].parent;
    }
    Ok(())
}

#[test]
fn n_dc_19_no_token_exceeds_any_of_its_ancestors() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 48, failure_persistence: None, max_shrink_iters: 64, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let counts = RefCell::new(HashMap::<String, usize>::new());
    runner
        .run(&moves(), |moves| {
            let seen = runtime.block_on(async { play(&world().await, &moves).await })?;
            for code in seen {
                *counts.borrow_mut().entry(code).or_default() += 1;
            }
            Ok(())
        })
        .unwrap();
    let seen = counts.into_inner();
    assert!(seen["issued"] > 60, "too few tokens to mean anything: {seen:?}");
    for code in ["widens_scope", "widens_argument", "widens_field", "widens_limit", "widens_delegation", "widens_lifetime"] {
        assert!(seen.contains_key(code), "{code} never came up: {seen:?}");
    }
}
