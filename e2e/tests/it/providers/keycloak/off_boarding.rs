//! A person leaves: what they handed out dies, and stays dead when they come back.

use super::{
    super::{Browser, claims, consents, person},
    Keycloak,
    foreign_key::proof,
    server,
};
use crate::{harness::Remit, raw::REVISION};
use remit_testkit::wait_until;
use remit_token::PrivateKey;
use serde_json::{Value, json};
use std::{fs, time::Instant};

/// Seconds between two questions to Keycloak about a person.
const CHECK: &str = "    check_every_s: 5\n";

/// Whether a call with the token is allowed.
fn lives(keycloak: &Keycloak, server: &Remit, token: &str) -> bool {
    let pem = fs::read_to_string(server.folder().join("agents/planner.pem")).unwrap();
    let key = PrivateKey::from_pkcs8_pem(&pem).unwrap();
    let url = server.resource("helpdesk");
    let authorization = format!("DPoP {token}");
    let send = |session: Option<&str>, nonce: Option<&str>, body: &Value| {
        let proof = proof(&key, &url, Some(token), nonce);
        let mut headers = vec![
            ("authorization", authorization.as_str()),
            ("dpop", &proof),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", REVISION),
        ];
        headers.extend(session.map(|session| ("mcp-session-id", session)));
        keycloak.web.json("POST", &url, &headers, body)
    };
    let with_nonce = |session: Option<&str>, body: &Value| {
        let first = send(session, None, body);
        match first.nonce.clone().filter(|_| first.status == 401) {
            Some(nonce) => send(session, Some(&nonce), body),
            None => first,
        }
    };
    let hello = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": REVISION, "capabilities": {}, "clientInfo": { "name": "e2e", "version": "1" } },
    });
    let Some(session) = with_nonce(None, &hello).session else { return false };
    let call = json!({
        "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "tickets_read", "arguments": { "id": "T-1001" } },
    });
    with_nonce(Some(&session), &call).body["result"]["structuredContent"]["id"] == "T-1001"
}

fn signs_in(server: &Remit, browser: &str) -> String {
    consents(server, &Browser::new(server.folder(), browser), "planner", &person("Corp", "alice")).0
}

/// Keycloak sends nothing when a person is disabled, and lets their old tokens work again when they are enabled.
#[test]
#[ignore = "needs Keycloak: cargo xtask interop keycloak"]
fn who_is_disabled_at_a_provider_that_says_nothing_is_found_out_and_stays_out() {
    let keycloak = Keycloak::shared();
    let server = server(keycloak, "left", CHECK);
    let said = server.run(&["provider", "test", "corp"]);
    assert!(said.contains("within 5 s after a person is disabled"), "{said}");
    let token = signs_in(&server, "before");
    assert!(lives(keycloak, &server, &token));
    keycloak.enable("left", "alice", false);
    let began = Instant::now();
    wait_until("the chain is dead", || !lives(keycloak, &server, &token));
    println!("dead {:.1} s after the person was disabled; the printed bound is 5 s", began.elapsed().as_secs_f32());

    keycloak.enable("left", "alice", true);
    assert!(!lives(keycloak, &server, &token), "what died stays dead");
    let again = signs_in(&server, "after");
    assert_eq!(claims(&again)["sub"], claims(&token)["sub"], "the same person");
    assert!(lives(keycloak, &server, &again));
    assert!(!lives(keycloak, &server, &token), "what died stays dead");
    crate::workload::both_verify(server, 2);
}

#[test]
#[ignore = "needs Keycloak: cargo xtask interop keycloak"]
fn a_logout_at_the_provider_ends_what_the_person_handed_out() {
    let keycloak = Keycloak::shared();
    // So that it is not the question that ends it.
    let server = server(keycloak, "logout", "    check_every_s: 3600\n");
    let token = signs_in(&server, "before");
    assert!(lives(keycloak, &server, &token));
    let user = keycloak.user("logout", "alice")["id"].as_str().unwrap().to_owned();
    keycloak.admin("POST", &format!("/admin/realms/logout/users/{user}/logout"), &json!({}));
    let began = Instant::now();
    wait_until("the chain is dead", || !lives(keycloak, &server, &token));
    println!("dead {:.2} s after the administrator's logout", began.elapsed().as_secs_f32());
    let again = signs_in(&server, "after");
    assert!(lives(keycloak, &server, &again) && !lives(keycloak, &server, &token));
    crate::workload::both_verify(server, 2);
}
