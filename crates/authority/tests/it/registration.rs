//! The registration endpoint. SPEC: DR-01 to DR-05, C31: RFC 7591

use crate::{documents::rules, flow::*, world::*};
use axum::{body::Body, extract::ConnectInfo, http::Request};
use remit_authority::{Admission, ClientRules, Settings};
use remit_model::{AgentStatus, Registration};
use remit_store::Change;
use remit_token::dpop::{self, ProofFor};
use serde_json::{Value, json};
use std::net::SocketAddr;

pub(crate) async fn world(registration: Admission) -> World {
    let clients = ClientRules { registration, ..rules(Admission::Off) };
    World::with(Settings { clients, ..Settings::default() }).await
}

async fn register_from(world: &World, address: &str, body: &str) -> Reply {
    let peer = SocketAddr::new(address.parse().unwrap(), 4_711);
    let request = Request::post("/oauth/register").header("content-type", "application/json").extension(ConnectInfo(peer));
    world.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

pub(crate) async fn register(world: &World, metadata: &Value) -> Reply {
    register_from(world, "192.0.2.1", &metadata.to_string()).await
}

/// What Codex registers.
fn codex() -> Value {
    json!({
        "client_name": "Codex", "redirect_uris": ["http://127.0.0.1:49152/callback"], "application_type": "native",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "token_endpoint_auth_method": "none", "scope": "helpdesk:tickets_read",
    })
}

fn parameters(client_id: &str) -> Vec<(String, String)> {
    request_with(&[("client_id", client_id), ("redirect_uri", "http://127.0.0.1:50000/callback")])
}

async fn redeem(world: &World, client_id: &str, code: &str) -> Reply {
    let key = Actor::new("codex").dpop;
    let jti = fresh();
    let proof = ProofFor { method: "POST", url: TOKEN, now: world.now(), jti: &jti, ..ProofFor::default() };
    let form = fields(&[
        ("client_id", client_id),
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", "http://127.0.0.1:50000/callback"),
        ("code_verifier", VERIFIER),
    ]);
    world.post("/oauth/token", &form, &[("dpop", dpop::create(&key, &proof).unwrap())]).await
}

#[tokio::test]
async fn dr_01_a_program_registers_a_person_consents_and_it_has_a_token() {
    let world = world(Admission::Admit).await;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.body;
    assert_eq!(metadata["registration_endpoint"], format!("{ISSUER}/oauth/register"));
    let (agents, records) = (world.store.snapshot().agent_count(), world.store.len());
    let reply = register(&world, &codex()).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    assert_eq!((reply.headers["cache-control"].to_str().unwrap(), &reply.body["client_name"]), ("no-store", &json!("Codex")));
    assert!(reply.body["client_id_issued_at"].is_number() && reply.body.get("client_secret").is_none());
    assert_eq!((world.store.snapshot().agent_count(), world.store.len()), (agents, records), "C31: it costs us nothing");
    let client_id = text(&reply.body, "client_id").to_owned();
    assert!(!client_id.starts_with("https://"), "CM-06: {client_id}");
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &parameters(&client_id)).await;
    assert!(page.text.contains("registered itself") && page.text.contains("Codex"), "{}", page.text);
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    // No operator registers such a client, so its way out is a key of the configuration.
    let form = fields(&[("client_id", &client_id), ("grant_type", "authorization_code"), ("code", &code)]);
    let without_proof = world.post("/oauth/token", &form, &[]).await;
    without_proof.refused("invalid_dpop_proof", "dpop_proof_missing");
    for word in ["remit connect", "clients.binding", "agents.danger_bearer: allowed"] {
        assert!(text(&without_proof.body, "error_description").contains(word), "{word}: {}", without_proof.text);
    }
    assert_eq!(claims(&redeem(&world, &client_id, &code).await.access_token())["client_id"], client_id);
    let snapshot = world.store.snapshot();
    let agent = snapshot.agents().filter_map(|(_, agent)| agent).find(|agent| agent.id.as_str().starts_with("codex-")).unwrap();
    assert_eq!(agent.client.registration, Registration::Dynamic { client_id: client_id.clone() });
    // The agent stays, although the registration by itself has expired long since.
    world.advance(1_000_000);
    let page = Browser::default().consent_page(&world, "alice", &parameters(&client_id)).await;
    assert!(is_consent(&page), "{}", page.text);
}

