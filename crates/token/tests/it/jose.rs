//! The JOSE rules that hold for every kind, shown on access tokens. SPEC: J-02 to J-05, J-11, J-12.

use crate::support::{ISSUER, NOW, access_claims, altered, ed25519, es256, forge_raw, keys, refused, verify_access, without};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::{Code, token_bounds};
use remit_token::{Jws, KeySet, PrivateKey, PublicKey, Skew, access, inspect_unverified, sign_jws};
use serde_json::{Value, json};

fn good(key: &PrivateKey) -> String {
    access::mint(key, &access_claims()).unwrap()
}

fn with_header(key: &PrivateKey, name: &str, value: Value) -> String {
    altered(&good(key), key, |header, _| header[name] = value)
}

#[test]
fn j_02_none_in_every_letter_case() {
    let key = ed25519(1);
    let good = good(&key);
    let body = good.split('.').nth(1).unwrap();
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "at+jwt"}).to_string());
        refused(verify_access(&format!("{header}.{body}."), &key), Code::TokenSignatureInvalid);
        refused(verify_access(&with_header(&key, "alg", json!(alg)), &key), Code::TokenSignatureInvalid);
    }
}

#[test]
fn j_02_hmac_with_the_public_key_as_secret() {
    let key = es256(1);
    let secret = key.public().to_jwk()["x"].as_str().unwrap().to_owned();
    let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": key.public().thumbprint()});
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), good(&key).split('.').nth(1).unwrap());
    let mac = remit_model::json::sha256(format!("{secret}{input}").as_bytes());
    refused(verify_access(&format!("{input}.{}", URL_SAFE_NO_PAD.encode(mac)), &key), Code::TokenSignatureInvalid);
}

#[test]
fn j_02_the_header_cannot_choose_another_algorithm_for_the_key() {
    let key = ed25519(1);
    for alg in ["ES256", "ES384", "RS256", "PS256", "HS256", "ed25519", "Ed448", ""] {
        refused(verify_access(&with_header(&key, "alg", json!(alg)), &key), Code::TokenSignatureInvalid);
    }
    refused(verify_access(&with_header(&key, "alg", json!(null)), &key), Code::TokenMalformed);
    refused(verify_access(&altered(&good(&key), &key, |header, _| without(header, "alg")), &key), Code::TokenMalformed);
}

#[test]
fn j_10_legacy_eddsa_is_accepted_and_never_written() {
    let key = ed25519(1);
    verify_access(&with_header(&key, "alg", json!("EdDSA")), &key).unwrap();
    assert_eq!(inspect_unverified(&good(&key)).unwrap().header["alg"], "Ed25519");
    refused(verify_access(&with_header(&es256(1), "alg", json!("EdDSA")), &es256(1)), Code::TokenSignatureInvalid);
}

#[test]
fn j_03_typ_is_compared_without_case_and_prefix() {
    let key = ed25519(1);
    for typ in ["AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        verify_access(&with_header(&key, "typ", json!(typ)), &key).unwrap();
    }
    for typ in ["at+jwt ", "application/application/at+jwt", "at", "x/at+jwt", ""] {
        refused(verify_access(&with_header(&key, "typ", json!(typ)), &key), Code::TokenTypeWrong);
    }
}

#[test]
fn j_04_no_key_source_in_the_header_and_nothing_critical() {
    let key = ed25519(1);
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("jwk", key.public().to_jwk()),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
    ] {
        refused(verify_access(&with_header(&key, name, value), &key), Code::TokenMalformed);
    }
}

#[test]
fn j_05_kid_only_picks_inside_the_set() {
    let (key, other) = (ed25519(1), ed25519(2));
    for kid in ["../../etc/passwd", "' OR 1=1 --", other.public().thumbprint(), ""] {
        refused(verify_access(&with_header(&key, "kid", json!(kid)), &key), Code::TokenSignatureInvalid);
    }
    for kid in [json!("k".repeat(300)), json!(7), json!(null)] {
        refused(verify_access(&with_header(&key, "kid", kid), &key), Code::TokenMalformed);
    }
}

#[test]
fn j_05_without_kid_only_an_unambiguous_key_serves() {
    let (key, other) = (ed25519(1), ed25519(2));
    let nameless = altered(&good(&key), &key, |header, _| without(header, "kid"));
    verify_access(&nameless, &key).unwrap();
    let expect = access::Expect { issuer: ISSUER, audience: None };
    let two = KeySet::of([key.public(), other.public()]);
    refused(access::verify(&nameless, &two, &expect, NOW, Skew::default()), Code::TokenSignatureInvalid);
}

#[test]
fn j_11_only_strict_compact_serialisation() {
    let key = ed25519(1);
    let good = good(&key);
    let parts: Vec<&str> = good.split('.').collect();
    let (header, body, signature) = (parts[0], parts[1], parts[2]);
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{header}.{body}"),
        format!("{good}."),
        format!("{good}.x"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{header}=.{body}.{signature}"),
        format!("{header}.{body}==.{signature}"),
        format!("{header}.{body}\n.{signature}"),
        format!("{header}.{body}.{signature}="),
        format!("{header}.{body}.{signature}+/"),
        json!({"payload": body, "signatures": [{"protected": header, "signature": signature}]}).to_string(),
        format!("{header}.{body}.{signature}.{body}.{signature}"),
    ] {
        refused(verify_access(&bad, &key), Code::TokenMalformed);
    }
}

