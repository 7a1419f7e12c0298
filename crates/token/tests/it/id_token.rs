//! ID tokens. SPEC: OpenID Connect Core §2, §3.1.3.7.

use crate::support::{CLIENT, ISSUER, NOW, altered, ed25519, es256, id_claims, keys, refused, verify_id, without};
use remit_model::Code;
use remit_token::{Skew, id_token};
use serde_json::json;

#[test]
fn what_is_minted_is_what_is_verified() {
    for key in [ed25519(1), es256(1)] {
        let compact = id_token::mint(&key, &id_claims()).unwrap();
        let verified = verify_id(&compact, &key).unwrap();
        assert_eq!(*verified, id_claims());
        assert_eq!(verified.compact(), compact);
    }
}

#[test]
fn the_consent_is_under_the_signature() {
    let key = ed25519(1);
    let compact = id_token::mint(&key, &id_claims()).unwrap();
    let forged = altered(&compact, &ed25519(2), |_, body| body["urn:remit:consent"] = json!("sha-256:ff"));
    refused(verify_id(&forged, &key), Code::TokenSignatureInvalid);
}

#[test]
fn nonce_client_and_issuer_must_be_the_expected_ones() {
    let key = ed25519(1);
    let compact = id_token::mint(&key, &id_claims()).unwrap();
    refused(verify_id(&altered(&compact, &key, |_, body| body["nonce"] = json!("other")), &key), Code::TokenMalformed);
    refused(verify_id(&altered(&compact, &key, |_, body| without(body, "nonce")), &key), Code::TokenMalformed);
    for aud in [json!("agent:other"), json!([CLIENT, "agent:other"])] {
        refused(verify_id(&altered(&compact, &key, |_, body| body["aud"] = aud), &key), Code::TokenAudienceWrong);
    }
    refused(
        verify_id(&altered(&compact, &key, |_, body| body["iss"] = json!("https://evil.example")), &key),
        Code::TokenIssuerUnknown,
    );
}

#[test]
fn an_old_token_verifies_at_its_own_time() {
    let key = ed25519(1);
    let compact = id_token::mint(&key, &id_claims()).unwrap();
    let expect = id_token::Expect { issuer: ISSUER, client_id: CLIENT, nonce: None };
    let at = |now| id_token::verify(&compact, &keys(&key), &expect, now, Skew::NONE);
    at(NOW.plus(299)).unwrap();
    refused(at(NOW.plus(300)), Code::TokenExpired);
}
