//! Streams: written through as they come, watched while they last, cancelled when the reader is gone.

use crate::world::{World, eventually, next_event};
use http_body_util::BodyExt;
use hyper::Method;
use remit_store::Revocation;
use remit_testkit::eventually_async;
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};

#[tokio::test]
async fn progress_arrives_while_the_upstream_still_holds_the_answer() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let client = world.all();
        let (headers, body) = client.modern_request("tools/call", json!({"name": "slow", "arguments": {}}));
        let response = client.raw(Method::POST, headers, &body.to_string()).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut stream = response.into_body();
        // The upstream answers only after `release`, so this event cannot have waited for the answer.
        let progress = next_event(&mut stream).await.unwrap();
        assert_eq!(progress["params"]["progressToken"], "mine");
        assert_eq!(progress["params"]["progress"], 1);
        world.fake.release.notify_one();
        let last = next_event(&mut stream).await.unwrap();
        assert_eq!(last["id"], 11);
        assert!(last["result"]["content"].is_array());
        assert!(stream.frame().await.is_none(), "the stream ends after the answer");
    }
}

#[tokio::test]
async fn a_client_that_reads_no_events_gets_plain_json() {
    let world = World::new(false).await;
    let mut client = world.all();
    client.accept = "application/json";
    world.fake.release.notify_one();
    let reply = client.call("slow", json!({})).await;
    assert_eq!(reply.headers["content-type"], "application/json");
    reply.result();
}

#[tokio::test]
async fn mg_12_a_client_that_leaves_cancels_the_upstream_and_it_is_recorded() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let client = world.all();
        let (headers, body) = client.modern_request("tools/call", json!({"name": "slow", "arguments": {}}));
        let mut stream = client.raw(Method::POST, headers, &body.to_string()).await.into_body();
        next_event(&mut stream).await.unwrap();
        drop(stream);
        drop(client);
        eventually("the upstream is left", || world.fake.abandoned.load(Ordering::Relaxed)).await;
        eventually_recorded(&world, "cancelled").await;
        if !modern_upstream {
            eventually("it is told", || !world.fake.received("notifications/cancelled").is_empty()).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_cancels_too() {
    let world = World::new(true).await;
    {
        let client = world.all();
        let (headers, body) = client.modern_request("tools/call", json!({"name": "hang", "arguments": {}}));
        let body = body.to_string();
        let request = client.raw(Method::POST, headers, &body);
        assert!(tokio::time::timeout(Duration::from_millis(400), request).await.is_err());
    }
    eventually("the upstream is left", || world.fake.abandoned.load(Ordering::Relaxed)).await;
    eventually_recorded(&world, "cancelled").await;
    assert_eq!(world.last().await["outcome"]["effect_confirmed"], "dispatched_only");
}

#[tokio::test]
async fn a_legacy_client_cancels_by_saying_so() {
    let world = World::new(false).await;
    let mut client = world.all();
    client.initialize().await.result();
    let body = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "slow", "arguments": {}, "_meta": {"progressToken": 1}}});
    let mut stream = client.raw(Method::POST, client.headers(&Method::POST), &body.to_string()).await.into_body();
    next_event(&mut stream).await.unwrap();
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}});
    assert_eq!(client.send(client.headers(&Method::POST), &cancel).await.status, 202);
    eventually("the upstream is left", || world.fake.abandoned.load(Ordering::Relaxed)).await;
    client.legacy_call("ticket_read", json!({})).await.result();
}

