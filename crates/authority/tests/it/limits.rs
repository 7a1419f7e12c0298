//! What the server issues, every reader of tokens accepts; what would be larger is refused by the name of the bound. SPEC: X-10.

use crate::world::*;
use remit_model::{bounds, token_bounds};
use remit_store::Change;
use serde_json::{Value, json};

const CC: (&str, &str) = ("grant_type", "client_credentials");

/// A grant of this many actions with long names: each is in the details and in the scope.
fn wide(actions: usize) -> Value {
    let names: Vec<String> = (0..actions).map(|n| format!("{}{n:03}", "a".repeat(97))).collect();
    json!([{"type": "tool_access", "locations": [HELPDESK], "actions": names}])
}

async fn world_with_a_wide_ceiling() -> World {
    let world = World::new().await;
    let mut agent = agent(&world.planner, false);
    agent.ceiling = grants(&json!([{"type": "tool_access", "locations": [HELPDESK], "delegate": {"to": ["*"], "depth": 2}}]));
    world.change(Change::PutAgent(agent)).await;
    world
}

#[tokio::test]
async fn x_10_a_token_at_the_limit_is_read_and_one_beyond_it_is_refused_by_name() {
    let world = world_with_a_wide_ceiling().await;
    let mut largest = 0;
    for actions in [1, 60, 120, 136, 138, 140, 142, 144, 146, 150, 160] {
        let details = wide(actions).to_string();
        let reply = world.token(&world.planner, &[CC, ("authorization_details", &details)]).await;
        if reply.status.is_success() {
            let token = reply.access_token();
            assert!(token.len() <= token_bounds::TOKEN.size());
            largest = token.len();
            assert!(world.active(&world.planner, &token).await, "{actions} actions");
            let narrowed = world.narrow(&world.planner, &token, &[("authorization_details", &wide(1).to_string())]).await;
            assert!(narrowed.status.is_success(), "{actions} actions: {}", narrowed.body);
        } else {
            reply.refused("invalid_authorization_details", "authorization_details_invalid");
            let told = reply.body.to_string();
            assert!(told.contains("token.bytes") || told.contains("token.scope"), "{told}");
        }
    }
    assert!(largest + 600 > token_bounds::TOKEN.size(), "{largest} bytes is no token at the limit");
    assert!(largest + (20 << 10) < bounds::HEAD_BYTES.size());
}

#[tokio::test]
async fn x_10_twelve_ordinary_grants_are_no_problem() {
    let world = world_with_a_wide_ceiling().await;
    let grant = |n: usize| {
        json!({"type": "tool_access", "locations": [HELPDESK],
            "actions": (0..12).map(|tool| format!("projects_{n:02}_documents_{tool:02}_update_or_create")).collect::<Vec<_>>(),
            "arguments": {"/project": {"eq": format!("PROJECT-{n}")}, "/title": {"prefix": ["Draft: ", "Report: "]}, "/cc": {"unset": true}},
            "fields": ["/id", "/title", "/author/name", "/updated_at"], "limits": {"calls": 100, "name": format!("project-{n}")}})
    };
    let details = Value::Array((0..12).map(grant).collect());
    let reply = world.token(&world.planner, &[CC, ("authorization_details", &details.to_string())]).await;
    let token = reply.access_token();
    assert!(token.len() > 16 << 10 && reply.body["scope"].as_str().unwrap().len() > 4096, "{}", token.len());
    assert!(world.active(&world.planner, &token).await);
    // What a client was told of its scope it may ask for again.
    let again = world.narrow(&world.planner, &token, &[("scope", reply.body["scope"].as_str().unwrap())]).await;
    assert!(!again.body.to_string().contains("exceeds"), "{}", again.body);
}
