//! Pushed authorization requests. SPEC: RFC 9126, PAR-01 to PAR-07

use crate::{flow::*, world::*};
use axum::http::StatusCode;
use remit_authority::Settings;
use remit_model::{AgentStatus, Rate};
use remit_store::Change;
use remit_token::dpop::{self, ProofFor};
use serde_json::json;
use std::collections::BTreeSet;

const PAR: &str = "/oauth/par";
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// The planner's push of a request with these changes.
async fn push(world: &World, changes: &[(&str, &str)]) -> Reply {
    let mut form = world.authenticated(&world.planner);
    form.extend(request_with(changes));
    world.post(PAR, &form, &[]).await
}

async fn pushed(world: &World, changes: &[(&str, &str)]) -> String {
    let reply = push(world, changes).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    text(&reply.body, "request_uri").to_owned()
}

fn brought(client: &str, uri: &str) -> Vec<(String, String)> {
    fields(&[("client_id", client), ("request_uri", uri)])
}

/// The page that a browser gets for a request that cannot be used.
async fn stopped(world: &World, parameters: &[(String, String)], words: &str) {
    let page = Browser::default().begin(world, parameters).await;
    assert!(page.status.is_client_error() && page.headers.get("location").is_none(), "{}", page.text);
    assert!(page.text.contains(words), "{words} in {}", page.text);
}

fn proof_for(world: &World, url: &str, actor: &Actor) -> String {
    let jti = fresh();
    dpop::create(&actor.dpop, &ProofFor { method: "POST", url, now: world.now(), jti: &jti, ..ProofFor::default() }).unwrap()
}

#[tokio::test]
async fn par_03_a_pushed_request_becomes_a_consent_and_a_token() {
    let world = World::new().await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.body;
    assert_eq!(metadata["pushed_authorization_request_endpoint"], format!("{ISSUER}{PAR}"));
    let details =
        json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "fields": ["/id"]}]).to_string();
    let reply = push(&world, &[("authorization_details", &details), ("purpose", "weekly report")]).await;
    assert_eq!((reply.status, &reply.body["expires_in"]), (StatusCode::CREATED, &json!(60)));
    assert_eq!(reply.headers["cache-control"], "no-store");
    let uri = text(&reply.body, "request_uri");
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &brought("agent:planner", uri)).await;
    assert!(page.text.contains("weekly report") && !page.text.contains("refund"), "{}", page.text);
    let back = browser.decide(&world, &page, "allow").await.location();
    assert_eq!((query(&back, "state").as_deref(), query(&back, "iss").as_deref()), (Some("s-1"), Some(ISSUER)));
    world.redeem(&world.planner, &query(&back, "code").unwrap(), &[]).await.access_token();
}

#[tokio::test]
async fn par_02_what_the_authorization_endpoint_refuses_is_refused_at_the_push() {
    let world = World::new().await;
    for (changes, error, code) in [
        (&[("redirect_uri", "https://evil.example/cb")][..], "invalid_request", "redirect_uri_mismatch"),
        (&[("redirect_uri", "")], "invalid_request", "request_malformed"),
        (&[("response_type", "token")], "invalid_request", "request_malformed"),
        (&[("code_challenge", "")], "invalid_request", "pkce_required"),
        (&[("code_challenge_method", "plain")], "invalid_request", "pkce_required"),
        (&[("resource", "https://elsewhere.example/")], "invalid_target", "resource_unknown"),
        (&[("scope", "helpdesk:nothing")], "invalid_scope", "scope_unknown"),
        (
            &[("authorization_details", "[{\"type\":\"other\"}]")],
            "invalid_authorization_details",
            "authorization_details_invalid",
        ),
        (&[("prompt", "none login")], "invalid_request", "request_malformed"),
    ] {
        push(&world, changes).await.refused(error, code);
    }
    world.set_status(&world.planner, AgentStatus::Quarantined).await;
    push(&world, &[]).await.refused("unauthorized_client", "agent_quarantined");
}

#[tokio::test]
async fn par_02_the_authorization_endpoint_checks_again() {
    let world = World::new().await;
    let uri = pushed(&world, &[]).await;
    world.set_status(&world.planner, AgentStatus::Quarantined).await;
    let back = Browser::default().begin(&world, &brought("agent:planner", &uri)).await.location();
    assert_eq!(query(&back, "remit_code").as_deref(), Some("agent_quarantined"));
}

