//! Agents whose access tokens are bound to no key (`binding: danger_bearer`): what they get, and what they never get.

use crate::{flow::*, world::*};
use axum::{body::Body, http::Request};
use remit_authority::Settings;
use remit_model::{Agent, Binding, ClientProfile};
use remit_store::Change;
use serde_json::{Value, json};

const CC: (&str, &str) = ("grant_type", "client_credentials");

fn bearer(actor: &Actor, public: bool) -> Agent {
    Agent { client: ClientProfile { binding: Binding::DangerBearer, ..ClientProfile::default() }, ..agent(actor, public) }
}

/// A server that allows them, where the planner and the public client are registered so.
async fn world() -> World {
    with(Settings { danger_bearer: true, ..Settings::default() }).await
}

async fn with(settings: Settings) -> World {
    let world = World::with(settings).await;
    world.change(Change::PutAgent(bearer(&world.planner, false))).await;
    world.change(Change::PutAgent(bearer(&world.public, true))).await;
    world
}

/// A token request without a proof.
async fn plain(world: &World, actor: &Actor, more: &[(&str, &str)]) -> Reply {
    let mut form = world.authenticated(actor);
    form.extend(fields(more));
    world.post("/oauth/token", &form, &[]).await
}

async fn redeem(world: &World, code: &str) -> Reply {
    let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
    plain(world, &world.planner, &form).await
}

async fn signed_in(world: &World, changes: &[(&str, &str)]) -> Value {
    let code = world.code("alice", &request_with(changes)).await;
    let reply = redeem(world, &code).await;
    reply.access_token();
    reply.body
}

