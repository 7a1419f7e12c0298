//! Sessions of the older era belong to the party that opened them.

use crate::world::{Wish, World, eventually, key, next_event, whole};
use hyper::Method;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn n_mg_14_18_a_session_of_one_party_is_nothing_to_another() {
    let world = World::new(false).await;
    let mut planner = world.all();
    planner.initialize().await.result();
    let mut helper = world.helper(world.grant(json!({"actions": ["*"]})));
    helper.session.clone_from(&planner.session);
    helper.legacy_call("ticket_read", json!({})).await.refused(404, "session_foreign");
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), key(7).public().thumbprint());
    claims.txn = "chain-2".into();
    let mut other_chain = world.client(key(7), &claims);
    other_chain.session.clone_from(&planner.session);
    other_chain.legacy_call("ticket_read", json!({})).await.refused(404, "session_foreign");
    let delete = whole(other_chain.raw(Method::DELETE, other_chain.headers(&Method::DELETE), "").await).await;
    delete.refused(404, "session_foreign");
    let mut refreshed = world.all();
    refreshed.session.clone_from(&planner.session);
    refreshed.legacy_call("ticket_read", json!({})).await.result();
}

#[tokio::test]
async fn sessions_end_by_delete_and_by_idleness_and_unknown_ones_are_refused() {
    let world = Wish::new(false).settings(|settings| settings.session_idle = Duration::from_mins(1)).build().await;
    let mut client = world.all();
    client.legacy_call("ticket_read", json!({})).await.refused(400, "request_malformed");
    client.session = Some("made-up".into());
    client.legacy_call("ticket_read", json!({})).await.refused(404, "session_unknown");
    client.initialize().await.result();
    client.legacy_call("ticket_read", json!({})).await.result();
    let deleted = client.raw(Method::DELETE, client.headers(&Method::DELETE), "").await;
    assert_eq!(deleted.status(), 204);
    client.legacy_call("ticket_read", json!({})).await.refused(404, "session_unknown");
    client.initialize().await.result();
    world.clock.advance(Duration::from_secs(61));
    client.legacy_call("ticket_read", json!({})).await.refused(404, "session_unknown");
}

#[tokio::test]
async fn a_session_is_of_one_server_and_one_version() {
    let world = World::new(false).await;
    let mut client = world.all();
    client.initialize().await.result();
    let mut headers = client.headers(&Method::POST);
    headers.retain(|(name, _)| name != "mcp-protocol-version");
    headers.push(("mcp-protocol-version".into(), "2025-06-18".into()));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    client.send(headers, &body).await.refused(400, "protocol_version_unsupported");
}

#[tokio::test]
async fn the_map_of_sessions_is_bounded() {
    let world = Wish::new(false).settings(|settings| settings.sessions = 2).build().await;
    for _ in 0..2 {
        world.all().initialize().await.result();
    }
    let mut late = world.all();
    late.initialize().await.refused(429, "rate_limited");
}

#[tokio::test]
async fn a_question_of_the_upstream_is_answered_by_the_client_that_was_asked() {
    let world = World::new(false).await;
    let mut client = world.all();
    client.initialize().await.result();
    let body = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "ask", "arguments": {}}});
    let mut stream = client.raw(Method::POST, client.headers(&Method::POST), &body.to_string()).await.into_body();
    let question = next_event(&mut stream).await.unwrap();
    assert_eq!(question["method"], "elicitation/create");
    assert_ne!(question["id"], "q-1");
    let made_up = json!({"jsonrpc": "2.0", "id": "remit-77", "result": {}});
    assert_eq!(client.send(client.headers(&Method::POST), &made_up).await.status, 202);
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}});
    assert_eq!(client.send(client.headers(&Method::POST), &answer).await.status, 202);
    let done = next_event(&mut stream).await.unwrap();
    assert_eq!(done["id"], 5);
    let seen = world.fake.answers.lock().unwrap().clone();
    assert_eq!(seen, [json!({"jsonrpc": "2.0", "id": "q-1", "result": {"action": "accept"}})]);
}

#[tokio::test]
async fn the_grant_that_allowed_the_call_decides_whether_its_client_is_asked() {
    for (ask, restricted) in [(json!({"actions": ["ask"]}), false), (json!({"actions": ["ask"], "fields": ["/id"]}), true)] {
        let other = json!({"actions": ["ticket_read"], "fields": ["/id"]});
        let world = World::new(false).await;
        let mut client = world.planner(world.grants(&[ask.clone(), other.clone()]));
        client.initialize().await.result();
        let body = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "ask", "arguments": {}}});
        let mut stream = client.raw(Method::POST, client.headers(&Method::POST), &body.to_string()).await.into_body();
        if restricted {
            eventually("the upstream is told that nobody can be asked", || !world.fake.answers.lock().unwrap().is_empty()).await;
            assert_eq!(world.fake.answers.lock().unwrap()[0]["error"]["code"], -32601);
        } else {
            assert_eq!(next_event(&mut stream).await.unwrap()["method"], "elicitation/create");
        }
        let world = World::new(true).await;
        let reply = world.planner(world.grants(&[ask, other])).call("ask", json!({})).await;
        if restricted {
            reply.refused(200, "upstream_malformed");
        } else {
            assert_eq!(reply.result()["resultType"], "input_required");
        }
    }
}

#[tokio::test]
async fn a_client_that_declared_nothing_is_asked_nothing() {
    let world = World::new(false).await;
    let client = world.all();
    let (headers, mut body) = client.modern_request("tools/call", json!({"name": "ask", "arguments": {}}));
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    client.send(headers, &body).await.result();
    let seen = world.fake.answers.lock().unwrap().clone();
    assert_eq!(seen[0]["error"]["code"], -32601);
}

#[tokio::test]
async fn the_upstream_forgetting_our_session_is_mended_once() {
    let world = World::new(false).await;
    let client = world.all();
    client.call("ticket_read", json!({})).await.result();
    world.fake.forget.store(true, std::sync::atomic::Ordering::Relaxed);
    client.call("ticket_read", json!({})).await.result();
    assert_eq!(world.fake.received("initialize").len(), 2);
}

#[tokio::test]
async fn callers_of_different_chains_do_not_share_an_upstream_session() {
    let world = World::new(false).await;
    world.all().call("ticket_read", json!({})).await.result();
    world.all().call("ticket_read", json!({})).await.result();
    assert_eq!(world.fake.received("initialize").len(), 1, "one chain, one session");
    world.helper(world.grant(json!({"actions": ["*"]}))).call("ticket_read", json!({})).await.result();
    assert_eq!(world.fake.received("initialize").len(), 2);
}
