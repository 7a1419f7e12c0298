//! The issuer's keys over time: what they signed counts as long as it should, and no longer.

use crate::{flow::*, world::*};
use remit_model::{IssuerKey, KeyStage, issuer_keys};
use remit_store::{Change, Follower};
use remit_token::{
    AcceptedKeys, Algorithm, PrivateKey, Skew, access,
    dpop::{self, ProofFor},
};
use serde_json::json;

impl World {
    pub(crate) fn kid(&self) -> String {
        self.store.snapshot().issuer_keys().signing(self.now()).unwrap().kid.clone()
    }

    /// A new key that signs after so many seconds.
    pub(crate) async fn rotate(&self, seed: u8, after: i64) -> String {
        let key = PrivateKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap();
        let (kid, jwk) = (key.public().thumbprint().to_owned(), key.public().to_jwk());
        self.keys.add(key);
        let rows = self.store.snapshot().issuer_keys().succession(&kid, &jwk, self.now().plus(after), self.now());
        for row in rows {
            self.change(Change::PutIssuerKey(row)).await;
        }
        kid
    }

    pub(crate) async fn revoke_key(&self, kid: &str) {
        let key = self.store.snapshot().issuer_keys().key(kid).unwrap().clone();
        self.change(Change::PutIssuerKey(IssuerKey { revoked: Some(self.now()), ..key })).await;
    }

    async fn jwks(&self) -> Vec<String> {
        let reply = self.get("/.well-known/jwks.json").await;
        assert_eq!(reply.headers["content-type"], "application/json");
        let kids = reply.body["keys"].as_array().unwrap().iter().map(|key| {
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert!(key.get(private).is_none(), "N-JW-01: {key}");
            }
            assert_eq!((key["use"].as_str(), key["alg"].as_str()), (Some("sig"), Some("ES256")));
            key["kid"].as_str().unwrap().to_owned()
        });
        kids.collect()
    }
}