#[tokio::test]
async fn dr_02_a_registration_that_no_person_lets_in_expires_within_the_hour() {
    let world = world(Admission::Admit).await;
    let client_id = text(&register(&world, &codex()).await.body, "client_id").to_owned();
    world.advance(3_599);
    assert!(is_sign_in(&Browser::default().begin(&world, &parameters(&client_id)).await));
    world.advance(2);
    let page = Browser::default().begin(&world, &parameters(&client_id)).await;
    assert!(page.text.contains("must register again"), "{}", page.text);
    redeem(&world, &client_id, "guess").await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn dr_02_in_quarantine_an_administrator_lets_it_in() {
    let world = world(Admission::Quarantine).await;
    let client_id = text(&register(&world, &codex()).await.body, "client_id").to_owned();
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &parameters(&client_id)).await;
    let back = browser.decide(&world, &page, "allow").await.location();
    assert_eq!(query(&back, "remit_code").as_deref(), Some("agent_quarantined"));
    let snapshot = world.store.snapshot();
    let id = snapshot.agent_ids().find(|id| id.as_str().starts_with("codex-")).unwrap().clone();
    assert_eq!(snapshot.agent(&id).unwrap().status, AgentStatus::Quarantined);
    world.change(Change::SetAgentStatus { agent: id, status: AgentStatus::Active }).await;
    let code = world.code("alice", &parameters(&client_id)).await;
    redeem(&world, &client_id, &code).await.access_token();
}

#[tokio::test]
async fn md_06_switched_off_there_is_no_endpoint_and_the_answer_names_the_way() {
    let world = world(Admission::Off).await;
    assert!(world.get("/.well-known/oauth-authorization-server").await.body.get("registration_endpoint").is_none());
    let reply = register(&world, &codex()).await;
    assert_eq!(reply.status, 404);
    reply.refused("invalid_request", "not_found");
    assert!(text(&reply.body, "error_description").contains("remit agent add"));
}

#[tokio::test]
async fn a_registration_of_a_server_that_is_off_now_is_no_client() {
    let on = world(Admission::Admit).await;
    let client_id = text(&register(&on, &codex()).await.body, "client_id").to_owned();
    let off = world(Admission::Off).await;
    let page = Browser::default().begin(&off, &parameters(&client_id)).await;
    assert!(page.text.contains("client_unknown"), "{}", page.text);
}

#[tokio::test]
async fn a_changed_identifier_is_no_registration() {
    let world = world(Admission::Admit).await;
    let client_id = text(&register(&world, &codex()).await.body, "client_id").to_owned();
    let mut spoilt = client_id.clone();
    let last = spoilt.pop().unwrap();
    spoilt.push(if last == 'A' { 'B' } else { 'A' });
    for other in [spoilt, client_id.replace(":codex:", ":claude:"), "client:codex:".to_owned(), "client:codex:AAAA".to_owned()] {
        let page = Browser::default().begin(&world, &parameters(&other)).await;
        assert!(page.text.contains("client_unknown") && page.headers.get("location").is_none(), "{other}: {}", page.text);
    }
}

#[tokio::test]
async fn n_dr_01_a_flood_of_registrations_is_limited_by_network_and_stores_nothing() {
    let world = world(Admission::Admit).await;
    let (agents, records) = (world.store.snapshot().agent_count(), world.store.len());
    let body = codex().to_string();
    let mut taken = 0;
    for _ in 0..20_000 {
        taken += usize::from(register_from(&world, "192.0.2.9", &body).await.status == 201);
    }
    assert_eq!(taken, 20);
    let elsewhere = register_from(&world, "198.51.100.1", &body).await;
    assert_eq!(elsewhere.status, 201, "another network is not slowed");
    assert_eq!(world.store.snapshot().agent_count(), agents);
    assert!(world.store.len() <= records + 100, "refusals are summarised: {} records", world.store.len() - records);
}

