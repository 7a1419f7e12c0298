//! Access tokens that are bound to no key: where they are taken, and what they are never good for.

use crate::world::{NOW, Reply, Wish, World, actor, key, whole};
use axum::http::Method;
use remit_gateway::{Denials, Settings};
use remit_model::{Agent, Binding, ClientProfile, TenantId};
use remit_store::{Batch, Change};
use remit_token::{
    access,
    dpop::{self, ProofFor},
};
use serde_json::json;

fn allowed(settings: &mut Settings) {
    settings.danger_bearer = true;
}

/// Registers the planner anew with this binding.
async fn register(world: &World, binding: Binding, danger_bearer_writes: bool) {
    let snapshot = world.store.snapshot();
    let planner = snapshot.agent_named("planner").unwrap().as_ref().clone();
    let client = ClientProfile { binding, danger_bearer_writes, ..ClientProfile::default() };
    let batch = Batch::new(TenantId::main()).change(Change::PutAgent(Agent { client, ..planner }));
    world.store.apply(batch).await.unwrap();
}

async fn world(wish: Wish) -> World {
    let world = wish.settings(allowed).build().await;
    register(&world, Binding::DangerBearer, false).await;
    world
}

/// The planner's token that is bound to no key, for Alice.
fn token(world: &World) -> String {
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), "x");
    claims.cnf_jkt = None;
    access::mint(&world.issuer_key, &claims).unwrap()
}