pub(crate) fn kid_of(token: &str) -> String {
    remit_token::inspect_unverified(token).unwrap().header["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn n_jw_01_the_key_set_has_public_members_only_and_a_tag() {
    let world = World::new().await;
    assert_eq!(world.jwks().await, [world.kid()]);
    let reply = world.get("/.well-known/jwks.json").await;
    let tag = reply.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(reply.headers["cache-control"], "public, max-age=600", "JW-04: no more than 15 minutes");
    let again = |tag: String| {
        let request = axum::http::Request::get("/.well-known/jwks.json").header("if-none-match", tag);
        world.send(request.body(axum::body::Body::empty()).unwrap())
    };
    assert_eq!(again(format!("\"other\", W/{tag}")).await.status, 304);
    world.rotate(6, 0).await;
    assert_eq!(again(tag).await.status, 200);
    assert_eq!(world.jwks().await.len(), 2, "JW-01: unique");
}

#[tokio::test]
async fn jw_02_the_next_key_is_published_first_and_the_old_one_is_accepted_until_its_tokens_end() {
    let world = World::new().await;
    let first = world.kid();
    let next = world.rotate(6, issuer_keys::NOTICE).await;
    assert_eq!(world.jwks().await.len(), 2);
    let before = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    assert_eq!(kid_of(&before), first);
    world.advance(issuer_keys::NOTICE.unsigned_abs() - 5);
    let old = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    world.advance(5);
    let new = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    assert_eq!((kid_of(&old), kid_of(&new)), (first.clone(), next.clone()));
    assert!(world.active(&world.planner, &old).await && world.active(&world.planner, &new).await);
    // A token of the old key can still be exchanged; what comes of it names the key that it rests on.
    let narrowed = world.narrow(&world.planner, &old, &[("scope", "helpdesk:tickets_read")]).await.access_token();
    assert_eq!((kid_of(&narrowed), claims(&narrowed)["urn:remit:ancestor_keys"].clone()), (next.clone(), json!([first])));
    assert_eq!(world.last_record().await["ext"]["token"]["kid"], json!(next));
}

#[tokio::test]
async fn n_jw_02_a_token_of_a_retired_key_fails_after_the_window() {
    let world = World::new().await;
    let first = world.kid();
    let real = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    world.rotate(6, 0).await;
    let mint = |world: &World| {
        let keys = AcceptedKeys::default().at(world.store.snapshot().issuer_keys(), world.now());
        let expect = access::Expect { issuer: ISSUER, audience: None };
        let known = access::verify(&real, &keys, &expect, remit_testkit::NOW, Skew::NONE).unwrap();
        // A thief who has the old private key goes on signing with it.
        let claims = access::Claims { iat: world.now(), exp: world.now().plus(300), ..known.claims().clone() };
        access::mint(&world.signing, &claims).unwrap()
    };
    world.advance(issuer_keys::OVERLAP.unsigned_abs() - 100);
    assert!(world.active(&world.planner, &mint(&world)).await, "the window is open");
    let forged = mint(&world);
    world.advance(100);
    assert!(!world.active(&world.planner, &forged).await, "the window is closed");
    assert!(!world.jwks().await.contains(&first));
    world.narrow(&world.planner, &forged, &[]).await.refused("invalid_request", "token_signature_invalid");
}

#[tokio::test]
async fn dc_13_what_a_revoked_key_signed_is_dead_at_the_next_check_and_so_is_what_comes_from_it() {
    let world = World::new().await;
    let first = world.kid();
    let answer = world.delegated("alice").await;
    let old = text(&answer, "access_token").to_owned();
    let shown = world.identity(&world.summarizer).await;
    world.rotate(6, 0).await;
    // Signed by the new key, and rests on a token of the old one.
    let child = world.hand(&world.planner, &old, &world.summarizer, &[]).await.access_token();
    let fresh = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    assert!(world.active(&world.planner, &old).await && world.active(&world.summarizer, &child).await);
    let before = world.server.remembered_tokens();

    world.revoke_key(&first).await;
    assert!(!world.active(&world.planner, &old).await, "introspection");
    assert!(!world.active(&world.summarizer, &child).await, "a descendant");
    assert!(world.active(&world.planner, &fresh).await, "the other key's tokens go on");
    world.narrow(&world.planner, &old, &[]).await.refused("invalid_request", "token_signature_invalid");
    world.narrow(&world.summarizer, &child, &[]).await.refused("invalid_request", "token_revoked");
    let statement = world.statement(&world.planner, &old, &world.summarizer, &claims(&old)["authorization_details"]);
    let stated = [("grant_type", EXCHANGE), ("subject_token", statement.as_str()), ("subject_token_type", JWT)];
    world.token(&world.summarizer, &stated).await.refused("invalid_request", "token_revoked");
    let actor = [
        ("grant_type", EXCHANGE),
        ("subject_token", fresh.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("actor_token", shown.as_str()),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    world.token(&world.planner, &actor).await.refused("invalid_request", "actor_token_invalid");
    assert!(!world.jwks().await.contains(&first));
    assert!(world.server.remembered_tokens() <= before, "nothing of the revoked key is kept");

    // A refresh token is no key's signature: it brings a token of the new key.
    let refresh = text(&answer, "refresh_token");
    let renewed =
        world.token(&world.planner, &[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await.access_token();
    assert!(kid_of(&renewed) != first && world.active(&world.planner, &renewed).await);
}

#[tokio::test]
async fn userinfo_refuses_a_token_of_a_revoked_key() {
    let world = World::new().await;
    let answer = world.delegated_with("alice", &[("scope", "openid")]).await;
    let token = text(&answer, "access_token").to_owned();
    let ask = async || {
        let url = format!("{ISSUER}/oauth/userinfo");
        let jti = fresh();
        let made =
            ProofFor { method: "GET", url: &url, now: world.now(), jti: &jti, access_token: Some(&token), ..ProofFor::default() };
        let proof = dpop::create(&world.planner.dpop, &made).unwrap();
        let request = axum::http::Request::get("/oauth/userinfo").header("authorization", format!("DPoP {token}"));
        world.send(request.header("dpop", proof).body(axum::body::Body::empty()).unwrap()).await
    };
    assert_eq!(ask().await.status, 200);
    let first = world.kid();
    world.rotate(6, 0).await;
    assert_eq!(ask().await.status, 200, "a rotation alone changes nothing");
    world.revoke_key(&first).await;
    ask().await.refused("invalid_token", "token_revoked");
}

#[tokio::test]
async fn n_jw_03_a_token_signed_by_a_key_of_another_purpose_is_no_access_token() {
    let world = World::new().await;
    let real = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    let keys = AcceptedKeys::default().at(world.store.snapshot().issuer_keys(), world.now());
    let known =
        access::verify(&real, &keys, &access::Expect { issuer: ISSUER, audience: None }, world.now(), Skew::NONE).unwrap();
    // The record key, the log key, and any other key of the server but the issuer's.
    for seed in [[1; 32], [2; 32], [3; 32]] {
        let other = PrivateKey::from_seed(Algorithm::Ed25519, &seed).unwrap();
        let token = access::mint(&other, known.claims()).unwrap();
        assert!(!world.active(&world.planner, &token).await);
        world.narrow(&world.planner, &token, &[]).await.refused("invalid_request", "token_signature_invalid");
    }
}

#[tokio::test]
async fn jw_02_another_process_that_follows_the_database_refuses_a_revoked_key() {
    let world = World::new().await;
    let first = world.kid();
    let token = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    let follower = Follower::open(&world.data_dir(), remit_model::TenantId::main()).unwrap();
    let accepted = AcceptedKeys::default();
    let verdict = || {
        follower.follow(world.now()).unwrap();
        let keys = accepted.at(follower.snapshot().issuer_keys(), world.now());
        access::verify(&token, &keys, &access::Expect { issuer: ISSUER, audience: None }, world.now(), Skew::NONE).is_ok()
    };
    assert!(verdict());
    let next = world.rotate(6, 0).await;
    assert!(verdict());
    world.revoke_key(&first).await;
    assert!(!verdict());
    let (world_there, now) = (follower.snapshot(), world.now());
    let keys = world_there.issuer_keys();
    assert_eq!(keys.signing(now).unwrap().kid, next);
    assert_eq!(keys.stage(keys.key(&first).unwrap(), now), KeyStage::Revoked);
}

#[tokio::test]
async fn a_revoked_key_stays_revoked_over_a_restart_and_does_not_come_back() {
    let world = World::new().await;
    let first = world.kid();
    world.rotate(6, 0).await;
    world.revoke_key(&first).await;
    let keys = world.store.snapshot().issuer_keys().clone();
    let again = IssuerKey { revoked: None, ..keys.key(&first).unwrap().clone() };
    let batch = remit_store::Batch::new(remit_model::TenantId::main()).change(Change::PutIssuerKey(again));
    assert!(world.store.apply(batch).await.is_err());
    // The restarted process has the file of the revoked key alone.
    let error = world.restart_error().await;
    assert!(error.contains("revoked"), "{error}");
}
