//! Compact JWS: parsed strictly, signed plainly. SPEC: RFC 7515 §3.1, §5; J-02 to J-05, J-11.
//!
//! JSON serialisation, JWE, detached and unencoded payloads are refused by not existing here.

use crate::{
    base64url::{decode, encode},
    claims,
    key::{PrivateKey, PublicKey},
};
use remit_model::{Code, Fault, Refusal, token_bounds};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Longest compact token we read, in bytes. SPEC: X-10.
pub(crate) const TOKEN_LIMIT: usize = token_bounds::TOKEN.size();

/// Longest `kid` we look up.
const KID_LIMIT: usize = 256;

/// The three segments of a compact JWS as they were sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments<'a> {
    pub(crate) compact: &'a str,
    signing_input: &'a str,
    pub(crate) header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Segments<'a> {
    /// # Errors
    /// `token_malformed`.
    pub(crate) fn split(compact: &'a str) -> Result<Self, Refusal> {
        if compact.len() > TOKEN_LIMIT {
            return Err(malformed(format!("the token is longer than {TOKEN_LIMIT} bytes")));
        }
        let (signing_input, signature) = compact.rsplit_once('.').ok_or_else(|| malformed("the token has no three segments"))?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(|| malformed("the token has no three segments"))?;
        if payload.contains('.') {
            return Err(malformed("the token has more than three segments"));
        }
        Ok(Self { compact, signing_input, header, payload, signature })
    }

    pub(crate) fn payload(&self) -> Result<Vec<u8>, Refusal> {
        segment(self.payload, "payload")
    }

    pub(crate) fn signature(&self) -> Result<Vec<u8>, Refusal> {
        segment(self.signature, "signature")
    }

    /// Whether the signature is the key's. That the header names the key's algorithm is the caller's to know.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), Refusal> {
        signed(key, self.signing_input, &self.signature()?)
    }
}

fn segment(text: &str, what: &str) -> Result<Vec<u8>, Refusal> {
    decode(text).ok_or_else(|| malformed(format!("the token's {what} is not canonical base64url without padding")))
}

fn signed(key: &PublicKey, signing_input: &str, signature: &[u8]) -> Result<(), Refusal> {
    if key.verifies(signing_input.as_bytes(), signature) {
        Ok(())
    } else {
        Err(Refusal::new(Code::TokenSignatureInvalid, "the token's signature does not verify"))
    }
}