#[test]
fn j_11_trailing_bits_must_be_zero() {
    let key = ed25519(1);
    let good = good(&key);
    // 64 bytes leave four unused bits in the last letter: flipping one of them changes the text and not the bytes.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(good.chars().last().unwrap()).unwrap();
    let twin = format!("{}{}", &good[..good.len() - 1], alphabet.chars().nth(at ^ 1).unwrap());
    refused(verify_access(&twin, &key), Code::TokenMalformed);
}

#[test]
fn x_10_size_depth_and_duplicates() {
    let key = ed25519(1);
    let kid = key.public().thumbprint();
    let header = format!(r#"{{"alg":"Ed25519","typ":"at+jwt","kid":"{kid}"}}"#);
    refused(verify_access(&"a".repeat(token_bounds::TOKEN.size() + 1), &key), Code::TokenMalformed);
    for body in ["[]", "\"text\"", "{} {}", "", "{", "null"] {
        refused(verify_access(&forge_raw(&header, body, &key), &key), Code::TokenMalformed);
    }
    // Each of these would be accepted but for the one fault.
    let whole = json!(inspect_unverified(&good(&key)).unwrap().claims).to_string();
    let begun = whole.strip_suffix('}').unwrap();
    verify_access(&forge_raw(&header, &format!(r#"{begun},"more":1}}"#), &key), &key).unwrap();
    for tail in [
        r#","scope":"admin"}"#.to_owned(),
        r#","act":{"iss":"a","iss":"b"}}"#.to_owned(),
        format!(r#","more":{}{}}}"#, "[".repeat(40), "]".repeat(40)),
        r#","more":"\ud800"}"#.to_owned(),
        r#","more":1} x"#.to_owned(),
        format!(r#","more":[{}1]}}"#, "1,".repeat(16_000)),
    ] {
        refused(verify_access(&forge_raw(&header, &format!("{begun}{tail}"), &key), &key), Code::TokenMalformed);
    }
    let twice = format!(r#"{{"alg":"none","alg":"Ed25519","typ":"at+jwt","kid":"{kid}"}}"#);
    refused(verify_access(&forge_raw(&twice, &whole, &key), &key), Code::TokenMalformed);
}

#[test]
fn j_12_ecdsa_signatures_of_wrong_form() {
    let key = es256(1);
    let good = good(&key);
    let (input, _) = good.rsplit_once('.').unwrap();
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
        0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51_u8,
    ];
    let one = [[0; 31].as_slice(), &[1]].concat();
    let zero = vec![0; 32];
    for signature in [
        [zero.clone(), zero.clone()].concat(),
        [zero.clone(), one.clone()].concat(),
        [one.clone(), zero].concat(),
        [order.to_vec(), one.clone()].concat(),
        [one.clone(), order.to_vec()].concat(),
        one,
        vec![1; 63],
        vec![1; 65],
        vec![],
    ] {
        let forged = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
        refused(verify_access(&forged, &key), Code::TokenSignatureInvalid);
    }
}

#[test]
fn sign_jws_keeps_alg_and_typ_to_itself() {
    let key = ed25519(1);
    let extra = json!({"alg": "none", "typ": "other", "kid": "mine", "cty": "x"});
    let compact = sign_jws("at+jwt", &key, Some(extra), &json!({})).unwrap();
    let jws = Jws::parse(&compact).unwrap();
    assert_eq!(json!(jws.header()), json!({"alg": "Ed25519", "typ": "at+jwt", "kid": "mine", "cty": "x"}));
    assert_eq!(jws.payload(), b"{}");
    assert_eq!(compact, format!("{}.{}", jws.signing_input(), URL_SAFE_NO_PAD.encode(jws.signature())));
}

#[test]
fn n_f_05_key_sets_with_private_or_symmetric_keys() {
    let good = keys(&ed25519(1)).to_jwks()["keys"][0].clone();
    for bad in [
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "oct"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": good["x"], "d": "AAAA"}),
        json!({"crv": "Ed25519"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
        json!("key"),
        good.clone(),
    ] {
        assert!(KeySet::from_jwks(&json!({"keys": [good, bad]})).is_err(), "{bad}");
    }
    assert!(KeySet::from_jwks(&json!({})).is_err());
    let mixed = json!({"keys": [
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
        {"kty": "RSA", "alg": "RS512", "n": "AA", "e": "AQAB"}, {"kty": "RSA", "use": "enc", "n": "AA", "e": "AQAB"}, good,
    ]});
    assert_eq!(KeySet::from_jwks(&mixed).unwrap().iter().count(), 1);
}

#[test]
fn a_key_set_round_trips() {
    let (one, two) = (ed25519(1), es256(2));
    let set = KeySet::of([one.public(), two.public()]);
    let read = KeySet::from_jwks(&set.to_jwks()).unwrap();
    let names: Vec<(String, PublicKey)> = read.iter().map(|(kid, key)| (kid.to_owned(), key.clone())).collect();
    assert_eq!(names[0], (one.public().thumbprint().to_owned(), one.public().clone()));
    assert_eq!(names[1].1.algorithm().name(), "ES256");
}
