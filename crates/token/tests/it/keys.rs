//! Keys: made, written, read, and refused. SPEC: DP-04, J-10.

use crate::support::{ed25519, es256};
use remit_token::{Algorithm, PrivateKey, PublicKey};
use serde_json::{Value, json};

#[test]
fn a_private_key_survives_pem() {
    for key in [ed25519(1), es256(1)] {
        let pem = key.to_pkcs8_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.ends_with("-----END PRIVATE KEY-----\n"));
        assert!(pem.lines().all(|line| line.len() <= 64));
        let read = PrivateKey::from_pkcs8_pem(&pem).unwrap();
        assert_eq!(read.public(), key.public());
        assert_eq!(read.public().to_jwk(), key.public().to_jwk());
    }
}

#[test]
fn pem_that_is_not_a_private_key() {
    let pem = ed25519(1).to_pkcs8_pem().unwrap().to_string();
    for bad in [
        String::new(),
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----".into(),
        pem.replace("PRIVATE KEY", "EC PRIVATE KEY"),
        pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        pem.replace('M', "!"),
        format!("{pem}{pem}"),
    ] {
        let fault = PrivateKey::from_pkcs8_pem(&bad).unwrap_err();
        let body = pem.lines().nth(1).unwrap();
        assert!(!fault.to_string().contains(body), "a fault must not repeat a key");
    }
}

#[test]
fn debug_shows_no_secret() {
    let key = ed25519(0x41);
    let shown = format!("{key:?}");
    assert!(shown.contains(key.public().thumbprint()));
    assert!(!shown.contains("AAAA") && !shown.contains("65, 65") && !shown.contains("4141"));
}

#[test]
fn keys_come_from_the_callers_entropy_alone() {
    let mut count = 0_u8;
    let mut entropy = |bytes: &mut [u8]| {
        count += 1;
        bytes.fill(count);
    };
    let key = PrivateKey::generate(Algorithm::Es256, &mut entropy).unwrap();
    assert_eq!(key.public(), es256(1).public());
    let key = PrivateKey::generate(Algorithm::Ed25519, &mut entropy).unwrap();
    assert_eq!(key.public(), ed25519(2).public());
}

#[test]
fn entropy_that_only_gives_impossible_scalars_is_a_fault_and_not_a_loop() {
    assert!(PrivateKey::generate(Algorithm::Es256, &mut |bytes| bytes.fill(0)).is_err());
    assert!(PrivateKey::generate(Algorithm::Es256, &mut |bytes| bytes.fill(0xff)).is_err());
    assert!(PrivateKey::generate(Algorithm::Rs256, &mut |bytes| bytes.fill(1)).is_err());
}

#[test]
fn n_dp_03_private_members_are_refused_by_every_reader() {
    for (key, members) in [(ed25519(1), ["d", "k"]), (es256(1), ["d", "priv"])] {
        for member in members {
            let mut jwk = key.public().to_jwk();
            jwk[member] = json!("AAAA");
            assert!(PublicKey::from_jwk(&jwk).unwrap_err().reason.contains(member));
        }
    }
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        let mut jwk = rsa(256, &[1, 0, 1]);
        jwk[member] = json!("AAAA");
        assert!(PublicKey::from_jwk(&jwk).is_err());
    }
}

#[test]
fn n_dp_17_points_off_the_curve_and_wrong_lengths() {
    let good = es256(1).public().to_jwk();
    let flipped = good["x"].as_str().unwrap().replacen(|c: char| c.is_ascii_lowercase(), "Z", 1);
    for (name, value) in [
        ("y", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE")),
        ("x", json!(flipped)),
        ("x", json!("AAAA")),
        ("x", json!("")),
        ("x", json!(7)),
        ("crv", json!("P-384")),
        ("crv", json!("secp256k1")),
        ("kty", json!("OKP")),
        ("alg", json!("ES384")),
        ("alg", json!("HS256")),
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!("verify")),
    ] {
        let mut jwk = good.clone();
        jwk[name] = value;
        assert!(PublicKey::from_jwk(&jwk).is_err(), "{jwk}");
    }
    let padded = format!("{}=", good["x"].as_str().unwrap());
    let mut jwk = good;
    jwk["x"] = json!(padded);
    assert!(PublicKey::from_jwk(&jwk).is_err());
}

#[test]
fn j_10_rsa_needs_2048_bits_and_65537() {
    assert_eq!(PublicKey::from_jwk(&rsa(256, &[1, 0, 1])).unwrap().algorithm(), Algorithm::Rs256);
    let mut pss = rsa(256, &[1, 0, 1]);
    pss["alg"] = json!("PS256");
    assert_eq!(PublicKey::from_jwk(&pss).unwrap().algorithm(), Algorithm::Ps256);
    for (bytes, exponent) in
        [(255, vec![1, 0, 1]), (128, vec![1, 0, 1]), (1025, vec![1, 0, 1]), (256, vec![3]), (256, vec![0, 1, 0, 1])]
    {
        assert!(PublicKey::from_jwk(&rsa(bytes, &exponent)).is_err(), "{bytes} {exponent:?}");
    }
}

#[test]
fn ed25519_keys_of_small_order_or_with_two_spellings() {
    let encode = |bytes: [u8; 32]| b64(&bytes);
    let mut weak = vec![[0; 32]];
    let mut one = [0; 32];
    one[0] = 1;
    weak.push(one);
    for low in [0xec, 0xed, 0xee, 0xff] {
        let mut high = [0xff; 32];
        high[0] = low;
        high[31] = 0x7f;
        weak.push(high);
    }
    for point in weak {
        let mut negative = point;
        negative[31] |= 0x80;
        for point in [point, negative] {
            assert!(PublicKey::from_jwk(&json!({"kty": "OKP", "crv": "Ed25519", "x": encode(point)})).is_err(), "{point:?}");
        }
    }
}

/// A JWK with an odd modulus of so many bytes; its factors are not needed.
fn rsa(bytes: usize, exponent: &[u8]) -> Value {
    json!({"kty": "RSA", "n": b64(&vec![0xd5; bytes]), "e": b64(exponent)})
}

fn b64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(bytes)
}
