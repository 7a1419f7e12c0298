//! Every request leaves its record: who, what, why, how it went. SPEC: record.md §1.11.

use crate::world::{World, key};
use remit_model::bounds;
use remit_testkit::mentions;
use serde_json::{Value, json};

#[tokio::test]
async fn a_read_leaves_one_decision_with_its_outcome() {
    let world = World::new(true).await;
    let client = world.helper(world.grant(json!({"actions": ["*"]})));
    client.call("ticket_read", json!({"id": "T-1"})).await.result();
    let records = world.records().await;
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record["record_type"], "decision");
    assert_eq!(record["action"], json!({"name": "ticket_read", "class": "read"}));
    assert_eq!(record["decision"]["result"], "allow");
    assert_eq!(record["decision"]["policies"][0]["id"], "all");
    assert_eq!(record["outcome"]["status"], "success");
    assert_eq!(record["mcp"]["method"], "tools/call");
    assert_eq!(record["tool"]["server_id"], "helpdesk");
    let kinds: Vec<_> = record["chain"].as_array().unwrap().iter().map(|party| party["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["human", "agent", "subagent"]);
    assert_eq!(record["chain"][2]["cnf"]["jkt"], Value::from(key(8).public().thumbprint()));
    assert!(record["chain"][2]["cnf"]["proof_hash"].as_str().unwrap().starts_with("sha-256:"));
    assert_eq!(record["resource"][0]["classification"], "pii");
    let text = record.to_string();
    assert!(!text.contains("alice") && !mentions(&text, "T-1"), "personal values are committed, not written: {text}");
    let side = format!("{:?}", world.store.record(1).await.unwrap().unwrap().side.unwrap());
    assert!(side.contains("/decision/input") && side.contains("/call/arguments") && side.contains("T-1"));
}

#[tokio::test]
async fn a_mutation_has_a_durable_intent_before_and_an_effect_after() {
    let world = World::new(true).await;
    world.all().call("refund", json!({"amount": 1})).await.result();
    let records = world.records().await;
    let [intent, effect] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((&intent["record_type"], &effect["record_type"]), (&json!("intent"), &json!("effect")));
    assert_eq!(intent["decision"]["result"], "allow");
    assert_eq!(intent["outcome"]["status"], "unknown");
    assert_eq!(effect["intent_id"], intent["record_id"]);
    assert_eq!(effect["outcome"]["status"], "success");
    assert_eq!(effect["outcome"]["effect_confirmed"], "acked");
}

#[tokio::test]
async fn the_upstream_is_told_which_record_its_own_log_can_be_compared_with() {
    for modern in [true, false] {
        let world = World::new(modern).await;
        let client = world.all();
        client.call("refund", json!({"amount": 1})).await.result();
        client.call("ticket_read", json!({"id": "T-1"})).await.result();
        let sent = world.fake.received("tools/call");
        let named: Vec<_> = sent.iter().map(|message| message.body["params"]["_meta"]["remit/record"].clone()).collect();
        let records = world.records().await;
        assert_eq!(named[0], records[0]["record_id"], "the intent's");
        assert_eq!(named[1], records[2]["ext"]["call"], "there is no intent for a read");
        assert!(named[1].as_str().unwrap().len() > 16, "{named:?}");
    }
}

#[tokio::test]
async fn a_client_cannot_say_which_record_its_call_is() {
    let world = World::new(true).await;
    let client = world.all();
    let (headers, mut body) = client.modern_request("tools/call", json!({"name": "refund", "arguments": {}}));
    body["params"]["_meta"]["remit/record"] = json!("another's");
    client.send(headers, &body).await.result();
    let meta = world.fake.received("tools/call")[0].body["params"]["_meta"].clone();
    assert_eq!(meta["remit/record"], world.records().await[0]["record_id"]);
}

#[tokio::test]
async fn a_tool_that_fails_is_a_failure_though_the_protocol_succeeded() {
    let world = World::new(true).await;
    world.all().call("fail", json!({})).await.result();
    let record = world.last().await;
    assert_eq!(record["outcome"]["status"], "failure");
    assert_eq!(record["outcome"]["error_type"], "tool_error");
}

#[tokio::test]
async fn refusals_are_recorded_with_the_same_fields_and_say_where() {
    let world = World::new(true).await;
    let client = world.planner(world.grant(json!({"actions": ["refund"], "arguments": {"/amount": {"max": 50}}})));
    let denied = client.call("refund", json!({"amount": 500.25})).await;
    denied.refused(200, "argument_not_granted");
    let record = world.last().await;
    assert_eq!(denied.body["result"]["_meta"]["remit/record"], record["record_id"]);
    assert_eq!(record["record_type"], "decision");
    assert_eq!(record["decision"]["result"], "deny");
    assert_eq!(record["decision"]["reason_code"], "argument_not_granted");
    assert_eq!(record["outcome"]["status"], "denied");
    assert_eq!(record["chain"].as_array().unwrap().len(), 2);
    assert!(!record.to_string().contains("500.25"), "arguments stay out of the record: {record}");
    client.call("other", json!({})).await.refused(200, "tool_not_granted");
    assert_eq!(world.last().await["decision"]["reason_code"], "tool_not_granted");
    assert_eq!(world.fake.calls(), 0);
}

#[tokio::test]
async fn a_stolen_token_is_recorded_with_the_chain_it_was_stolen_from() {
    let world = World::new(true).await;
    let mut thief = world.all();
    thief.key = key(66);
    let reply = thief.call("ticket_read", json!({})).await;
    reply.refused(401, "dpop_key_mismatch");
    let record = world.last().await;
    assert_eq!(reply.body["error"]["data"]["record"], record["record_id"]);
    assert_eq!(record["decision"]["reason_code"], "dpop_key_mismatch");
    assert_eq!(record["chain"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn strangers_are_recorded_but_cannot_fill_the_ledger() {
    let world = World::new(true).await;
    let mut client = world.all();
    client.token = "eyJhbGciOiJub25lIn0.e30.".to_owned();
    let alone = bounds::UNPROVEN_RECORDS.size();
    for _ in 0..alone + 10 {
        assert_eq!(client.call("ticket_read", json!({})).await.status, 401);
    }
    assert_eq!(world.records().await.len(), alone);
    assert_eq!(world.last().await["chain"][0]["kind"], "external_agent");
}

#[tokio::test]
async fn without_a_ledger_nothing_is_served() {
    let world = World::new(true).await;
    let client = world.all();
    client.call("ticket_read", json!({})).await.result();
    world.store.close().await.unwrap();
    client.call("refund", json!({})).await.refused(200, "ledger_unavailable");
    client.call("ticket_read", json!({})).await.refused(200, "ledger_unavailable");
    assert_eq!(world.fake.received("tools/call").iter().filter(|seen| seen.body["params"]["name"] == "refund").count(), 0);
}
