//! Access tokens. SPEC: RFC 9068, N-AT-*.

use crate::support::{ISSUER, NOW, RESOURCE, access_claims, altered, ed25519, es256, keys, refused, verify_access, without};
use remit_model::{Code, UnixTime};
use remit_token::{KeySet, Skew, access, inspect_unverified};
use serde_json::json;

#[test]
fn what_is_minted_is_what_is_verified() {
    for key in [ed25519(1), es256(1)] {
        let compact = access::mint(&key, &access_claims()).unwrap();
        let token = verify_access(&compact, &key).unwrap();
        assert_eq!(token.claims(), &access_claims());
        assert_eq!(token.digest(), &access::digest(&compact));
        assert_eq!(token.actor(), "agent:summarizer");
    }
}

#[test]
fn the_wire_form_is_rfc_9068() {
    let compact = access::mint(&ed25519(1), &access_claims()).unwrap();
    let seen = inspect_unverified(&compact).unwrap();
    assert_eq!(seen.header["typ"], "at+jwt");
    assert_eq!(seen.header["alg"], "Ed25519");
    assert_eq!(seen.header["kid"], ed25519(1).public().thumbprint());
    assert_eq!(seen.claims["aud"], RESOURCE);
    assert_eq!(seen.claims["act"]["sub"], "agent:summarizer");
    assert_eq!(seen.claims["act"]["act"], json!({"iss": ISSUER, "sub": "agent:planner", "sub_profile": "ai_agent"}));
    assert_eq!(seen.claims["cnf"]["jkt"], ed25519(9).public().thumbprint());
    assert_eq!(seen.claims["authorization_details"][0]["type"], "tool_access");
    assert_eq!(seen.claims["authorization_details"], access_claims().authority.to_value());
    assert_eq!(seen.claims["urn:remit:ancestors"], json!(["token-1"]));
    assert_eq!(seen.claims["urn:remit:purpose"], "close stale tickets");
}

/// Claims without anything that may be absent.
fn bare() -> access::Claims {
    let mut claims = access_claims();
    claims.auth_time = None;
    claims.acr = None;
    claims.amr.clear();
    claims.cnf_jkt = None;
    claims.act = None;
    claims.ancestors.clear();
    claims.ancestor_keys.clear();
    claims.ancestor_jkts.clear();
    claims.purpose = None;
    claims
}

#[test]
fn the_claims_of_a_token_have_one_order() {
    const ALWAYS: &[&str] = &["iss", "sub", "aud", "client_id", "scope", "jti", "iat", "exp", "authorization_details", "txn"];
    const SOMETIMES: &[&str] = &[
        "auth_time",
        "acr",
        "amr",
        "cnf",
        "act",
        "urn:remit:ancestors",
        "urn:remit:ancestor_keys",
        "urn:remit:ancestor_jkts",
        "urn:remit:purpose",
    ];
    let names = |claims| {
        let seen = inspect_unverified(&access::mint(&ed25519(1), &claims).unwrap()).unwrap();
        seen.claims.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(bare()), ALWAYS);
    let full = access::Claims { acr: Some("urn:acr".to_owned()), ..access_claims() };
    assert_eq!(names(full), [ALWAYS, SOMETIMES].concat());
}

#[test]
fn absent_optional_claims_stay_absent() {
    let claims = bare();
    let key = ed25519(1);
    let token = verify_access(&access::mint(&key, &claims).unwrap(), &key).unwrap();
    assert_eq!(token.claims(), &claims);
    assert_eq!(token.actor(), "user:alice");
}

#[test]
fn n_at_02_without_typ_or_with_plain_jwt() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    refused(verify_access(&altered(&good, &key, |header, _| without(header, "typ")), &key), Code::TokenTypeWrong);
    refused(verify_access(&altered(&good, &key, |header, _| header["typ"] = json!("JWT")), &key), Code::TokenTypeWrong);
    refused(verify_access(&altered(&good, &key, |header, _| header["typ"] = json!(7)), &key), Code::TokenMalformed);
}

#[test]
fn n_at_03_several_audiences_even_with_ours() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    for aud in [json!([RESOURCE, "https://evil.example"]), json!([RESOURCE]), json!([]), json!({}), json!(null)] {
        refused(verify_access(&altered(&good, &key, |_, body| body["aud"] = aud), &key), Code::TokenAudienceWrong);
    }
    refused(verify_access(&altered(&good, &key, |_, body| without(body, "aud")), &key), Code::TokenMalformed);
}

#[test]
fn n_at_04_another_tenants_issuer_with_the_same_key_id() {
    let (ours, theirs) = (ed25519(1), ed25519(2));
    let kid = ours.public().thumbprint();
    let mut claims = access_claims();
    claims.iss = "https://remit.example/t/other".into();
    let foreign = access::mint(&theirs, &claims).unwrap();
    let disguised = altered(&foreign, &theirs, |header, _| header["kid"] = json!(kid));
    refused(verify_access(&disguised, &ours), Code::TokenIssuerUnknown);
    let lying = altered(&disguised, &theirs, |_, body| body["iss"] = json!(ISSUER));
    refused(verify_access(&lying, &ours), Code::TokenSignatureInvalid);
}

