//! Published vectors: the RFCs' examples, and Wycheproof's JWS set when `REMIT_VECTORS` names a folder that has it.

use crate::{
    dpop::{self, NonceRule},
    jws::Jws,
    key::{Algorithm, PrivateKey, PublicKey},
    keyset::KeySet,
};
use remit_model::{Refusal, UnixTime, json::sha256};
use serde_json::{Value, json};

/// As every verifier does it: key by `kid` and `alg` from a set of its own, then the signature.
fn verify(compact: &str, keys: &KeySet) -> Result<(), Refusal> {
    let jws = Jws::parse(compact)?;
    jws.verify(keys.key_for(&jws)?)
}

fn rfc7515_a3_key() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}

#[test]
fn rfc_7515_a_2_rs256() {
    let keys = KeySet::from_keys(&[json!({
        "kty": "RSA", "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    })])
    .unwrap();
    let compact = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    verify(compact, &keys).unwrap();
    assert!(verify(&compact.replace("cC4h", "cC4i"), &keys).is_err());
}

#[test]
fn rfc_7515_a_3_es256() {
    let keys = KeySet::from_keys(&[rfc7515_a3_key()]).unwrap();
    let compact = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    verify(compact, &keys).unwrap();
    assert!(verify(&compact.replace("DtEh", "DtEi"), &keys).is_err());
}

#[test]
fn rfc_7515_a_3_private_key_is_that_scalar() {
    let mut seed = [0; 32];
    seed.copy_from_slice(&crate::base64url::decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI").unwrap());
    let key = PrivateKey::from_seed(Algorithm::Es256, &seed).unwrap();
    assert_eq!(key.public().to_jwk(), rfc7515_a3_key());
}

#[test]
fn rfc_7638_3_1_thumbprint() {
    let key = PublicKey::from_jwk(&json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    }))
    .unwrap();
    assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn rfc_8037_a_ed25519() {
    let mut seed = [0; 32];
    seed.copy_from_slice(&crate::base64url::decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap());
    let key = PrivateKey::from_seed(Algorithm::Ed25519, &seed).unwrap();
    assert_eq!(
        key.public().to_jwk(),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    );
    assert_eq!(key.public().thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = crate::base64url::encode(&key.sign(input.as_bytes()).unwrap());
    assert_eq!(signature, "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    verify(&format!("{input}.{signature}"), &KeySet::of([key.public()])).unwrap();
}

const RFC9449_JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

fn rfc9449_expect<'a>(method: &'a str, url: &'a str, now: i64) -> dpop::Expect<'a> {
    dpop::Expect {
        method,
        url,
        access_token: None,
        bound_to: Some(RFC9449_JKT),
        known: None,
        nonce: NonceRule::Ignored,
        replay: None,
        now: UnixTime(now),
        window_secs: 300,
    }
}

#[test]
fn rfc_9449_4_1_proof_at_the_token_endpoint() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let verified = dpop::verify(&[proof], &rfc9449_expect("POST", "https://server.example.com/token", 1_562_262_616)).unwrap();
    assert_eq!(verified.jti, "-BwC3ESc6acc2lTc");
    assert_eq!(verified.jkt(), RFC9449_JKT);
    assert!(dpop::verify(&[proof], &rfc9449_expect("GET", "https://server.example.com/token", 1_562_262_616)).is_err());
}

#[test]
fn rfc_9449_7_1_proof_at_a_resource() {
    let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let digest = sha256(token.as_bytes());
    let mut expect = rfc9449_expect("GET", "https://resource.example.org/protectedresource", 1_562_262_618);
    expect.access_token = Some(&digest);
    let verified = dpop::verify(&[proof], &expect).unwrap();
    assert_eq!(verified.ath.as_deref(), Some("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"));
}

/// The folder with published sets is named by `REMIT_VECTORS`; they are read where they are, never copied.
fn published(path: &str) -> Option<Value> {
    #[expect(clippy::disallowed_methods, reason = "only a test reads where the vectors are")]
    let folder = std::env::var("REMIT_VECTORS").ok();
    let Some(folder) = folder else {
        println!("SKIPPED: REMIT_VECTORS is not set, so {path} was not read");
        return None;
    };
    let Ok(text) = std::fs::read_to_string(std::path::Path::new(&folder).join(path)) else {
        println!("SKIPPED: {folder} has no {path}");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// What Wycheproof calls valid and we refuse on purpose: a PS384 signature under a key that says PS256 (J-02).
fn refused_on_purpose(case: &Value) -> bool {
    matches!(case["comment"].as_str(), Some("Figure20"))
}

#[test]
fn wycheproof_json_web_signature() {
    let Some(set) = published("jose/wycheproof_json_web_signature_test.json") else { return };
    let (mut valid, mut invalid, mut other, mut wrong) = (0, 0, 0, Vec::new());
    for group in set["testGroups"].as_array().unwrap() {
        let key = if group["public"].is_object() { &group["public"] } else { &group["private"] };
        let keys = KeySet::from_keys(std::slice::from_ref(key));
        let ours = keys.as_ref().is_ok_and(|keys| !keys.is_empty());
        for case in group["tests"].as_array().unwrap() {
            let jws = case["jws"].as_str().map_or_else(|| case["jws"].to_string(), str::to_owned);
            let accepted = keys.as_ref().is_ok_and(|keys| verify(&jws, keys).is_ok());
            match case["result"].as_str().unwrap() {
                "valid" if accepted => valid += 1,
                "valid" if !ours || refused_on_purpose(case) => other += 1,
                "invalid" if !accepted => invalid += 1,
                expected => wrong.push(format!("{} {}: {expected}, accepted {accepted}", case["tcId"], case["comment"])),
            }
        }
    }
    println!("wycheproof JWS: {valid} valid accepted, {invalid} invalid refused, {other} valid of kinds we do not verify");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(valid >= 16 && invalid >= 350);
}

/// Wycheproof's primitive sets: `msg` and `sig` in hexadecimal under a JWK.
fn wycheproof_primitive(name: &str, alg: Option<&str>, least: usize) {
    let Some(set) = published(&format!("jose/wycheproof_{name}_test.json")) else { return };
    let (mut valid, mut invalid, mut refused, mut wrong) = (0, 0, 0, Vec::new());
    for group in set["testGroups"].as_array().unwrap() {
        let mut jwk = if group["publicKeyJwk"].is_object() { group["publicKeyJwk"].clone() } else { group["keyJwk"].clone() };
        if jwk.is_null() {
            jwk = jwk_from_hex(&group["publicKey"]);
        }
        if let Some(alg) = alg {
            jwk["alg"] = json!(alg);
        }
        let Ok(key) = PublicKey::from_jwk(&jwk) else {
            // RSA keys with an exponent other than 65537 are refused whole.
            assert_ne!(jwk["e"], "AQAB", "{jwk}");
            refused += group["tests"].as_array().unwrap().len();
            continue;
        };
        for case in group["tests"].as_array().unwrap() {
            let accepted = key.verifies(&hex(&case["msg"]), &hex(&case["sig"]));
            match (case["result"].as_str().unwrap(), accepted) {
                ("valid", true) => valid += 1,
                ("invalid", false) => invalid += 1,
                ("acceptable", _) => {}
                (expected, _) => wrong.push(format!("{} {}: {expected}, accepted {accepted}", case["tcId"], case["comment"])),
            }
        }
    }
    println!("wycheproof {name}: {valid} valid accepted, {invalid} invalid refused, {refused} under keys we refuse");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(valid + invalid >= least);
}

#[test]
fn wycheproof_ed25519() {
    wycheproof_primitive("ed25519", None, 150);
}

#[test]
fn wycheproof_es256() {
    wycheproof_primitive("ecdsa_secp256r1_sha256_p1363", None, 250);
}

#[test]
fn wycheproof_es384() {
    wycheproof_primitive("ecdsa_secp384r1_sha384_p1363", None, 250);
}

#[test]
fn wycheproof_rs256() {
    wycheproof_primitive("rsa_signature_2048_sha256", Some("RS256"), 200);
}

#[test]
fn wycheproof_ps256() {
    wycheproof_primitive("rsa_pss_2048_sha256_mgf1_32", Some("PS256"), 50);
}

fn hex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn jwk_from_hex(key: &Value) -> Value {
    let number = |name: &str| {
        let bytes = hex(&key[name]);
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
        bytes[start..].to_vec()
    };
    if key["modulus"].is_string() {
        return json!({"kty": "RSA", "n": crate::base64url::encode(&number("modulus")), "e": crate::base64url::encode(&number("publicExponent"))});
    }
    let (curve, size) = if key["curve"] == "secp256r1" { ("P-256", 32) } else { ("P-384", 48) };
    let coordinate = |name: &str| {
        let bytes = number(name);
        crate::base64url::encode(&[vec![0; size - bytes.len()], bytes].concat())
    };
    json!({"kty": "EC", "crv": curve, "x": coordinate("wx"), "y": coordinate("wy")})
}

#[test]
fn jose_cookbook_signatures() {
    for (path, algorithm) in
        [("4_1.rsa_v15_signature", "RS256"), ("4_2.rsa-pss_signature", "PS384"), ("4_3.ecdsa_signature", "ES512")]
    {
        let Some(example) = published(&format!("jose/cookbook/jws/{path}.json")) else { return };
        assert_eq!(example["input"]["alg"], algorithm);
        let mut key = example["input"]["key"].clone();
        key.as_object_mut().unwrap().retain(|name, _| ["kty", "kid", "use", "crv", "n", "e", "x", "y"].contains(&name.as_str()));
        let accepted =
            KeySet::from_keys(&[key]).is_ok_and(|keys| verify(example["output"]["compact"].as_str().unwrap(), &keys).is_ok());
        // Of the cookbook's algorithms only RS256 is on our list; the others must not slip in through the same RSA key.
        assert_eq!(accepted, algorithm == "RS256", "{path}");
    }
    let Some(example) = published("jose/cookbook/curve25519/jws.json") else { return };
    let mut key = example["input"]["key"].clone();
    key.as_object_mut().unwrap().remove("d");
    verify(example["output"]["compact"].as_str().unwrap(), &KeySet::from_keys(&[key]).unwrap()).unwrap();
}