#[tokio::test]
async fn n_par_01_a_request_is_decided_once_and_the_page_may_be_opened_again_before() {
    let world = World::new().await;
    for decision in ["allow", "deny"] {
        let uri = pushed(&world, &[]).await;
        let parameters = brought("agent:planner", &uri);
        let mut browser = Browser::default();
        let first = browser.consent_page(&world, "alice", &parameters).await;
        let again = browser.begin(&world, &parameters).await;
        assert!(is_consent(&first) && is_consent(&again), "a reload shows the page again");
        browser.decide(&world, &first, decision).await.location();
        stopped(&world, &parameters, "was used before").await;
        let late = browser.decide(&world, &again, "allow").await;
        assert!(late.headers.get("location").is_none(), "the other page cannot decide it again: {}", late.text);
    }
}

#[tokio::test]
async fn n_par_02_a_request_of_another_client() {
    let world = World::new().await;
    let uri = pushed(&world, &[]).await;
    stopped(&world, &brought("agent:summarizer", &uri), "another program").await;
    stopped(&world, &fields(&[("request_uri", &uri)]), "client_id").await;
    // Nor may a client push in the name of another one.
    let mut form = world.authenticated(&world.planner);
    form.extend(request_with(&[("client_id", "agent:summarizer")]));
    world.post(PAR, &form, &[]).await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn n_par_03_a_request_expires_after_a_minute() {
    let world = World::new().await;
    let uri = pushed(&world, &[]).await;
    world.advance(59);
    assert!(is_sign_in(&Browser::default().begin(&world, &brought("agent:planner", &uri)).await));
    world.advance(1);
    stopped(&world, &brought("agent:planner", &uri), "expired").await;
}

#[tokio::test]
async fn n_par_04_the_query_overrides_nothing_that_was_pushed() {
    let world = World::new().await;
    let uri = pushed(&world, &[("scope", "helpdesk:tickets_read")]).await;
    let mut parameters = brought("agent:planner", &uri);
    parameters.extend(fields(&[
        ("scope", "helpdesk:refund_create"),
        ("redirect_uri", "http://127.0.0.1/cb"),
        ("state", "forged"),
        ("code_challenge", "x"),
        ("resource", FILES),
    ]));
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &parameters).await;
    assert!(page.text.contains("tickets_read") && !page.text.contains("refund_create"), "{}", page.text);
    let back = browser.decide(&world, &page, "allow").await.location();
    assert!(back.as_str().starts_with(REDIRECT));
    assert_eq!(query(&back, "state").as_deref(), Some("s-1"));
}

#[tokio::test]
async fn n_par_05_a_reference_is_not_pushed_itself_and_no_other_is_fetched() {
    let world = World::new().await;
    let uri = pushed(&world, &[]).await;
    push(&world, &[("request_uri", &uri)]).await.refused("invalid_request", "request_malformed");
    for uri in ["https://app.example/request.jwt", "urn:example:x", PREFIX, &format!("{PREFIX}AAAA")] {
        stopped(&world, &brought("agent:planner", uri), "request_malformed").await;
    }
    push(&world, &[("request", "eyJhbGciOiJub25lIn0..")]).await.refused("invalid_request", "request_malformed");
}

#[tokio::test]
async fn n_par_06_a_client_with_a_key_must_authenticate() {
    let world = World::new().await;
    world.post(PAR, &request(), &[]).await.refused("invalid_client", "client_unauthenticated");
    let unknown = world.post(PAR, &request_with(&[("client_id", "agent:nobody")]), &[]).await;
    unknown.refused("invalid_client", "client_unknown");
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    // An assertion is used up by the push.
    let mut form = world.authenticated(&world.planner);
    form.extend(request());
    assert_eq!(world.post(PAR, &form, &[]).await.status, StatusCode::CREATED);
    world.post(PAR, &form, &[]).await.refused("invalid_client", "assertion_replayed");
    // A public client says who it is, and nothing more.
    let public = world.post(PAR, &request_with(&[("client_id", "agent:public")]), &[]).await;
    let uri = text(&public.body, "request_uri");
    assert!(is_sign_in(&Browser::default().begin(&world, &brought("agent:public", uri)).await));
}