#[tokio::test]
async fn n_mg_09_a_revoked_token_closes_its_open_streams() {
    let world = World::new(true).await;
    let client = world.all();
    let (headers, body) = client.modern_request("tools/call", json!({"name": "slow", "arguments": {}}));
    let mut call = client.raw(Method::POST, headers, &body.to_string()).await.into_body();
    next_event(&mut call).await.unwrap();
    let (headers, body) = client.modern_request("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let mut listening = client.raw(Method::POST, headers, &body.to_string()).await.into_body();
    assert_eq!(next_event(&mut listening).await.unwrap()["method"], "notifications/subscriptions/acknowledged");
    next_event(&mut listening).await.unwrap();
    world.revoke(Revocation::Txn("chain-1".into())).await;
    for stream in [&mut call, &mut listening] {
        let last = next_event(stream).await.unwrap();
        assert_eq!(last["error"]["data"]["code"], "token_revoked");
        assert!(stream.frame().await.is_none());
    }
    eventually("the upstream is left", || world.fake.abandoned.load(Ordering::Relaxed)).await;
}

#[tokio::test]
async fn mg_12_a_listening_stream_ends_with_its_token() {
    let world = World::new(true).await;
    let client = world.all();
    let (headers, body) = client.modern_request("subscriptions/listen", json!({"notifications": {}}));
    let mut stream = client.raw(Method::POST, headers, &body.to_string()).await.into_body();
    next_event(&mut stream).await.unwrap();
    next_event(&mut stream).await.unwrap();
    world.clock.advance(Duration::from_secs(601));
    assert_eq!(next_event(&mut stream).await.unwrap()["error"]["data"]["code"], "token_expired");
}

#[tokio::test]
async fn mg_12_a_call_ends_with_its_token_and_with_the_grant_that_allowed_it() {
    for modern_upstream in [true, false] {
        for (grants, advance, code) in [
            (vec![json!({"actions": ["*"]})], 601, "token_expired"),
            (vec![json!({"actions": ["slow"], "not_after": crate::world::NOW + 60})], 61, "grant_expired"),
        ] {
            let world = World::new(modern_upstream).await;
            let client = world.planner(world.grants(&grants));
            let (headers, body) = client.modern_request("tools/call", json!({"name": "slow", "arguments": {}}));
            let mut stream = client.raw(Method::POST, headers, &body.to_string()).await.into_body();
            next_event(&mut stream).await.unwrap();
            world.clock.advance(Duration::from_secs(advance));
            let last = next_event(&mut stream).await.unwrap();
            let said = last["error"]["data"]["code"].as_str().or_else(|| last["result"]["_meta"]["remit/code"].as_str());
            assert_eq!(said, Some(code), "{last}");
            assert!(stream.frame().await.is_none());
            eventually("the upstream is left", || world.fake.abandoned.load(Ordering::Relaxed)).await;
            assert_eq!(world.last().await["outcome"]["code"], code);
        }
    }
}

#[tokio::test]
async fn mg_12_a_listening_stream_ends_with_the_last_grant() {
    let world = World::new(true).await;
    let client = world.planner(world.grants(&[
        json!({"actions": ["slow"], "not_after": crate::world::NOW + 30}),
        json!({"actions": ["refund"], "not_after": crate::world::NOW + 60}),
    ]));
    let (headers, body) = client.modern_request("subscriptions/listen", json!({"notifications": {}}));
    let mut stream = client.raw(Method::POST, headers, &body.to_string()).await.into_body();
    next_event(&mut stream).await.unwrap();
    next_event(&mut stream).await.unwrap();
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(next_event(&mut stream).await.unwrap()["error"]["data"]["code"], "grant_expired");
}

#[tokio::test]
async fn subscriptions_carry_the_clients_own_id_and_only_granted_resources() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let client =
            world.planner(world.grant(json!({"actions": ["mcp:resources/read"], "arguments": {"/uri": {"prefix": "doc://"}}})));
        let filter = json!({"toolsListChanged": true, "resourceSubscriptions": ["doc://a", "file:///etc/passwd", 7]});
        let (headers, body) = client.modern_request("subscriptions/listen", json!({"notifications": filter}));
        let mut stream = client.raw(Method::POST, headers, &body.to_string()).await.into_body();
        let acknowledged = next_event(&mut stream).await.unwrap();
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(acknowledged["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 11);
        let changed = next_event(&mut stream).await.unwrap();
        assert_eq!(changed["method"], "notifications/tools/list_changed");
        assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 11);
        if modern_upstream {
            let asked = &world.fake.received("subscriptions/listen")[0].body["params"]["notifications"];
            assert_eq!(asked["resourceSubscriptions"], json!(["doc://a"]));
        } else {
            assert_eq!(world.fake.received("resources/subscribe").len(), 1);
        }
        assert_eq!(world.last().await["record_type"], "session_open");
    }
}

