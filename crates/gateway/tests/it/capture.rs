//! What is kept of a call besides its decision, and what happens when it cannot be. SPEC: record.md §1.11 body_ref, diff_hash.

use crate::world::{Wish, World};
use remit_gateway::{BeforeAfter, Capture, CaptureLevel, Captures};
use remit_ledger::record::{Retention, Side};
use remit_testkit::mentions;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

fn full() -> Capture {
    Capture { level: CaptureLevel::Full, ..Capture::default() }
}

fn everything(default: Capture) -> Captures {
    Captures { default, tools: BTreeMap::new() }
}

/// Refunds are watched with this tool.
fn watched(tool: &str, required: bool) -> Captures {
    let arguments = BTreeMap::from([("/id".to_owned(), "/ticket".to_owned())]);
    let plan = BeforeAfter { tool: tool.into(), arguments, required };
    let rule = Capture { before_after: Some(plan), ..full() };
    Captures { default: Capture::default(), tools: BTreeMap::from([("refund".to_owned(), rule)]) }
}

async fn world(captures: Captures) -> World {
    Wish { captures, ..Wish::new(true) }.settings(|settings| settings.capture_timeout = Duration::from_millis(200)).build().await
}

/// The latest record and its openings.
async fn last(world: &World) -> (Value, Side) {
    let index = world.records().await.len() as u64;
    let stored = world.store.record(index).await.unwrap().unwrap();
    (serde_json::from_slice(&stored.bytes).unwrap(), stored.side.unwrap())
}

#[tokio::test]
async fn without_a_rule_nothing_of_the_result_is_kept() {
    let world = World::new(true).await;
    world.all().call("ticket_read", json!({"id": "T-1"})).await.result();
    let (record, side) = last(&world).await;
    assert_eq!(record["ext"].get("capture"), None);
    assert_eq!((side.value("/response/upstream"), side.value("/response/body")), (None, None));
    assert_eq!(side.value("/call/arguments"), Some(json!({"id": "T-1"})));
}

#[tokio::test]
async fn a_masked_answer_is_kept_whole_and_as_shown_and_neither_is_in_the_record() {
    let world = world(everything(full())).await;
    let client = world.planner(world.grant(json!({"actions": ["ticket_read"], "fields": ["/id"]})));
    let got = client.call("ticket_read", json!({"id": "T-1"})).await.result().clone();
    let (record, side) = last(&world).await;
    let upstream = side.value("/response/upstream").unwrap();
    assert_eq!(upstream["structuredContent"]["customer"]["email"], "ann@example.com");
    assert_eq!(side.value("/response/body"), Some(got));
    assert!(!side.value("/response/body").unwrap().to_string().contains("example.com"));
    assert_eq!(record["ext"]["capture"], json!({"class": "full"}));
    assert_eq!(record["response"]["hash"], side.leaf("/response/body").unwrap().to_string());
    let text = record.to_string();
    assert!(!text.contains("example.com") && !text.contains("Broken lamp") && !mentions(&text, "T-1"), "{text}");
}

#[tokio::test]
async fn a_digest_keeps_what_an_answer_was_without_keeping_it() {
    let world = world(everything(Capture { level: CaptureLevel::Digest, ..Capture::default() })).await;
    let got = world.all().call("ticket_read", json!({})).await.result().clone();
    let (record, side) = last(&world).await;
    assert_eq!(side.value("/response/body"), Some(json!(remit_model::json::digest(&got))));
    assert!(!format!("{side:?}").contains("example.com"));
    assert_eq!(record["ext"]["capture"]["class"], "digest");
    assert!(!record.to_string().contains(&remit_model::json::digest(&got)), "a bare digest could be guessed");
}

/// What is recorded of the gateway's own reads, apart from the id each was given for the upstream's log.
fn reads(record: &Value) -> Value {
    let mut reads = record["ext"]["capture"]["reads"].clone();
    for read in reads.as_array_mut().unwrap() {
        let call = read.as_object_mut().unwrap().remove("call");
        assert!(call.is_some_and(|call| call.as_str().is_some_and(|id| id.len() > 20)), "the upstream can name it");
    }
    reads
}

