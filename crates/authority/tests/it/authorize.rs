//! The authorization endpoint, and what a person sees of it.

use crate::{flow::*, world::*};
use axum::http::StatusCode;
use remit_model::{AgentStatus, Human, HumanStatus};
use remit_store::Change;
use serde_json::json;

/// The request is stopped on our own page: no redirect, no link.
async fn stopped_here(world: &World, parameters: &[(String, String)], code: &str) {
    let reply = world.get(&format!("/oauth/authorize?{}", encode(parameters))).await;
    assert!(reply.status.is_client_error(), "{} {}", reply.status, reply.text);
    assert!(reply.headers.get("location").is_none());
    assert!(reply.text.contains(code), "{}", reply.text);
    assert!(!reply.text.contains("href=\"http"), "AZ-01: no link to the URI");
    assert_eq!(world.last_record().await["decision"]["reason_code"], code);
}

/// The request is refused by redirect. SPEC: AZ-12, N-AZ-08
async fn refused_there(world: &World, parameters: &[(String, String)], error: &str, code: &str) {
    let reply = world.get(&format!("/oauth/authorize?{}", encode(parameters))).await;
    let back = reply.location();
    assert!(back.as_str().starts_with(REDIRECT), "{back}");
    assert_eq!(query(&back, "error").as_deref(), Some(error), "{back}");
    assert_eq!(query(&back, "remit_code").as_deref(), Some(code), "{back}");
    assert_eq!(query(&back, "iss").as_deref(), Some(ISSUER), "RFC 9207");
    assert_eq!(query(&back, "state").as_deref(), Some("s-1"));
    assert_eq!(query(&back, "code"), None);
}

#[tokio::test]
async fn the_consent_page_says_it_all_in_words() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &request_with(&[("purpose", "weekly <report>")])).await;
    assert_eq!(page.status, StatusCode::OK);
    for shown in [
        "The agent:planner",
        "user:olga",
        "app.example",
        "tickets_read",
        "50",
        "agent:summarizer",
        "weekly &#60;report&#62;",
        "2027-01-16T08:00:00Z",
        "16 January 2027",
    ] {
        assert!(page.text.contains(shown), "{shown} is missing in {}", page.text);
    }
    assert!(!page.text.contains("<script"));
    let back = browser.decide(&world, &page, "allow").await.location();
    assert_eq!(query(&back, "state").as_deref(), Some("s-1"));
    assert_eq!(query(&back, "iss").as_deref(), Some(ISSUER));
    assert!(query(&back, "code").unwrap().len() >= 43, "X-12");
    let record = world.last_record().await;
    assert_eq!((record["record_type"].as_str(), record["human_in_loop"].as_str()), (Some("approval"), Some("approved")));
    assert!(world.last_side().await.get("/approval/shown").is_some());
}

#[tokio::test]
async fn n_az_10_pages_cannot_be_framed_and_leak_nothing() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let login = browser.begin(&world, &request()).await;
    let next = browser.sign_in(&world, &login, "alice", PASSWORD).await.location();
    let consent = browser.get(&world, &format!("{}?{}", next.path(), next.query().unwrap())).await;
    for page in [&login, &consent] {
        let csp = page.headers["content-security-policy"].to_str().unwrap();
        assert!(csp.contains("frame-ancestors 'none'") && csp.contains("default-src 'none'") && !csp.contains("unsafe"), "{csp}");
        assert_eq!(page.headers["x-frame-options"], "DENY");
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    let csp = consent.headers["content-security-policy"].to_str().unwrap();
    assert!(csp.contains("form-action 'self' https://app.example"), "the decision may lead back: {csp}");
    assert!(world.get("/oauth/style.css").await.headers["content-type"].to_str().unwrap().starts_with("text/css"));
}

