//! Who may ask who the person is, and with what. SPEC: UI-01 to UI-04.

use crate::world::*;
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use remit_model::{AgentStatus, HumanStatus};
use remit_store::Change;
use remit_token::dpop::{self, ProofFor};

const PATH: &str = "/oauth/userinfo";

/// A request with this token under this scheme, with the proof that the planner's key makes for it.
fn request(world: &World, scheme: &str, token: &str, path: &str) -> Request<Body> {
    let (jti, url) = (fresh(), format!("{ISSUER}{PATH}"));
    let made =
        ProofFor { method: "GET", url: &url, now: world.now(), jti: &jti, access_token: Some(token), ..ProofFor::default() };
    let proof = dpop::create(&world.planner.dpop, &made).unwrap();
    Request::get(path).header("authorization", format!("{scheme} {token}")).header("dpop", proof).body(Body::empty()).unwrap()
}

async fn ask(world: &World, scheme: &str, token: &str) -> Reply {
    world.send(request(world, scheme, token, PATH)).await
}

#[track_caller]
fn challenged(reply: &Reply, status: StatusCode, error: &str) {
    assert_eq!((reply.status, reply.body["error"].as_str()), (status, Some(error)), "{}", reply.text);
    let challenge = reply.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("DPoP ") && challenge.contains(&format!("error=\"{error}\"")), "{challenge}");
    assert!(reply.body.get("sub").is_none());
}

/// SPEC: UI-02
#[tokio::test]
async fn the_subject_is_that_of_the_id_token() {
    let world = World::new().await;
    let consented = world.delegated_with("alice", &[("scope", "openid"), ("resource", "")]).await;
    let told = ask(&world, "DPoP", consented["access_token"].as_str().unwrap()).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text);
    assert_eq!(told.body["sub"], claims(consented["id_token"].as_str().unwrap())["sub"]);
    assert_eq!(told.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn n_ui_01_an_id_token_is_no_access_token() {
    let world = World::new().await;
    let consented = world.delegated_with("alice", &[("scope", "openid"), ("resource", "")]).await;
    for scheme in ["DPoP", "Bearer"] {
        challenged(
            &ask(&world, scheme, consented["id_token"].as_str().unwrap()).await,
            StatusCode::UNAUTHORIZED,
            "invalid_token",
        );
    }
}

#[tokio::test]
async fn n_ui_02_an_agents_own_token_tells_nothing_of_a_person() {
    let world = World::new().await;
    let token = world.own_token(&world.planner, &[("resource", ISSUER)]).await;
    challenged(&ask(&world, "DPoP", &token).await, StatusCode::FORBIDDEN, "insufficient_scope");
}

#[tokio::test]
async fn n_ui_03_a_token_in_the_url_is_not_read() {
    let world = World::new().await;
    let consented = world.delegated_with("alice", &[("scope", "openid"), ("resource", "")]).await;
    let token = consented["access_token"].as_str().unwrap();
    let bare = Request::get(format!("{PATH}?access_token={token}")).body(Body::empty()).unwrap();
    world.send(bare).await.refused("invalid_request", "request_malformed");
    let both = request(&world, "DPoP", token, &format!("{PATH}?access_token={token}"));
    world.send(both).await.refused("invalid_request", "request_malformed");
}

#[tokio::test]
async fn n_ui_04_a_token_for_a_server_tells_nothing_here() {
    let world = World::new().await;
    let consented = world.delegated_with("alice", &[("scope", "openid helpdesk:tickets_read")]).await;
    challenged(
        &ask(&world, "DPoP", consented["access_token"].as_str().unwrap()).await,
        StatusCode::UNAUTHORIZED,
        "invalid_token",
    );
}

#[tokio::test]
async fn n_ui_05_a_bound_token_is_not_taken_as_a_bearer_token() {
    let world = World::new().await;
    let consented = world.delegated_with("alice", &[("scope", "openid"), ("resource", "")]).await;
    let refused = ask(&world, "Bearer", consented["access_token"].as_str().unwrap()).await;
    challenged(&refused, StatusCode::UNAUTHORIZED, "invalid_token");
}

#[tokio::test]
async fn n_ui_05_without_a_proof_or_with_that_of_another_key_it_is_refused() {
    let world = World::new().await;
    let consented = world.delegated_with("alice", &[("scope", "openid"), ("resource", "")]).await;
    let token = consented["access_token"].as_str().unwrap();
    let bare = Request::get(PATH).header("authorization", format!("DPoP {token}")).body(Body::empty()).unwrap();
    assert_eq!(world.send(bare).await.status, StatusCode::UNAUTHORIZED);
    let (jti, url) = (fresh(), format!("{ISSUER}{PATH}"));
    let made =
        ProofFor { method: "GET", url: &url, now: world.now(), jti: &jti, access_token: Some(token), ..ProofFor::default() };
    let foreign = dpop::create(&world.scribe.dpop, &made).unwrap();
    let stolen = Request::get(PATH).header("authorization", format!("DPoP {token}")).header("dpop", foreign);
    assert_eq!(world.send(stolen.body(Body::empty()).unwrap()).await.status, StatusCode::UNAUTHORIZED);
}

/// SPEC: DC-13
#[tokio::test]
async fn who_may_not_act_any_more_learns_nothing() {
    for person in [true, false] {
        let world = World::new().await;
        let consented = world.delegated_with("alice", &[("scope", "openid"), ("resource", "")]).await;
        if person {
            world.change(Change::PutHuman(remit_model::Human { status: HumanStatus::Disabled, ..human("alice") })).await;
        } else {
            world.set_status(&world.planner, AgentStatus::Quarantined).await;
        }
        let refused = ask(&world, "DPoP", consented["access_token"].as_str().unwrap()).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{}", refused.text);
        assert!(refused.body.get("sub").is_none());
    }
}
