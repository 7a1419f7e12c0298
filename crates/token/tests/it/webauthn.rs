//! Passkeys: what an authenticator says when one is made, in each of the algorithms that are offered, and what is no such thing.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ciborium::Value as Cbor;
use remit_model::json::sha256;
use remit_token::webauthn::{Assertion, Expect, Registered, Registration, RelyingParty};
use serde_json::{Value, json};

/// The members of a CBOR map.
type Members = Vec<(Cbor, Cbor)>;

const CHALLENGE: [u8; 32] = [7; 32];

fn party() -> RelyingParty {
    RelyingParty::of("https://remit.example").unwrap()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn client_data(kind: &str) -> Vec<u8> {
    json!({"type": kind, "challenge": encode(&CHALLENGE), "origin": "https://remit.example"}).to_string().into_bytes()
}

fn map(members: Vec<(i64, Cbor)>) -> Cbor {
    Cbor::Map(members.into_iter().map(|(name, value)| (Cbor::from(name), value)).collect())
}

fn head(flags: u8, counter: u32) -> Vec<u8> {
    [&sha256(b"remit.example")[..], &[flags], &counter.to_be_bytes()].concat()
}

fn authenticator_data(flags: u8, id: &[u8], key: &Cbor) -> Vec<u8> {
    let mut data = head(flags, 1);
    data.extend([0; 16]);
    data.extend(u16::try_from(id.len()).unwrap().to_be_bytes());
    data.extend(id);
    ciborium::into_writer(key, &mut data).unwrap();
    data
}

fn object(members: &[(&str, Cbor)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let members = members.iter().map(|(name, value)| (Cbor::from(*name), value.clone())).collect();
    ciborium::into_writer(&Cbor::Map(members), &mut bytes).unwrap();
    bytes
}

fn none(data: Vec<u8>) -> Vec<u8> {
    object(&[("fmt", "none".into()), ("attStmt", Cbor::Map(Vec::new())), ("authData", Cbor::Bytes(data))])
}

fn made(attestation: &[u8]) -> Result<Registered, String> {
    let text = json!({"client_data": encode(&client_data("webauthn.create")), "attestation": encode(attestation)});
    let registration = Registration::read(&text.to_string()).map_err(|refusal| refusal.reason)?;
    registration.verify(&Expect { party: &party(), challenge: &CHALLENGE }).map_err(|refusal| refusal.reason)
}

fn asserted(id: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Assertion {
    let (data, client) = (head(5, 2), client_data("webauthn.get"));
    let signature = sign(&[data.as_slice(), &sha256(&client)].concat());
    let text = json!({
        "credential": id, "authenticator_data": encode(&data), "client_data": encode(&client), "signature": encode(&signature),
    });
    Assertion::read(&text.to_string()).unwrap()
}

/// A passkey of some algorithm: its COSE key, and how it signs.
type Kind = (&'static str, Cbor, Box<dyn Fn(&[u8]) -> Vec<u8>>);

/// What is done to a COSE key.
type Change<'a> = (&'static str, &'a dyn Fn(&mut Vec<(Cbor, Cbor)>));

fn kinds() -> Vec<Kind> {
    let random = SystemRandom::new();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let point = ec.public_key().as_ref().to_vec();
    let (x, y) = (point[1..33].to_vec(), point[33..].to_vec());
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_public = ed.public_key().as_ref().to_vec();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // RSAPublicKey of RFC 8017 appendix A.1.1: two headers and a zero, then 2048 bits of modulus.
    let modulus = rsa.public_key().as_ref()[9..265].to_vec();
    vec![
        (
            "ES256",
            map(vec![(1, 2.into()), (3, (-7).into()), (-1, 1.into()), (-2, Cbor::Bytes(x)), (-3, Cbor::Bytes(y))]),
            Box::new(move |message| ec.sign(&random, message).unwrap().as_ref().to_vec()),
        ),
        (
            "EdDSA",
            map(vec![(1, 1.into()), (3, (-8).into()), (-1, 6.into()), (-2, Cbor::Bytes(ed_public))]),
            Box::new(move |message| ed.sign(message).as_ref().to_vec()),
        ),
        (
            "RS256",
            map(vec![(1, 3.into()), (3, (-257).into()), (-1, Cbor::Bytes(modulus)), (-2, Cbor::Bytes(vec![1, 0, 1]))]),
            Box::new(move |message| {
                let mut signature = vec![0; rsa.public_modulus_len()];
                rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }),
        ),
    ]
}

#[test]
fn passkeys_of_every_offered_algorithm_are_made_and_sign() {
    let expect = (party(), CHALLENGE);
    let expect = Expect { party: &expect.0, challenge: &expect.1 };
    for (name, cose, sign) in kinds() {
        let passkey = made(&none(authenticator_data(0x45, b"credential", &cose))).unwrap();
        assert_eq!((passkey.id.as_str(), passkey.counter, passkey.synced), (encode(b"credential").as_str(), 1, false), "{name}");
        let good = asserted(&passkey.id, &sign);
        assert_eq!(good.verify(&passkey.key, 1, &expect).unwrap().counter, 2, "{name}");
        for seen in [2, 3, u32::MAX] {
            assert!(good.verify(&passkey.key, seen, &expect).unwrap_err().reason.contains("counter"), "{name} after {seen}");
        }
        let other = Expect { challenge: &[8; 32], ..expect };
        assert!(good.verify(&passkey.key, 1, &other).is_err(), "{name}: another challenge");
        for (_, other, _) in kinds() {
            let other = made(&none(authenticator_data(0x45, b"credential", &other))).unwrap();
            assert!(good.verify(&other.key, 1, &expect).is_err(), "{name}: another key");
        }
    }
}

#[test]
fn a_statement_of_any_format_is_passed_over_and_anything_else_is_no_attestation_object() {
    let (_, key, _) = kinds().remove(0);
    let data = || Cbor::Bytes(authenticator_data(0x45, b"id", &key));
    let statement = || Cbor::Map(vec![("x5c".into(), Cbor::Array(vec![Cbor::Bytes(vec![1])]))]);
    assert!(made(&object(&[("fmt", "packed".into()), ("attStmt", statement()), ("authData", data())])).is_ok());
    let whole = none(authenticator_data(0x45, b"id", &key));
    let twice = [("fmt", "none".into()), ("fmt", "none".into()), ("attStmt", statement()), ("authData", data())];
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("no map", vec![0x80]),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("more after it", [whole.as_slice(), &[0]].concat()),
        ("no statement", object(&[("fmt", "none".into()), ("authData", data())])),
        ("no data", object(&[("fmt", "none".into()), ("attStmt", statement())])),
        ("a member twice", object(&twice)),
        ("a member more", object(&[("fmt", "none".into()), ("attStmt", statement()), ("authData", data()), ("x", 1.into())])),
        ("data as text", object(&[("fmt", "none".into()), ("attStmt", statement()), ("authData", "x".into())])),
        ("a format that is none", object(&[("fmt", 1.into()), ("attStmt", statement()), ("authData", data())])),
        ("arrays without end", vec![0x81; 10_000]),
        ("a length beyond all bytes", vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ] {
        assert!(made(&bytes).is_err(), "{what}");
    }
}

#[test]
fn a_passkey_of_another_kind_or_form_is_not_enrolled() {
    let (_, good, _) = kinds().remove(0);
    let changed = |change: &dyn Fn(&mut Members)| {
        let mut members = good.clone().into_map().unwrap();
        change(&mut members);
        made(&none(authenticator_data(0x45, b"id", &Cbor::Map(members))))
    };
    assert!(changed(&|_| ()).is_ok());
    let changes: [Change<'_>; 9] = [
        ("no algorithm", &|members| drop(members.remove(1))),
        ("an algorithm that was not offered", &|members| members[1].1 = (-35).into()),
        ("an algorithm of another kind", &|members| members[1].1 = (-8).into()),
        ("another curve", &|members| members[2].1 = 2.into()),
        ("a short coordinate", &|members| members[3].1 = Cbor::Bytes(vec![1; 31])),
        ("a point off the curve", &|members| members[4].1 = Cbor::Bytes(vec![1; 32])),
        ("a compressed point", &|members| members[4].1 = true.into()),
        ("a label twice", &|members| members.push(members[3].clone())),
        ("no key type", &|members| drop(members.remove(0))),
    ];
    for (what, change) in changes {
        assert!(changed(change).is_err(), "{what}");
    }
    for (what, flags, id, more) in [
        ("no one present", 0x44, vec![1; 16], vec![]),
        ("no one verified", 0x41, vec![1; 16], vec![]),
        ("no passkey stated", 0x05, vec![1; 16], vec![]),
        ("backed up though it cannot be", 0x55, vec![1; 16], vec![]),
        ("an empty id", 0x45, vec![], vec![]),
        ("an id that is too long", 0x45, vec![1; 1024], vec![]),
        ("something after it", 0x45, vec![1; 16], vec![0xa0]),
        ("extensions that are not there", 0xC5, vec![1; 16], vec![]),
    ] {
        let data = [authenticator_data(flags, &id, &good), more].concat();
        assert!(made(&none(data)).is_err(), "{what}");
    }
    assert!(made(&none([authenticator_data(0xC5, b"id", &good), vec![0xa0]].concat())).is_ok(), "announced extensions");
    assert!(made(&none(authenticator_data(0x5D, b"id", &good))).unwrap().synced);
}

#[test]
fn a_response_that_is_not_read_completely_is_not_read() {
    let good = json!({"client_data": "AAAA", "attestation": "AAAA"});
    assert!(Registration::read(&good.to_string()).is_ok());
    for (what, text) in [
        ("no JSON", "{".to_owned()),
        ("a member twice", r#"{"client_data":"AAAA","client_data":"AAAA","attestation":"AAAA"}"#.to_owned()),
        ("a member more", json!({"client_data": "AAAA", "attestation": "AAAA", "x": 1}).to_string()),
        ("a member less", json!({"client_data": "AAAA"}).to_string()),
        ("another type", json!({"client_data": 1, "attestation": Value::Null}).to_string()),
        ("too long", json!({"client_data": "A".repeat(20_000), "attestation": "AAAA"}).to_string()),
    ] {
        assert_eq!(Registration::read(&text).unwrap_err().code.as_str(), "passkey_invalid", "{what}");
        assert!(Assertion::read(&text).is_err(), "{what}");
    }
}