#[tokio::test]
async fn az_11_the_cookie_is_http_only_and_lax_and_rotates_at_sign_in() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let first = browser.get(&world, &format!("/oauth/authorize?{}", encode(&request()))).await;
    let cookie = first.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"), "{cookie}");
    assert!(!cookie.contains("Secure"), "the issuer is http on loopback: {cookie}");
    let before = browser.cookie.clone();
    let next = first.location();
    let login = browser.get(&world, &format!("{}?{}", next.path(), next.query().unwrap())).await;
    let signed_in = browser.sign_in(&world, &login, "alice", PASSWORD).await;
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER, "X-09: 303");
    assert_ne!(before, browser.cookie, "AZ-14: session fixation");
    let mut planted = Browser { cookie: before };
    let next = signed_in.location();
    let page = planted.get(&world, &format!("{}?{}", next.path(), next.query().unwrap())).await;
    assert!(page.text.contains("session_foreign"), "{}", page.text);
}

#[tokio::test]
async fn n_az_01_a_redirect_uri_that_is_not_registered() {
    let world = World::new().await;
    for uri in ["https://app.example/cb/", "https://app.example/CB", "https://app.example/cb?x=1", "https://evil.example/cb"] {
        stopped_here(&world, &request_with(&[("redirect_uri", uri)]), "redirect_uri_mismatch").await;
    }
    stopped_here(&world, &request_with(&[("redirect_uri", "")]), "request_malformed").await;
}

#[tokio::test]
async fn az_01_an_unknown_client_is_stopped_here() {
    let world = World::new().await;
    for client in ["agent:nobody", "user:alice", "planner", "agent:pl\u{430}nner"] {
        stopped_here(&world, &request_with(&[("client_id", client)]), "client_unknown").await;
    }
    stopped_here(&world, &request_with(&[("client_id", "")]), "request_malformed").await;
}

#[tokio::test]
async fn n_az_02_loopback_with_another_port_but_not_another_path() {
    let world = World::new().await;
    let reply =
        world.get(&format!("/oauth/authorize?{}", encode(&request_with(&[("redirect_uri", "http://127.0.0.1:50123/cb")])))).await;
    assert_eq!(reply.location().path(), "/oauth/login");
    stopped_here(&world, &request_with(&[("redirect_uri", "http://127.0.0.1:50123/other")]), "redirect_uri_mismatch").await;
}

#[tokio::test]
async fn n_az_03_n_az_04_pkce_is_required_and_s256() {
    let world = World::new().await;
    let challenge = challenge();
    for changes in [
        [("code_challenge", ""), ("code_challenge_method", "S256")],
        [("code_challenge", challenge.as_str()), ("code_challenge_method", "plain")],
        [("code_challenge", challenge.as_str()), ("code_challenge_method", "")],
        [("code_challenge", "short"), ("code_challenge_method", "S256")],
    ] {
        refused_there(&world, &request_with(&changes), "invalid_request", "pkce_required").await;
    }
}

#[tokio::test]
async fn n_az_05_a_parameter_given_twice() {
    let world = World::new().await;
    for name in ["state", "client_id", "redirect_uri"] {
        let mut twice = request();
        let value = twice.iter().find(|(key, _)| key == name).unwrap().1.clone();
        twice.push((name.to_owned(), value));
        stopped_here(&world, &twice, "request_malformed").await;
    }
}

#[tokio::test]
async fn n_az_06_resources() {
    let world = World::new().await;
    let mut two = request();
    two.extend(fields(&[("resource", FILES)]));
    assert_eq!(world.get(&format!("/oauth/authorize?{}", encode(&two))).await.location().path(), "/oauth/login");
    for resource in ["http://127.0.0.1:8420/mcp/helpdesk#x", "https://nowhere.example", "mcp/helpdesk"] {
        refused_there(&world, &request_with(&[("resource", resource)]), "invalid_target", "resource_unknown").await;
    }
}