#[test]
fn j_06_expired_early_and_everlasting() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    let at = |now: UnixTime| {
        access::verify(&good, &keys(&key), &access::Expect { issuer: ISSUER, audience: Some(RESOURCE) }, now, Skew::default())
    };
    at(NOW.plus(629)).unwrap();
    refused(at(NOW.plus(630)), Code::TokenExpired);
    at(NOW.plus(-30)).unwrap();
    refused(at(NOW.plus(-31)), Code::TokenNotYetValid);
    refused(verify_access(&altered(&good, &key, |_, body| without(body, "exp")), &key), Code::TokenMalformed);
    refused(verify_access(&altered(&good, &key, |_, body| body["nbf"] = json!(NOW.0 + 31)), &key), Code::TokenNotYetValid);
    refused(verify_access(&altered(&good, &key, |_, body| body["exp"] = json!(NOW.0 + 3601)), &key), Code::TokenMalformed);
    for exp in [json!("1800000600"), json!(1e300), json!(-5), json!(9_007_199_254_740_993_i64), json!(null), json!(true)] {
        refused(verify_access(&altered(&good, &key, |_, body| body["exp"] = exp), &key), Code::TokenMalformed);
    }
}

#[test]
fn j_06_numeric_dates_may_have_fractions() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    let fractional = altered(&good, &key, |_, body| body["exp"] = json!(1_800_000_600.75));
    assert_eq!(verify_access(&fractional, &key).unwrap().exp, UnixTime(1_800_000_600));
}

#[test]
fn j_06_skew_is_never_more_than_a_minute() {
    assert_eq!(Skew::seconds(3600).as_seconds(), 60);
    assert_eq!(Skew::seconds(-5).as_seconds(), 0);
    assert_eq!(Skew::default().as_seconds(), 30);
}

#[test]
fn j_07_issuer_is_compared_exactly() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    for issuer in ["https://remit.example/", "https://REMIT.example", "https://remit.example ", ""] {
        refused(verify_access(&altered(&good, &key, |_, body| body["iss"] = json!(issuer)), &key), Code::TokenIssuerUnknown);
    }
}

#[test]
fn j_08_a_token_for_another_resource() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    for aud in ["https://remit.example/mcp/payroll", "https://remit.example/mcp/helpdesk/", ISSUER] {
        refused(verify_access(&altered(&good, &key, |_, body| body["aud"] = json!(aud)), &key), Code::TokenAudienceWrong);
    }
    let any = access::Expect { issuer: ISSUER, audience: None };
    assert_eq!(access::verify(&good, &keys(&key), &any, NOW, Skew::default()).unwrap().aud, RESOURCE);
}

#[test]
fn every_claim_has_its_type() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    for name in ["sub", "client_id", "scope", "jti", "iat", "authorization_details", "txn"] {
        refused(verify_access(&altered(&good, &key, |_, body| without(body, name)), &key), Code::TokenMalformed);
        refused(verify_access(&altered(&good, &key, |_, body| body[name] = json!({"a": 1})), &key), Code::TokenMalformed);
    }
    for name in [
        "auth_time",
        "acr",
        "amr",
        "cnf",
        "act",
        "urn:remit:ancestors",
        "urn:remit:ancestor_keys",
        "urn:remit:ancestor_jkts",
        "urn:remit:purpose",
    ] {
        refused(verify_access(&altered(&good, &key, |_, body| body[name] = json!([7])), &key), Code::TokenMalformed);
    }
}

#[test]
fn a_confirmation_that_cannot_be_checked_does_not_make_a_bearer_token() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    for cnf in [json!({}), json!({"x5t#S256": "abc"}), json!({"jkt": "short"}), json!("jkt")] {
        refused(verify_access(&altered(&good, &key, |_, body| body["cnf"] = cnf), &key), Code::TokenMalformed);
    }
}

#[test]
fn dc_04_actors_are_well_formed_and_few() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    let actor = |act: serde_json::Value| json!({"iss": ISSUER, "sub": "agent:a", "sub_profile": "ai_agent", "act": act});
    let deep = (0..9).fold(json!({"iss": ISSUER, "sub": "agent:z", "sub_profile": "ai_agent"}), |inner, _| actor(inner));
    for act in [deep, json!({"sub": "agent:a"}), json!({"iss": ISSUER, "sub": "a", "sub_profile": "ai_agent", "exp": 1})] {
        refused(verify_access(&altered(&good, &key, |_, body| body["act"] = act), &key), Code::TokenMalformed);
    }
}

#[test]
fn a_key_that_is_no_longer_published_verifies_nothing() {
    let key = ed25519(1);
    let good = access::mint(&key, &access_claims()).unwrap();
    let expect = access::Expect { issuer: ISSUER, audience: Some(RESOURCE) };
    let empty = KeySet::default();
    refused(access::verify(&good, &empty, &expect, NOW, Skew::default()), Code::TokenSignatureInvalid);
    let both = KeySet::of([ed25519(2).public(), key.public()]);
    access::verify(&good, &both, &expect, NOW, Skew::default()).unwrap();
}
