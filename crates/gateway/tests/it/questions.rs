//! A stateless client before an upstream that asks in the middle of a call: the question becomes `input_required`, and the
//! retry is the answer.

use crate::{
    fake::Fake,
    stdio,
    world::{Client, NOW, Reply, Wish, World, eventually, key},
};
use hyper::Method;
use remit_model::UnixTime;
use serde_json::{Value, json};
use std::time::Duration;

fn accept() -> Value {
    json!({"question": {"action": "accept", "content": {"sure": true}}})
}

/// The parameters of a retry.
fn retry(first: &Reply, arguments: &Value, responses: &Value) -> Value {
    json!({"name": "ask", "arguments": arguments, "requestState": state(first), "inputResponses": responses})
}

fn state(reply: &Reply) -> String {
    assert_eq!(reply.result()["resultType"], "input_required", "{}", reply.body);
    reply.result()["requestState"].as_str().unwrap().to_owned()
}

/// What the upstream was answered, as its tool reports it.
fn reported(reply: &Reply) -> Value {
    assert_eq!(reply.result()["resultType"], "complete", "{}", reply.body);
    serde_json::from_str(reply.result()["content"][0]["text"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn mg_10_a_question_of_an_older_upstream_is_asked_and_the_waiting_call_gets_the_answer() {
    let world = World::new(false).await;
    let client = world.all();
    let first = client.call("ask", json!({"a": 1})).await;
    let asked = json!({"question": {"method": "elicitation/create", "params": {"message": "sure?"}}});
    assert_eq!(first.result()["inputRequests"], asked);
    let told = world.fake.received("initialize")[0].body["params"]["capabilities"].clone();
    assert_eq!(told, json!({"elicitation": {}}), "the upstream hears what the client can answer");

    let done = client.modern("tools/call", retry(&first, &json!({"a": 1}), &accept())).await;
    let answer = json!({"jsonrpc": "2.0", "id": "q-1", "result": {"action": "accept", "content": {"sure": true}}});
    assert_eq!(reported(&done), answer);
    assert_eq!(world.fake.calls(), 1, "the waiting request goes on; no second one is made");

    let records = world.records().await;
    let kinds: Vec<_> = records.iter().map(|record| (&record["record_type"], &record["outcome"]["status"])).collect();
    let rounds = ["intent", "effect", "intent", "effect"];
    assert_eq!(kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), rounds, "{kinds:?}");
    assert_eq!(records[1]["outcome"]["status"], "partial");
    assert_eq!(records[1]["outcome"]["effect_confirmed"], "dispatched_only");
    assert_eq!(records[2]["ext"]["continues"], records[0]["record_id"]);
    assert_eq!(records[3]["outcome"]["status"], "success");
}

#[tokio::test]
async fn several_questions_are_asked_one_after_the_other_and_undeclared_ones_are_not() {
    let world = World::new(false).await;
    let client = world.all();
    let arguments = json!({"ask": ["elicitation/create", "sampling/createMessage", "roots/list", "elicitation/create"]});
    let first = client.call("ask", arguments.clone()).await;
    let second = client.modern("tools/call", retry(&first, &arguments, &accept())).await;
    assert_ne!(state(&first), state(&second));
    let done = client.modern("tools/call", retry(&second, &arguments, &json!({"question": {"action": "decline"}}))).await;
    assert_eq!(reported(&done)["result"], json!({"action": "decline"}));
    let answers = world.fake.answers.lock().unwrap().clone();
    let codes: Vec<_> = answers.iter().map(|answer| (answer["id"].clone(), answer["error"]["code"].clone())).collect();
    let none = Value::Null;
    assert_eq!(
        codes,
        [(json!("q-1"), none.clone()), (json!("q-2"), json!(-32601)), (json!("q-3"), json!(-32601)), (json!("q-4"), none)]
    );
    assert_eq!(world.fake.calls(), 1);
}

#[tokio::test]
async fn sampling_and_roots_are_asked_of_a_client_that_declares_them() {
    let answers = [
        ("sampling/createMessage", json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "yes"}})),
        ("roots/list", json!({"roots": [{"uri": "file:///a"}]})),
    ];
    for (method, answer) in answers {
        let world = World::new(false).await;
        let client = world.all();
        let arguments = json!({"ask": [method]});
        let declared = json!({"sampling": {"context": {}}, "roots": {"listChanged": true}});
        let send = async |params: Value| {
            let (headers, mut body) = client.modern_request("tools/call", params);
            body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = declared.clone();
            client.send(headers, &body).await
        };
        let first = send(json!({"name": "ask", "arguments": arguments})).await;
        assert_eq!(first.result()["inputRequests"]["question"]["method"], method);
        let done = send(retry(&first, &arguments, &json!({"question": answer}))).await;
        assert_eq!(reported(&done)["result"], answer);
        let told = world.fake.received("initialize")[0].body["params"]["capabilities"].clone();
        assert_eq!(told, json!({"sampling": {"context": {}}, "roots": {}}));
    }
}

