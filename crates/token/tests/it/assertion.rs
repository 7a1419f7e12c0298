//! Client assertions. SPEC: TK-04, J-09, N-TK-*.

use crate::support::{CLIENT, ISSUER, NOW, TOKEN_URL, altered, ed25519, es256, keys, refused, verify_assertion, without};
use remit_model::{AssertionAudience, Code};
use remit_token::{Skew, assertion};
use serde_json::json;

fn good(key: &remit_token::PrivateKey) -> String {
    assertion::create(key, CLIENT, ISSUER, "assertion-1", NOW).unwrap()
}

#[test]
fn a_client_shows_its_key() {
    for key in [ed25519(1), es256(1)] {
        let compact = good(&key);
        assert_eq!(assertion::Presented::read(&compact).unwrap().client_id().unwrap(), CLIENT);
        let verified = verify_assertion(&compact, &key).unwrap();
        assert_eq!((verified.client_id(), verified.jti(), verified.expires()), (CLIENT, "assertion-1", NOW.plus(60)));
        assert_eq!(verified.compact(), compact);
    }
}

#[test]
fn tk_04_typ_may_be_absent_or_jwt_and_nothing_else() {
    let key = ed25519(1);
    let compact = good(&key);
    verify_assertion(&altered(&compact, &key, |header, _| without(header, "typ")), &key).unwrap();
    verify_assertion(&altered(&compact, &key, |header, _| header["typ"] = json!("JWT")), &key).unwrap();
    for typ in ["at+jwt", "dpop+jwt", "delegation+jwt", "JOSE"] {
        refused(verify_assertion(&altered(&compact, &key, |header, _| header["typ"] = json!(typ)), &key), Code::TokenTypeWrong);
    }
}

#[test]
fn n_tk_02_the_token_endpoint_is_not_an_audience() {
    let key = ed25519(1);
    let compact = good(&key);
    for aud in [json!(TOKEN_URL), json!([TOKEN_URL]), json!("https://remit.example/"), json!("")] {
        refused(verify_assertion(&altered(&compact, &key, |_, body| body["aud"] = aud), &key), Code::TokenAudienceWrong);
    }
    verify_assertion(&altered(&compact, &key, |_, body| body["aud"] = json!([ISSUER])), &key).unwrap();
}

/// The token endpoint is an audience only for a client that is registered so, and never together with the issuer.
#[test]
fn n_tk_02_the_token_endpoint_is_an_audience_where_the_client_is_registered_to_name_it() {
    let key = ed25519(1);
    let expect = assertion::Expect { client_id: CLIENT, issuer: ISSUER, token_endpoint: Some(TOKEN_URL) };
    let verify = |aud| {
        let compact = altered(&good(&key), &key, |_, body| body["aud"] = aud);
        assertion::verify(&compact, &keys(&key), &expect, NOW, Skew::default())
    };
    assert_eq!(verify(json!(TOKEN_URL)).unwrap().audience(), AssertionAudience::TokenEndpoint);
    assert_eq!(verify(json!([TOKEN_URL])).unwrap().audience(), AssertionAudience::TokenEndpoint);
    assert_eq!(verify(json!(ISSUER)).unwrap().audience(), AssertionAudience::Issuer);
    for aud in [json!([ISSUER, TOKEN_URL]), json!(format!("{TOKEN_URL}/")), json!(format!("{TOKEN_URL}?x=1")), json!([])] {
        refused(verify(aud), Code::TokenAudienceWrong);
    }
}

#[test]
fn n_tk_03_several_audiences() {
    let key = ed25519(1);
    for aud in [json!([ISSUER, "https://other.example"]), json!([ISSUER, ISSUER]), json!([])] {
        refused(verify_assertion(&altered(&good(&key), &key, |_, body| body["aud"] = aud), &key), Code::TokenAudienceWrong);
    }
}

#[test]
fn n_tk_05_an_assertion_of_another_client() {
    let key = ed25519(1);
    let other = assertion::create(&key, "agent:other", ISSUER, "assertion-1", NOW).unwrap();
    refused(verify_assertion(&other, &key), Code::TokenIssuerUnknown);
    let split = altered(&good(&key), &key, |_, body| body["sub"] = json!("agent:other"));
    refused(verify_assertion(&split, &key), Code::TokenMalformed);
}

#[test]
fn n_tk_06_another_key() {
    refused(verify_assertion(&good(&ed25519(2)), &ed25519(1)), Code::TokenSignatureInvalid);
    let impostor = altered(&good(&ed25519(1)), &ed25519(2), |_, _| ());
    refused(verify_assertion(&impostor, &ed25519(1)), Code::TokenSignatureInvalid);
}

#[test]
fn n_tk_07_expired_far_future_or_without_end() {
    let key = ed25519(1);
    let compact = good(&key);
    let with_exp = |exp: i64| altered(&compact, &key, |_, body| body["exp"] = json!(exp));
    verify_assertion(&with_exp(NOW.0 + 3_630), &key).unwrap();
    let endless = verify_assertion(&with_exp(NOW.0 + 3_631), &key).unwrap_err();
    assert_eq!(endless.code, Code::TokenMalformed);
    assert!(endless.reason.contains("client assertion") && endless.reason.contains("3600 seconds"), "{endless}");
    let expired = verify_assertion(&with_exp(NOW.0 - 30), &key).unwrap_err();
    assert!(expired.reason.starts_with("the client assertion expired"), "{expired}");
    refused(verify_assertion(&with_exp(NOW.0 - 30), &key), Code::TokenExpired);
    refused(verify_assertion(&altered(&compact, &key, |_, body| without(body, "exp")), &key), Code::TokenMalformed);
    refused(verify_assertion(&altered(&compact, &key, |_, body| body["iat"] = json!(NOW.0 + 31)), &key), Code::TokenNotYetValid);
}

#[test]
fn tk_04_jti_is_required_and_short() {
    let key = ed25519(1);
    let compact = good(&key);
    refused(verify_assertion(&altered(&compact, &key, |_, body| without(body, "jti")), &key), Code::TokenMalformed);
    for jti in [String::new(), "j".repeat(257)] {
        refused(verify_assertion(&altered(&compact, &key, |_, body| body["jti"] = json!(jti)), &key), Code::TokenMalformed);
    }
}
