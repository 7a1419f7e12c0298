//! ID tokens of another issuer: an identity provider where a person signed in. SPEC: OpenID Connect Core §2, §3.1.3.7.
//!
//! Unlike our own ID tokens these are for us, the relying party, and we choose neither their lifetime nor their claims. What
//! the provider says of a person is text until the configuration gives it a meaning.

use crate::{
    base64url::encode,
    claims::{self, Claims as Reader, Skew},
    jws::Jws,
    key::{Algorithm, PublicKey},
    keyset::KeySet,
};
use remit_model::{Code, Refusal, UnixTime, json::sha256};
use serde_json::{Map, Value};
use std::ops::Deref;

/// Longest life of a provider's ID token, in seconds: some are good for as long as the session they begin.
pub const LIFETIME_LIMIT: i64 = 24 * 3_600;
/// Longest ID token that is taken, in bytes: it is kept as evidence with every chain that it is the root of.
pub const SIZE_LIMIT: usize = 8 * 1_024;
/// Longest `sub`, in bytes. SPEC: OpenID Connect Core §2
const SUBJECT_LIMIT: usize = 255;
/// Most entries of `amr`.
const METHODS_LIMIT: usize = 16;

/// What a provider's ID token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub nonce: Option<String>,
    pub iat: UnixTime,
    pub exp: UnixTime,
    pub auth_time: Option<UnixTime>,
    pub acr: Option<String>,
    pub amr: Vec<String>,
    /// The session at the provider, which a logout token can name.
    pub sid: Option<String>,
    /// Everything that was signed.
    pub all: Map<String, Value>,
}

/// A verified ID token of a provider. Only [`verify`] and [`verify_recorded`] make one.
#[derive(Clone, Debug)]
pub struct ProviderIdToken {
    claims: Claims,
    compact: String,
    key: Value,
}

impl ProviderIdToken {
    /// The signed text, for the ledger.
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// The key that signed it, for the ledger: a JWK by which alone the token is verified again.
    pub fn jwk(&self) -> &Value {
        &self.key
    }
}

impl Deref for ProviderIdToken {
    type Target = Claims;
    fn deref(&self) -> &Claims {
        &self.claims
    }
}

/// What the verifier insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The provider's issuer identifier, exactly. SPEC: J-07
    pub issuer: &'a str,
    /// The client that we are there.
    pub client_id: &'a str,
    /// The nonce of the request.
    pub nonce: &'a str,
}

/// Whether the set has the key that the token's header names; it says nothing about the signature. Without it, and if the
/// token is of this issuer, a key set is fetched again, once. SPEC: F-05, J-05
///
/// # Errors
/// `token_malformed`.
pub fn has_key(compact: &str, keys: &KeySet) -> Result<bool, Refusal> {
    Ok(keys.key_for(&Jws::parse(compact)?).is_ok())
}

/// Whether the token names a key that the set does not have: one that its signer may have published since.
///
/// # Errors
/// `token_malformed`.
pub fn names_unknown_key(compact: &str, keys: &KeySet) -> Result<bool, Refusal> {
    let jws = Jws::parse(compact)?;
    Ok(jws.kid()?.is_some_and(|kid| keys.iter().all(|(name, _)| name != kid)))
}

/// Verifies the ID token of a token response. `access_token` is the one it came with.
///
/// # Errors
/// `token_*`.
pub fn verify(
    compact: &str,
    keys: &KeySet,
    expect: &Expect<'_>,
    access_token: Option<&str>,
    now: UnixTime,
    skew: Skew,
) -> Result<ProviderIdToken, Refusal> {
    let jws = parse(compact)?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    meant_for(reader, expect)?;
    reader.expect_current(now, skew)?;
    reader.expect_lifetime(reader.time("iat")?, LIFETIME_LIMIT)?;
    authenticated_before(reader, now, skew)?;
    let key = keys.key_for(&jws)?;
    jws.verify(key)?;
    if let (Some(token), Some(hash)) = (access_token, reader.optional_text("at_hash")?) {
        fits(token, hash, key)?;
    }
    read(reader, body.clone(), compact, keys.recorded_key(&jws))
}

