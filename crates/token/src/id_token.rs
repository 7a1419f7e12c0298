//! ID tokens: the human's root hop. SPEC: OpenID Connect Core §2, standards 4.2.
//!
//! Beside the usual claims ours carries `urn:remit:consent`: the digest of what the human was shown and agreed to, so
//! that the issuer's signature covers not only who but also what.

use crate::{
    claims::{self, Claims as Reader, Skew},
    jws::{Jws, sign_jws},
    key::PrivateKey,
    keyset::KeySet,
};
use remit_model::{Code, Fault, Refusal, UnixTime, json::digest};
use serde_json::{Value, json};
use std::ops::Deref;

/// Longest life of an ID token, in seconds.
pub const LIFETIME_LIMIT: i64 = 3600;

/// What an ID token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    /// The client.
    pub aud: String,
    pub nonce: Option<String>,
    /// Ours is the `jti` of the access token it was signed with, so that it proves that one delegation and no other.
    pub jti: Option<String>,
    pub iat: UnixTime,
    pub exp: UnixTime,
    pub auth_time: Option<UnixTime>,
    pub acr: Option<String>,
    pub amr: Vec<String>,
    /// Digest of what was shown: agent, authority, end and purpose.
    pub consent: Option<String>,
}

/// The digest of what a person was shown: who may act, what it may do (`authorization_details`), until when and, when one
/// was stated, what for. An auditor recomputes it from the hop.
pub fn consent_digest(agent: &str, authority: &Value, until: UnixTime, purpose: Option<&str>) -> String {
    let mut shown = json!({"agent": agent, "authority": authority, "until": until});
    claims::insert_present(&mut shown, [("purpose", purpose.map(|purpose| json!(purpose)))]);
    digest(&shown)
}

/// A verified ID token.
#[derive(Clone, Debug)]
pub struct IdToken {
    claims: Claims,
    compact: String,
}

impl IdToken {
    /// The signed text, for the ledger.
    pub fn compact(&self) -> &str {
        &self.compact
    }
}

impl Deref for IdToken {
    type Target = Claims;
    fn deref(&self) -> &Claims {
        &self.claims
    }
}

/// What the verifier insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    pub issuer: &'a str,
    /// The client it must be for.
    pub client_id: &'a str,
    /// The nonce of the request, when the caller knows it.
    pub nonce: Option<&'a str>,
}

/// Signs an ID token.
///
/// # Errors
/// Only when the library fails.
pub fn mint(key: &PrivateKey, claims: &Claims) -> Result<String, Fault> {
    let mut body = json!({"iss": claims.iss, "sub": claims.sub, "aud": claims.aud, "iat": claims.iat, "exp": claims.exp});
    let optional = [
        ("nonce", claims.nonce.as_ref().map(|nonce| json!(nonce))),
        ("jti", claims.jti.as_ref().map(|jti| json!(jti))),
        ("auth_time", claims.auth_time.map(|time| json!(time))),
        ("acr", claims.acr.as_ref().map(|acr| json!(acr))),
        ("amr", (!claims.amr.is_empty()).then(|| json!(claims.amr))),
        ("urn:remit:consent", claims.consent.as_ref().map(|consent| json!(consent))),
    ];
    claims::insert_present(&mut body, optional);
    sign_jws("JWT", key, None, &body)
}

/// Verifies an ID token.
///
/// # Errors
/// `token_*`.
pub fn verify(compact: &str, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<IdToken, Refusal> {
    let jws = Jws::parse(compact)?;
    jws.expect_typ(&[Some("JWT"), None])?;
    jws.refuse_embedded_key()?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    reader.expect_issuer(expect.issuer)?;
    if reader.sole_audience()? != expect.client_id {
        return Err(Refusal::new(Code::TokenAudienceWrong, "the ID token is for another client"));
    }
    reader.expect_current(now, skew)?;
    reader.expect_lifetime(reader.time("iat")?, LIFETIME_LIMIT)?;
    let nonce = reader.optional_text("nonce")?;
    if expect.nonce.is_some() && nonce != expect.nonce {
        return Err(claims::malformed("the ID token's `nonce` is not the one of the request"));
    }
    jws.verify(keys.key_for(&jws)?)?;
    let claims = Claims {
        iss: expect.issuer.to_owned(),
        sub: reader.id("sub")?.to_owned(),
        aud: expect.client_id.to_owned(),
        nonce: nonce.map(str::to_owned),
        jti: reader.optional_text("jti")?.map(str::to_owned),
        iat: reader.time("iat")?,
        exp: reader.time("exp")?,
        auth_time: reader.optional_time("auth_time")?,
        acr: reader.optional_text("acr")?.map(str::to_owned),
        amr: reader.texts("amr")?,
        consent: reader.optional_text("urn:remit:consent")?.map(str::to_owned),
    };
    Ok(IdToken { claims, compact: compact.to_owned() })
}