/// A call of the stateless era with these credentials.
async fn call(world: &World, credentials: &[(&str, String)], tool: &str) -> Reply {
    let client = world.all();
    let (mut headers, body) = client.modern_request("tools/call", json!({"name": tool, "arguments": {}}));
    headers.retain(|(name, _)| !["authorization", "dpop"].contains(&name.as_str()));
    headers.extend(credentials.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    client.send(headers, &body).await
}

async fn as_bearer(world: &World, token: &str, tool: &str) -> Reply {
    call(world, &[("authorization", format!("Bearer {token}"))], tool).await
}

#[tokio::test]
async fn a_bearer_token_reads_and_its_record_says_what_it_was() {
    let world = world(Wish::new(true)).await;
    as_bearer(&world, &token(&world), "ticket_read").await.result();
    let record = world.last().await;
    assert_eq!(record["chain"][1]["token"]["binding"], "danger_bearer", "{record}");
    assert!(record["chain"][1].get("cnf").is_none(), "{record}");
}

#[tokio::test]
async fn a_bearer_token_changes_nothing_unless_its_agent_is_registered_so() {
    let world = world(Wish::new(true)).await;
    let token = token(&world);
    for tool in ["refund", "customer.change", "ask"] {
        let reply = as_bearer(&world, &token, tool).await;
        reply.refused(200, "bearer_not_allowed");
        let text = reply.body["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("class `read`") && text.contains("binding: dpop"), "{text}");
        assert_eq!(world.last().await["decision"]["reason_code"], "bearer_not_allowed");
    }
    assert_eq!(world.fake.calls(), 0);
    register(&world, Binding::DangerBearer, true).await;
    as_bearer(&world, &token, "refund").await.result();
}

#[tokio::test]
async fn a_bearer_caller_is_shown_only_what_it_can_call() {
    let world = world(Wish { list_requestable: true, ..Wish::new(true) }).await;
    let client = world.all();
    let (mut headers, body) = client.modern_request("tools/list", json!({}));
    headers.retain(|(name, _)| !["authorization", "dpop"].contains(&name.as_str()));
    headers.push(("authorization".into(), format!("Bearer {}", token(&world))));
    let reply = client.send(headers, &body).await;
    let tools: Vec<&str> =
        reply.body["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(tools.contains(&"ticket_read") && !tools.contains(&"refund"), "{tools:?}");
}

#[tokio::test]
async fn a_policy_sees_the_binding_and_can_take_more_away() {
    let forbid = "@id(\"all\")\npermit (principal, action, resource);\n@id(\"no\")\n@reason(\"Not without a key.\")\nforbid (principal is Agent, action == Action::\"call\", resource) when { principal has binding && principal.binding == \"danger_bearer\" };";
    let world = world(Wish { policy: vec![("p.cedar".into(), forbid.into())], ..Wish::new(true) }).await;
    as_bearer(&world, &token(&world), "ticket_read").await.refused(200, "policy_denied");
    register(&world, Binding::Dpop, false).await;
    world.all().call("ticket_read", json!({})).await.result();
}

#[tokio::test]
async fn dp_11_an_unbound_token_is_a_bearer_token_whatever_comes_with_it() {
    let world = world(Wish::new(true)).await;
    let token = token(&world);
    let (jti, key) = (world.unique(), key(7));
    let made = ProofFor {
        method: "POST",
        url: &world.location,
        now: remit_model::UnixTime(NOW),
        jti: &jti,
        access_token: Some(&token),
        ..ProofFor::default()
    };
    let proof = dpop::create(&key, &made).unwrap();
    for _ in 0..2 {
        let credentials = [("authorization", format!("Bearer {token}")), ("dpop", proof.clone())];
        call(&world, &credentials, "ticket_read").await.result();
    }
    let credentials = [("authorization", format!("DPoP {token}")), ("dpop", proof)];
    call(&world, &credentials, "ticket_read").await.refused(401, "dpop_key_mismatch");
}

#[tokio::test]
async fn n_dp_15_a_bound_token_as_bearer_is_refused_although_bearer_tokens_are_allowed() {
    let world = world(Wish::new(true)).await;
    let bound = world.all().token;
    as_bearer(&world, &bound, "ticket_read").await.refused(401, "dpop_proof_missing");
}

#[tokio::test]
async fn a_bearer_token_is_refused_where_its_agent_must_prove_a_key_and_where_none_is_allowed() {
    let world = world(Wish::new(true)).await;
    let token = token(&world);
    as_bearer(&world, &token, "ticket_read").await.result();
    register(&world, Binding::Dpop, false).await;
    as_bearer(&world, &token, "ticket_read").await.refused(401, "dpop_key_mismatch");
    let off = World::new(true).await;
    register(&off, Binding::DangerBearer, false).await;
    let reply = as_bearer(&off, &self::token(&off), "ticket_read").await;
    reply.refused(401, "dpop_key_mismatch");
    assert!(reply.body["error"]["message"].as_str().unwrap().contains("agents.danger_bearer"), "{}", reply.body);
}

#[tokio::test]
async fn a_bearer_token_that_an_agent_handed_on_is_refused() {
    let world = world(Wish::new(true)).await;
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), "x");
    claims.cnf_jkt = None;
    claims.client_id = "agent:helper".into();
    claims.act = Some(actor(&world.base, "agent:helper", Some(actor(&world.base, "agent:planner", None))));
    let forged = access::mint(&world.issuer_key, &claims).unwrap();
    as_bearer(&world, &forged, "ticket_read").await.refused(401, "dpop_key_mismatch");
}

#[tokio::test]
async fn md_06_nothing_says_bearer_where_bearer_tokens_are_refused() {
    for danger_bearer in [false, true] {
        let world = Wish::new(true).settings(move |settings| settings.danger_bearer = danger_bearer).build().await;
        let reply = call(&world, &[], "ticket_read").await;
        assert_eq!(reply.status, 401);
        let challenges: Vec<&str> =
            reply.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(challenges.iter().any(|challenge| challenge.starts_with("Bearer ")), danger_bearer, "{challenges:?}");
        assert!(challenges.iter().any(|challenge| challenge.starts_with("DPoP ")), "{challenges:?}");
        let words = reply.body["error"]["message"].as_str().unwrap();
        assert_eq!(words.contains("remit connect") && words.contains("binding: danger_bearer"), !danger_bearer, "{words}");
        let mut client = world.all();
        client.url = format!("{}/.well-known/oauth-protected-resource/mcp/helpdesk", world.base);
        let metadata = whole(client.raw(Method::GET, Vec::new(), "").await).await;
        assert_eq!(metadata.body.get("bearer_methods_supported").is_some(), danger_bearer, "{}", metadata.body);
        assert_eq!(metadata.body["dpop_bound_access_tokens_required"], !danger_bearer);
    }
}

#[tokio::test]
async fn mg_01_the_challenge_names_the_tool_that_is_called_and_no_other() {
    let world = World::new(true).await;
    for (tool, scope) in [("refund", Some("helpdesk:refund")), ("nothing", None), ("x\", scope=\"helpdesk:*", None)] {
        let reply = call(&world, &[], tool).await;
        for challenge in reply.headers.get_all("www-authenticate") {
            let challenge = challenge.to_str().unwrap();
            match scope {
                Some(scope) => assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}"),
                None => assert!(!challenge.contains("scope"), "{challenge}"),
            }
        }
    }
}

#[tokio::test]
async fn mg_01_step_up_asks_for_the_tool_of_the_call_where_someone_could_grant_it() {
    let world = world(Wish { denials: Denials::StepUp, ..Wish::new(true) }).await;
    let mut claims = world.claims(world.grant(json!({"actions": ["ticket_read"]})), "x");
    claims.cnf_jkt = None;
    let token = access::mint(&world.issuer_key, &claims).unwrap();
    let reply = as_bearer(&world, &token, "prose").await;
    reply.refused(403, "tool_not_granted");
    let challenge = reply.headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.starts_with("Bearer error=\"insufficient_scope\"") && challenge.contains("scope=\"helpdesk:prose\""),
        "{challenge}"
    );
    // What such a token is never good for is not asked for: the person would be asked in vain.
    as_bearer(&world, &token, "refund").await.refused(200, "tool_not_granted");
}
