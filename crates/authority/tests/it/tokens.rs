//! Introspection and revocation.

use crate::{flow::*, world::*};
use remit_model::{AgentStatus, Code, Refusal};
use remit_token::{KeySet, Skew, introspection};
use serde_json::{Value, json};

async fn revoke(world: &World, caller: &Actor, token: &str) -> Reply {
    let mut form = world.authenticated(caller);
    form.extend(fields(&[("token", token)]));
    world.post("/oauth/revoke", &form, &[]).await
}

/// SPEC: IN-01
#[tokio::test]
async fn in_03_in_04_an_active_token_is_described_whole() {
    let world = World::new().await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    let body = world.introspect(&world.summarizer, &child).await.body;
    let said = claims(&child);
    assert_eq!(body["active"], true);
    assert_eq!(body["token_type"], "DPoP");
    for name in [
        "iss",
        "sub",
        "aud",
        "client_id",
        "exp",
        "iat",
        "jti",
        "scope",
        "act",
        "cnf",
        "authorization_details",
        "txn",
        "auth_time",
    ] {
        assert_eq!(body[name], said[name], "{name}");
    }
    assert_eq!(body["chain_complete"], true);
}

#[tokio::test]
async fn n_in_01_unauthenticated_is_401() {
    let world = World::new().await;
    let token = world.identity(&world.planner).await;
    let reply = world.post("/oauth/introspect", &fields(&[("token", &token)]), &[]).await;
    assert_eq!(reply.status, 401);
    reply.refused("invalid_client", "client_unauthenticated");
    let public = fields(&[("token", &token), ("client_id", "agent:public")]);
    world.post("/oauth/introspect", &public, &[]).await.refused("unauthorized_client", "client_not_allowed");
}

/// SPEC: IN-02
#[tokio::test]
async fn n_in_02_whom_a_token_does_not_concern() {
    let world = World::new().await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    assert!(world.active(&world.planner, &token).await);
    assert_eq!(world.introspect(&world.scribe, &token).await.body, json!({"active": false}));
    let for_child = world.narrow(&world.planner, &token, &[("resource", DESK)]).await.access_token();
    assert!(world.active(&world.summarizer, &for_child).await, "its audience");
    assert!(!world.active(&world.scribe, &for_child).await);
}

/// SPEC: IN-02
#[tokio::test]
async fn n_in_04_an_inactive_answer_says_nothing_else() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let token = text(&body, "access_token");
    let nothing = json!({"active": false});
    for other in ["unknown", text(&body, "refresh_token"), &world.assertion(&world.planner)] {
        assert_eq!(world.introspect(&world.planner, other).await.body, nothing);
    }
    world.set_status(&world.summarizer, AgentStatus::Quarantined).await;
    assert!(world.active(&world.planner, token).await, "an agent outside the chain changes nothing");
    world.advance(601);
    assert_eq!(world.introspect(&world.planner, token).await.body, nothing);
}

const SIGNED: &str = "application/token-introspection+jwt";

/// Asks with this `Accept`; gives the reply and, where it is a JWT, what it says to this caller.
async fn signed(world: &World, caller: &Actor, token: &str, accept: &str) -> (Reply, Option<serde_json::Map<String, Value>>) {
    let mut form = world.authenticated(caller);
    form.extend(fields(&[("token", token)]));
    let reply = world.post("/oauth/introspect", &form, &[("accept", accept.to_owned())]).await;
    let said = read(world, &reply.text, &caller.sub);
    (reply, said.ok())
}

fn read(world: &World, answer: &str, caller: &str) -> Result<serde_json::Map<String, Value>, Refusal> {
    let expect = introspection::Expect { issuer: ISSUER, caller };
    introspection::verify(answer, &KeySet::of([world.signing.public()]), &expect, world.now(), Skew::NONE)
}

#[tokio::test]
async fn in_05_who_asks_for_it_gets_a_signed_answer() {
    let world = World::new().await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let plain = world.introspect(&world.planner, &token).await.body;
    let (reply, said) = signed(&world, &world.planner, &token, SIGNED).await;
    assert_eq!((reply.status.as_u16(), reply.headers["content-type"].to_str().unwrap()), (200, SIGNED));
    assert_eq!(reply.headers["cache-control"], "no-store");
    assert_eq!(Value::Object(said.unwrap()), plain, "the same as unsigned");
    let outer = claims(&reply.text);
    assert_eq!((outer.get("sub"), outer.get("exp"), outer["aud"].as_str()), (None, None, Some("agent:planner")));
    let (_, said) = signed(&world, &world.scribe, &token, SIGNED).await;
    assert_eq!(Value::Object(said.unwrap()), json!({"active": false}), "IN-02 holds in this form too");
}

