//! Signed introspection answers. SPEC: RFC 9701 §5.

use crate::support::{ISSUER, NOW, access_claims, altered, ed25519, keys, refused, verify_access, without};
use remit_model::{Code, Refusal, UnixTime};
use remit_token::{PrivateKey, Skew, access, introspection};
use serde_json::{Map, Value, json};

const ASKER: &str = "agent:desk";

fn answer() -> Value {
    json!({"active": true, "sub": "user:alice", "exp": NOW.plus(60)})
}

fn minted(key: &PrivateKey) -> String {
    introspection::mint(key, ISSUER, ASKER, NOW, &answer()).unwrap()
}

fn read(compact: &str, caller: &str, now: UnixTime) -> Result<Map<String, Value>, Refusal> {
    introspection::verify(compact, &keys(&ed25519(1)), &introspection::Expect { issuer: ISSUER, caller }, now, Skew::NONE)
}

#[test]
fn in_05_what_is_minted_is_what_is_verified() {
    assert_eq!(Value::Object(read(&minted(&ed25519(1)), ASKER, NOW).unwrap()), answer());
}

#[test]
fn n_in_05_an_answer_to_another_resource_server_says_nothing() {
    let compact = minted(&ed25519(1));
    refused(read(&compact, "agent:other", NOW), Code::TokenAudienceWrong);
    let both = altered(&compact, &ed25519(1), |_, body| body["aud"] = json!([ASKER, "agent:other"]));
    refused(read(&both, ASKER, NOW), Code::TokenAudienceWrong);
}

#[test]
fn in_05_an_answer_is_no_access_token_and_an_access_token_no_answer() {
    let key = ed25519(1);
    refused(verify_access(&minted(&key), &key), Code::TokenTypeWrong);
    refused(read(&access::mint(&key, &access_claims()).unwrap(), ASKER, NOW), Code::TokenTypeWrong);
    for (name, value) in [("sub", json!("user:alice")), ("exp", json!(NOW.plus(60)))] {
        refused(read(&altered(&minted(&key), &key, |_, body| body[name] = value), ASKER, NOW), Code::TokenMalformed);
    }
}

#[test]
fn in_06_an_answer_ages() {
    let compact = minted(&ed25519(1));
    read(&compact, ASKER, NOW.plus(30)).unwrap();
    refused(read(&compact, ASKER, NOW.plus(31)), Code::TokenExpired);
    refused(read(&compact, ASKER, NOW.plus(-1)), Code::TokenNotYetValid);
}

#[test]
fn every_other_change_is_refused() {
    let key = ed25519(1);
    let change = |change: &dyn Fn(&mut Value)| altered(&minted(&key), &key, |_, body| change(body));
    refused(read(&minted(&ed25519(2)), ASKER, NOW), Code::TokenSignatureInvalid);
    refused(read(&change(&|body| body["iss"] = json!("https://other.example")), ASKER, NOW), Code::TokenIssuerUnknown);
    refused(read(&change(&|body| without(body, "iat")), ASKER, NOW), Code::TokenMalformed);
    for answer in [json!("active"), json!({}), json!({"active": "true"})] {
        refused(read(&change(&|body| body["token_introspection"] = answer.clone()), ASKER, NOW), Code::TokenMalformed);
    }
}