async fn refresh(world: &World, token: &str) -> Reply {
    plain(world, &world.planner, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

#[track_caller]
fn says(reply: &Reply, parts: &[&str]) {
    let reason = text(&reply.body, "error_description");
    for part in parts {
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

#[tokio::test]
async fn a_bearer_agent_gets_a_bearer_token_and_its_record_says_so() {
    let world = world().await;
    let reply = plain(&world, &world.planner, &[CC, ("scope", "helpdesk:tickets_read")]).await;
    let token = claims(&reply.access_token());
    assert_eq!((&reply.body["token_type"], &reply.body["expires_in"]), (&json!("Bearer"), &json!(600)), "C30");
    assert!(token.get("cnf").is_none(), "{token}");
    let record = world.last_record().await;
    assert_eq!(record["chain"][0]["token"]["binding"], "danger_bearer", "{record}");
    assert!(record["chain"][0].get("cnf").is_none(), "{record}");
    let described = world.introspect(&world.planner, &reply.access_token()).await;
    assert_eq!(described.body["token_type"], "Bearer");
    assert!(described.body["active"] == true && described.body.get("cnf").is_none(), "{}", described.text);
}

#[tokio::test]
async fn the_lifetime_of_bearer_tokens_is_a_setting_of_its_own() {
    let world = with(Settings { danger_bearer: true, bearer_token: 120, ..Settings::default() }).await;
    let short = plain(&world, &world.planner, &[CC, ("resource", HELPDESK), ("requested_lifetime", "3000")]).await;
    assert_eq!(short.body["expires_in"], 120);
    assert_eq!(world.token(&world.summarizer, &[CC, ("resource", HELPDESK)]).await.body["expires_in"], 600);
}

#[tokio::test]
async fn dp_11_a_proof_that_comes_with_a_bearer_agent_binds_nothing() {
    let world = world().await;
    let reply = world.token(&world.planner, &[CC, ("scope", "helpdesk:tickets_read")]).await;
    assert_eq!(reply.body["token_type"], "Bearer", "{}", reply.text);
    assert!(claims(&reply.access_token()).get("cnf").is_none());
}

#[tokio::test]
async fn without_the_setting_a_bearer_agent_is_refused_at_its_first_request() {
    let world = with(Settings::default()).await;
    let words = ["remit connect", "binding: danger_bearer", "agents.danger_bearer"];
    let reply = plain(&world, &world.planner, &[CC, ("scope", "helpdesk:tickets_read")]).await;
    reply.refused("invalid_request", "bearer_not_allowed");
    says(&reply, &words);
    let back = Browser::default().begin(&world, &request()).await.location();
    assert_eq!(query(&back, "remit_code").as_deref(), Some("bearer_not_allowed"), "before anyone signs in: {back}");
    assert!(words.iter().all(|word| query(&back, "error_description").unwrap().contains(word)), "{back}");
}

#[tokio::test]
async fn a_client_without_a_proof_hears_what_it_can_do() {
    for danger_bearer in [false, true] {
        let world = World::with(Settings { danger_bearer, ..Settings::default() }).await;
        let reply = plain(&world, &world.planner, &[CC, ("scope", "helpdesk:tickets_read")]).await;
        reply.refused("invalid_dpop_proof", "dpop_proof_missing");
        says(&reply, &["remit connect", "binding: danger_bearer", "binding: dpop"]);
        let setting = text(&reply.body, "error_description").contains("agents.danger_bearer: allowed");
        assert_eq!(setting, !danger_bearer, "{}", reply.text);
        let code = world.code("alice", &request()).await;
        redeem(&world, &code).await.refused("invalid_dpop_proof", "dpop_proof_missing");
    }
}

#[tokio::test]
async fn a_bearer_agent_gets_only_what_reads_and_nothing_to_hand_on() {
    let world = world().await;
    let own = plain(&world, &world.planner, &[CC, ("resource", HELPDESK)]).await;
    own.access_token();
    assert_eq!(own.body["scope"], "helpdesk:tickets_read helpdesk:tickets_search");
    assert!(!own.text.contains("\"delegate\""), "{}", own.text);
    let refused = plain(&world, &world.planner, &[CC, ("scope", "helpdesk:refund_create")]).await;
    refused.refused("invalid_scope", "authority_empty");
    says(&refused, &["class `read`", "agent:planner"]);
    let mut browser = Browser::default();
    let page =
        browser.consent_page(&world, "alice", &request_with(&[("scope", "helpdesk:tickets_read helpdesk:refund_create")])).await;
    assert!(page.text.contains("not bound to a key") && !page.text.contains("refund_create"), "{}", page.text);
    let details = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"],
        "delegate": {"to": ["agent:summarizer"], "depth": 1}}]);
    let given = signed_in(&world, &[("authorization_details", &details.to_string())]).await;
    assert!(!given.to_string().contains("\"delegate\""), "{given}");
    let back =
        Browser::default().consent_page(&world, "alice", &request_with(&[("scope", "helpdesk:refund_create")])).await.location();
    assert!(query(&back, "error_description").unwrap().contains("class `read`"), "{back}");
}

#[tokio::test]
async fn an_operator_can_let_a_bearer_agent_change_things() {
    let world = world().await;
    let mut agent = bearer(&world.planner, false);
    agent.client.danger_bearer_writes = true;
    world.change(Change::PutAgent(agent)).await;
    let own = plain(&world, &world.planner, &[CC, ("resource", HELPDESK)]).await;
    own.access_token();
    assert!(text(&own.body, "scope").contains("refund_create") && !own.text.contains("\"delegate\""), "{}", own.text);
}

#[tokio::test]
async fn n_tx_09_a_bearer_token_is_neither_subject_nor_actor_of_an_exchange() {
    let world = world().await;
    let token = text(&signed_in(&world, &[]).await, "access_token").to_owned();
    let narrow = [
        ("grant_type", EXCHANGE),
        ("subject_token", &token),
        ("subject_token_type", ACCESS_TOKEN),
        ("scope", "helpdesk:tickets_read"),
    ];
    let child = world.identity(&world.summarizer).await;
    let named = [&narrow[..], &[("actor_token", &child), ("actor_token_type", ACCESS_TOKEN)]].concat();
    for form in [&narrow[..], &named] {
        // With a proof and without: its registration decides.
        for reply in [world.token(&world.planner, form).await, plain(&world, &world.planner, form).await] {
            reply.refused("invalid_request", "bearer_not_allowed");
            says(&reply, &["agent:planner", "binding: dpop"]);
        }
        let stolen = world.token(&world.summarizer, form).await;
        assert!(stolen.status.is_client_error(), "the holder of a bound key gets nothing for it either: {}", stolen.text);
    }
    let identity = plain(&world, &world.planner, &[CC, ("resource", ISSUER)]).await.access_token();
    let own = world.own_token(&world.summarizer, &[("resource", HELPDESK)]).await;
    let handed = [
        ("grant_type", EXCHANGE),
        ("subject_token", &own),
        ("subject_token_type", ACCESS_TOKEN),
        ("actor_token", &identity),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    world.token(&world.summarizer, &handed).await.refused("invalid_request", "actor_token_invalid");
    let details = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"]}]);
    let statement = world.statement(&world.summarizer, &own, &world.planner, &details);
    let stated = [("grant_type", EXCHANGE), ("subject_token", statement.as_str()), ("subject_token_type", JWT)];
    world.token(&world.planner, &stated).await.refused("invalid_request", "bearer_not_allowed");
}

#[tokio::test]
async fn n_tx_09_a_token_for_an_endpoint_that_is_bound_to_no_key_proves_no_call() {
    let world = world().await;
    let token = plain(&world, &world.planner, &[CC, ("resource", DESK)]).await.access_token();
    let called = [
        ("grant_type", EXCHANGE),
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("subject_token_proof", &world.call_proof(&world.planner, &token, DESK)),
    ];
    world.token(&world.summarizer, &called).await.refused("invalid_request", "edge_proof_invalid");
}

#[tokio::test]
async fn rt_01_refresh_tokens_of_bearer_agents_rotate_and_a_retry_gets_the_same_successor() {
    let world = world().await;
    let first = text(&signed_in(&world, &[]).await, "refresh_token").to_owned();
    let (one, again) = (refresh(&world, &first).await, refresh(&world, &first).await);
    assert_eq!(text(&one.body, "refresh_token"), text(&again.body, "refresh_token"), "C2");
    assert_eq!(one.body["token_type"], "Bearer");
    let second = text(&one.body, "refresh_token").to_owned();
    assert_ne!(first, second);
    world.advance(31);
    refresh(&world, &first).await.refused("invalid_grant", "grant_invalid");
    refresh(&world, &second).await.refused("invalid_grant", "grant_invalid");
}

#[tokio::test]
async fn a_public_bearer_client_signs_a_person_in_as_editors_do() {
    let world = world().await;
    let code =
        world.code("alice", &request_with(&[("client_id", "agent:public"), ("scope", "openid helpdesk:tickets_read")])).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "agent:public"),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    let reply = world.post("/oauth/token", &fields(&form), &[]).await;
    reply.access_token();
    assert_eq!(reply.body["token_type"], "Bearer");
    let again = [
        ("grant_type", "refresh_token"),
        ("client_id", "agent:public"),
        ("scope", "openid"),
        ("refresh_token", text(&reply.body, "refresh_token")),
    ];
    let identity = world.post("/oauth/token", &fields(&again), &[]).await.access_token();
    let userinfo = |scheme: &str| {
        Request::get("/oauth/userinfo").header("authorization", format!("{scheme} {identity}")).body(Body::empty()).unwrap()
    };
    assert_eq!(world.send(userinfo("Bearer")).await.body["sub"], "user:alice");
    world.send(userinfo("DPoP")).await.refused("invalid_token", "token_missing");
}

#[tokio::test]
async fn n_dp_15_a_bound_token_is_no_bearer_token_at_userinfo() {
    let world = world().await;
    world.change(Change::PutAgent(agent(&world.planner, false))).await;
    let bound = world.delegated_with("alice", &[("scope", "openid"), ("resource", "")]).await;
    let request = Request::get("/oauth/userinfo")
        .header("authorization", format!("Bearer {}", text(&bound, "access_token")))
        .body(Body::empty())
        .unwrap();
    world.send(request).await.refused("invalid_token", "token_missing");
}

#[tokio::test]
async fn a_change_of_the_binding_ends_what_was_given_under_the_other_one() {
    let world = world().await;
    let given = signed_in(&world, &[]).await;
    assert!(world.active(&world.planner, text(&given, "access_token")).await);
    world.change(Change::PutAgent(agent(&world.planner, false))).await;
    assert!(
        !world.active(&world.planner, text(&given, "access_token")).await,
        "a bearer token of an agent that must prove a key"
    );
    let reply = world.refresh(&world.planner, text(&given, "refresh_token"), &[]).await;
    reply.refused("invalid_dpop_proof", "dpop_key_mismatch");
    let bound = world.delegated("alice").await;
    world.change(Change::PutAgent(bearer(&world.planner, false))).await;
    refresh(&world, text(&bound, "refresh_token")).await.refused("invalid_dpop_proof", "dpop_key_mismatch");
    let code = world.code("alice", &request_with(&[("dpop_jkt", world.planner.jkt())])).await;
    redeem(&world, &code).await.refused("invalid_dpop_proof", "dpop_key_mismatch");
}