#[tokio::test]
async fn n_in_05_a_signed_answer_serves_no_one_else_and_nothing_else() {
    let world = World::new().await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let (reply, _) = signed(&world, &world.planner, &token, SIGNED).await;
    assert_eq!(read(&world, &reply.text, "agent:scribe").unwrap_err().code, Code::TokenAudienceWrong);
    world.narrow(&world.planner, &reply.text, &[]).await.refused("invalid_request", "token_type_wrong");
    assert!(!world.active(&world.planner, &reply.text).await);
}

#[tokio::test]
async fn in_05_the_form_follows_accept_and_errors_stay_json() {
    let world = World::new().await;
    let token = world.identity(&world.planner).await;
    let mixed = format!("application/json;q=0.5, {SIGNED}");
    let upper = "APPLICATION/Token-Introspection+JWT";
    for accept in [SIGNED, upper, mixed.as_str()] {
        assert!(signed(&world, &world.planner, &token, accept).await.1.is_some(), "{accept}");
    }
    let worse = format!("{SIGNED};q=0.5, application/json");
    let never = format!("{SIGNED};q=0");
    for accept in ["*/*", "application/*", "application/json", worse.as_str(), never.as_str(), "application/jwt"] {
        let (reply, _) = signed(&world, &world.planner, &token, accept).await;
        assert_eq!(reply.body["active"], true, "{accept}");
    }
    let reply = world.post("/oauth/introspect", &fields(&[("token", &token)]), &[("accept", SIGNED.to_owned())]).await;
    assert_eq!(reply.headers["content-type"], "application/json");
    reply.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn n_in_03_get_is_405() {
    let world = World::new().await;
    let reply = world.get("/oauth/introspect").await;
    assert_eq!((reply.status.as_u16(), reply.headers["allow"].to_str().unwrap()), (405, "POST"));
}

#[tokio::test]
async fn an_assertion_is_good_once_here_too() {
    let world = World::new().await;
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[("token", "x")]));
    world.post("/oauth/introspect", &form, &[]).await;
    world.post("/oauth/introspect", &form, &[]).await.refused("invalid_client", "assertion_replayed");
    world.post("/oauth/revoke", &form, &[]).await.refused("invalid_client", "assertion_replayed");
}

/// SPEC: RV-01
#[tokio::test]
async fn n_rv_01_anothers_token_is_not_revoked() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let token = text(&body, "access_token");
    for presented in [token, text(&body, "refresh_token"), "unknown"] {
        let reply = revoke(&world, &world.scribe, presented).await;
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""), "no oracle");
    }
    assert!(world.active(&world.planner, token).await);
    world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await.access_token();
}

/// SPEC: RV-02
#[tokio::test]
async fn n_rv_02_a_refresh_token_takes_everything_with_it() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let token = text(&body, "access_token");
    let child = world.hand(&world.planner, token, &world.summarizer, &[]).await.access_token();
    assert_eq!(revoke(&world, &world.planner, text(&body, "refresh_token")).await.status, 200);
    assert_eq!(world.last_record().await["ext"]["token"]["revoked"], "refresh_token");
    assert!(!world.active(&world.planner, token).await);
    assert!(!world.active(&world.summarizer, &child).await);
    world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await.refused("invalid_grant", "grant_invalid");
}

#[tokio::test]
async fn an_access_token_does_not_take_the_refresh_token_with_it() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    revoke(&world, &world.planner, text(&body, "access_token")).await;
    assert!(!world.active(&world.planner, text(&body, "access_token")).await);
    world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await.access_token();
}

/// SPEC: RV-03
#[tokio::test]
async fn n_rv_03_a_token_is_revoked_as_long_as_a_resource_server_accepts_it() {
    let world = World::new().await;
    let token = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    let (jti, end) = (claims(&token)["jti"].clone(), claims(&token)["exp"].as_i64().unwrap());
    // Gateways allow for clocks that differ by half a minute.
    world.advance(u64::try_from(end - world.now().0 + 29).unwrap());
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[("token", &token)]));
    assert_eq!(world.post("/oauth/revoke", &form, &[]).await.status, 200);
    assert!(world.store.snapshot().is_revoked(jti.as_str().unwrap(), [], ""), "it counts nowhere any more");
}

#[tokio::test]
async fn n_rv_04_no_callback() {
    let world = World::new().await;
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[("token", "x"), ("callback", "alert")]));
    assert_eq!(world.post("/oauth/revoke", &form, &[]).await.text, "");
}

#[tokio::test]
async fn rv_04_without_the_store_it_is_503() {
    let world = World::new().await;
    let token = world.identity(&world.planner).await;
    world.store.close().await.unwrap();
    assert_eq!(revoke(&world, &world.planner, &token).await.status, 503);
}
