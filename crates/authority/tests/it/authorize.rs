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
    let consent = browser.sign_in(&world, &login, "alice", PASSWORD).await;
    for page in [&login, &consent] {
        let csp = page.headers["content-security-policy"].to_str().unwrap();
        assert!(csp.contains("frame-ancestors 'none'") && csp.contains("default-src 'none'") && !csp.contains("unsafe"), "{csp}");
        assert_eq!(page.headers["x-frame-options"], "DENY");
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    for page in [&login, &consent] {
        let csp = page.headers["content-security-policy"].to_str().unwrap();
        assert!(csp.contains("form-action 'self' https://app.example"), "signing in and deciding may lead back: {csp}");
    }
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
    let before = browser.clone();
    let consent = browser.sign_in(&world, &first, "alice", PASSWORD).await;
    assert!(is_consent(&consent), "{}", consent.text);
    assert_ne!(before.cookie, browser.cookie, "AZ-14: session fixation");
    let mut planted = before;
    let reply = planted.decide(&world, &consent, "allow").await;
    assert!(reply.text.contains("session_foreign"), "{}", reply.text);
    assert!(is_sign_in(&planted.begin(&world, &request()).await), "the planted cookie is signed in to nothing");
}

/// SPEC: AZ-02
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

/// SPEC: AZ-02
#[tokio::test]
async fn n_az_02_loopback_with_another_port_but_not_another_path() {
    let world = World::new().await;
    let reply =
        world.get(&format!("/oauth/authorize?{}", encode(&request_with(&[("redirect_uri", "http://127.0.0.1:50123/cb")])))).await;
    assert!(is_sign_in(&reply));
    stopped_here(&world, &request_with(&[("redirect_uri", "http://127.0.0.1:50123/other")]), "redirect_uri_mismatch").await;
}

/// SPEC: AZ-04
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

/// SPEC: AZ-06
#[tokio::test]
async fn n_az_06_resources() {
    let world = World::new().await;
    let mut two = request();
    two.extend(fields(&[("resource", FILES)]));
    assert!(is_sign_in(&world.get(&format!("/oauth/authorize?{}", encode(&two))).await));
    for resource in ["http://127.0.0.1:8420/mcp/helpdesk#x", "https://nowhere.example", "mcp/helpdesk"] {
        refused_there(&world, &request_with(&[("resource", resource)]), "invalid_target", "resource_unknown").await;
    }
}

/// SPEC: AZ-05
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
    let another = browser.begin(&world, &request_with(&[("prompt", "login")])).await;
    let sign_in = hidden(&another.text, &["request"]).remove(0).1;
    for value in ["unknown", "", &sign_in] {
        let reply = browser.post(&world, "/oauth/consent", &fields(&[("request", value), ("decision", "allow")])).await;
        assert!(reply.headers.get("location").is_none() && reply.status.is_client_error(), "{value}: {}", reply.text);
    }
    let reply = browser.decide(&world, &page, "allow").await;
    assert!(query(&reply.location(), "code").is_some());
    let again = browser.decide(&world, &page, "allow").await;
    assert!(again.text.contains("session_foreign"), "a request is decided once");
    let changed = browser.decide(&world, &page, "deny").await;
    assert!(changed.text.contains("session_foreign"), "{}", changed.text);
    let page = browser.begin(&world, &request()).await;
    browser.decide(&world, &page, "deny").await.location();
    assert!(browser.decide(&world, &page, "allow").await.text.contains("session_foreign"), "a refusal is final");
}

#[tokio::test]
async fn az_14_a_page_outlives_a_restart_before_the_person_signs_in_but_not_its_time() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let login = browser.begin(&world, &request()).await;
    let world = world.restart().await;
    let page = browser.sign_in(&world, &login, "alice", PASSWORD).await;
    assert!(is_consent(&page), "{}", page.text);
    world.advance(601);
    assert!(browser.decide(&world, &page, "allow").await.text.contains("session_foreign"));
    assert!(browser.sign_in(&world, &login, "alice", PASSWORD).await.text.contains("session_foreign"));
}

#[tokio::test]
async fn az_01_a_flood_of_requests_costs_no_memory_and_pushes_nobody_out() {
    let world = World::new().await;
    let mut alice = Browser::default();
    let login = alice.begin(&world, &request()).await;
    let grant = json!({"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"],
        "arguments": {"/ticket_id": {"prefix": "T".repeat(200)}}});
    let details = serde_json::Value::Array(vec![grant; 40]).to_string();
    let big = request_with(&[("authorization_details", &details)]);
    for _ in 0..200 {
        let flood = Browser::default().begin(&world, &big).await;
        assert!(is_sign_in(&flood), "{}", flood.text);
    }
    let consent = alice.sign_in(&world, &login, "alice", PASSWORD).await;
    assert!(query(&alice.decide(&world, &consent, "allow").await.location(), "code").is_some());
}

