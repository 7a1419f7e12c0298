//! What callers can make the ledger and the gateway do by asking often: rate limits and counted refusals.

use crate::world::{Wish, World, agent, key};
use hyper::Method;
use remit_model::{Rate, bounds};
use serde_json::{Value, json};
use std::time::Duration;

const RATE: Rate = Rate { per_second: 2, burst: 3 };

async fn limited() -> World {
    Wish::new(true).settings(|settings| settings.rate = RATE).build().await
}

fn read() -> Value {
    json!({"id": "T-1"})
}

#[tokio::test]
async fn mg_21_a_client_over_its_rate_is_told_when_to_come_back_and_another_is_not_slowed() {
    let world = limited().await;
    let (planner, helper) = (world.all(), world.helper(world.grant(json!({"actions": ["*"]}))));
    for _ in 0..3 {
        planner.call("ticket_read", read()).await.result();
    }
    let before = world.records().await.len();
    for _ in 0..5 {
        let reply = planner.call("ticket_read", read()).await;
        reply.refused(429, "rate_limited");
        assert_eq!(reply.headers["retry-after"], "1");
    }
    let records = world.records().await;
    assert_eq!(records.len() - before, 5, "each is recorded as long as they are few");
    let last = records.last().unwrap();
    assert_eq!((&last["outcome"]["status"], &last["outcome"]["code"]), (&json!("denied"), &json!("rate_limited")));
    assert_eq!(last["chain"].as_array().map(Vec::len), Some(2), "the record names the caller: {last}");
    helper.call("ticket_read", read()).await.result();
    world.clock.advance(Duration::from_secs(1));
    for _ in 0..2 {
        planner.call("ticket_read", read()).await.result();
    }
    planner.call("ticket_read", read()).await.refused(429, "rate_limited");
}

#[tokio::test]
async fn mg_21_a_client_that_may_not_act_is_limited_too() {
    let world = limited().await;
    let planner = world.all();
    world.quarantine("planner").await;
    for _ in 0..3 {
        planner.call("ticket_read", read()).await.refused(401, "agent_quarantined");
    }
    planner.call("ticket_read", read()).await.refused(429, "rate_limited");
}

#[tokio::test]
async fn mg_21_a_request_over_the_rate_reaches_no_upstream_in_either_era() {
    let world = limited().await;
    let mut client = world.all();
    client.initialize().await.result();
    for _ in 0..2 {
        client.legacy_call("ticket_read", read()).await.result();
    }
    let before = world.fake.received("tools/call").len();
    client.legacy_call("ticket_read", read()).await.refused(429, "rate_limited");
    client.session = None;
    client.call("refund", json!({"amount": 1})).await.refused(429, "rate_limited");
    assert_eq!(world.fake.received("tools/call").len(), before);
}

#[tokio::test]
async fn a_genuine_token_without_its_key_does_not_fill_the_ledger_and_a_proven_caller_is_recorded_each_time() {
    let world = World::new(true).await;
    let owner = world.planner(world.grant(json!({"actions": ["ticket_read"]})));
    let mut thief = world.all();
    thief.token.clone_from(&owner.token);
    thief.key = key(99);
    let (before, alone) = (world.store.len(), bounds::UNPROVEN_RECORDS.value());
    for _ in 0..alone + 20 {
        thief.call("ticket_read", read()).await.refused(401, "dpop_key_mismatch");
    }
    assert_eq!(world.store.len() - before, alone);
    for _ in 0..30 {
        owner.call("refund", json!({"amount": 1})).await.refused(200, "tool_not_granted");
    }
    assert_eq!(world.store.len() - before, alone + 30, "the budget is for those who prove nothing");
    world.clock.advance(Duration::from_mins(1));
    world.store.tend().await;
    let records = world.records().await;
    let summary = records.iter().find(|record| record["action"]["name"] == "refusals.summarised").unwrap();
    let facts = &summary["ext"]["refusals"];
    assert_eq!((&facts["count"], &facts["kinds"][0]["code"]), (&json!("20"), &json!("dpop_key_mismatch")), "{facts}");
    assert_eq!(facts["kinds"][0]["action"], "mcp:request");
}

#[tokio::test]
async fn a_caller_without_any_token_is_neither_recorded_nor_counted() {
    let world = World::new(true).await;
    let client = world.all();
    let before = world.store.len();
    for _ in 0..10 {
        let reply = client.raw(Method::POST, Vec::new(), "{}").await;
        assert_eq!(reply.status(), 401);
    }
    world.clock.advance(Duration::from_mins(1));
    world.store.tend().await;
    let written = world.records().await.split_off(usize::try_from(before).unwrap() - 1);
    assert!(written.iter().all(|record| record["record_type"] == "heartbeat"), "{written:?}");
}

#[tokio::test]
async fn tk_11_each_person_has_a_limit_of_their_own_at_a_client_that_many_use() {
    let world = limited().await;
    let bob = remit_testkit::human("bob", world.grant(json!({"actions": ["*"]})));
    remit_testkit::change(&world.store, remit_store::Change::PutHuman(bob)).await;
    let of = |person: &str| {
        let mut client = world.all();
        let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), client.key.public().thumbprint());
        claims.sub = format!("user:{person}");
        client.token = remit_token::access::mint(&world.issuer_key, &claims).unwrap();
        client
    };
    for public in [true, false] {
        let keys = if public { Vec::new() } else { vec![key(50).public().to_jwk()] };
        let planner = remit_model::Agent { keys, ..agent("planner", world.grant(json!({"actions": ["*"]}))) };
        assert_eq!(planner.is_public(), public);
        remit_testkit::change(&world.store, remit_store::Change::PutAgent(planner)).await;
        let (alice, bob) = (of("alice"), of("bob"));
        for _ in 0..3 {
            alice.call("ticket_read", read()).await.result();
        }
        alice.call("ticket_read", read()).await.refused(429, "rate_limited");
        of("alice").call("ticket_read", read()).await.refused(429, "rate_limited");
        let reply = bob.call("ticket_read", read()).await;
        if public {
            reply.result();
        } else {
            reply.refused(429, "rate_limited");
        }
        world.clock.advance(Duration::from_secs(10));
    }
}