#[tokio::test]
async fn n_mg_08_a_state_is_good_once_for_its_caller_its_tool_and_its_arguments() {
    let world = World::new(false).await;
    let client = world.all();
    let arguments = json!({"a": 1});
    let first = client.call("ask", arguments.clone()).await;
    let good = retry(&first, &arguments, &accept());
    let with = |member: &str, value: Value| {
        let mut params = good.clone();
        params[member] = value;
        params
    };
    let tampered = state(&first).replacen(|letter: char| letter.is_ascii_lowercase(), "Z", 1);
    for params in [with("requestState", json!(tampered)), with("arguments", json!({"a": 2})), with("name", json!("refund"))] {
        client.modern("tools/call", params).await.refused(400, "request_malformed");
    }
    let helper = world.helper(world.grant(json!({"actions": ["*"]})));
    helper.modern("tools/call", good.clone()).await.refused(400, "request_malformed");
    let mut stranger = world.claims(world.grant(json!({"actions": ["*"]})), key(9).public().thumbprint());
    stranger.txn = "chain-2".into();
    let other_chain = world.client(key(9), &stranger);
    other_chain.modern("tools/call", good.clone()).await.refused(400, "request_malformed");
    assert!(world.fake.answers.lock().unwrap().is_empty(), "none of these reached the upstream");

    assert_eq!(reported(&client.modern("tools/call", good.clone()).await)["id"], "q-1");
    client.modern("tools/call", good).await.refused(200, "upstream_unavailable");
    assert_eq!(world.fake.answers.lock().unwrap().len(), 1, "a replayed answer does not reach the upstream");
}

