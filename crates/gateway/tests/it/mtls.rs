//! Access tokens that are bound to a certificate: where they are taken, and over which connections they are not.

use crate::world::{CERTIFICATE, Reply, Wish, World, key};
use axum::http::Method;
use remit_token::{access, certificate::thumbprint};
use serde_json::json;

const OWN: &str = "own";
const OTHER: &str = "other";

async fn world() -> World {
    Wish::new(true).settings(|settings| settings.client_certificates = true).build().await
}

/// The planner's token for Alice, bound to its certificate.
fn token(world: &World) -> String {
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), "x");
    claims.cnf_jkt = None;
    claims.cnf_x5t = Some(thumbprint(OWN.as_bytes()));
    access::mint(&world.issuer_key, &claims).unwrap()
}

async fn call(world: &World, credentials: &[(&str, String)], certificate: Option<&str>) -> Reply {
    let client = world.all();
    let (mut headers, body) = client.modern_request("tools/call", json!({"name": "ticket_read", "arguments": {}}));
    headers.retain(|(name, _)| !["authorization", "dpop"].contains(&name.as_str()));
    headers.extend(credentials.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    headers.extend(certificate.map(|shown| (CERTIFICATE.to_owned(), shown.to_owned())));
    client.send(headers, &body).await
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

#[tokio::test]
async fn rfc_8705_a_token_is_used_over_its_own_certificate_and_the_record_says_so() {
    let world = world().await;
    call(&world, &[bearer(&token(&world))], Some(OWN)).await.result();
    let record = world.last().await;
    assert_eq!(record["chain"][1]["token"]["binding"], "mtls", "{record}");
    assert_eq!(record["chain"][1]["cnf"], json!({"x5t#S256": thumbprint(OWN.as_bytes())}));
}

#[tokio::test]
async fn rfc_8705_a_stolen_token_is_refused_over_every_other_connection() {
    let world = world().await;
    let token = token(&world);
    let other = call(&world, &[bearer(&token)], Some(OTHER)).await;
    other.refused(401, "certificate_mismatch");
    assert!(other.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"), "{:?}", other.headers);
    call(&world, &[bearer(&token)], None).await.refused(401, "certificate_missing");
    // Neither a proof of some key nor the scheme of proofs makes up for the certificate.
    let planner = world.all();
    let proof = ("dpop", planner.proof("POST", &world.location));
    call(&world, &[bearer(&token), proof.clone()], None).await.refused(401, "certificate_missing");
    call(&world, &[("authorization", format!("DPoP {token}")), proof], Some(OWN)).await.refused(401, "certificate_mismatch");
    assert_eq!(world.fake.calls(), 0);
    // What was verified over its own connection is not remembered for others.
    call(&world, &[bearer(&token)], Some(OWN)).await.result();
    call(&world, &[bearer(&token)], Some(OTHER)).await.refused(401, "certificate_mismatch");
}

#[tokio::test]
async fn rfc_8705_a_certificate_stands_in_for_no_proof() {
    let world = world().await;
    let bound = world.client(key(2), &world.claims(world.grant(json!({"actions": ["*"]})), key(2).public().thumbprint()));
    call(&world, &[bearer(&bound.token)], Some(OWN)).await.refused(401, "dpop_proof_missing");
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), "x");
    claims.cnf_jkt = None;
    let unbound = access::mint(&world.issuer_key, &claims).unwrap();
    call(&world, &[bearer(&unbound)], Some(OWN)).await.refused(401, "dpop_key_mismatch");
}

#[tokio::test]
async fn rfc_8705_both_eras_check_each_request_of_a_session() {
    let world = Wish::new(false).settings(|settings| settings.client_certificates = true).build().await;
    let mut client = world.all();
    client.token = token(&world);
    let headers = |client: &crate::world::Client<'_>, certificate: &str| {
        let mut headers = client.headers(&Method::POST);
        headers.retain(|(name, _)| !["authorization", "dpop"].contains(&name.as_str()));
        headers.push(("authorization".into(), format!("Bearer {}", client.token)));
        headers.push((CERTIFICATE.into(), certificate.into()));
        headers
    };
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let opened = client.send(headers(&client, OWN), &hello).await;
    client.session = opened.headers.get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
    assert!(client.session.is_some(), "{:?}", opened.body);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "ticket_read", "arguments": {}}});
    client.send(headers(&client, OWN), &body).await.result();
    client.send(headers(&client, OTHER), &body).await.refused(401, "certificate_mismatch");
}

#[tokio::test]
async fn pr_02_the_metadata_says_that_tokens_may_be_bound_to_a_certificate() {
    for on in [false, true] {
        let world = Wish::new(true).settings(move |settings| settings.client_certificates = on).build().await;
        let url = format!("{}/.well-known/oauth-protected-resource/mcp/helpdesk", world.base);
        let mut client = world.all();
        client.url = url;
        let metadata = crate::world::whole(client.raw(Method::GET, Vec::new(), "").await).await.body;
        assert_eq!(metadata.get("tls_client_certificate_bound_access_tokens").is_some(), on, "{metadata}");
        assert_eq!(metadata["dpop_bound_access_tokens_required"], !on);
        let refused = call(&world, &[], None).await;
        let challenges: Vec<_> = refused.headers.get_all("www-authenticate").iter().map(|one| one.to_str().unwrap()).collect();
        assert_eq!(challenges.iter().any(|challenge| challenge.starts_with("Bearer ")), on, "{challenges:?}");
    }
}
