//! Changes of registered agents.

use super::{World, key, registration};
use http::StatusCode;
use serde_json::{Value, json};

async fn patch(world: &World, name: &str, body: &Value) -> (StatusCode, Value) {
    world.admin("PATCH", &format!("/admin/v1/agents/{name}"), body).await
}

async fn record(world: &World, answer: &Value) -> Value {
    let path = format!("/admin/v1/records/{}", answer["record"].as_str().unwrap());
    world.admin("GET", &path, &Value::Null).await.1.get("record").cloned().unwrap()
}

#[tokio::test]
async fn an_agent_is_changed_member_by_member_and_the_record_says_which() {
    let world = World::new().await;
    world.admin("POST", "/admin/v1/agents", &registration("planner")).await;
    let (_, before) = world.admin("GET", "/admin/v1/agents/planner", &Value::Null).await;
    for (change, member, expected) in [
        (json!({"display_name": "Planner"}), "display_name", json!("Planner")),
        (json!({"acts": "either"}), "acts", json!("either")),
        (json!({"redirect_uris": ["https://app.example/cb"]}), "redirect_uris", json!(["https://app.example/cb"])),
        (json!({"labels": {"team": "support", "tier": "1"}}), "labels", json!({"team": "support", "tier": "1"})),
        (json!({"labels": {"tier": null}}), "labels", json!({"team": "support"})),
        (json!({"acts": "on_behalf"}), "acts", json!("on_behalf")),
    ] {
        let (status, answer) = patch(&world, "planner", &change).await;
        assert_eq!((status, &answer["agent"][member]), (StatusCode::OK, &expected), "{change} {answer}");
        assert_eq!(answer["agent"]["keys"], before["agent"]["keys"], "what is not named stays");
        let record = record(&world, &answer).await;
        assert_eq!(record["action"]["name"], "agent.update");
        assert_eq!(record["ext"]["config"]["changed"], json!([member]), "{record}");
    }
    let wider = json!([{"type": "tool_access", "locations": ["http://127.0.0.1:8420/mcp/helpdesk"], "actions": "*"}]);
    let (_, answer) = patch(&world, "planner", &json!({"scope": "helpdesk:*"})).await;
    assert_ne!(answer["agent"]["may"], before["agent"]["may"], "{wider} {answer}");
    assert!(record(&world, &answer).await["ext"]["config"]["ceiling"].is_string());
}

