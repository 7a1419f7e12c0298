//! What `scope` asks for and what comes of it: less than asked where a grant allows that, and never more. SPEC: AZ-07, CC-01,
//! RFC 6749 §3.3

use crate::{flow::*, world::*};
use axum::{body::Body, http::Request};
use remit_token::dpop::{self, ProofFor};
use serde_json::json;
use std::collections::BTreeSet;

const CC: (&str, &str) = ("grant_type", "client_credentials");
/// Scopes of OpenID Connect for which there is nothing to give.
const IGNORED: [&str; 5] = ["profile", "email", "address", "phone", "offline_access"];

fn words(scope: &str) -> BTreeSet<&str> {
    scope.split(' ').filter(|word| !word.is_empty()).collect()
}

/// A request for userinfo with a token of the planner's.
async fn userinfo(world: &World, token: &str) -> Reply {
    let (jti, url) = (fresh(), format!("{ISSUER}/oauth/userinfo"));
    let made =
        ProofFor { method: "GET", url: &url, now: world.now(), jti: &jti, access_token: Some(token), ..ProofFor::default() };
    let request = Request::get("/oauth/userinfo")
        .header("authorization", format!("DPoP {token}"))
        .header("dpop", dpop::create(&world.planner.dpop, &made).unwrap());
    world.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn cc_03_of_any_scope_the_part_within_the_ceiling_is_granted_and_named_in_the_answer() {
    let world = World::new().await;
    let within = BTreeSet::from(["helpdesk:tickets_read", "helpdesk:refund_create"]);
    let all = ["helpdesk:tickets_read", "helpdesk:refund_create", "helpdesk:admin_reset", "files:read", "email"];
    for chosen in 1_u32..1 << all.len() {
        let asked: Vec<&str> = (0..).zip(all).filter(|(bit, _)| chosen >> bit & 1 == 1).map(|(_, word)| word).collect();
        let scope = asked.join(" ");
        let reply = world.token(&world.planner, &[CC, ("scope", &scope), ("resource", HELPDESK)]).await;
        let expected: BTreeSet<&str> = asked.iter().copied().filter(|word| within.contains(word)).collect();
        if expected.is_empty() {
            reply.refused("invalid_scope", "authority_empty");
            continue;
        }
        let token = claims(&reply.access_token());
        assert_eq!(words(text(&reply.body, "scope")), expected, "{scope}");
        assert_eq!((&token["scope"], token["aud"].as_str()), (&reply.body["scope"], Some(HELPDESK)));
        let record = world.last_record().await;
        assert_eq!(record["ext"]["token"]["scope_requested"], scope, "AZ-07");
        assert_eq!(record["ext"]["token"]["scope"], reply.body["scope"]);
    }
}

#[tokio::test]
async fn cc_03_a_wildcard_is_reduced_to_the_ceiling_and_finds_its_server_without_resource() {
    let world = World::new().await;
    let reply = world.token(&world.planner, &[CC, ("scope", "helpdesk:*")]).await;
    let token = claims(&reply.access_token());
    assert_eq!(token["aud"], HELPDESK);
    assert_eq!(token["scope"], "helpdesk:refund_create helpdesk:tickets_read helpdesk:tickets_search");
    assert!(!token["authorization_details"].to_string().contains("delegate"), "what `scope` asks for is not handed on");
    for scope in ["helpdesk:admin_reset", "profile", "email offline_access"] {
        world.token(&world.planner, &[CC, ("scope", scope)]).await.refused("invalid_scope", "authority_empty");
    }
    for resource in [ISSUER, FILES] {
        let asked = [CC, ("scope", "helpdesk:tickets_read"), ("resource", resource)];
        world.token(&world.planner, &asked).await.refused("invalid_scope", "authority_empty");
    }
}

#[tokio::test]
async fn authorization_details_beyond_the_ceiling_are_refused_whatever_the_scope_says() {
    let world = World::new().await;
    let details = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["admin_reset"]}]).to_string();
    let asked = [CC, ("scope", "helpdesk:tickets_read"), ("authorization_details", &details), ("resource", HELPDESK)];
    let reply = world.token(&world.planner, &asked).await;
    reply.refused("invalid_scope", "widens_scope");
    assert!(!reply.text.contains("parent"), "an agent that acts for itself has none: {}", reply.text);
}

#[tokio::test]
async fn az_07_scopes_of_openid_connect_refuse_no_request() {
    let world = World::new().await;
    for ignored in IGNORED {
        let scope = format!("helpdesk:tickets_read {ignored}");
        let own = world.token(&world.planner, &[CC, ("scope", &scope)]).await;
        assert_eq!(text(&own.body, "scope"), "helpdesk:tickets_read", "{ignored}");
        let consented = world.delegated_with("alice", &[("scope", &format!("openid {scope}"))]).await;
        assert_eq!(text(&consented, "scope"), "helpdesk:tickets_read openid", "{ignored}");
        let refreshed = world.refresh(&world.planner, text(&consented, "refresh_token"), &[("scope", &scope)]).await;
        assert_eq!(text(&refreshed.body, "scope"), "helpdesk:tickets_read openid", "{ignored}");
        let narrow = world.narrow(&world.planner, text(&consented, "access_token"), &[("scope", &scope)]).await;
        assert_eq!(text(&narrow.body, "scope"), "helpdesk:tickets_read", "{ignored}");
    }
    let most = "openid profile email address phone offline_access helpdesk:tickets_read";
    let consented = world.delegated_with("alice", &[("scope", most)]).await;
    assert!(consented["refresh_token"].is_string() && consented["id_token"].is_string());
}

