//! Fields that were not granted do not come back, by any way.

use crate::world::{Wish, World, next_event};
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

const ALL: &str = "@id(\"all\") permit (principal, action, resource);";

async fn with_policy(modern: bool, policy: &str) -> World {
    let policy = vec![("p.cedar".to_owned(), format!("{ALL}\n{policy}"))];
    Wish { policy, ..Wish::new(modern) }.build().await
}

#[tokio::test]
async fn a_policy_that_forbids_to_read_fields_withholds_a_classified_answer() {
    let forbid = "@id(\"no-fields\") forbid (principal, action == Action::\"read_field\", resource);";
    for modern in [true, false] {
        let world = with_policy(modern, forbid).await;
        let client = world.helper(world.grant(json!({"actions": ["*"]})));
        let reply = client.call("ticket_read", json!({})).await;
        let shown = reply.result().to_string();
        assert!(!shown.contains("Ann") && !shown.contains("example.com") && !shown.contains("T-1"), "{shown}");
        let record = world.last().await;
        assert_eq!((&record["decision"]["result"], &record["outcome"]["status"]), (&json!("mask"), &json!("success")));
        let field = &record["ext"]["read_field"][0];
        assert_eq!((&field["class"], &field["rest"], &field["result"]), (&json!("pii"), &json!(true), &json!("deny")));
        assert_eq!(field["policies"][0]["id"], "no-fields");
        let masked = record["resource"][0]["fields_masked"].as_array().unwrap();
        assert!(!masked.is_empty() && masked.iter().all(|field| field["rule_id"] == "no-fields"), "{masked:?}");
        // What has no class is not asked about.
        let prose = client.call("prose", json!({})).await;
        assert!(prose.result().to_string().contains("ann@example.com"));
        let record = world.last().await;
        assert_eq!((&record["decision"]["result"], record["ext"].get("read_field")), (&json!("allow"), None));
    }
}

#[tokio::test]
async fn exactly_the_fields_of_a_forbidden_class_are_withheld_on_every_way_to_the_client() {
    let forbid = "@id(\"no-secrets\") forbid (principal, action == Action::\"read_field\", resource) when { context.class == \"secret\" };";
    let world = with_policy(false, forbid).await;
    let mut client = world.helper(world.grant(json!({"actions": ["*"]})));
    client.initialize().await.result();
    let body = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "slow", "arguments": {}, "_meta": {"progressToken": 9}}});
    let response = client.raw(Method::POST, client.headers(&Method::POST), &body.to_string()).await;
    let mut stream = response.into_body();
    let progress = next_event(&mut stream).await.unwrap();
    assert_eq!(progress["params"], json!({"progressToken": 9, "progress": 1, "total": 2}), "its words may hold a field");
    world.fake.release.notify_one();
    let last = next_event(&mut stream).await.unwrap();
    let shown: Value = serde_json::from_str(last["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(shown, json!({"id": "T-1", "subject": "Broken lamp", "customer": {"name": "Ann"}}));
    let record = world.last().await;
    let masked = &record["resource"][0]["fields_masked"];
    assert_eq!(*masked, json!([{"how": "drop", "ptr": "/customer/email", "rule_id": "no-secrets"}]));
    let results: Vec<_> = record["ext"]["read_field"].as_array().unwrap().iter().map(|field| &field["result"]).collect();
    assert_eq!(results, ["allow", "deny"], "pii, then secret");

    let error = client.legacy_call("error", json!({})).await;
    assert!(!error.body.to_string().contains("ann@"), "{}", error.body);
    let world = with_policy(true, forbid).await;
    let ask = world.all().call("ask", json!({})).await;
    ask.refused(200, "upstream_malformed");
}

#[tokio::test]
async fn a_mutation_decides_about_its_answer_before_it_happens() {
    let forbid = "@id(\"none\") forbid (principal, action == Action::\"read_field\", resource);";
    let world = with_policy(true, forbid).await;
    world.all().call("customer.change", json!({"customer": "C-1"})).await.result();
    let records = world.records().await;
    let [intent, effect] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(intent["record_type"], "intent");
    assert_eq!((&intent["decision"]["result"], &intent["ext"]["read_field"][0]["result"]), (&json!("mask"), &json!("deny")));
    assert_eq!(effect["outcome"]["status"], "success");
}