#[tokio::test]
async fn a_bad_change_is_refused_and_leaves_the_agent_as_it_was() {
    let world = World::new().await;
    world.admin("POST", "/admin/v1/agents", &registration("planner")).await;
    let (_, before) = world.admin("GET", "/admin/v1/agents/planner", &Value::Null).await;
    for (change, code) in [
        (json!({}), "request_malformed"),
        (json!({"name": "other"}), "request_malformed"),
        (json!({"status": "active"}), "request_malformed"),
        (json!({"keys": [key("other")]}), "request_malformed"),
        (json!({"acts": "always"}), "request_malformed"),
        (json!({"owner": "user:nobody"}), "request_malformed"),
        (json!({"owner": "agent:planner"}), "request_malformed"),
        (json!({"display_name": "a\u{202e}b"}), "request_malformed"),
        (json!({"labels": {"team": "a\u{1b}b"}}), "request_malformed"),
        (json!({"scope": "nowhere:*"}), "scope_unknown"),
        (json!({"scope": "helpdesk:*", "authorization_details": []}), "request_malformed"),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "redirect_uri_mismatch"),
    ] {
        let (status, answer) = patch(&world, "planner", &change).await;
        assert_eq!((status, answer["error"].as_str()), (StatusCode::BAD_REQUEST, Some(code)), "{change} {answer}");
    }
    let many: Vec<_> = (0..17).map(|n| format!("https://app.example/{n}")).collect();
    assert_eq!(patch(&world, "planner", &json!({"redirect_uris": many})).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(patch(&world, "nobody", &json!({"display_name": "x"})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.admin("GET", "/admin/v1/agents/planner", &Value::Null).await.1, before);
    world.admin("POST", "/admin/v1/agents/planner/retire", &Value::Null).await;
    assert_eq!(patch(&world, "planner", &json!({"display_name": "x"})).await.1["error"], "agent_retired");
    let rotation = json!({"keys": [key("fresh")]});
    assert_eq!(world.admin("POST", "/admin/v1/agents/planner/rotate-key", &rotation).await.1["error"], "agent_retired");
}

#[tokio::test]
async fn a_quarantined_agent_stays_so_when_it_is_changed() {
    let world = World::new().await;
    world.admin("POST", "/admin/v1/agents", &registration("planner")).await;
    world.admin("POST", "/admin/v1/agents/planner/quarantine", &Value::Null).await;
    let (status, answer) = patch(&world, "planner", &json!({"scope": "helpdesk:*"})).await;
    assert_eq!((status, answer["agent"]["status"].as_str()), (StatusCode::OK, Some("quarantined")));
}

#[tokio::test]
async fn b_13_an_endpoint_belongs_to_one_agent_and_is_never_ours() {
    let world = World::new().await;
    let with = |name: &str, uri: &str| {
        let mut asked = registration(name);
        asked["labels"] = json!({"endpoint": uri});
        asked
    };
    let mine = "https://desk.example/agent";
    let ours =
        ["/mcp/helpdesk", "/mcp/other", "/access/v1", "/oauth/token", ""].map(|path| format!("http://127.0.0.1:8420{path}"));
    let bad = ours.iter().map(String::as_str).chain(["http://desk.example/agent", "urn:x", "https://desk.example/a#b"]);
    for uri in bad.clone() {
        let (status, answer) = world.admin("POST", "/admin/v1/agents", &with("planner", uri)).await;
        assert_eq!((status, answer["error"].as_str()), (StatusCode::BAD_REQUEST, Some("request_malformed")), "{uri}: {answer}");
    }
    assert_eq!(world.admin("POST", "/admin/v1/agents", &with("planner", mine)).await.0, StatusCode::CREATED);
    let (status, answer) = world.admin("POST", "/admin/v1/agents", &with("reader", mine)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    world.admin("POST", "/admin/v1/agents", &registration("reader")).await;
    for uri in bad.chain([mine]) {
        let (status, answer) = patch(&world, "reader", &json!({"labels": {"endpoint": uri}})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{uri}: {answer}");
    }
    let again = json!({"labels": {"endpoint": mine}, "display_name": "The planner"});
    assert_eq!(patch(&world, "planner", &again).await.0, StatusCode::OK, "it is its own");
    assert_eq!(patch(&world, "planner", &json!({"labels": {"endpoint": null}})).await.0, StatusCode::OK);
    assert_eq!(patch(&world, "reader", &json!({"labels": {"endpoint": mine}})).await.0, StatusCode::OK, "it is free again");
}

#[tokio::test]
async fn b_13_two_registrations_at_once_cannot_share_an_endpoint() {
    let world = World::new().await;
    let with = |name: &str| {
        let mut asked = registration(name);
        asked["labels"] = json!({"endpoint": "https://desk.example/agent"});
        asked
    };
    let (one, other) = (with("one"), with("other"));
    let both = tokio::join!(world.admin("POST", "/admin/v1/agents", &one), world.admin("POST", "/admin/v1/agents", &other));
    assert_eq!([both.0.0, both.1.0].iter().filter(|status| **status == StatusCode::CREATED).count(), 1, "{both:?}");
}

#[tokio::test]
async fn a_rotated_key_is_new_replaces_the_old_and_is_stated_in_the_record() {
    let world = World::new().await;
    world.admin("POST", "/admin/v1/agents", &registration("planner")).await;
    world.admin("POST", "/admin/v1/agents", &registration("reader")).await;
    let rotate = async |name: &str, keys: Value| {
        world.admin("POST", &format!("/admin/v1/agents/{name}/rotate-key"), &json!({"keys": keys})).await
    };
    for (keys, why) in [
        (json!([]), "no key"),
        (json!([key("planner")]), "the present key"),
        (json!([key("reader")]), "another agent's key"),
        (json!([key("new"), key("new")]), "twice the same"),
        (json!([{"kty": "oct", "k": "AAAA"}]), "no public key"),
    ] {
        let (status, answer) = rotate("planner", keys).await;
        assert_eq!((status, answer["error"].as_str()), (StatusCode::BAD_REQUEST, Some("request_malformed")), "{why}: {answer}");
    }
    let (status, answer) = rotate("planner", json!([key("new")])).await;
    assert_eq!((status, &answer["agent"]["keys"]), (StatusCode::OK, &json!([key("new")])), "{answer}");
    let stated = record(&world, &answer).await;
    assert_eq!((&stated["action"]["name"], &stated["ext"]["config"]["keys"]), (&json!("agent.rotate_key"), &json!([key("new")])));
    assert_eq!(rotate("planner", json!([key("planner")])).await.0, StatusCode::BAD_REQUEST, "an old key never comes back");
    let mut public = registration("public");
    public["keys"] = json!([]);
    assert_eq!(world.admin("POST", "/admin/v1/agents", &public).await.0, StatusCode::CREATED);
    assert_eq!(rotate("public", json!([key("late")])).await.0, StatusCode::BAD_REQUEST, "a public client has none to replace");
}
