//! A tool's rule says whom a call is about, and what is recorded of it can be forgotten with them.

use crate::world::{Wish, World};
use remit_gateway::{Capture, CaptureLevel, Captures};
use remit_ledger::{
    Draft,
    record::{ProducerKind, RecordType},
    vault::Subject,
};
use remit_model::{TenantId, ToolClass};
use remit_testkit::mentions;
use serde_json::{Value, json};
use std::collections::BTreeMap;

async fn world() -> World {
    let full = Capture { level: CaptureLevel::Full, ..Capture::default() };
    Wish { captures: Captures { default: full, tools: BTreeMap::new() }, ..Wish::new(true) }.build().await
}

async fn forget(world: &World, customer: &str) {
    let subject = Subject::Data { kind: "customer".into(), id: customer.into() };
    let ask = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .action("ledger.erase", ToolClass::Admin)
        .ext("redaction", json!({"legal_basis": "GDPR Art. 17"}));
    world.store.erase(&subject, ask).await.unwrap();
}

/// The value beside the record at this place, where the keys there are still open it.
async fn value(world: &World, index: u64, path: &str) -> Option<Value> {
    world.store.record(index).await.unwrap().unwrap().side.unwrap().value(path)
}

#[tokio::test]
async fn what_was_recorded_about_a_customer_goes_with_the_customers_key_and_nothing_else_does() {
    let world = world().await;
    let client = world.all();
    for customer in ["C-17", "C-18"] {
        client.call("customer_read", json!({"customer": customer, "note": "vip"})).await.result();
        client.call("customer.change", json!({"customer": customer})).await.result();
    }
    let records = world.records().await;
    let types: Vec<_> = records.iter().map(|record| record["record_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["decision", "intent", "effect", "decision", "intent", "effect"]);
    for (record, class) in records.iter().zip(["phi", "pii", "pii"].into_iter().cycle()) {
        let subject = &record["resource"][1];
        assert_eq!((&subject["type"], &subject["classification"]), (&json!("customer"), &json!(class)));
        assert_eq!(record["resource"].as_array().unwrap().len(), 2);
        assert!(["C-17", "C-18"].iter().all(|customer| !mentions(&record.to_string(), customer)), "{record}");
    }
    assert_eq!(records[0]["resource"][1]["id_ref"], records[2]["resource"][1]["id_ref"], "one customer, one pseudonym");
    assert_ne!(records[0]["resource"][1]["id_ref"], records[3]["resource"][1]["id_ref"]);

    forget(&world, "C-17").await;
    let paths = |index: u64| match index % 3 {
        1 => ["/call/arguments", "/decision/input", "/response/body", "/response/upstream", "/resource/1/id"].as_slice(),
        2 => ["/call/arguments", "/decision/input", "/resource/1/id"].as_slice(),
        _ => ["/response/body", "/response/upstream", "/resource/1/id"].as_slice(),
    };
    for index in 1..=3 {
        for path in paths(index) {
            assert_eq!(value(&world, index, path).await, None, "{path} of record {index}");
            assert!(value(&world, index + 3, path).await.is_some(), "{path} of record {}", index + 3);
        }
        assert!(value(&world, index, "/chain/0/subject").await.is_some(), "who asked is not forgotten");
    }
}

#[tokio::test]
async fn a_refused_call_is_about_somebody_too() {
    let world = world().await;
    let client = world.planner(world.grant(json!({"actions": ["customer_read"], "arguments": {"/customer": {"in": ["C-1"]}}})));
    client.call("customer_read", json!({"customer": "C-17"})).await.refused(200, "argument_not_granted");
    assert_eq!(world.last().await["resource"][1]["type"], "customer");
    assert!(value(&world, 1, "/decision/reason").await.is_some());
    forget(&world, "C-17").await;
    for path in ["/decision/reason", "/call/arguments"] {
        assert_eq!(value(&world, 1, path).await, None, "{path}");
    }
}

#[tokio::test]
async fn without_the_argument_or_a_rule_nobody_is_named() {
    let world = world().await;
    let client = world.all();
    client.call("customer_read", json!({})).await.result();
    client.call("customer_read", json!({"customer": null})).await.result();
    client.call("ticket_read", json!({"customer": "C-17"})).await.result();
    for record in world.records().await {
        assert_eq!((record["resource"].as_array().unwrap().len(), record["ext"].get("subject")), (1, None));
    }
}

#[tokio::test]
async fn a_value_that_is_no_id_names_nobody_and_every_record_says_so() {
    let world = world().await;
    let client = world.all();
    let cases = [
        (json!("x".repeat(257)), "too_long"),
        (json!({"id": "C-17"}), "not_an_id"),
        (json!(["C-17"]), "not_an_id"),
        (json!(""), "not_an_id"),
        (json!(true), "not_an_id"),
    ];
    for (given, why) in cases {
        let before = world.records().await.len();
        client.call("customer.change", json!({"customer": given})).await.result();
        let records = world.records().await.split_off(before);
        assert_eq!(records.len(), 2);
        for record in records {
            assert_eq!(record["ext"]["subject"], json!({"type": "customer", "not_named": why}));
            assert_eq!(record["resource"].as_array().unwrap().len(), 1);
            assert!(!mentions(&record.to_string(), "C-17") && !record.to_string().contains("xxx"));
        }
    }
}

#[tokio::test]
async fn a_number_and_its_digits_are_one_customer() {
    let world = world().await;
    let client = world.all();
    for given in [json!(17), json!("17")] {
        client.call("customer_read", json!({"customer": given})).await.result();
    }
    let records = world.records().await;
    assert_eq!(records[0]["resource"][1]["id_ref"], records[1]["resource"][1]["id_ref"]);
    forget(&world, "17").await;
    for index in [1, 2] {
        assert_eq!(value(&world, index, "/call/arguments").await, None);
    }
}