#[tokio::test]
async fn a_legacy_session_has_a_stream_of_its_own() {
    let world = World::new(false).await;
    let mut client = world.all();
    client.initialize().await.result();
    let mut headers = client.headers(&Method::GET);
    headers.retain(|(name, _)| name != "content-type");
    let response = client.raw(Method::GET, headers, "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body();
    assert_eq!(next_event(&mut stream).await.unwrap()["method"], "notifications/tools/list_changed");
    world.quarantine("planner").await;
    let end = tokio::time::timeout(Duration::from_secs(10), stream.frame()).await.unwrap();
    assert!(end.is_none_or(|frame| frame.is_err()), "closed");
    eventually_recorded(&world, "denied").await;
    let cut = world.last().await;
    assert_eq!(cut["outcome"]["code"], "agent_quarantined");
    assert_eq!((cut["action"]["name"].as_str(), cut["record_type"].as_str()), (Some("mcp:notifications"), Some("decision")));
    assert_eq!(cut["session"]["id"], json!(client.session));
}

/// A log message and a question of the upstream that belong to no request, as far as the client gets to read them.
async fn unsolicited(world: &World, stream: &mut hyper::body::Incoming) -> Vec<String> {
    let log =
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "ann@example.com"}});
    let ask = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {"message": "Is it Ann?"}});
    let mark = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    let standing = world.fake.standing.lock().unwrap().clone().unwrap();
    for message in [log, ask, mark] {
        standing.send(message).await.unwrap();
    }
    let mut read = Vec::new();
    loop {
        let method = next_event(stream).await.unwrap()["method"].as_str().unwrap().to_owned();
        if method == "notifications/tools/list_changed" {
            return read;
        }
        read.push(method);
    }
}

#[tokio::test]
async fn the_grants_that_allowed_the_calls_of_a_session_decide_what_its_own_stream_shows() {
    let world = World::new(false).await;
    let open = json!({"actions": ["refund", "hang"]});
    let mut client = world.planner(world.grants(&[open, json!({"actions": ["ticket_read"], "fields": ["/id"]})]));
    client.initialize().await.result();
    let mut headers = client.headers(&Method::GET);
    headers.retain(|(name, _)| name != "content-type");
    let mut stream = client.raw(Method::GET, headers, "").await.into_body();
    next_event(&mut stream).await.unwrap();
    let all = ["notifications/message", "elicitation/create"];
    assert_eq!(unsolicited(&world, &mut stream).await, all, "no call showed only fields yet");
    client.legacy_call("refund", json!({})).await.result();
    assert_eq!(unsolicited(&world, &mut stream).await, all, "a grant for another tool takes nothing away");
    client.legacy_call("ticket_read", json!({})).await.result();
    assert!(unsolicited(&world, &mut stream).await.is_empty(), "what was withheld may come late");
    // A question belongs to a call under way.
    let body =
        json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "hang", "arguments": {}}}).to_string();
    let busy = client.raw(Method::POST, client.headers(&Method::POST), &body);
    let read = tokio::select! {
        _ = busy => panic!("`hang` answered"),
        read = async {
            eventually("it is under way", || world.fake.received("tools/call").len() == 3).await;
            unsolicited(&world, &mut stream).await
        } => read,
    };
    assert_eq!(read, ["elicitation/create"]);
}

async fn eventually_recorded(world: &World, status: &str) {
    let recorded = async || world.records().await.last().is_some_and(|record| record["outcome"]["status"] == status);
    eventually_async(&format!("{status} is recorded"), recorded).await;
}
