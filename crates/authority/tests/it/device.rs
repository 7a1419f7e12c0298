//! The device flow. SPEC: RFC 8628, DG-01, DG-02

use crate::{documents::rules, flow::*, world::*};
use axum::http::StatusCode;
use remit_authority::{Admission, ClientRules, Settings};
use remit_insight::custody;
use remit_ledger::Reader;
use remit_model::AgentStatus;
use serde_json::json;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn world() -> World {
    let world = World::with(Settings { device_flow: true, ..Settings::default() }).await;
    world.record_registrations().await;
    world
}

async fn begin(world: &World, actor: &Actor, more: &[(&str, &str)]) -> Reply {
    let mut form = world.authenticated(actor);
    form.extend(fields(more));
    world.post("/oauth/device_authorization", &form, &[]).await
}

async fn begun(world: &World, more: &[(&str, &str)]) -> (String, String) {
    let reply = begin(world, &world.planner, more).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    (text(&reply.body, "device_code").to_owned(), text(&reply.body, "user_code").to_owned())
}

async fn poll(world: &World, actor: &Actor, device_code: &str) -> Reply {
    world.token(actor, &[("grant_type", GRANT), ("device_code", device_code)]).await
}

async fn typed(world: &World, browser: &mut Browser, user_code: &str) -> Reply {
    browser.post(world, "/oauth/device", &fields(&[("user_code", user_code)])).await
}

/// The consent page that a person comes to with this code.
async fn consent_page(world: &World, browser: &mut Browser, user_code: &str) -> Reply {
    let login = typed(world, browser, user_code).await;
    assert!(is_sign_in(&login), "{}", login.text);
    browser.sign_in(world, &login, "alice", PASSWORD).await
}

#[tokio::test]
async fn dg_01_a_device_shows_a_code_a_person_agrees_and_the_device_has_its_token() {
    let world = world().await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.body;
    assert_eq!(metadata["device_authorization_endpoint"], format!("{ISSUER}/oauth/device_authorization"));
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(GRANT)));
    let reply = begin(&world, &world.planner, &[("scope", "openid helpdesk:tickets_read"), ("purpose", "night shift")]).await;
    assert_eq!((&reply.body["expires_in"], &reply.body["interval"]), (&json!(600), &json!(5)));
    let user_code = text(&reply.body, "user_code").to_owned();
    assert_eq!(reply.body["verification_uri_complete"], format!("{ISSUER}/oauth/device?user_code={user_code}"));
    let device_code = text(&reply.body, "device_code").to_owned();
    poll(&world, &world.planner, &device_code).await.refused("authorization_pending", "authorization_pending");
    let mut browser = Browser { address: Some("192.0.2.55".parse().unwrap()), ..Browser::default() };
    let page = browser.get(&world, &format!("/oauth/device?user_code={user_code}")).await;
    assert!(page.text.contains(&user_code) && page.headers["x-frame-options"] == "DENY", "{}", page.text);
    let page = consent_page(&world, &mut browser, &user_code.to_lowercase().replace('-', "")).await;
    for shown in [user_code.as_str(), "agent:planner", "tickets_read", "night shift", "A device at"] {
        assert!(page.text.contains(shown), "{shown} in {}", page.text);
    }
    let done = browser.decide(&world, &page, "allow").await;
    assert!(done.headers.get("location").is_none() && done.text.contains("Done"), "{}", done.text);
    world.advance(5);
    let reply = poll(&world, &world.planner, &device_code).await;
    let token = claims(&reply.access_token());
    assert_eq!((token["sub"].as_str(), token["scope"].as_str()), (Some("user:alice"), Some("helpdesk:tickets_read openid")));
    assert_eq!(claims(text(&reply.body, "id_token"))["aud"], "agent:planner");
    world.refresh(&world.planner, text(&reply.body, "refresh_token"), &[]).await.access_token();
    world.advance(5);
    poll(&world, &world.planner, &device_code).await.refused("invalid_grant", "grant_invalid");
    world.store.publish().await.unwrap();
    let report = custody(&Reader::open(world.store.ledger_dir()).unwrap());
    assert!(report.ok(), "{report:?}");
}