#[tokio::test]
async fn x_10_a_request_too_large_to_be_shown_is_refused_with_what_would_be_enough() {
    let world = World::new().await;
    let grant = |n: usize| {
        let arguments: serde_json::Map<_, _> =
            (0..5).map(|at| (format!("/a{at}"), json!({"prefix": format!("{n}-{}", "x".repeat(48))}))).collect();
        json!({"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "arguments": arguments})
    };
    let details = serde_json::Value::Array((0..64).map(grant).collect()).to_string();
    assert!((29 << 10..32 << 10).contains(&details.len()), "within the limit of `authorization_details`: {}", details.len());
    let huge = [("authorization_details", details.as_str()), ("login_hint", &"h".repeat(2_000)), ("nonce", &"n".repeat(2_000))];
    let form = request_with(&huge);
    let reply = Browser::default().post(&world, "/oauth/authorize", &form).await;
    let back = reply.location();
    assert_eq!(query(&back, "remit_code").as_deref(), Some("request_too_large"));
    assert!(query(&back, "error_description").unwrap().contains("ask for fewer grants"));
}

#[tokio::test]
async fn a_page_cannot_be_opened_by_itself() {
    let world = World::new().await;
    for path in ["/oauth/login", "/oauth/consent"] {
        let reply = world.get(path).await;
        assert!(reply.status.is_client_error() && reply.text.contains("start again"), "{}", reply.text);
    }
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
        let page = browser.begin(&world, &request_with(changes)).await;
        assert_ne!(is_sign_in(&page), is_consent(&page), "{}", page.text);
        if is_sign_in(&page) { "sign-in" } else { "consent" }
    };
    assert_eq!(place(&mut browser, &[]).await, "consent", "still signed in");
    assert_eq!(place(&mut browser, &[("prompt", "login")]).await, "sign-in");
    assert_eq!(place(&mut browser, &[("max_age", "60")]).await, "consent");
    world.advance(61);
    assert_eq!(place(&mut browser, &[("max_age", "60")]).await, "sign-in");
    let page = browser.consent_page(&world, "alice", &request_with(&[("prompt", "login")])).await;
    assert!(is_consent(&page), "signing in satisfies the prompt");
    world.advance(9 * 3_600);
    assert_eq!(place(&mut browser, &[]).await, "sign-in", "sessions end");
}

/// SPEC: X-11
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
async fn tk_11_a_strangers_wrong_passwords_lock_the_stranger_out_and_not_the_owner() {
    let world = World::new().await;
    let at = |address: &str| Browser { address: Some(address.parse().unwrap()), ..Browser::default() };
    let mut mallory = at("192.0.2.66");
    let login = mallory.begin(&world, &request()).await;
    for _ in 0..5 {
        mallory.sign_in(&world, &login, "alice", "wrong").await;
    }
    let locked = mallory.sign_in(&world, &login, "alice", PASSWORD).await;
    assert_eq!(locked.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(locked.headers.contains_key("retry-after"));
    let mut alice = at("192.0.2.1");
    assert!(is_consent(&alice.consent_page(&world, "alice", &request()).await));
    let mut bob = at("192.0.2.66");
    assert!(is_consent(&bob.consent_page(&world, "bob", &request()).await), "another name");
    world.advance(901);
    assert!(is_consent(&at("192.0.2.66").consent_page(&world, "alice", &request()).await));
}

#[tokio::test]
async fn tk_11_the_right_password_passes_from_a_browser_that_signed_in_before() {
    let world = World::new().await;
    let mut alice = Browser::default();
    alice.consent_page(&world, "alice", &request()).await;
    let mut strangers = 0;
    for n in 0..120 {
        let mut stranger = Browser { address: Some(format!("198.51.100.{n}").parse().unwrap()), ..Browser::default() };
        let login = stranger.begin(&world, &request()).await;
        strangers += usize::from(stranger.sign_in(&world, &login, "alice", "wrong").await.status == StatusCode::FORBIDDEN);
    }
    assert_eq!(strangers, 100, "all strangers together have a limit");
    let mut again = Browser { cookie: None, ..alice.clone() };
    let page = again.consent_page(&world, "alice", &request_with(&[("prompt", "login")])).await;
    assert!(is_consent(&page), "{}", page.text);
    let mut borrowed = Browser { cookie: None, ..alice };
    let login = borrowed.begin(&world, &request()).await;
    for _ in 0..5 {
        borrowed.sign_in(&world, &login, "alice", "wrong").await;
    }
    assert_eq!(borrowed.sign_in(&world, &login, "alice", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
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
