//! Both eras on both sides.

use crate::{
    fake::Fake,
    world::{LEGACY, MODERN, Wish, World},
};
use hyper::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn every_client_era_works_with_every_upstream_era_and_form() {
    for (modern_upstream, events) in [(true, false), (false, false), (false, true), (true, true)] {
        let wish = Wish { fake: Fake::new(modern_upstream, events), ..Wish::new(true) };
        let world = wish.build().await;
        let modern = world.all();
        assert_eq!(modern.call("ticket_read", json!({})).await.result()["resultType"], "complete");
        let mut legacy = world.all();
        let hello = legacy.initialize().await;
        assert_eq!(hello.result()["protocolVersion"], LEGACY);
        let reply = legacy.legacy_call("ticket_read", json!({})).await;
        assert_eq!(reply.result()["structuredContent"]["id"], "T-1");
        assert!(reply.result().get("resultType").is_none());
        let list = legacy.legacy("tools/list", json!({})).await;
        assert!(list.result().get("cacheScope").is_none() && list.result()["tools"].is_array());
        assert_eq!(legacy.legacy("ping", json!({})).await.result(), &json!({}));
    }
}

#[tokio::test]
async fn discover_tells_what_the_upstream_is_and_which_revisions_we_speak() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let reply = world.all().modern("server/discover", json!({})).await;
        let result = reply.result();
        assert_eq!(result["supportedVersions"], json!([MODERN, LEGACY, "2025-06-18"]));
        assert!(result["capabilities"].get("tools").is_some());
        assert!(result["capabilities"].get("tasks").is_none());
        assert_eq!(result["resultType"], "complete");
        assert_eq!(result["cacheScope"], "private");
        assert!(result["instructions"].as_str().unwrap().starts_with("Be "));
    }
}

#[tokio::test]
async fn initialize_agrees_on_a_version_we_speak() {
    let world = World::new(false).await;
    for (asked, agreed) in
        [("2025-06-18", "2025-06-18"), (LEGACY, LEGACY), ("2024-11-05", LEGACY), (MODERN, LEGACY), ("x", LEGACY)]
    {
        let client = world.all();
        let params = json!({"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let reply = client.send(client.headers(&Method::POST), &body).await;
        assert_eq!(reply.result()["protocolVersion"], agreed);
        assert_eq!(reply.result()["serverInfo"], json!({"name": "fake", "version": "1"}));
    }
    let client = world.all();
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}});
    client.send(client.headers(&Method::POST), &body).await.refused(400, "request_malformed");
}

#[tokio::test]
async fn n_mg_16_declared_parameter_headers_are_checked_and_written_anew() {
    let world = World::new(true).await;
    let client = world.all();
    client.modern("tools/list", json!({})).await.result();
    let call = |header: Option<&'static str>| {
        let (mut headers, body) = client.modern_request("tools/call", json!({"name": "regional", "arguments": {"region": "eu"}}));
        headers.extend(header.map(|value| ("mcp-param-region".to_owned(), value.to_owned())));
        headers.push(("mcp-param-other".into(), "ignored".into()));
        (headers, body)
    };
    let (headers, body) = call(Some("us"));
    client.send(headers, &body).await.refused(400, "header_body_mismatch");
    let (headers, body) = call(None);
    client.send(headers, &body).await.refused(400, "header_body_mismatch");
    let (headers, body) = call(Some("eu"));
    client.send(headers, &body).await.result();
    let seen = world.fake.received("tools/call");
    assert_eq!(seen.last().unwrap().headers["mcp-param-region"], "eu");
    assert!(!seen.last().unwrap().headers.contains_key("mcp-param-other"));
}

#[tokio::test]
async fn parameter_headers_an_upstream_wants_are_learnt_when_it_says_so() {
    let world = World::new(true).await;
    let reply = world.all().call("regional", json!({"region": "eu"})).await;
    assert_eq!(reply.result()["structuredContent"]["done"], true);
    assert_eq!(world.fake.received("tools/list").len(), 1);
}

#[tokio::test]
async fn mg_15_baggage_does_not_cross_and_the_clients_envelope_is_replaced() {
    let world = World::new(true).await;
    let client = world.all();
    let (headers, mut body) = client.modern_request("tools/call", json!({"name": "refund", "arguments": {}}));
    body["params"]["_meta"]["baggage"] = json!("user=alice");
    body["params"]["_meta"]["traceparent"] = json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    client.send(headers, &body).await.result();
    let meta = world.fake.received("tools/call")[0].body["params"]["_meta"].clone();
    assert!(meta.get("baggage").is_none());
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "remit-gateway");
    assert_eq!(meta["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_ne!(meta["progressToken"], Value::from("mine"));
    assert_eq!(world.last().await["trace"]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn mg_07_old_error_codes_of_an_upstream_are_not_passed_to_new_clients() {
    let world = World::new(true).await;
    let reply = world.all().call("code-32000", json!({})).await;
    assert_eq!(reply.body["error"]["code"], -31502);
}

#[tokio::test]
async fn errors_with_a_status_of_their_own_keep_it_in_the_stateless_era() {
    let world = World::new(true).await;
    let client = world.all();
    let reply = client.call("code-32021", json!({})).await;
    assert_eq!((reply.status.as_u16(), &reply.body["error"]["code"]), (400, &json!(-32021)), "{}", reply.body);
    assert!(reply.body["error"]["data"]["requiredCapabilities"].is_object(), "{}", reply.body);
    let reply = client.modern("made/up", json!({})).await;
    assert_eq!((reply.status.as_u16(), &reply.body["error"]["code"]), (404, &json!(-32601)), "{}", reply.body);
    let mut session = world.all();
    session.initialize().await.result();
    let reply = session.legacy("made/up", json!({})).await;
    assert_eq!((reply.status.as_u16(), &reply.body["error"]["code"]), (200, &json!(-32601)), "{}", reply.body);
}
