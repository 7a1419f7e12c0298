//! Fields that were not granted do not come back, by any way.

use crate::world::{World, next_event};
use hyper::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn an_answer_shows_only_the_granted_fields() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let client = world.planner(world.grant(json!({"actions": ["*"], "fields": ["/id", "/customer/name"]})));
        let reply = client.call("ticket_read", json!({})).await;
        let expected = json!({"id": "T-1", "customer": {"name": "Ann"}});
        assert_eq!(reply.result()["structuredContent"], expected);
        let text: Value = serde_json::from_str(reply.result()["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, expected);
        assert!(!reply.body.to_string().contains("example.com"));
        let record = world.last().await;
        let resource = &record["resource"][0];
        assert_eq!(resource["fields_returned"], json!(["/customer/name", "/id"]));
        assert_eq!(resource["fields_masked"][0]["ptr"], "/customer/email");
        assert!(!record.to_string().contains("example.com"));
    }
}

#[tokio::test]
async fn prose_and_errors_are_withheld_where_fields_are_restricted() {
    let world = World::new(true).await;
    let client = world.planner(world.grant(json!({"actions": ["*"], "fields": ["/id"]})));
    let prose = client.call("prose", json!({})).await;
    assert!(prose.result()["content"][0]["text"].as_str().unwrap().starts_with("[withheld"));
    let error = client.call("error", json!({})).await;
    assert_eq!(error.body["error"]["code"], -32602);
    assert!(!error.body.to_string().contains("ann@"), "{}", error.body);
    let ask = client.call("ask", json!({})).await;
    ask.refused(200, "upstream_malformed");
    let open = world.all().call("prose", json!({})).await;
    assert!(open.result()["content"][0]["text"].as_str().unwrap().contains("ann@example.com"));
}

#[tokio::test]
async fn what_comes_on_the_way_is_masked_too() {
    let world = World::new(false).await;
    let mut client = world.planner(world.grant(json!({"actions": ["*"], "fields": ["/id"]})));
    client.initialize().await.result();
    let body = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "slow", "arguments": {}, "_meta": {"progressToken": 99}}});
    let response = client.raw(Method::POST, client.headers(&Method::POST), &body.to_string()).await;
    let mut stream = response.into_body();
    let progress = next_event(&mut stream).await.unwrap();
    assert_eq!(progress["params"], json!({"progressToken": 99, "progress": 1, "total": 2}));
    world.fake.release.notify_one();
    let last = next_event(&mut stream).await.unwrap();
    assert_eq!(last["result"]["content"][0]["text"], r#"{"id":"T-1"}"#);
}
