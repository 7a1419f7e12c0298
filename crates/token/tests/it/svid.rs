//! JWT-SVIDs in each algorithm that JWT-SVID §3 lists, verified with the keys of a bundle. SPEC: SP-02

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, KeyPair as _, RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::{Code, UnixTime};
use remit_token::{KeySet, PublicKey, Skew, workload::Presented};
use serde_json::{Value, json};

const NOW: UnixTime = UnixTime(1_800_000_000);
const AUDIENCE: &str = "https://remit.example";

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An SVID with this `alg`, signed by `sign`.
fn svid(alg: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = json!({"alg": alg, "kid": "k", "typ": "JWT"});
    let claims = json!({"sub": "spiffe://example.org/a", "aud": [AUDIENCE], "exp": NOW.0 + 200});
    let input = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    format!("{input}.{}", encode(&sign(input.as_bytes())))
}

fn verified(compact: &str, key: &Value) -> Result<String, Code> {
    let keys = KeySet::from_bundle(std::slice::from_ref(key)).map_err(|refusal| refusal.code)?;
    let svid = Presented::read(compact).unwrap().verify_svid(&keys, AUDIENCE, 300, NOW, Skew::seconds(30));
    svid.map(|svid| svid.subject().to_owned()).map_err(|refusal| refusal.code)
}

#[track_caller]
fn good(compact: &str, key: &Value) {
    assert_eq!(verified(compact, key).as_deref(), Ok("spiffe://example.org/a"));
}

#[track_caller]
fn bad(compact: &str, key: &Value) {
    assert_eq!(verified(compact, key), Err(Code::TokenSignatureInvalid));
}

struct Rsa(RsaKeyPair);

impl Rsa {
    const ALL: [(&'static str, &'static dyn RsaEncoding); 6] = [
        ("RS256", &signature::RSA_PKCS1_SHA256),
        ("RS384", &signature::RSA_PKCS1_SHA384),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("PS256", &signature::RSA_PSS_SHA256),
        ("PS384", &signature::RSA_PSS_SHA384),
        ("PS512", &signature::RSA_PSS_SHA512),
    ];

    fn jwk(&self) -> Value {
        // RSAPublicKey of RFC 8017 §A.1.1: two headers of four bytes and a zero come before a modulus of 2048 bits.
        let der = self.0.public_key().as_ref();
        json!({"kty": "RSA", "kid": "k", "use": "jwt-svid", "n": encode(&der[9..265]), "e": "AQAB"})
    }

    fn svid(&self, alg: &str, encoding: &'static dyn RsaEncoding) -> String {
        svid(alg, |input| {
            let mut signed = vec![0; self.0.public_modulus_len()];
            self.0.sign(encoding, &SystemRandom::new(), input, &mut signed).unwrap();
            signed
        })
    }
}

#[test]
fn sp_02_an_rsa_key_signs_as_jwt_svid_allows() {
    let key = Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    let jwk = key.jwk();
    for (alg, encoding) in Rsa::ALL {
        let token = key.svid(alg, encoding);
        // A bundle of SPIRE does not state an algorithm; one that does is taken at its word.
        good(&token, &jwk);
        for (stated, _) in Rsa::ALL {
            let mut one = jwk.clone();
            one["alg"] = json!(stated);
            if stated == alg { good(&token, &one) } else { bad(&token, &one) }
        }
        // The header of another algorithm over the same signature.
        for (other, _) in Rsa::ALL.iter().filter(|(other, _)| *other != alg) {
            bad(&key.svid(other, encoding), &jwk);
        }
    }
    let other = Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    bad(&other.svid("PS512", &signature::RSA_PSS_SHA512), &jwk);
}

#[test]
fn sp_02_each_curve_signs_with_its_algorithm() {
    let all: [(&str, &str, &'static EcdsaSigningAlgorithm, usize); 3] = [
        ("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING, 32),
        ("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING, 48),
        ("ES512", "P-521", &ECDSA_P521_SHA512_FIXED_SIGNING, 66),
    ];
    for (alg, curve, algorithm, size) in all {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(size);
        let jwk = json!({"kty": "EC", "crv": curve, "kid": "k", "use": "jwt-svid", "x": encode(x), "y": encode(y)});
        let sign = |input: &[u8]| pair.sign(&SystemRandom::new(), input).unwrap().as_ref().to_vec();
        good(&svid(alg, sign), &jwk);
        for (other, ..) in all.iter().filter(|(other, ..)| *other != alg) {
            bad(&svid(other, sign), &jwk);
        }
        let with = |name: &str, value: Value| {
            let mut changed = jwk.clone();
            changed[name] = value;
            verified(&svid(alg, sign), &changed)
        };
        assert_eq!(with("alg", json!("ES256K")), Err(Code::RequestMalformed));
        assert_eq!(with("x", json!(encode(&x[1..]))), Err(Code::RequestMalformed));
        assert_eq!(with("y", json!(encode(x))), Err(Code::RequestMalformed), "off the curve");
        assert_eq!(with("d", json!(encode(x))), Err(Code::RequestMalformed), "private");
        // SPEC: N-SP-08
        for usage in ["x509-svid", "sig", ""] {
            assert_eq!(with("use", json!(usage)), Err(Code::TokenSignatureInvalid), "{usage}");
        }
    }
}

/// SPEC: J-10
#[test]
fn the_keys_of_everything_else_stay_those_that_the_metadata_lists() {
    let rsa = Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()).jwk();
    for alg in ["RS384", "RS512", "PS384", "PS512"] {
        let mut key = rsa.clone();
        (key["alg"], key["use"]) = (json!(alg), json!("sig"));
        PublicKey::from_jwk(&key).unwrap_err();
        assert!(KeySet::from_keys(&[key]).unwrap().is_empty(), "{alg}");
    }
    let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(66);
    PublicKey::from_jwk(&json!({"kty": "EC", "crv": "P-521", "x": encode(x), "y": encode(y)})).unwrap_err();
}

/// SPEC: N-F-05
#[test]
fn a_bundle_with_a_key_that_cannot_be_is_not_used_at_all() {
    let rsa = Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()).jwk();
    let with = |name: &str, value: Value| {
        let mut key = rsa.clone();
        match value {
            Value::Null => drop(key.as_object_mut().unwrap().remove(name)),
            value => key[name] = value,
        }
        key
    };
    for broken in [
        with("kid", Value::Null),
        with("kid", json!("")),
        with("kid", json!("k".repeat(257))),
        with("e", json!("Aw")),
        with("n", json!("AQAB")),
        with("alg", json!("HS256")),
        json!({"kty": "oct", "use": "jwt-svid", "kid": "o", "k": "AAAA"}),
        rsa.clone(),
    ] {
        assert_eq!(KeySet::from_bundle(&[rsa.clone(), broken.clone()]).unwrap_err().code, Code::RequestMalformed, "{broken}");
    }
    // Kinds of key that are not known yet, and those for X.509-SVIDs.
    let later = [json!({"kty": "AKP", "use": "jwt-svid", "kid": "p"}), json!({"kty": "EC", "crv": "P-999", "use": "jwt-svid"})];
    let x509 = json!({"kty": "RSA", "use": "x509-svid", "x5c": ["AAAA"]});
    let keys = KeySet::from_bundle(&[later[0].clone(), later[1].clone(), x509]).unwrap();
    assert!(keys.is_empty());
}