#[tokio::test]
async fn n_dr_02_n_dr_03_what_may_not_be_registered_has_the_error_of_rfc_7591() {
    let world = world(Admission::Admit).await;
    let uris = |kind: &str, uri: &str| json!({"application_type": kind, "redirect_uris": [uri]});
    for (metadata, error, code) in [
        (uris("native", "javascript:alert(1)"), "invalid_redirect_uri", "redirect_uri_mismatch"),
        (uris("native", "http://app.example/cb"), "invalid_redirect_uri", "redirect_uri_mismatch"),
        (uris("web", "http://127.0.0.1/cb"), "invalid_redirect_uri", "redirect_uri_mismatch"),
        (uris("phone", "https://app.example/cb"), "invalid_client_metadata", "request_malformed"),
        (json!({"client_name": "<script>"}), "invalid_client_metadata", "request_malformed"),
        (json!({"client_name": 7}), "invalid_client_metadata", "request_malformed"),
        (json!([]), "invalid_client_metadata", "request_malformed"),
        (
            json!({"redirect_uris": ["https://a.example/"], "jwks_uri": "https://169.254.169.254/k"}),
            "invalid_client_metadata",
            "request_malformed",
        ),
    ] {
        register(&world, &metadata).await.refused(error, code);
    }
    register_from(&world, "192.0.2.2", "{\"a\":1,\"a\":2}").await.refused("invalid_client_metadata", "json_duplicate_member");
    register_from(&world, "192.0.2.2", "nothing").await.refused("invalid_client_metadata", "request_malformed");
    let long = json!({"client_name": "x", "client_uri": "x".repeat(9_000)}).to_string();
    assert_eq!(register_from(&world, "192.0.2.2", &long).await.status, 413);
    let many: Vec<String> = (0..16).map(|n| format!("https://app.example/{}/{n}", "a".repeat(200))).collect();
    assert_eq!(register(&world, &json!({"redirect_uris": many})).await.status, 413, "DR-05");
    let form = world.post("/oauth/register", &fields(&[("client_name", "x")]), &[]).await;
    assert_eq!(form.status, 415);
    assert_eq!(world.get("/oauth/register").await.status, 405);
}

#[tokio::test]
async fn n_dr_04_what_is_not_offered_is_dropped_and_the_answer_shows_it() {
    let world = world(Admission::Admit).await;
    let asked = json!({
        "client_name": "Codex", "redirect_uris": ["http://127.0.0.1/callback"], "scope": "admin",
        "token_endpoint_auth_method": "client_secret_post", "grant_types": ["authorization_code", "client_credentials", "password"],
        "client_id": "agent:planner", "client_secret": "chosen",
    });
    let answer = register(&world, &asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.body["token_endpoint_auth_method"], "none");
    assert_eq!(answer.body["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert!(answer.body.get("scope").is_none() && answer.body.get("client_secret").is_none(), "{}", answer.text);
    assert!(text(&answer.body, "client_id").starts_with("client:"));
}

#[tokio::test]
async fn empty_lists_are_tolerated_and_mean_a_program_on_this_computer() {
    let world = world(Admission::Admit).await;
    let empty = json!({"client_name": "Gemini CLI", "redirect_uris": [], "grant_types": [], "response_types": []});
    let client_id = text(&register(&world, &empty).await.body, "client_id").to_owned();
    assert!(is_sign_in(&Browser::default().begin(&world, &parameters(&client_id)).await));
    let abroad = request_with(&[("client_id", &client_id), ("redirect_uri", "https://evil.example/cb")]);
    let page = Browser::default().begin(&world, &abroad).await;
    assert!(page.text.contains("redirect_uri_mismatch"), "{}", page.text);
}