#[tokio::test]
async fn n_az_07_other_response_types() {
    let world = World::new().await;
    for kind in ["token", "id_token", "code token"] {
        refused_there(&world, &request_with(&[("response_type", kind)]), "unsupported_response_type", "request_malformed").await;
    }
}

#[tokio::test]
async fn n_az_08_other_refusals_go_back_with_issuer_and_state() {
    let world = World::new().await;
    let details = |value: serde_json::Value| value.to_string();
    let unknown_type = details(json!([{"type": "payment"}]));
    let unknown_member = details(json!([{"type": "tool_access", "region": "EU"}]));
    let cases = [
        (("scope", "helpdesk:unknown"), "invalid_scope", "scope_unknown"),
        (("authorization_details", unknown_type.as_str()), "invalid_authorization_details", "authorization_details_invalid"),
        (("authorization_details", unknown_member.as_str()), "invalid_authorization_details", "constraint_unknown"),
        (("authorization_details", "{"), "invalid_authorization_details", "authorization_details_invalid"),
        (("request", "eyJ"), "invalid_request", "request_malformed"),
        (("response_mode", "fragment"), "invalid_request", "request_malformed"),
        (("prompt", "none login"), "invalid_request", "request_malformed"),
        (("prompt", "create"), "invalid_request", "request_malformed"),
        (("max_age", "-1"), "invalid_request", "request_malformed"),
        (("dpop_jkt", "x"), "invalid_request", "request_malformed"),
        (("requested_lifetime", "999999"), "invalid_request", "widens_lifetime"),
    ];
    for (change, error, code) in cases {
        refused_there(&world, &request_with(&[change]), error, code).await;
    }
    world.set_status(&world.planner, AgentStatus::Quarantined).await;
    refused_there(&world, &request(), "unauthorized_client", "agent_quarantined").await;
}

#[tokio::test]
async fn n_az_09_consent_from_another_browser() {
    let world = World::new().await;
    let mut alice = Browser::default();
    let page = alice.consent_page(&world, "alice", &request()).await;
    let mut mallory = Browser::default();
    mallory.consent_page(&world, "bob", &request()).await;
    let stolen = mallory.decide(&world, &page, "allow").await;
    assert!(stolen.text.contains("session_foreign") && stolen.headers.get("location").is_none(), "{}", stolen.text);
    let mut nobody = Browser::default();
    assert!(nobody.decide(&world, &page, "allow").await.text.contains("session_foreign"));
    assert!(query(&alice.decide(&world, &page, "allow").await.location(), "code").is_some());
}

#[tokio::test]
async fn az_11_consent_without_its_token_or_for_another_page() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &request()).await;
    let good = hidden(&page.text, &["request", "csrf", "shown"]);
    for (name, value) in [("csrf", "wrong"), ("csrf", ""), ("shown", "sha-256:0"), ("request", "unknown")] {
        let mut form: Vec<(String, String)> = good.iter().filter(|(key, _)| key != name).cloned().collect();
        form.extend(fields(&[(name, value), ("decision", "allow")]));
        let reply = browser.post(&world, "/oauth/consent", &form).await;
        assert!(reply.headers.get("location").is_none() && reply.status.is_client_error(), "{name}: {}", reply.text);
    }
    let reply = browser.decide(&world, &page, "allow").await;
    assert!(query(&reply.location(), "code").is_some());
    let again = browser.decide(&world, &page, "allow").await;
    assert!(again.text.contains("session_foreign"), "a request is decided once");
}

#[tokio::test]
async fn a_person_may_refuse() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &request()).await;
    let back = browser.decide(&world, &page, "deny").await.location();
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(query(&back, "iss").as_deref(), Some(ISSUER));
    let record = world.last_record().await;
    assert_eq!(record["record_id"].as_str(), query(&back, "remit_record").as_deref());
    assert_eq!(record["decision"]["reason_code"], "consent_denied");
}