#[tokio::test]
async fn dg_01_a_person_who_refuses_and_one_who_never_comes() {
    let world = world().await;
    let (device_code, user_code) = begun(&world, &[]).await;
    let mut browser = Browser::default();
    let page = consent_page(&world, &mut browser, &user_code).await;
    let end = browser.decide(&world, &page, "deny").await;
    assert!(end.headers.get("location").is_none(), "{}", end.text);
    poll(&world, &world.planner, &device_code).await.refused("access_denied", "consent_denied");
    let (device_code, user_code) = begun(&world, &[]).await;
    world.advance(601);
    poll(&world, &world.planner, &device_code).await.refused("expired_token", "device_code_expired");
    assert_eq!(typed(&world, &mut browser, &user_code).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn n_dg_01_guessing_user_codes_is_locked() {
    let world = world().await;
    let (_, user_code) = begun(&world, &[]).await;
    let mut thief = Browser { address: Some("192.0.2.66".parse().unwrap()), ..Browser::default() };
    for letter in "BCDFGHJKLM".chars() {
        let guess = format!("{}{letter}", "B".repeat(7));
        assert_eq!(typed(&world, &mut thief, &guess).await.status, StatusCode::NOT_FOUND);
    }
    let locked = typed(&world, &mut thief, &user_code).await;
    assert_eq!(locked.status, StatusCode::TOO_MANY_REQUESTS, "even with the right one: {}", locked.text);
    let mut other = Browser { address: Some("198.51.100.7".parse().unwrap()), ..Browser::default() };
    assert!(is_sign_in(&typed(&world, &mut other, &user_code).await), "another network is not locked");
    world.advance(901);
    assert_eq!(typed(&world, &mut thief, "BBBBBBBB").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn n_dg_02_polling_too_fast_is_slowed_down() {
    let world = world().await;
    let (device_code, _) = begun(&world, &[]).await;
    let codes = async |seconds: u64| {
        world.advance(seconds);
        poll(&world, &world.planner, &device_code).await.body["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(codes(0).await, "authorization_pending");
    assert_eq!(codes(4).await, "slow_down");
    assert_eq!(codes(9).await, "slow_down", "the interval is ten seconds now");
    assert_eq!(codes(14).await, "slow_down", "and fifteen");
    assert_eq!(codes(20).await, "authorization_pending");
}

#[tokio::test]
async fn n_dg_03_another_client_gets_nothing_for_the_code() {
    let world = world().await;
    let (device_code, user_code) = begun(&world, &[]).await;
    let mut browser = Browser::default();
    let page = consent_page(&world, &mut browser, &user_code).await;
    browser.decide(&world, &page, "allow").await;
    poll(&world, &world.summarizer, &device_code).await.refused("invalid_grant", "grant_invalid");
    poll(&world, &world.planner, "guess").await.refused("invalid_grant", "grant_invalid");
    // A request that can be mended does not cost the approval.
    poll(&world, &world.planner, &device_code).await.refused("invalid_target", "resource_unknown");
    world.advance(5);
    let grant = [("grant_type", GRANT), ("device_code", device_code.as_str()), ("resource", HELPDESK)];
    world.token(&world.planner, &grant).await.access_token();
}

#[tokio::test]
async fn n_dg_04_an_approval_gives_what_was_shown_and_to_the_device_that_asked() {
    let world = world().await;
    let details = |action: &str| json!([{"type": "tool_access", "locations": [HELPDESK], "actions": [action]}]).to_string();
    let (small, small_code) = begun(&world, &[("authorization_details", &details("tickets_read"))]).await;
    let (large, _) = begun(&world, &[("authorization_details", &details("refund_create"))]).await;
    let mut browser = Browser::default();
    let page = consent_page(&world, &mut browser, &small_code).await;
    browser.decide(&world, &page, "allow").await;
    poll(&world, &world.planner, &large).await.refused("authorization_pending", "authorization_pending");
    let grant = [("grant_type", GRANT), ("device_code", small.as_str()), ("scope", "helpdesk:refund_create")];
    world.token(&world.planner, &grant).await.refused("invalid_scope", "authority_empty");
}

#[tokio::test]
async fn a_page_is_decided_once_and_by_its_browser_alone() {
    let world = world().await;
    let (device_code, user_code) = begun(&world, &[]).await;
    let mut browser = Browser::default();
    let page = consent_page(&world, &mut browser, &user_code).await;
    let foreign = Browser::default().decide(&world, &page, "allow").await;
    assert!(foreign.text.contains("session_foreign"), "{}", foreign.text);
    poll(&world, &world.planner, &device_code).await.refused("authorization_pending", "authorization_pending");
    browser.decide(&world, &page, "deny").await;
    browser.decide(&world, &page, "allow").await;
    world.advance(5);
    poll(&world, &world.planner, &device_code).await.refused("access_denied", "consent_denied");
}

#[tokio::test]
async fn who_was_stopped_meanwhile_gets_no_token() {
    let world = world().await;
    let (device_code, user_code) = begun(&world, &[]).await;
    let mut browser = Browser::default();
    let page = consent_page(&world, &mut browser, &user_code).await;
    browser.decide(&world, &page, "allow").await;
    world.set_status(&world.planner, AgentStatus::Quarantined).await;
    poll(&world, &world.planner, &device_code).await.refused("invalid_grant", "agent_quarantined");
}

#[tokio::test]
async fn dg_02_clients_that_registered_themselves_have_no_device_flow() {
    let clients = ClientRules { registration: Admission::Admit, ..rules(Admission::Off) };
    let world = World::with(Settings { device_flow: true, clients, ..Settings::default() }).await;
    let request = axum::http::Request::post("/oauth/register").header("content-type", "application/json");
    let body = axum::body::Body::from(json!({"client_name": "Codex"}).to_string());
    let client_id = text(&world.send(request.body(body).unwrap()).await.body, "client_id").to_owned();
    let form = fields(&[("client_id", &client_id)]);
    world.post("/oauth/device_authorization", &form, &[]).await.refused("invalid_client", "client_unauthenticated");
    let parameters = request_with(&[("client_id", &client_id), ("redirect_uri", "http://127.0.0.1/cb")]);
    world.code("alice", &parameters).await;
    world.post("/oauth/device_authorization", &form, &[]).await.refused("unauthorized_client", "client_not_allowed");
}

#[tokio::test]
async fn what_the_authorization_endpoint_refuses_a_device_may_not_ask_either() {
    let world = world().await;
    for (more, error, code) in [
        (&[("scope", "helpdesk:nothing")][..], "invalid_scope", "scope_unknown"),
        (&[("resource", "https://elsewhere.example/")], "invalid_target", "resource_unknown"),
        (&[("authorization_details", "[]x")], "invalid_authorization_details", "authorization_details_invalid"),
        (&[("requested_lifetime", "999999999")], "invalid_request", "widens_lifetime"),
    ] {
        begin(&world, &world.planner, more).await.refused(error, code);
    }
    let claimed = fields(&[("client_id", "agent:planner")]);
    world.post("/oauth/device_authorization", &claimed, &[]).await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn md_06_switched_off_there_is_no_device_flow() {
    let world = World::new().await;
    assert!(world.get("/.well-known/oauth-authorization-server").await.body.get("device_authorization_endpoint").is_none());
    begin(&world, &world.planner, &[]).await.refused("invalid_request", "not_found");
    poll(&world, &world.planner, "guess").await.refused("unsupported_grant_type", "grant_type_unsupported");
    assert!(world.get("/oauth/device").await.status.is_client_error());
}