#[tokio::test]
async fn a_state_that_is_too_old_is_refused() {
    let world = World::new(false).await;
    let first = world.all().call("ask", json!({})).await;
    world.clock.advance(Duration::from_secs(601));
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), key(7).public().thumbprint());
    (claims.iat, claims.exp) = (UnixTime(NOW + 601), UnixTime(NOW + 1100));
    let later = world.client(key(7), &claims);
    later.modern("tools/call", retry(&first, &json!({}), &accept())).await.refused(400, "request_malformed");
    assert!(world.fake.answers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_retry_without_the_answer_is_asked_again() {
    let world = World::new(false).await;
    let client = world.all();
    let first = client.call("ask", json!({})).await;
    let before = world.records().await.len();
    for responses in [json!({}), json!({"other": {"action": "accept"}}), json!({"question": "yes"})] {
        let again = client.modern("tools/call", retry(&first, &json!({}), &responses)).await;
        assert_eq!(again.result(), first.result(), "the same question with the same state");
        let last = world.last().await;
        assert_eq!(last["record_type"], "decision", "nothing is intended where nothing is sent");
        assert_eq!(
            (&last["outcome"]["code"], &last["outcome"]["effect_confirmed"]),
            (&json!("request_malformed"), &json!("none"))
        );
    }
    assert_eq!(world.records().await.len(), before + 3, "one record of each");
    assert!(world.fake.answers.lock().unwrap().is_empty());
    assert_eq!(reported(&client.modern("tools/call", retry(&first, &json!({}), &accept())).await)["id"], "q-1");
    client.modern("tools/call", retry(&first, &json!({}), &json!({}))).await.refused(200, "upstream_unavailable");
}

#[tokio::test]
async fn a_retry_without_the_answer_does_not_make_the_call_wait_longer() {
    let world = World::new(false).await;
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), key(7).public().thumbprint());
    let first = world.client(key(7), &claims).call("ask", json!({})).await;
    let mut later = async |seconds: u64, total: i64, responses: Value| {
        world.clock.advance(Duration::from_secs(seconds));
        (claims.iat, claims.exp) = (UnixTime(NOW + total), UnixTime(NOW + total + 500));
        world.client(key(7), &claims).modern("tools/call", retry(&first, &json!({}), &responses)).await
    };
    assert_eq!(state(&later(400, 400, json!({})).await), state(&first));
    later(201, 601, accept()).await.refused(400, "request_malformed");
    assert!(world.fake.answers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_may_not_act_any_more_answers_nothing() {
    let world = World::new(false).await;
    let client = world.all();
    let first = client.call("ask", json!({})).await;
    world.quarantine("planner").await;
    client.modern("tools/call", retry(&first, &json!({}), &accept())).await.refused(401, "agent_quarantined");
    assert!(world.fake.answers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn waiting_calls_of_one_caller_are_bounded_and_the_oldest_is_given_up() {
    let world = World::new(false).await;
    let client = world.all();
    let mut first = Vec::new();
    for number in 0..17 {
        first.push(client.call("ask", json!({"number": number})).await);
    }
    eventually("the upstream of the oldest is told", || world.fake.received("notifications/cancelled").len() == 1).await;
    let gone = client.modern("tools/call", retry(&first[0], &json!({"number": 0}), &accept())).await;
    gone.refused(200, "upstream_unavailable");
    let done = client.modern("tools/call", retry(&first[1], &json!({"number": 1}), &accept())).await;
    assert_eq!(reported(&done)["id"], "q-1");
    world.gate.close().await;
    eventually("a stop gives up the rest", || world.fake.received("notifications/cancelled").len() == 16).await;
}

#[tokio::test]
async fn waiting_calls_of_one_agent_are_bounded_over_its_keys_and_chains() {
    let world = World::new(false).await;
    for number in 0..17 {
        let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), key(7).public().thumbprint());
        claims.txn = format!("chain-{number}");
        state(&world.client(key(7), &claims).call("ask", json!({})).await);
    }
    eventually("the upstream of the oldest is told", || world.fake.received("notifications/cancelled").len() == 1).await;
    // Another agent loses nothing by it.
    state(&world.helper(world.grant(json!({"actions": ["*"]}))).call("ask", json!({})).await);
    assert_eq!(world.fake.received("notifications/cancelled").len(), 1);
}

#[tokio::test]
async fn waiting_calls_leave_half_of_the_links_to_others() {
    let wish = Wish { fake: Fake::new(false, false), ..Wish::new(false) };
    let world = wish.settings(|settings| settings.links = 2).build().await;
    state(&world.all().call("ask", json!({})).await);
    let helper = world.helper(world.grant(json!({"actions": ["*"]})));
    // The upstream takes any answer for the first call's, so this one does not end.
    tokio::select! {
        _ = helper.call("ask", json!({})) => {}
        () = eventually("the other agent's question is declined", || !world.fake.answers.lock().unwrap().is_empty()) => {}
    }
    assert_eq!(world.fake.answers.lock().unwrap()[0]["error"]["code"], -32601);
    assert_eq!(helper.call("ticket_read", json!({})).await.result()["resultType"], "complete");
}

#[tokio::test]
async fn a_call_with_a_question_draws_its_budget_once() {
    for modern_upstream in [false, true] {
        let world = World::new(modern_upstream).await;
        let authority = world.grant(json!({"actions": ["ask"], "limits": {"calls": 1}}));
        let claims = world.claims(authority.clone(), key(7).public().thumbprint());
        world.issued(&claims.jti, &authority).await;
        let client = world.client(key(7), &claims);
        let first = client.call("ask", json!({})).await;
        let responses = if modern_upstream { json!({"form": {"action": "accept"}}) } else { accept() };
        let done = client.modern("tools/call", retry(&first, &json!({}), &responses)).await;
        assert_eq!(done.result()["resultType"], "complete");
        client.call("ask", json!({})).await.refused(200, "limit_exhausted");
    }
}

#[tokio::test]
async fn a_caller_that_sees_only_fields_is_asked_nothing() {
    let world = World::new(false).await;
    let client = world.planner(world.grant(json!({"actions": ["ask"], "fields": ["/id"]})));
    client.call("ask", json!({})).await;
    assert_eq!(world.fake.answers.lock().unwrap()[0]["error"]["code"], -32601);
}

#[tokio::test]
async fn a_question_that_is_too_large_to_keep_is_declined() {
    let wish = Wish { fake: Fake::new(false, false), ..Wish::new(false) };
    let world = wish.settings(|settings| settings.response_bytes = 1_000_000).build().await;
    world.all().call("ask", json!({"pad": 70_000})).await;
    assert_eq!(world.fake.answers.lock().unwrap()[0]["error"]["code"], -32601);
}

#[tokio::test]
async fn a_child_asks_the_caller_of_its_only_call() {
    let world = stdio::world("legacy").await;
    let client: Client<'_> = world.all();
    let first = client.call("question", json!({})).await;
    assert_eq!(first.result()["inputRequests"]["question"]["params"]["message"], "sure?");
    let params = json!({"name": "question", "arguments": {}, "requestState": state(&first), "inputResponses": accept()});
    let done = client.modern("tools/call", params).await;
    assert_eq!(done.result()["structuredContent"]["answer"]["action"], "accept");
    // With two calls under way, the one to ask is unknown.
    let (headers, body) = client.modern_request("tools/call", json!({"name": "progress", "arguments": {}}));
    let _busy = client.raw(Method::POST, headers, &body.to_string()).await;
    let reply = client.call("question", json!({})).await;
    assert_eq!(reply.result()["structuredContent"]["answer"], Value::Null);
}
