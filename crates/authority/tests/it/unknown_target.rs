//! Refusals that a program waits for at an address that no administrator vouches for. SPEC: AZ-17, RFC 9700 §4.11.2

use crate::{
    flow::*,
    registration::{register, world},
    world::*,
};
use remit_authority::Admission;
use remit_model::AgentStatus;
use remit_store::Change;
use serde_json::json;

const TARGET: &str = "https://phish.example/cb";

/// A program that registers itself, with its `client_id`.
async fn stranger(admission: Admission, redirect_uri: &str) -> (World, String) {
    let world = world(admission).await;
    let metadata = json!({
        "client_name": "Your Bank", "redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none",
        "application_type": if redirect_uri.starts_with("https:") { "web" } else { "native" },
    });
    let reply = register(&world, &metadata).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let client_id = text(&reply.body, "client_id").to_owned();
    (world, client_id)
}

fn asking(client_id: &str, redirect_uri: &str, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = vec![("client_id", client_id), ("redirect_uri", redirect_uri)];
    all.extend_from_slice(changes);
    request_with(&all)
}

/// The refusal stays on a page of ours, which names the target and leads there only by a link.
fn stays_here(page: &Reply) {
    assert!(page.status.is_client_error() && page.headers.get("location").is_none(), "{}: {}", page.status, page.text);
    for automatic in ["http-equiv", "<script", "Your Bank"] {
        assert!(!page.text.contains(automatic), "{automatic} in {}", page.text);
    }
    assert!(page.text.contains("<code>phish.example</code>") && page.text.contains("Nobody here has let that program in"));
    assert!(page.text.contains("href=\"https://phish.example/cb?error="), "{}", page.text);
    assert!(page.text.contains("state=s-1"), "who goes on brings the program its answer: {}", page.text);
}

#[tokio::test]
async fn az_17_a_stranger_cannot_have_a_browser_sent_to_its_address_by_asking_wrongly() {
    let (world, client_id) = stranger(Admission::Admit, TARGET).await;
    for wrong in [("response_type", "token"), ("code_challenge", ""), ("prompt", "none"), ("resource", "https://other.example/")]
    {
        let page = Browser::default().begin(&world, &asking(&client_id, TARGET, &[wrong])).await;
        stays_here(&page);
    }
}

#[tokio::test]
async fn az_17_signing_in_is_no_word_about_the_address() {
    let (world, client_id) = stranger(Admission::Admit, TARGET).await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &asking(&client_id, TARGET, &[("purpose", "mischief")])).await;
    stays_here(&page);
    assert!(page.text.contains("policy_denied"), "{}", page.text);
}

#[tokio::test]
async fn az_17_who_decides_on_the_page_that_names_the_address_is_sent_there() {
    let (world, client_id) = stranger(Admission::Admit, TARGET).await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &asking(&client_id, TARGET, &[])).await;
    assert!(is_consent(&page) && page.text.contains("phish.example"), "{}", page.text);
    let back = browser.decide(&world, &page, "deny").await.location();
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn az_17_while_a_client_waits_for_an_administrator_its_address_is_not_trusted_and_then_it_is() {
    let (world, client_id) = stranger(Admission::Quarantine, TARGET).await;
    let silent = asking(&client_id, TARGET, &[("prompt", "none")]);
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &asking(&client_id, TARGET, &[])).await;
    browser.decide(&world, &page, "allow").await.location();
    stays_here(&Browser::default().begin(&world, &silent).await);
    let snapshot = world.store.snapshot();
    let id = snapshot.agent_ids().find(|id| id.as_str().starts_with("your-bank-")).unwrap().clone();
    world.change(Change::SetAgentStatus { agent: id, status: AgentStatus::Active }).await;
    let back = Browser::default().begin(&world, &silent).await.location();
    assert_eq!((back.host_str(), query(&back, "error").as_deref()), (Some("phish.example"), Some("login_required")));
}

#[tokio::test]
async fn az_17_an_address_that_an_administrator_registered_or_on_the_persons_own_machine_is_answered() {
    let loopback = "http://127.0.0.1:50000/callback";
    let (world, client_id) = stranger(Admission::Admit, loopback).await;
    let silent = [("prompt", "none")];
    for parameters in [asking(&client_id, loopback, &silent), request_with(&silent)] {
        let back = Browser::default().begin(&world, &parameters).await.location();
        assert_eq!(query(&back, "error").as_deref(), Some("login_required"));
    }
}