#[tokio::test]
async fn a_change_is_kept_with_the_state_before_and_after_it() {
    for modern in [true, false] {
        let world = Wish { captures: watched("ticket_read", true), ..Wish::new(modern) }.build().await;
        world.all().call("refund", json!({"ticket": "T-1", "amount": 5})).await.result();
        let (record, side) = last(&world).await;
        assert_eq!(record["record_type"], "effect");
        assert_eq!(side.value("/change/before").unwrap()["structuredContent"]["id"], "T-1");
        assert_eq!(side.value("/response/upstream").unwrap()["structuredContent"]["done"], true);
        let leaves = [side.leaf("/change/before").unwrap().0, side.leaf("/change/after").unwrap().0].concat();
        assert_eq!(record["request"]["diff_hash"], remit_model::json::sha256_label(&leaves));
        let expected = json!([{"at": "before", "tool": "ticket_read", "outcome": "success"}, {"at": "after", "tool": "ticket_read", "outcome": "success"}]);
        assert_eq!((&record["ext"]["capture"]["class"], reads(&record)), (&json!("full"), expected));
        let seen: Vec<_> = world.fake.received("tools/call").iter().map(|seen| seen.body["params"].clone()).collect();
        let names: Vec<_> = seen.iter().map(|params| params["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(names, ["ticket_read", "refund", "ticket_read"]);
        assert_eq!(seen[0]["arguments"], json!({"id": "T-1"}));
    }
}

#[tokio::test]
async fn nothing_reaches_the_upstream_for_a_change_that_the_clock_forbids() {
    for required in [true, false] {
        let wish = Wish { captures: watched("ticket_read", required), ..Wish::new(true) };
        let world = wish.settings(|settings| settings.clock_required = true).build().await;
        world.all().call("refund", json!({"ticket": "T-1", "amount": 5})).await.refused(200, "clock_unknown");
        assert_eq!(world.fake.calls(), 0, "not even our own read of the state before it");
        let (record, _) = last(&world).await;
        assert_eq!((&record["record_type"], &record["outcome"]["status"]), (&json!("decision"), &json!("denied")));
        assert!(record["ext"]["capture"].is_null(), "no read was tried");
        world.all().call("ticket_read", json!({"id": "T-1"})).await.result();
        assert_eq!(world.fake.calls(), 1, "what changes nothing needs no clock");
    }
}

#[tokio::test]
async fn a_change_whose_state_cannot_be_read_goes_on_unless_the_rule_demands_it() {
    for (tool, outcome) in [("fail", "tool_error"), ("error", "upstream_error"), ("hang", "timeout"), ("broken", "unavailable")] {
        let relaxed = world(watched(tool, false)).await;
        relaxed.all().call("refund", json!({"ticket": "T-1"})).await.result();
        let (record, side) = last(&relaxed).await;
        let noted = &record["ext"]["capture"]["reads"];
        assert_eq!((&noted[0]["outcome"], &noted[1]["outcome"]), (&json!(outcome), &json!(outcome)));
        assert_eq!((record["request"].get("diff_hash"), side.value("/change/before")), (None, None));
        assert_eq!(record["outcome"]["status"], "success");

        let strict = world(watched(tool, true)).await;
        strict.all().call("refund", json!({"ticket": "T-1"})).await.refused(200, "capture_failed");
        let (record, _) = last(&strict).await;
        assert_eq!(record["record_type"], "decision", "no intent: nothing was going to happen");
        assert_eq!(record["outcome"]["status"], "denied");
        assert_eq!(reads(&record), json!([{"at": "before", "tool": tool, "outcome": outcome}]));
        assert!(strict.fake.received("tools/call").iter().all(|seen| seen.body["params"]["name"] != "refund"), "{tool}");
    }
}

#[tokio::test]
async fn a_change_without_the_argument_that_names_the_thing_is_not_guessed() {
    let world = world(watched("ticket_read", true)).await;
    world.all().call("refund", json!({"amount": 5})).await.refused(200, "capture_failed");
    assert_eq!(world.fake.calls(), 0);
    assert_eq!(last(&world).await.0["ext"]["capture"]["reads"][0]["outcome"], "argument_missing");
}

#[tokio::test]
async fn a_denied_change_reads_nothing() {
    let world = world(watched("ticket_read", true)).await;
    let client = world.planner(world.grant(json!({"actions": ["refund"], "arguments": {"/amount": {"max": 50}}})));
    client.call("refund", json!({"amount": 51, "ticket": "T-1"})).await.refused(200, "argument_not_granted");
    assert_eq!(world.fake.calls(), 0);
    assert_eq!(last(&world).await.0["ext"].get("capture"), None);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_kept_as_its_digest_and_the_record_says_so() {
    let world = world(everything(Capture { max_bytes: 100, ..full() })).await;
    world.all().call("ticket_read", json!({})).await.result();
    let (record, side) = last(&world).await;
    let upstream = side.value("/response/upstream").unwrap();
    assert!(upstream.as_str().unwrap().starts_with("sha-256:"));
    let size: usize = record["ext"]["capture"]["too_large"]["/response/upstream"].as_str().unwrap().parse().unwrap();
    assert!(size > 100);
    assert_eq!(record["ext"]["capture"]["class"], "full");
    assert!(!format!("{side:?}").contains("example.com"));
}

#[tokio::test]
async fn what_failed_is_kept_as_it_came() {
    let world = world(everything(full())).await;
    let client = world.planner(world.grant(json!({"actions": ["*"], "fields": ["/id"]})));
    let reply = client.call("error", json!({})).await;
    assert!(!reply.body.to_string().contains("example.com"));
    let (record, side) = last(&world).await;
    assert_eq!(side.value("/response/upstream").unwrap()["error"]["message"], "ann@example.com is unknown");
    assert_eq!(side.value("/response/body"), None);
    assert!(!record.to_string().contains("example.com"));
    world.all().call("fail", json!({})).await.result();
    let (record, side) = last(&world).await;
    assert_eq!(record["outcome"]["error_type"], "tool_error");
    assert_eq!(side.value("/response/body").unwrap()["isError"], true);
}

#[tokio::test]
async fn a_question_to_the_client_is_kept_without_the_state_that_only_the_client_may_have() {
    let world = world(everything(full())).await;
    world.all().call("ask", json!({})).await.result();
    let (record, side) = last(&world).await;
    assert_eq!(record["ext"]["capture"]["not_kept"], json!(["/response/body"]));
    assert_eq!((side.value("/response/body"), record["outcome"]["status"].clone()), (None, json!("partial")));
}

#[tokio::test]
async fn lists_are_not_captured() {
    let world = world(everything(full())).await;
    world.all().modern("tools/list", json!({})).await.result();
    let (record, side) = last(&world).await;
    assert_eq!((record["ext"].get("capture"), side.value("/response/upstream")), (None, None));
}

#[tokio::test]
async fn the_retention_class_of_a_tool_stands_in_every_record_of_its_calls() {
    let retention = Some(Retention { class: "payment".into(), keep_days: 2555, legal_hold: false });
    let world = world(everything(Capture { retention, ..Capture::default() })).await;
    world.all().call("refund", json!({"amount": 1})).await.result();
    world
        .planner(world.grant(json!({"actions": ["ticket_read"]})))
        .call("refund", json!({}))
        .await
        .refused(200, "tool_not_granted");
    let records = world.records().await;
    let classes: Vec<_> = records.iter().map(|record| record["retention"]["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["payment", "payment", "payment"]);
}

#[tokio::test]
async fn dc_13_standing_that_is_lost_between_decision_and_commit_refuses_the_call() {
    // The read before the change holds the call up between its decision and its intent.
    let wish = Wish { captures: watched("slow", false), ..Wish::new(true) };
    let world = wish.settings(|settings| settings.capture_timeout = Duration::from_secs(10)).build().await;
    let client = world.all();
    let (reply, ()) = tokio::join!(client.call("refund", json!({"ticket": "T-1"})), async {
        crate::world::eventually("the read is under way", || world.fake.calls() == 1).await;
        world.quarantine("planner").await;
        world.fake.release.notify_one();
    });
    reply.refused(401, "agent_quarantined");
    assert!(world.fake.received("tools/call").iter().all(|call| call.body["params"]["name"] != "refund"));
    let record = world.last().await;
    assert_eq!((&record["record_type"], &record["outcome"]["status"]), (&json!("decision"), &json!("denied")));
    assert_eq!(record["decision"]["reason_code"], "agent_quarantined");
    assert!(world.records().await.iter().all(|record| record["record_type"] != "intent"));
}

#[tokio::test]
async fn a_token_revoked_between_decision_and_commit_is_refused_as_well() {
    let wish = Wish { captures: watched("slow", false), ..Wish::new(true) };
    let world = wish.settings(|settings| settings.capture_timeout = Duration::from_secs(10)).build().await;
    let client = world.all();
    let (reply, ()) = tokio::join!(client.call("refund", json!({"ticket": "T-1"})), async {
        crate::world::eventually("the read is under way", || world.fake.calls() == 1).await;
        world.revoke(remit_store::Revocation::Txn("chain-1".into())).await;
        world.fake.release.notify_one();
    });
    reply.refused(401, "token_revoked");
    assert_eq!(world.fake.calls(), 1);
}
