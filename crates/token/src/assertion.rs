//! Client assertions: `private_key_jwt`. SPEC: RFC 7523 §3 as corrected by rfc7523bis, TK-04, J-09.

use crate::{
    claims::{Claims as Reader, Skew},
    jws::{Jws, sign_jws},
    key::PrivateKey,
    keyset::KeySet,
};
use remit_model::{Code, Fault, Refusal, UnixTime};
use serde_json::json;

/// The `typ` we write. Absent and `JWT` are accepted too, because most clients still send those.
pub const TYP: &str = "client-authentication+jwt";
/// `client_assertion_type`.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// An assertion may end at most this many seconds ahead.
pub const LIFETIME_LIMIT: i64 = 300;

/// A client that proved its key. The caller still has to refuse a `jti` it has seen, until `expires`.
#[derive(Clone, Debug)]
pub struct ClientAssertion {
    client_id: String,
    jti: String,
    expires: UnixTime,
    compact: String,
}

impl ClientAssertion {
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub fn jti(&self) -> &str {
        &self.jti
    }

    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// The signed text: the edge proof of an autonomous agent's root.
    pub fn compact(&self) -> &str {
        &self.compact
    }
}

/// What the verifier insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The client whose keys are given.
    pub client_id: &'a str,
    /// Our issuer identifier: the only audience accepted. The token endpoint's URL is not (J-09).
    pub issuer: &'a str,
}

/// The client an assertion says it is from, **unverified**: only for finding the keys to verify it with.
///
/// # Errors
/// `token_malformed`.
pub fn claimed_client_id(compact: &str) -> Result<String, Refusal> {
    let body = Jws::parse(compact)?.claims()?;
    Reader(&body).id("sub").map(str::to_owned)
}

/// Verifies a client assertion.
///
/// # Errors
/// `token_*`.
pub fn verify(compact: &str, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<ClientAssertion, Refusal> {
    let jws = Jws::parse(compact)?;
    jws.expect_typ(&[Some(TYP), Some("JWT"), None])?;
    jws.refuse_embedded_key()?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    reader.expect_issuer(expect.client_id)?;
    if reader.id("sub")? != expect.client_id {
        return Err(Refusal::new(Code::TokenMalformed, "`sub` and `iss` of a client assertion must both be the client"));
    }
    if reader.sole_audience()? != expect.issuer {
        return Err(Refusal::new(
            Code::TokenAudienceWrong,
            "the only audience of a client assertion must be our issuer identifier",
        ));
    }
    let expires = reader.expect_current(now, skew)?;
    reader.expect_lifetime(now.plus(skew.as_seconds()), LIFETIME_LIMIT)?;
    let jti = reader.id("jti")?;
    jws.verify(keys.key_for(&jws)?)?;
    Ok(ClientAssertion { client_id: expect.client_id.to_owned(), jti: jti.to_owned(), expires, compact: compact.to_owned() })
}

/// Signs an assertion for one of our own clients, good for a minute.
///
/// # Errors
/// Only when the library fails.
pub fn create(key: &PrivateKey, client_id: &str, issuer: &str, jti: &str, now: UnixTime) -> Result<String, Fault> {
    let body = json!({"iss": client_id, "sub": client_id, "aud": issuer, "jti": jti, "iat": now, "exp": now.plus(60)});
    sign_jws(TYP, key, None, &body)
}
