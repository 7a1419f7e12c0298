//! Numbers leave the gateway as they came, digit by digit, and texts that are not Unicode cost no answer.

use crate::world::{Client, Wish, World};
use http_body_util::BodyExt;
use hyper::Method;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use remit_gateway::{Capture, CaptureLevel, Captures};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Numbers in every form that JSON has for them.
fn numbers() -> Vec<String> {
    let strategy = prop_oneof![
        "-?(0|[1-9][0-9]{0,40})",
        "-?(0|[1-9][0-9]{0,20})\\.[0-9]{1,40}",
        "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,5})?[eE][+-]?[0-9]{1,3}",
    ];
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let random = (0..40).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let known =
        ["9007199254740993", "18446744073709551616", "-0", "-0.0", "1E400", "1e-400", "0.10000000000000000000000001", "1.50"];
    known.map(str::to_owned).into_iter().chain(random).collect()
}

/// Sends a call whose arguments are this text, and gives the answer as it came.
async fn call(client: &Client<'_>, tool: &str, arguments: &str) -> String {
    let (headers, body) = client.modern_request("tools/call", json!({"name": tool, "arguments": "here"}));
    let text = body.to_string().replace("\"here\"", arguments);
    let body = client.raw(Method::POST, headers, &text).await.into_body();
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// The upstream answers this object, as structured content and as text.
fn answers(world: &World, object: &str) {
    let complete = if world.fake.modern { r#","resultType":"complete""# } else { "" };
    let text = Value::from(object).to_string();
    let result = format!(r#"{{"content":[{{"type":"text","text":{text}}}],"structuredContent":{object}{complete}}}"#);
    world.fake.texts.lock().unwrap().insert("ticket_read".to_owned(), result);
}

#[tokio::test]
async fn numbers_reach_the_upstream_as_they_were_sent() {
    let list = numbers().join(",");
    let arguments = format!(r#"{{"n":[{list}],"deep":{{"n":[[{list}]]}}}}"#);
    for modern in [true, false] {
        let world = World::new(modern).await;
        let answer = call(&world.all(), "refund", &arguments).await;
        assert!(answer.contains("\"done\":true"), "{answer}");
        let seen = world.fake.received("tools/call");
        assert!(seen[0].text.contains(&format!("\"arguments\":{arguments}")), "{}", seen[0].text);
    }
}

#[tokio::test]
async fn numbers_of_an_answer_reach_the_client_as_they_were_sent() {
    let list = numbers().join(",");
    for modern in [true, false] {
        let world = World::new(modern).await;
        answers(&world, &format!(r#"{{"id":1.50,"n":[{list}],"customer":{{"name":"Ann","n":[{list}]}}}}"#));
        let shown = |object: &str, answer: &str| {
            assert!(answer.contains(&format!("\"structuredContent\":{object}")), "{answer}");
            assert!(answer.contains(&format!("\"text\":{}", Value::from(object))), "{answer}");
        };
        let whole = format!(r#"{{"id":1.50,"n":[{list}],"customer":{{"name":"Ann","n":[{list}]}}}}"#);
        shown(&whole, &call(&world.all(), "ticket_read", "{}").await);
        let masked = world.planner(world.grant(json!({"actions": ["*"], "fields": ["/n", "/customer/n"]})));
        shown(&format!(r#"{{"n":[{list}],"customer":{{"n":[{list}]}}}}"#), &call(&masked, "ticket_read", "{}").await);
    }
}

#[tokio::test]
async fn numbers_of_text_alone_reach_the_client_as_they_were_sent() {
    let list = numbers().join(",");
    let world = World::new(false).await;
    let text = Value::from(format!(r#"{{"mail":"ann@example.com","n":[{list}]}}"#));
    let result = format!(r#"{{"content":[{{"type":"text","text":{text}}}]}}"#);
    world.fake.texts.lock().unwrap().insert("ticket_read".to_owned(), result);
    let masked = world.planner(world.grant(json!({"actions": ["*"], "fields": ["/n"]})));
    let answer = call(&masked, "ticket_read", "{}").await;
    assert!(answer.contains(&Value::from(format!(r#"{{"n":[{list}]}}"#)).to_string()), "{answer}");
}

#[tokio::test]
async fn a_constraint_compares_every_digit() {
    let world = World::new(true).await;
    let client = world.planner(world.grant(json!({"actions": ["refund"], "arguments": {"/amount": {"min": 0, "max": 50}}})));
    for amount in ["50", "50.0", "5E1", "0.500000000000000000000e+2", "49.99999999999999999999999999", "-0"] {
        let answer = call(&client, "refund", &format!(r#"{{"amount":{amount}}}"#)).await;
        assert!(answer.contains("\"done\":true"), "{amount}: {answer}");
    }
    for amount in ["50.00000000000000000000001", "9007199254740993", "5e400", "-1e-400", "1e999999999"] {
        let answer = call(&client, "refund", &format!(r#"{{"amount":{amount}}}"#)).await;
        assert!(answer.contains("argument_not_granted"), "{amount}: {answer}");
    }
    assert_eq!(world.fake.calls(), 6);
}

#[tokio::test]
async fn a_record_commits_to_the_numbers_that_were_sent() {
    let full = Capture { level: CaptureLevel::Full, ..Capture::default() };
    let captures = Captures { default: full, tools: BTreeMap::new() };
    let world = Wish { captures, ..Wish::new(true) }.build().await;
    answers(&world, r#"{"id":9007199254740993}"#);
    call(&world.all(), "ticket_read", r#"{"a":1.50,"b":2.5E0}"#).await;
    call(&world.all(), "ticket_read", r#"{"a":1.50,"b":0.10000000000000000000001}"#).await;
    let mut kept = Vec::new();
    for side in world.store.records(1, 100).await.unwrap().into_iter().filter_map(|stored| stored.side) {
        kept.extend(side.value("/call/arguments").map(|value| value.to_string()));
        if let Some(upstream) = side.value("/response/upstream") {
            assert_eq!(upstream["structuredContent"].to_string(), r#"{"id":9007199254740993}"#);
        }
    }
    assert!(kept.iter().any(|value| value.contains("\"a\":1.50,\"b\":0.10000000000000000000001")), "{kept:?}");
    assert!(kept.iter().any(|value| value.contains("\"a\":1.5,\"b\":2.5")), "a number that a double holds: {kept:?}");
}

#[tokio::test]
async fn half_an_emoji_in_an_answer_becomes_a_replacement_character() {
    for modern in [true, false] {
        let world = World::new(modern).await;
        answers(&world, r#"{"id":"T-\ud83d","mail":"\udc00"}"#);
        let answer = call(&world.all(), "ticket_read", "{}").await;
        assert!(answer.contains("\"structuredContent\":{\"id\":\"T-\u{fffd}\",\"mail\":\"\u{fffd}\"}"), "{answer}");
        let masked = world.planner(world.grant(json!({"actions": ["*"], "fields": ["/id"]})));
        let answer = call(&masked, "ticket_read", "{}").await;
        assert!(answer.contains("\"structuredContent\":{\"id\":\"T-\u{fffd}\"}"), "{answer}");
        assert!(answer.contains(&Value::from("{\"id\":\"T-\u{fffd}\"}").to_string()), "{answer}");
    }
}

#[tokio::test]
async fn arguments_that_cannot_be_read_are_refused_under_the_id_of_their_request() {
    let world = World::new(true).await;
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(80), "]".repeat(80));
    for (arguments, code) in [
        (r#"{"note":"\ud83d"}"#, "request_malformed"),
        (r#"{"\udc00":1}"#, "request_malformed"),
        (r#"{"a":1,"a":2}"#, "json_duplicate_member"),
        (r#"{"a\u0000":1}"#, "request_malformed"),
        (deep.as_str(), "json_too_deep"),
    ] {
        let answer: Value = serde_json::from_str(&call(&world.all(), "refund", arguments).await).unwrap();
        assert_eq!((&answer["id"], answer["error"]["data"]["code"].as_str()), (&json!(11), Some(code)), "{answer}");
    }
    assert_eq!(world.fake.calls(), 0);
}