#[tokio::test]
async fn n_par_07_a_reference_cannot_be_guessed_or_changed() {
    let world = World::new().await;
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        let uri = pushed(&world, &[]).await;
        let reference = uri.strip_prefix(PREFIX).unwrap().to_owned();
        // 96 bits of nonce and 128 of tag stand around the sealed request.
        assert!(reference.len() > 38 && !reference.contains("planner"), "{reference}");
        let (nonce, tag) = (reference.get(..16).unwrap(), reference.get(reference.len() - 22..).unwrap());
        assert!(seen.insert(nonce.to_owned()) && seen.insert(tag.to_owned()));
    }
    let uri = pushed(&world, &[]).await;
    for at in [PREFIX.len(), PREFIX.len() + 40, uri.len() - 1] {
        let mut spoilt = uri.clone().into_bytes();
        spoilt[at] = if spoilt[at] == b'A' { b'B' } else { b'A' };
        let spoilt = String::from_utf8(spoilt).unwrap();
        stopped(&world, &brought("agent:planner", &spoilt), "request_malformed").await;
    }
    assert!(Browser::default().begin(&world, &brought("agent:planner", &uri)).await.status.is_success());
}

#[tokio::test]
async fn par_05_a_proof_at_the_push_binds_the_code() {
    let world = World::new().await;
    let url = format!("{ISSUER}{PAR}");
    let send = async |proof: String, changes: &[(&str, &str)]| {
        let mut form = world.authenticated(&world.planner);
        form.extend(request_with(changes));
        world.post(PAR, &form, &[("dpop", proof)]).await
    };
    let other = Actor::new("other").jkt().to_owned();
    send(proof_for(&world, &url, &world.planner), &[("dpop_jkt", &other)])
        .await
        .refused("invalid_dpop_proof", "dpop_key_mismatch");
    send(proof_for(&world, TOKEN, &world.planner), &[]).await.refused("invalid_dpop_proof", "dpop_proof_invalid");
    let proof = proof_for(&world, &url, &world.planner);
    let reply = send(proof.clone(), &[("dpop_jkt", world.planner.jkt())]).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    send(proof, &[]).await.refused("invalid_dpop_proof", "dpop_proof_replayed");
    let uri = text(&send(proof_for(&world, &url, &world.planner), &[]).await.body, "request_uri").to_owned();
    let code = world.code("alice", &brought("agent:planner", &uri)).await;
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
    let thief = world.token_with(&world.planner, &world.proof(&Actor::new("other").dpop), &form).await;
    thief.refused("invalid_dpop_proof", "dpop_key_mismatch");
    world.redeem(&world.planner, &code, &[]).await.access_token();
}

#[tokio::test]
async fn par_06_where_pushing_is_required_nothing_else_is_taken() {
    let world = World::with(Settings { require_pushed_requests: true, ..Settings::default() }).await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.body;
    assert_eq!(metadata["require_pushed_authorization_requests"], true);
    let back = Browser::default().begin(&world, &request()).await.location();
    assert_eq!(query(&back, "error").as_deref(), Some("invalid_request"));
    let uri = pushed(&world, &[]).await;
    assert!(is_sign_in(&Browser::default().begin(&world, &brought("agent:planner", &uri)).await));

    let world = World::new().await;
    let mut planner = agent(&world.planner, false);
    planner.client.require_pushed_requests = true;
    world.change(Change::PutAgent(planner)).await;
    let back = Browser::default().begin(&world, &request()).await.location();
    assert_eq!(query(&back, "error").as_deref(), Some("invalid_request"), "one client may be held to it alone");
    let other = request_with(&[("client_id", "agent:summarizer")]);
    assert!(is_sign_in(&Browser::default().begin(&world, &other).await));
}

#[tokio::test]
async fn par_07_methods_sizes_and_floods() {
    let world = World::with(Settings { rate: Rate { per_second: 2, burst: 3 }, ..Settings::default() }).await;
    let wrong = world.get(PAR).await;
    assert_eq!((wrong.status, wrong.headers["allow"].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    assert_eq!(push(&world, &[("state", &"x".repeat(200 << 10))]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let long =
        push(&world, &[("state", &"x".repeat(2_000)), ("nonce", &"y".repeat(2_000)), ("login_hint", &"z".repeat(2_000))]).await;
    assert_eq!(long.status, StatusCode::PAYLOAD_TOO_LARGE, "a URL that proxies refuse is not given out: {}", long.text);
    let mut last = StatusCode::OK;
    for _ in 0..4 {
        last = push(&world, &[]).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}
