//! Delegation statements. SPEC: DC-12.

use crate::support::{ISSUER, NOW, altered, delegation, ed25519, es256, refused, verify_statement, without};
use remit_model::Code;
use remit_token::{PrivateKey, Skew, statement};
use serde_json::json;

fn good(key: &PrivateKey) -> String {
    statement::create(key, "agent:planner", ISSUER, "statement-1", NOW, &delegation()).unwrap()
}

#[test]
fn a_delegator_signs_what_it_hands_to_whom() {
    for key in [ed25519(1), es256(1)] {
        let compact = good(&key);
        let verified = verify_statement(&compact).unwrap();
        assert_eq!(verified.delegation(), &delegation());
        assert_eq!((verified.delegator(), verified.jti(), verified.issued()), ("agent:planner", "statement-1", NOW));
        assert_eq!(verified.jkt(), key.public().thumbprint());
        assert_eq!(verified.compact(), compact);
    }
}

#[test]
fn only_the_delegators_own_key_counts() {
    let (key, thief) = (ed25519(1), ed25519(2));
    let expect = statement::Expect { issuer: ISSUER, bound_to: Some(key.public().thumbprint()) };
    statement::verify(&good(&key), &expect, NOW, Skew::default()).unwrap();
    refused(statement::verify(&good(&thief), &expect, NOW, Skew::default()), Code::DpopKeyMismatch);
    let crossed = altered(&good(&key), &thief, |_, _| ());
    refused(verify_statement(&crossed), Code::TokenSignatureInvalid);
}

#[test]
fn a_statement_for_another_server_or_time() {
    let key = ed25519(1);
    let compact = good(&key);
    for aud in [json!("https://other.example"), json!([ISSUER, "https://other.example"])] {
        refused(verify_statement(&altered(&compact, &key, |_, body| body["aud"] = aud)), Code::TokenAudienceWrong);
    }
    refused(verify_statement(&altered(&compact, &key, |_, body| body["exp"] = json!(NOW.0 - 60))), Code::TokenExpired);
    refused(verify_statement(&altered(&compact, &key, |_, body| body["iat"] = json!(NOW.0 + 60))), Code::TokenNotYetValid);
    refused(verify_statement(&altered(&compact, &key, |_, body| body["exp"] = json!(NOW.0 + 90 * 86_400))), Code::TokenMalformed);
}

#[test]
fn every_claim_is_required() {
    let key = ed25519(1);
    for name in ["iss", "sub", "aud", "jti", "iat", "exp", "parent", "cnf", "authorization_details"] {
        refused(verify_statement(&altered(&good(&key), &key, |_, body| without(body, name))), Code::TokenMalformed);
    }
    refused(verify_statement(&altered(&good(&key), &key, |header, _| without(header, "jwk"))), Code::TokenMalformed);
    refused(verify_statement(&altered(&good(&key), &key, |header, _| header["typ"] = json!("JWT"))), Code::TokenTypeWrong);
}
