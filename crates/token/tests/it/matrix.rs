//! No kind passes for another. SPEC: N-AT-01, J-01, standards 4.3.
//!
//! Every token here is signed with the same key, for the same issuer, so that only the kind keeps them apart.

use crate::support::{
    CLIENT, ISSUER, NOW, RESOURCE, access_claims, delegation, ed25519, expect_proof, forge, id_claims, keys, proof_for,
    verify_access, verify_assertion, verify_id, verify_statement,
};
use remit_model::Refusal;
use remit_token::{PrivateKey, Skew, access, assertion, dpop, id_token, statement};
use serde_json::{Value, json};

const KINDS: [&str; 5] = ["access token", "client assertion", "ID token", "delegation statement", "DPoP proof"];

fn ours(kind: &str, key: &PrivateKey) -> String {
    match kind {
        "access token" => access::mint(key, &access_claims()),
        "client assertion" => assertion::create(key, CLIENT, ISSUER, "assertion-1", NOW),
        "ID token" => id_token::mint(key, &id_claims()),
        "delegation statement" => statement::create(key, CLIENT, ISSUER, "statement-1", NOW, &delegation()),
        _ => dpop::create(key, &proof_for()),
    }
    .unwrap()
}

fn verify(kind: &str, compact: &str, key: &PrivateKey) -> Result<(), Refusal> {
    match kind {
        "access token" => verify_access(compact, key).map(drop),
        "client assertion" => verify_assertion(compact, key).map(drop),
        "ID token" => verify_id(compact, key).map(drop),
        "delegation statement" => verify_statement(compact).map(drop),
        _ => dpop::verify(&[compact], &expect_proof()).map(drop),
    }
}

#[test]
fn n_at_01_every_kind_is_refused_by_every_other_verifier() {
    let key = ed25519(1);
    for presented in KINDS {
        let compact = ours(presented, &key);
        for verifier in KINDS {
            assert_eq!(verify(verifier, &compact, &key).is_ok(), presented == verifier, "{presented} as {verifier}");
        }
    }
}

#[test]
fn n_at_01_access_tokens_for_any_audience_are_still_access_tokens() {
    let key = ed25519(1);
    let any = access::Expect { issuer: ISSUER, audience: None };
    for presented in KINDS {
        let verified = access::verify(&ours(presented, &key), &keys(&key), &any, NOW, Skew::default());
        assert_eq!(verified.is_ok(), presented == "access token", "{presented}");
    }
}

/// Kinds that other parts of the world sign, with every claim of ours stuffed into them.
#[test]
fn n_at_01_foreign_kinds_are_refused_by_every_verifier() {
    let key = ed25519(1);
    let mut body = json!({});
    for kind in KINDS {
        let seen = remit_token::inspect_unverified(&ours(kind, &key)).unwrap();
        body.as_object_mut().unwrap().extend(seen.claims);
    }
    for typ in [
        "oauth-id-jag+jwt",
        "txntoken+jwt",
        "secevent+jwt",
        "wit+jwt",
        "wpt+jwt",
        "oauth-authz-req+jwt",
        "logout+jwt",
        "token-introspection+jwt",
        "oauth-client-attestation+jwt",
        "oauth-client-attestation-pop+jwt",
        "JOSE",
        "",
    ] {
        let header = |jwk: Option<Value>| match jwk {
            None => json!({"alg": "Ed25519", "typ": typ}),
            Some(jwk) => json!({"alg": "Ed25519", "typ": typ, "jwk": jwk}),
        };
        for header in [header(None), header(Some(key.public().to_jwk()))] {
            let foreign = forge(&header, &body, &key);
            for verifier in KINDS {
                assert!(verify(verifier, &foreign, &key).is_err(), "{typ} as {verifier}");
            }
        }
    }
}

/// `typ: JWT` is the one label two kinds share; the claims must keep them apart.
#[test]
fn n_at_01_assertion_and_id_token_without_a_label_of_their_own() {
    let key = ed25519(1);
    for (kind, other) in [("client assertion", "ID token"), ("ID token", "client assertion")] {
        let seen = remit_token::inspect_unverified(&ours(kind, &key)).unwrap();
        for header in [json!({"alg": "Ed25519", "typ": "JWT"}), json!({"alg": "Ed25519"})] {
            let plain = forge(&header, &json!(seen.claims), &key);
            verify(kind, &plain, &key).unwrap();
            assert!(verify(other, &plain, &key).is_err(), "{kind} as {other}");
        }
    }
    assert_ne!(RESOURCE, ISSUER);
}
