//! Floods by unknown senders, and quiet widening: what an attacker tried, by name.

use crate::{flow::*, world::*};
use axum::http::StatusCode;
use remit_authority::Settings;
use remit_model::bounds;
use remit_store::Change;
use serde_json::json;

#[tokio::test]
async fn a_flood_of_unauthenticated_requests_does_not_fill_the_ledger() {
    let world = World::new().await;
    let unknown = fields(&[("grant_type", "client_credentials"), ("client_id", "agent:nobody")]);
    let (before, alone) = (world.store.len(), bounds::UNPROVEN_RECORDS.value());
    let mut sent = 0;
    for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke"] {
        for _ in 0..alone {
            assert_eq!(world.post(path, &unknown, &[]).await.status, StatusCode::UNAUTHORIZED);
            sent += 1;
        }
    }
    for _ in 0..10 {
        world.get("/oauth/authorize?client_id=agent:nobody").await;
        world.get(&format!("/oauth/authorize?{}", encode(&request_with(&[("code_challenge", "")])))).await;
        sent += 2;
    }
    assert_eq!(world.store.len() - before, alone);
    world.token(&world.planner, &[("grant_type", "none")]).await.refused("unsupported_grant_type", "grant_type_unsupported");
    assert_eq!(world.store.len() - before, alone + 1, "a client that proved itself is always recorded");
    world.advance(60);
    world.store.tend().await;
    let records = world.store.records(world.store.len() - 2, 2).await.unwrap();
    let records: Vec<serde_json::Value> = records.iter().map(|stored| serde_json::from_slice(&stored.bytes).unwrap()).collect();
    let summary = records.iter().find(|record| record["action"]["name"] == "refusals.summarised").expect("a summary");
    let summary = &summary["ext"]["refusals"];
    assert_eq!(summary["count"], (sent - alone).to_string(), "every refusal is recorded or counted: {summary}");
    let actions: Vec<_> = summary["kinds"].as_array().unwrap().iter().map(|kind| kind["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["authority.introspect", "authority.revoke", "authority.authorize", "authority.authorize"]);
    world.post("/oauth/token", &unknown, &[]).await;
    let begun = before + alone + 1;
    assert_eq!(world.store.len() - begun, 3, "a heartbeat, the summary, and one more: the budget grows with time");
}

#[tokio::test]
async fn n_tk_04_copies_of_one_assertion_do_not_fill_the_ledger() {
    let world = World::new().await;
    let assertion = world.assertion(&world.planner);
    let form = [
        ("grant_type", "none"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ];
    let form = fields(&form);
    world.post("/oauth/token", &form, &[]).await;
    let (before, alone) = (world.store.len(), bounds::UNPROVEN_RECORDS.value());
    for _ in 0..alone + 50 {
        world.post("/oauth/token", &form, &[]).await.refused("invalid_client", "assertion_replayed");
    }
    assert_eq!(world.store.len() - before, alone);
}

#[tokio::test]
async fn wrong_passwords_for_made_up_names_do_not_fill_the_ledger() {
    let world = World::with(Settings { login_attempts: 3, ..Settings::default() }).await;
    let nobody = fields(&[("client_id", "agent:nobody")]);
    for _ in 0..bounds::UNPROVEN_RECORDS.value() - 2 {
        world.post("/oauth/token", &nobody, &[]).await;
    }
    let mut browser = Browser::default();
    let mut page = browser.begin(&world, &request()).await;
    let before = world.store.len();
    for n in 0..5 {
        page = browser.sign_in(&world, &page, &format!("made-up-{n}"), "x").await;
    }
    assert_eq!(world.store.len() - before, 2);
    for _ in 0..8 {
        page = browser.sign_in(&world, &page, "alice", "x").await;
    }
    assert_eq!(world.store.len() - before, 5, "each counted failure of a real account is recorded, what is throttled is not");
}

#[tokio::test]
async fn a_flood_of_proofs_in_the_name_of_a_public_client_takes_no_room() {
    let world = World::with(Settings { remembered_proofs: 1, ..Settings::default() }).await;
    let form = fields(&[("grant_type", "authorization_code"), ("client_id", "agent:public"), ("code", "guess")]);
    for _ in 0..300 {
        let reply = world.post("/oauth/token", &form, &[("dpop", world.proof(&world.public.dpop))]).await;
        reply.refused("invalid_grant", "grant_invalid");
    }
    world.own_token(&world.planner, &[("scope", "files:read")]).await;
}

#[tokio::test]
async fn n_ac_02_a_full_memory_of_proofs_does_not_count_as_a_wrong_attempt_at_a_code() {
    let settings = Settings { remembered_proofs: 1, ..Settings::default() };
    let attempts = settings.code_attempts;
    let world = World::with(settings).await;
    let asked = request_with(&[("client_id", "agent:public")]);
    let (used, fresh) = (world.code("alice", &asked).await, world.code("alice", &asked).await);
    let redeem = async |code: &str| {
        let form =
            [("grant_type", "authorization_code"), ("client_id", "agent:public"), ("code", code), ("code_verifier", VERIFIER)];
        world.post("/oauth/token", &fields(&form), &[("dpop", world.proof(&world.public.dpop))]).await
    };
    redeem(&used).await.access_token();
    // A holder of a used code and its key fills the memory: each proof is of what it redeems.
    for _ in 0..900 {
        redeem(&used).await;
    }
    for _ in 0..2 * attempts {
        redeem(&fresh).await.refused("temporarily_unavailable", "rate_limited");
    }
}

#[tokio::test]
async fn n_dc_10_a_holder_cannot_give_its_authority_another_purpose() {
    let world = World::new().await;
    let token = text(&world.delegated_with("alice", &[("purpose", "triage")]).await, "access_token").to_owned();
    let other = [("purpose", "payments")];
    world.narrow(&world.planner, &token, &other).await.refused("invalid_request", "request_malformed");
    let kept = world.narrow(&world.planner, &token, &[]).await.access_token();
    assert_eq!(claims(&kept)["urn:remit:purpose"], "triage", "narrowing does not lose it either");
    let same = world.narrow(&world.planner, &kept, &[("purpose", "triage")]).await.access_token();
    assert_eq!(claims(&same)["urn:remit:purpose"], "triage");
    // Nor one that was never given to it.
    let bare = text(&world.delegated("alice").await, "access_token").to_owned();
    world.narrow(&world.planner, &bare, &other).await.refused("invalid_request", "request_malformed");
}

#[tokio::test]
async fn a_purpose_that_cannot_be_displayed_is_refused() {
    let world = World::new().await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let long = "x".repeat(257);
    for purpose in ["a\u{202e}b", "a\u{200b}b", "a\u{2066}b", "a\u{1b}[2J", "a\nb", "a\u{feff}b", "a\u{e0041}b", &long] {
        let reply = world.narrow(&world.planner, &token, &[("purpose", purpose)]).await;
        reply.refused("invalid_request", "request_malformed");
        assert!(reply.body["error_description"].as_str().unwrap().starts_with("`purpose` "), "{}", reply.body);
    }
}

#[tokio::test]
async fn n_dc_10_a_child_cannot_replace_the_purpose_its_parent_signed() {
    let world = World::new().await;
    let token = text(&world.delegated_with("alice", &[("purpose", "triage")]).await, "access_token").to_owned();
    let details = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "fields": ["/id"]}]);
    let exchange = |statement: &str, more: Option<(&'static str, &'static str)>| {
        let mut all = fields(&[("grant_type", EXCHANGE), ("subject_token", statement), ("subject_token_type", JWT)]);
        all.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        all
    };
    for (purpose, good) in [(Some(("purpose", "payments")), false), (Some(("purpose", "summaries")), true), (None, true)] {
        let statement = world.statement(&world.planner, &token, &world.summarizer, &details);
        let form = exchange(&statement, purpose);
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let reply = world.token(&world.summarizer, &form).await;
        if good {
            assert_eq!(claims(&reply.access_token())["urn:remit:purpose"], "summaries");
        } else {
            reply.refused("invalid_request", "request_malformed");
        }
    }
    // The delegator itself may say what the child is to do; otherwise the child does what the parent was asked to.
    let inherited = world.hand(&world.planner, &token, &world.summarizer, &[("scope", "helpdesk:tickets_read")]).await;
    assert_eq!(claims(&inherited.access_token())["urn:remit:purpose"], "triage");
    let given = [("scope", "helpdesk:tickets_read"), ("purpose", "summaries")];
    let given = world.hand(&world.planner, &token, &world.summarizer, &given).await;
    assert_eq!(claims(&given.access_token())["urn:remit:purpose"], "summaries");
}

#[tokio::test]
async fn b_13_a_proof_of_a_call_through_the_gateway_serves_no_agent_whose_row_claims_that_address() {
    let world = World::new().await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let mut thief = agent(&world.summarizer, false);
    thief.labels.insert("endpoint".to_owned(), HELPDESK.to_owned());
    world.change(Change::PutAgent(thief)).await;
    let proof = world.call_proof(&world.planner, &token, HELPDESK);
    let asked = [
        ("grant_type", EXCHANGE),
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("subject_token_proof", proof.as_str()),
        ("scope", "helpdesk:tickets_read"),
    ];
    let reply = world.token(&world.summarizer, &asked).await;
    reply.refused("invalid_request", "token_audience_wrong");
}