/// One compact JWS, split and decoded but **not verified**. Its header and payload are the sender's claims, no more.
#[derive(Debug)]
pub struct Jws<'a> {
    compact: &'a str,
    signing_input: &'a str,
    header: Map<String, Value>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Three segments of canonical base64url, a strict JSON object for a header, nothing critical in it.
    ///
    /// # Errors
    /// `token_malformed`.
    pub fn parse(compact: &'a str) -> Result<Self, Refusal> {
        let segments = Segments::split(compact)?;
        let (header, payload) = (segment(segments.header, "header")?, segments.payload()?);
        let signature = segments.signature()?;
        let header = claims::object(&header, "header")?;
        let jws = Self { compact, signing_input: segments.signing_input, header, payload, signature };
        jws.refuse_unprocessed_header()?;
        Ok(jws)
    }

    /// The protected header.
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The decoded payload.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The decoded signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What the signature covers: header and payload as they came, with the dot (RFC 7515 §5.1).
    pub fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    /// The whole text as it came.
    pub fn compact(&self) -> &'a str {
        self.compact
    }

    /// The payload as a strict JSON object.
    ///
    /// # Errors
    /// `token_malformed`.
    pub fn claims(&self) -> Result<Map<String, Value>, Refusal> {
        claims::object(&self.payload, "payload")
    }

    pub(crate) fn alg(&self) -> Result<&str, Refusal> {
        match self.header.get("alg") {
            Some(Value::String(alg)) => Ok(alg),
            _ => Err(malformed("the token's header has no `alg`")),
        }
    }

    pub(crate) fn kid(&self) -> Result<Option<&str>, Refusal> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) if kid.len() <= KID_LIMIT => Ok(Some(kid)),
            Some(_) => Err(malformed("the token's `kid` is not a short string")),
        }
    }

    /// Compares `typ` without letter case and without an `application/` prefix; `wanted` may include `None` for "absent".
    /// SPEC: J-03, RFC 7515 §4.1.9.
    pub(crate) fn expect_typ(&self, wanted: &[Option<&str>]) -> Result<(), Refusal> {
        let typ = match self.header.get("typ") {
            None => None,
            Some(Value::String(typ)) => {
                let lower = typ.to_ascii_lowercase();
                Some(lower.strip_prefix("application/").map(str::to_owned).unwrap_or(lower))
            }
            Some(_) => return Err(malformed("the token's `typ` is not a string")),
        };
        if wanted.iter().any(|want| want.map(str::to_ascii_lowercase) == typ) {
            return Ok(());
        }
        let wanted: Vec<&str> = wanted.iter().flatten().copied().collect();
        Err(Refusal::new(Code::TokenTypeWrong, format!("the token's `typ` is not `{}`", wanted.join("` or `"))))
    }

    /// SPEC: J-02. The header's `alg` must name the key's algorithm; then the signature must be the key's.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<(), Refusal> {
        self.expect_alg(key)?;
        signed(key, self.signing_input, &self.signature)
    }

    pub(crate) fn expect_alg(&self, key: &PublicKey) -> Result<(), Refusal> {
        if key.algorithm().is_named(self.alg()?) {
            Ok(())
        } else {
            Err(Refusal::new(Code::TokenSignatureInvalid, "the token's `alg` is not the algorithm of its key"))
        }
    }

    /// The key inside the header: only a proof of possession has one. SPEC: J-04.
    pub(crate) fn embedded_key(&self) -> Result<PublicKey, Refusal> {
        let jwk = self.header.get("jwk").ok_or_else(|| malformed("the proof's header has no `jwk`"))?;
        PublicKey::from_jwk(jwk)
    }

    /// For the kinds whose key we know ourselves: a header that brings its own is an attack or a mistake. SPEC: J-04.
    pub(crate) fn refuse_embedded_key(&self) -> Result<(), Refusal> {
        if self.header.contains_key("jwk") {
            return Err(malformed("the token's header brings its own key (`jwk`)"));
        }
        Ok(())
    }

    fn refuse_unprocessed_header(&self) -> Result<(), Refusal> {
        if self.header.contains_key("crit") {
            return Err(malformed("the token's header marks an extension as critical (`crit`); none is supported"));
        }
        for name in ["jku", "x5u", "x5c"] {
            if self.header.contains_key(name) {
                return Err(malformed(format!("the token's header names a key source (`{name}`); none is followed")));
            }
        }
        if self.header.get("b64").is_some_and(|b64| b64 != &Value::Bool(true)) {
            return Err(malformed("unencoded payloads are not supported"));
        }
        Ok(())
    }
}

/// Signs claims as a compact JWS. The header has `alg`, `typ` and, unless `extra_header` brings a `jwk`, `kid`; members of
/// `extra_header` are added and may replace `kid`, never `alg` or `typ`.
///
/// # Errors
/// Only when the library fails.
pub fn sign_jws(typ: &str, key: &PrivateKey, extra_header: Option<Value>, claims: &impl Serialize) -> Result<String, Fault> {
    let mut header = Map::new();
    header.insert("alg".into(), json!(key.algorithm().name()));
    header.insert("typ".into(), json!(typ));
    let extra = match extra_header {
        Some(Value::Object(extra)) => extra,
        _ => Map::new(),
    };
    if !extra.contains_key("jwk") {
        header.insert("kid".into(), json!(key.public().thumbprint()));
    }
    header.extend(extra.into_iter().filter(|(name, _)| name != "alg" && name != "typ"));
    let mut compact = encode(Value::Object(header).to_string().as_bytes());
    compact.push('.');
    compact.push_str(&encode(&serde_json::to_vec(claims).map_err(Fault::new)?));
    let signature = key.sign(compact.as_bytes())?;
    compact.push('.');
    compact.push_str(&encode(&signature));
    Ok(compact)
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::TokenMalformed, reason)
}
