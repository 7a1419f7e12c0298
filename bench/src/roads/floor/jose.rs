//! Signed tokens, as little as their rules ask: split, compare, verify, parse.

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, HashSet};

/// How far a proof's time may be from now, in seconds.
const WINDOW: i64 = 300;

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

pub(super) fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A P-256 public key: an uncompressed point.
#[derive(Clone, Debug)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn of(x: &str, y: &str) -> Result<Self> {
        let mut point = vec![4];
        URL_SAFE_NO_PAD.decode_vec(x, &mut point)?;
        URL_SAFE_NO_PAD.decode_vec(y, &mut point)?;
        ensure!(point.len() == 65, "not a P-256 point");
        Ok(Self(point))
    }

    /// The claims of a token this key signed.
    pub(super) fn claims<T: DeserializeOwned>(&self, compact: &str) -> Result<T> {
        let (signed, signature) = compact.rsplit_once('.').context("not a token")?;
        let (_, payload) = signed.split_once('.').context("not a token")?;
        self.verify(signed, signature)?;
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
    }

    fn verify(&self, signed: &str, signature: &str) -> Result<()> {
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        let checked = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.0).verify(signed.as_bytes(), &signature);
        ensure!(checked.is_ok(), "a wrong signature");
        Ok(())
    }
}

/// The issuer's private key.
#[derive(Debug)]
pub(super) struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    header: String,
}

impl Signer {
    /// From the file that `remit init` wrote; `kid` is what tokens of the issuer name it by.
    pub(super) fn read(pem: &str, kid: &str) -> Result<Self> {
        let packed: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(packed.trim())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)?;
        let header = b64(format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"}}"#).as_bytes());
        Ok(Self { pair, random: SystemRandom::new(), header })
    }

    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String> {
        let mut token = self.header.clone();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature = self.pair.sign(&self.random, token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

#[derive(Deserialize)]
struct ProofHeader {
    typ: String,
    alg: String,
    jwk: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ProofClaims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    ath: Option<String>,
}

/// Verifies a DPoP proof, remembers it, and gives back the thumbprint of its key.
pub(super) fn proof(compact: &str, url: &str, ath: Option<&str>, now: i64, seen: &mut HashSet<[u8; 32]>) -> Result<String> {
    let (signed, signature) = compact.rsplit_once('.').context("not a proof")?;
    let (header, payload) = signed.split_once('.').context("not a proof")?;
    let header: ProofHeader = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    let claims: ProofClaims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
    ensure!(header.typ == "dpop+jwt" && header.alg == "ES256", "not a proof");
    ensure!(claims.htm == "POST" && claims.htu == url && (claims.iat - now).abs() <= WINDOW, "a proof of something else");
    ensure!(claims.ath.as_deref() == ath, "a proof for another token");
    let (Some(x), Some(y)) = (header.jwk.get("x"), header.jwk.get("y")) else { bail!("no key") };
    Key::of(x, y)?.verify(signed, signature)?;
    let thumbprint = b64(&sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes()));
    ensure!(seen.insert(sha256(format!("{thumbprint}{}", claims.jti).as_bytes())), "a proof that was used before");
    Ok(thumbprint)
}