#[tokio::test]
async fn n_az_12_prompt_none_never_shows_a_page() {
    let world = World::new().await;
    refused_there(&world, &request_with(&[("prompt", "none")]), "login_required", "login_required").await;
    let mut browser = Browser::default();
    browser.consent_page(&world, "alice", &request()).await;
    let reply = browser.get(&world, &format!("/oauth/authorize?{}", encode(&request_with(&[("prompt", "none")])))).await;
    assert_eq!(query(&reply.location(), "error").as_deref(), Some("consent_required"), "consent is never skipped");
}

#[tokio::test]
async fn az_15_az_16_prompt_login_and_max_age_ask_again() {
    let world = World::new().await;
    let mut browser = Browser::default();
    browser.consent_page(&world, "alice", &request()).await;
    let place = async |browser: &mut Browser, changes: &[(&str, &str)]| {
        browser.get(&world, &format!("/oauth/authorize?{}", encode(&request_with(changes)))).await.location().path().to_owned()
    };
    assert_eq!(place(&mut browser, &[]).await, "/oauth/consent", "still signed in");
    assert_eq!(place(&mut browser, &[("prompt", "login")]).await, "/oauth/login");
    assert_eq!(place(&mut browser, &[("max_age", "60")]).await, "/oauth/consent");
    world.advance(61);
    assert_eq!(place(&mut browser, &[("max_age", "60")]).await, "/oauth/login");
    let page = browser.consent_page(&world, "alice", &request_with(&[("prompt", "login")])).await;
    assert!(page.text.contains("name=\"shown\""), "signing in satisfies the prompt");
    world.advance(9 * 3_600);
    assert_eq!(place(&mut browser, &[]).await, "/oauth/login", "sessions end");
}

#[tokio::test]
async fn a_wrong_password_an_unknown_name_and_a_disabled_account_look_alike() {
    let world = World::new().await;
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("carol") })).await;
    world.change(Change::PutHuman(Human { password_hash: None, ..human("dave") })).await;
    let mut browser = Browser::default();
    let login = browser.begin(&world, &request()).await;
    for (name, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("carol", PASSWORD), ("dave", PASSWORD), ("", "")] {
        let reply = browser.sign_in(&world, &login, name, password).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        assert!(reply.text.contains("The name or the password is wrong."), "X-11");
        assert_eq!(world.last_record().await["decision"]["reason_code"], "credentials_invalid");
    }
}

#[tokio::test]
async fn repeated_failures_lock_a_name_for_a_while() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let login = browser.begin(&world, &request()).await;
    for _ in 0..5 {
        browser.sign_in(&world, &login, "alice", "wrong").await;
    }
    let locked = browser.sign_in(&world, &login, "alice", PASSWORD).await;
    assert_eq!(locked.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(locked.headers.contains_key("retry-after"));
    let mut other = Browser::default();
    other.consent_page(&world, "bob", &request()).await;
    world.advance(901);
    let mut browser = Browser::default();
    browser.consent_page(&world, "alice", &request()).await;
}

#[tokio::test]
async fn nothing_in_common_is_refused_before_anyone_is_asked_to_agree() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &request_with(&[("scope", "helpdesk:admin_reset")])).await;
    assert_eq!(query(&page.location(), "error").as_deref(), Some("invalid_scope"));
    assert_eq!(query(&page.location(), "remit_code").as_deref(), Some("authority_empty"));
}

#[tokio::test]
async fn what_was_agreed_to_must_still_be_theirs_when_the_code_is_redeemed() {
    let world = World::new().await;
    let code = world.code("alice", &request()).await;
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") })).await;
    world.redeem(&world.planner, &code, &[]).await.refused("invalid_grant", "human_disabled");
}

#[tokio::test]
async fn x_10_an_overlong_state_is_refused_without_a_redirect() {
    let world = World::new().await;
    let long = "s".repeat(3_000);
    stopped_here(&world, &request_with(&[("state", &long)]), "request_malformed").await;
}
