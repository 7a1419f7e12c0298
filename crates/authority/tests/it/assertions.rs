//! Client assertions as real clients send them: their audience, their lifetime, and the memory of used ones.

use crate::{
    credentials::{assertion, with_assertion},
    world::*,
};
use axum::http::StatusCode;
use remit_authority::Settings;
use remit_model::{AssertionAudience, ClientProfile};
use remit_store::Change;
use serde_json::json;

/// Lets the planner name the token endpoint as the audience of its assertions.
async fn let_name_the_token_endpoint(world: &World) {
    let client = ClientProfile { assertion_audience: AssertionAudience::TokenEndpoint, ..ClientProfile::default() };
    world.change(Change::PutAgent(remit_model::Agent { client, ..agent(&world.planner, false) })).await;
}

#[tokio::test]
async fn n_tk_02_the_token_endpoint_is_accepted_where_the_agent_is_registered_so_and_named_in_the_record() {
    let world = World::new().await;
    let to_endpoint = || assertion(&world, &world.planner, &world.planner.auth, &json!({"aud": TOKEN}));
    with_assertion(&world, &world.planner, &to_endpoint(), &[]).await.refused("invalid_client", "client_unauthenticated");
    let_name_the_token_endpoint(&world).await;
    with_assertion(&world, &world.planner, &to_endpoint(), &[]).await.access_token();
    assert_eq!(world.last_record().await["ext"]["token"]["credential"]["audience"], "token_endpoint");
    // The issuer stays an audience, and is nothing to name.
    with_assertion(&world, &world.planner, &world.assertion(&world.planner), &[]).await.access_token();
    let named = world.last_record().await["ext"]["token"]["credential"].clone();
    assert_eq!((&named["kind"], &named["audience"]), (&json!("private_key_jwt"), &json!(null)));
    // It is no door for others, and no second audience.
    let other = assertion(&world, &world.summarizer, &world.summarizer.auth, &json!({"aud": TOKEN}));
    with_assertion(&world, &world.summarizer, &other, &[]).await.refused("invalid_client", "client_unauthenticated");
    for aud in [json!([TOKEN, ISSUER]), json!(format!("{ISSUER}/oauth/introspect")), json!(format!("{TOKEN}/"))] {
        let wrong = assertion(&world, &world.planner, &world.planner.auth, &json!({"aud": aud}));
        with_assertion(&world, &world.planner, &wrong, &[]).await.refused("invalid_client", "client_unauthenticated");
    }
}

#[tokio::test]
async fn tk_04_an_assertion_for_an_hour_is_good_once_until_it_ends() {
    let world = World::new().await;
    // What Authlib signs: an hour from now.
    let hour = assertion(&world, &world.planner, &world.planner.auth, &json!({"exp": START + 3600}));
    with_assertion(&world, &world.planner, &hour, &[]).await.access_token();
    for later in [0, 1_800, 1_700] {
        world.advance(later);
        world.store.tend().await;
        with_assertion(&world, &world.planner, &hour, &[]).await.refused("invalid_client", "assertion_replayed");
    }
    world.advance(200);
    let over = with_assertion(&world, &world.planner, &hour, &[]).await;
    over.refused("invalid_client", "client_unauthenticated");
    assert!(over.body["error_description"].as_str().unwrap().starts_with("the client assertion expired"), "{}", over.text);
}

#[tokio::test]
async fn tk_04_the_memory_of_long_assertions_is_bounded_and_says_so_when_it_is_full() {
    let world = World::with(Settings { long_assertions: 2, ..Settings::default() }).await;
    let hour = |actor: &Actor| assertion(&world, actor, &actor.auth, &json!({"exp": world.now().plus(3600)}));
    let first = hour(&world.planner);
    with_assertion(&world, &world.planner, &first, &[]).await.access_token();
    // A copy that is refused takes no room.
    for _ in 0..3 {
        with_assertion(&world, &world.planner, &first, &[]).await.refused("invalid_client", "assertion_replayed");
    }
    with_assertion(&world, &world.planner, &hour(&world.planner), &[]).await.access_token();
    let third = hour(&world.planner);
    let full = with_assertion(&world, &world.planner, &third, &[]).await;
    assert_eq!(
        (full.status, full.body["remit_code"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, Some("rate_limited")),
        "{}",
        full.text
    );
    let wait: i64 = full.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3_500..=3_700).contains(&wait), "{wait}");
    assert!(full.body["error_description"].as_str().unwrap().contains("sign them for less"), "{}", full.text);
    // Short ones, and other clients, are served; what was refused was not used up.
    with_assertion(&world, &world.planner, &world.assertion(&world.planner), &[]).await.access_token();
    with_assertion(&world, &world.summarizer, &hour(&world.summarizer), &[]).await.access_token();
    world.advance(3_590);
    with_assertion(&world, &world.planner, &hour(&world.planner), &[]).await.refused("temporarily_unavailable", "rate_limited");
    world.advance(120);
    with_assertion(&world, &world.planner, &hour(&world.planner), &[]).await.access_token();
}

#[tokio::test]
async fn what_an_agent_authenticated_with_is_in_every_record_and_both_audiences_keep_their_custody() {
    let world = World::new().await;
    world.record_registrations().await;
    let token = world.own_token(&world.planner, &[("resource", FILES)]).await;
    let record = world.last_record().await;
    let credential = &record["ext"]["token"]["credential"];
    assert_eq!(credential["kind"], "private_key_jwt");
    assert!(credential["hash"].as_str().unwrap().starts_with("sha-256:"));
    world.narrow(&world.planner, &token, &[("scope", "files:read")]).await.access_token();
    assert_eq!(world.last_record().await["ext"]["token"]["credential"]["kind"], "private_key_jwt");
    world.introspect(&world.planner, "x").await;
}
