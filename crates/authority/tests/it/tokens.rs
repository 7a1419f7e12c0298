//! Introspection and revocation.

use crate::{flow::*, world::*};
use remit_model::AgentStatus;
use serde_json::json;

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