#[tokio::test]
async fn a_scope_without_a_tool_never_hands_over_what_there_is() {
    let world = World::new().await;
    let consented = world.delegated_with("alice", &[("scope", "openid helpdesk:tickets_read")]).await;
    let held = world.delegated("alice").await;
    let held = text(&held, "access_token");
    for scope in IGNORED.into_iter().chain(["openid", "openid profile"]) {
        world.narrow(&world.planner, held, &[("scope", scope)]).await.refused("invalid_scope", "authority_empty");
        let handed = world.hand(&world.planner, held, &world.summarizer, &[("scope", scope)]).await;
        handed.refused("invalid_scope", "authority_empty");
        let refresh = text(&consented, "refresh_token");
        let refreshed = world.refresh(&world.planner, refresh, &[("scope", scope)]).await;
        assert!(refreshed.body.get("authorization_details").is_none(), "{scope}: {}", refreshed.text);
    }
    let mut browser = Browser::default();
    for scope in IGNORED {
        let back = browser.consent_page(&world, "alice", &request_with(&[("scope", scope)])).await.location();
        assert_eq!(query(&back, "error").as_deref(), Some("invalid_scope"), "{scope}");
        browser = Browser::default();
    }
    let page = browser.consent_page(&world, "alice", &request_with(&[("scope", "openid profile")])).await;
    assert!(page.text.contains("and nothing else"), "{}", page.text);
}

#[tokio::test]
async fn ui_01_a_token_for_a_server_says_nothing_at_userinfo_and_the_consent_gives_one_that_does() {
    let world = World::new().await;
    let consented = world.delegated_with("alice", &[("scope", "openid helpdesk:tickets_read")]).await;
    let refused = userinfo(&world, text(&consented, "access_token")).await;
    refused.refused("invalid_token", "token_audience_wrong");
    assert!(text(&refused.body, "error_description").contains(&format!("`resource` set to {ISSUER}")), "{}", refused.text);
    assert!(refused.headers["www-authenticate"].to_str().unwrap().contains("ES256 Ed25519 EdDSA ES384"), "as the metadata");
    let mut refresh = text(&consented, "refresh_token").to_owned();
    for asked in [("resource", ISSUER), ("scope", "openid")] {
        let reply = world.refresh(&world.planner, &refresh, &[asked]).await;
        let token = reply.access_token();
        assert_eq!((claims(&token)["aud"].as_str(), text(&reply.body, "scope")), (Some(ISSUER), "openid"));
        assert_eq!(userinfo(&world, &token).await.body["sub"], "user:alice", "{asked:?}");
        text(&reply.body, "refresh_token").clone_into(&mut refresh);
    }
    let without = world.delegated_with("alice", &[("scope", "helpdesk:tickets_read")]).await;
    let refresh = text(&without, "refresh_token");
    world.refresh(&world.planner, refresh, &[("resource", ISSUER)]).await.refused("invalid_target", "widens_resource");
    world.refresh(&world.planner, refresh, &[("scope", "openid")]).await.refused("invalid_scope", "widens_scope");
}

#[tokio::test]
async fn c_02_a_slash_behind_a_resource_changes_nothing() {
    let world = World::new().await;
    let slash = format!("{HELPDESK}/");
    let body = world.delegated_with("alice", &[("resource", &slash)]).await;
    assert_eq!(claims(text(&body, "access_token"))["aud"], HELPDESK);
    let refresh = text(&body, "refresh_token").to_owned();
    let reply = world.refresh(&world.planner, &refresh, &[("resource", &slash)]).await;
    assert_eq!(claims(&reply.access_token())["aud"], HELPDESK);
    for other in [format!("{HELPDESK}//"), format!("{HELPDESK}/x"), format!("{HELPDESK}/?x=1")] {
        let back = Browser::default().begin(&world, &request_with(&[("resource", &other)])).await.location();
        assert_eq!(query(&back, "error").as_deref(), Some("invalid_target"), "{other}");
    }
}

#[tokio::test]
async fn without_a_resource_a_token_is_for_the_one_server_that_is_possible() {
    let world = World::new().await;
    let body =
        world.delegated_with("alice", &[("resource", ""), ("scope", "helpdesk:tickets_read profile email offline_access")]).await;
    assert_eq!(claims(text(&body, "access_token"))["aud"], HELPDESK);
    assert_eq!(body["scope"], "helpdesk:tickets_read", "the answer says what was granted");
    // Where both servers are possible, the client must say which.
    let code = world.code("alice", &request_with(&[("resource", "")])).await;
    world.redeem(&world.planner, &code, &[]).await.refused("invalid_target", "resource_unknown");
    world.redeem(&world.planner, &code, &[("resource", FILES)]).await.access_token();
}