/// Verifies an ID token that was accepted earlier: as [`verify`], but for a time that the token itself states. It must not be
/// of later than `at`.
///
/// # Errors
/// `token_*`.
pub fn verify_recorded(
    compact: &str,
    keys: &KeySet,
    expect: &Expect<'_>,
    at: UnixTime,
    skew: Skew,
) -> Result<ProviderIdToken, Refusal> {
    let jws = parse(compact)?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    meant_for(reader, expect)?;
    let issued = reader.time("iat")?;
    if issued > at.plus(skew.as_seconds()) {
        return Err(Refusal::new(Code::TokenNotYetValid, format!("`iat` is {issued}, in the future of {at}")));
    }
    reader.expect_current(issued, skew)?;
    reader.expect_lifetime(issued, LIFETIME_LIMIT)?;
    authenticated_before(reader, at, skew)?;
    jws.verify(keys.key_for(&jws)?)?;
    read(reader, body.clone(), compact, keys.recorded_key(&jws))
}

/// A person authenticates before an ID token says so: a later `auth_time` is in another unit, or made up.
fn authenticated_before(reader: Reader<'_>, now: UnixTime, skew: Skew) -> Result<(), Refusal> {
    match reader.optional_time("auth_time")? {
        Some(time) if time > now.plus(skew.as_seconds()) => {
            Err(Refusal::new(Code::TokenNotYetValid, format!("`auth_time` is {time}, in the future of {now}; it is in seconds")))
        }
        _ => Ok(()),
    }
}

fn parse(compact: &str) -> Result<Jws<'_>, Refusal> {
    if compact.len() > SIZE_LIMIT {
        return Err(claims::malformed(format!(
            "the ID token is longer than {SIZE_LIMIT} bytes; let the provider put fewer claims into it"
        )));
    }
    let jws = Jws::parse(compact)?;
    jws.expect_typ(&[Some("JWT"), None])?;
    jws.refuse_embedded_key()?;
    Ok(jws)
}

/// SPEC: OpenID Connect Core §3.1.3.7, steps 2 to 5 and 11. We trust no other audience, so there must be none.
fn meant_for(reader: Reader<'_>, expect: &Expect<'_>) -> Result<(), Refusal> {
    reader.expect_issuer(expect.issuer)?;
    let other = || Refusal::new(Code::TokenAudienceWrong, "the ID token is for another client");
    if reader.sole_audience()? != expect.client_id {
        return Err(other());
    }
    if reader.optional_text("azp")?.is_some_and(|azp| azp != expect.client_id) {
        return Err(other());
    }
    match reader.optional_text("nonce")? {
        Some(nonce) if nonce == expect.nonce => Ok(()),
        _ => Err(claims::malformed("the ID token's `nonce` is not the one of the request")),
    }
}

/// The access token is the one that the ID token was signed with. SPEC: OpenID Connect Core §3.1.3.6
fn fits(access_token: &str, hash: &str, key: &PublicKey) -> Result<(), Refusal> {
    // The hash function is the one of the signature's algorithm; the others are not the usual case and not checked.
    if !matches!(key.algorithm(), Algorithm::Es256 | Algorithm::Rs256 | Algorithm::Ps256) {
        return Ok(());
    }
    let digest = sha256(access_token.as_bytes());
    if encode(digest.get(..16).unwrap_or_default()) == hash {
        Ok(())
    } else {
        Err(claims::malformed("the ID token's `at_hash` is not of the access token that it came with"))
    }
}

fn read(reader: Reader<'_>, all: Map<String, Value>, compact: &str, key: Option<Value>) -> Result<ProviderIdToken, Refusal> {
    let sub = reader.text("sub")?;
    if sub.is_empty() || sub.len() > SUBJECT_LIMIT {
        return Err(claims::malformed(format!("`sub` is not 1 to {SUBJECT_LIMIT} bytes long")));
    }
    let amr = reader.texts("amr")?;
    if amr.len() > METHODS_LIMIT || amr.iter().any(|method| method.len() > 64) {
        return Err(claims::malformed(format!("`amr` has more than {METHODS_LIMIT} entries, or one longer than 64 bytes")));
    }
    let claims = Claims {
        iss: reader.text("iss")?.to_owned(),
        sub: sub.to_owned(),
        nonce: reader.optional_text("nonce")?.map(str::to_owned),
        iat: reader.time("iat")?,
        exp: reader.time("exp")?,
        auth_time: reader.optional_time("auth_time")?,
        acr: reader.optional_id("acr")?.map(str::to_owned),
        amr,
        sid: reader.optional_id("sid")?.map(str::to_owned),
        all,
    };
    Ok(ProviderIdToken { claims, compact: compact.to_owned(), key: key.unwrap_or(Value::Null) })
}
