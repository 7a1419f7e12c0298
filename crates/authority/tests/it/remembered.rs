//! A token that was seen a moment ago, signature, row and all: what ends it ends it at the next request.

use crate::{flow::*, world::*};
use axum::http::StatusCode;
use remit_ledger::{
    Draft,
    record::{ProducerKind, RecordType},
    vault::Subject,
};
use remit_model::{AgentStatus, Human, HumanStatus, TenantId, ToolClass};
use remit_store::{Batch, Change, Revocation};
use remit_token::{Algorithm, PrivateKey};
use serde_json::json;

/// A world in which the planner's token for Alice, and the summarizer's from it, were exchanged and introspected before.
async fn warm() -> (World, String, String) {
    let world = World::new().await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    for _ in 0..2 {
        world.narrow(&world.planner, &token, &[]).await.access_token();
        world.narrow(&world.summarizer, &child, &[]).await.access_token();
        assert!(world.active(&world.planner, &token).await && world.active(&world.summarizer, &child).await);
    }
    (world, token, child)
}

async fn refused(world: &World, actor: &Actor, token: &str, code: &str) {
    world.narrow(actor, token, &[]).await.refused("invalid_request", code);
    assert!(!world.active(actor, token).await, "{code}");
}

#[tokio::test]
async fn dc_13_a_revocation_bites_at_once_and_below() {
    let (world, token, child) = warm().await;
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    let until = world.now().plus(600);
    let revoke = Change::Revoke { what: Revocation::Jti(jti), until };
    world.store.apply(Batch::new(TenantId::main()).change(revoke)).await.unwrap();
    refused(&world, &world.planner, &token, "token_revoked").await;
    refused(&world, &world.summarizer, &child, "token_revoked").await;
}

#[tokio::test]
async fn dc_13_quarantine_and_a_disabled_person_bite_at_once() {
    let (world, token, child) = warm().await;
    world.set_status(&world.planner, AgentStatus::Quarantined).await;
    refused(&world, &world.summarizer, &child, "agent_quarantined").await;
    world.set_status(&world.planner, AgentStatus::Active).await;
    assert!(world.active(&world.summarizer, &child).await, "and it ends as it began");
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") })).await;
    refused(&world, &world.planner, &token, "human_disabled").await;
}

#[tokio::test]
async fn an_erasure_leaves_nothing_of_the_person_in_memory_and_nothing_comes_back() {
    let (world, token, child) = warm().await;
    assert!(world.server.remembered_tokens() >= 2);
    let alice = Subject::Principal { iss: ISSUER.to_owned(), sub: "user:alice".to_owned() };
    let asked = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .action("ledger.erase", ToolClass::Admin)
        .ext("redaction", json!({"legal_basis": "asked for"}));
    world.store.erase(&alice, asked).await.unwrap();
    assert_eq!(world.server.remembered_tokens(), 0, "though nobody asked since");
    for _ in 0..2 {
        assert!(!world.active(&world.scribe, &token).await);
        world.narrow(&world.scribe, &child, &[]).await.refused("invalid_request", "token_revoked");
        assert_eq!(world.server.remembered_tokens(), 0);
    }
}

#[tokio::test]
async fn a_remembered_token_expires_to_the_second() {
    let (world, token, _) = warm().await;
    let end = claims(&token)["exp"].as_i64().unwrap();
    while world.now().0 < end - 1 {
        world.advance(u64::try_from((end - 1 - world.now().0).min(50)).unwrap());
        assert!(world.active(&world.planner, &token).await);
    }
    world.advance(1);
    refused(&world, &world.planner, &token, "token_expired").await;
}

#[tokio::test]
async fn n_tx_05_a_forgery_of_a_remembered_token_is_a_forgery() {
    let (world, token, _) = warm().await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    refused(&world, &world.planner, &format!("{signed}.{first}{}", signature.get(1..).unwrap()), "token_signature_invalid").await;
    let mut wider = claims(&token);
    wider["authorization_details"] = json!([]);
    let stranger = PrivateKey::from_seed(Algorithm::Es256, &[66; 32]).unwrap();
    let forged = remit_token::sign_jws("at+jwt", &stranger, Some(json!({"kid": world.signing.public().thumbprint()})), &wider);
    refused(&world, &world.planner, &forged.unwrap(), "token_signature_invalid").await;
    assert!(world.active(&world.planner, &token).await, "and harms the genuine one in nothing");
}

#[tokio::test]
async fn a_remembered_token_still_needs_its_holder_and_its_key() {
    let (world, token, _) = warm().await;
    world.narrow(&world.scribe, &token, &[]).await.refused("invalid_request", "chain_spliced");
    let ask = [("grant_type", EXCHANGE), ("subject_token", token.as_str()), ("subject_token_type", ACCESS_TOKEN)];
    let foreign = world.proof(&world.scribe.dpop);
    world.token_with(&world.planner, &foreign, &ask).await.refused("invalid_dpop_proof", "dpop_key_mismatch");
}

const CC: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "files:read")];

#[tokio::test]
async fn tk_04_a_key_that_was_replaced_signs_nobody_in_any_more() {
    let world = World::new().await;
    for _ in 0..2 {
        world.token(&world.planner, &CC).await.access_token();
    }
    let auth = PrivateKey::from_seed(Algorithm::Ed25519, &[77; 32]).unwrap();
    let dpop = PrivateKey::from_seed(Algorithm::Es256, &[78; 32]).unwrap();
    let renewed = Actor { sub: world.planner.sub.clone(), auth, dpop };
    world.token(&renewed, &CC).await.refused("invalid_client", "client_unauthenticated");
    world.change(Change::PutAgent(agent(&renewed, false))).await;
    let old = world.token(&world.planner, &CC).await;
    old.refused("invalid_client", "client_unauthenticated");
    assert_eq!(old.status, StatusCode::UNAUTHORIZED);
    world.token(&renewed, &CC).await.access_token();
}

#[tokio::test]
async fn dp_06_a_remembered_header_signs_nothing() {
    let world = World::new().await;
    let genuine = world.proof(&world.planner.dpop);
    world.token_with(&world.planner, &genuine, &CC).await.access_token();
    let header = |proof: &str| proof.split('.').next().unwrap().to_owned();
    let foreign = world.proof(&world.scribe.dpop);
    let (_, rest) = foreign.split_once('.').unwrap();
    let spliced = format!("{}.{rest}", header(&genuine));
    for _ in 0..2 {
        world.token_with(&world.planner, &spliced, &CC).await.refused("invalid_dpop_proof", "dpop_proof_invalid");
    }
    world.token_with(&world.planner, &genuine, &CC).await.refused("invalid_dpop_proof", "dpop_proof_replayed");
    let next = world.proof(&world.planner.dpop);
    assert_eq!(header(&next), header(&genuine));
    world.token_with(&world.planner, &next, &CC).await.access_token();
    let token = world.token_with(&world.planner, &foreign, &CC).await.access_token();
    assert_eq!(claims(&token)["cnf"]["jkt"], world.scribe.jkt(), "a token is bound to the key of its own proof");
}
