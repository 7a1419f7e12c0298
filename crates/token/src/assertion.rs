//! Client assertions: `private_key_jwt`. SPEC: RFC 7523 §3 as corrected by rfc7523bis, TK-04, J-09.
//!
//! TK-04 asks for at most five minutes; libraries that sign for an hour are in wide use, so an hour is accepted here, and the
//! caller bounds how many identifiers of long ones it keeps.

use crate::{
    claims::{Claims as Reader, Skew},
    jws::{Jws, sign_jws},
    key::PrivateKey,
    keyset::KeySet,
};
use remit_model::{AssertionAudience, Code, Fault, Refusal, UnixTime};
use serde_json::{Map, Value, json};

/// The `typ` we write. Absent and `JWT` are accepted too, because most clients still send those.
pub const TYP: &str = "client-authentication+jwt";
/// `client_assertion_type`.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// An assertion may end at most this many seconds ahead: as long as RFC 7523 clients usually sign for.
pub const LIFETIME_LIMIT: i64 = 3_600;

/// A client that proved its key. The caller still has to refuse a `jti` it has seen, until `expires`.
#[derive(Clone, Debug)]
pub struct ClientAssertion {
    client_id: String,
    jti: String,
    expires: UnixTime,
    audience: AssertionAudience,
    compact: String,
}

impl ClientAssertion {
    /// The client that signed: `iss` and `sub` (RFC 7523 §3).
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The identifier that may be used once.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// The end of its life, `exp`.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// Which of the accepted audiences it names.
    pub fn audience(&self) -> AssertionAudience {
        self.audience
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
    /// Our issuer identifier: the audience that every client may name (J-09).
    pub issuer: &'a str,
    /// The token endpoint's URL, for a client that is registered to name it instead.
    pub token_endpoint: Option<&'a str>,
}

/// A client assertion as it was presented: read once, and **not verified**.
#[derive(Debug)]
pub struct Presented<'a> {
    jws: Jws<'a>,
    body: Map<String, Value>,
}

impl<'a> Presented<'a> {
    /// # Errors
    /// `token_malformed`.
    pub fn read(compact: &'a str) -> Result<Self, Refusal> {
        let jws = Jws::parse(compact)?;
        let body = jws.claims()?;
        Ok(Self { jws, body })
    }

    /// The client it says it is from: only for finding the keys to verify it with.
    ///
    /// # Errors
    /// `token_malformed`.
    pub fn client_id(&self) -> Result<&str, Refusal> {
        Reader(&self.body).id("sub")
    }

    /// Whether the client vouches for itself: `iss` and `sub` are one. A token of another issuer is for `workload` to read.
    pub fn is_own(&self) -> bool {
        let sub = self.body.get("sub");
        sub.is_some() && self.body.get("iss") == sub
    }

    /// Whether the key that it names is in this set.
    pub fn names_key_of(&self, keys: &KeySet) -> bool {
        keys.key_for(&self.jws).is_ok()
    }

    /// The key of this set that it names, as a public JWK from which a set can be made that verifies it.
    pub fn key_in(&self, keys: &KeySet) -> Option<Value> {
        keys.recorded_key(&self.jws)
    }

    /// Verifies it.
    ///
    /// # Errors
    /// `token_*`; the reason speaks of the client assertion.
    pub fn verify(&self, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<ClientAssertion, Refusal> {
        self.verified(keys, expect, now, skew).map_err(|refusal| {
            let reason = refusal.reason.replacen("the token", "the client assertion", 1);
            Refusal { reason, ..refusal }
        })
    }

    fn verified(&self, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<ClientAssertion, Refusal> {
        let Self { jws, body } = self;
        jws.expect_typ(&[Some(TYP), Some("JWT"), None])?;
        jws.refuse_embedded_key()?;
        let reader = Reader(body);
        reader.expect_issuer(expect.client_id)?;
        if reader.id("sub")? != expect.client_id {
            return Err(Refusal::new(Code::TokenMalformed, "`sub` and `iss` of a client assertion must both be the client"));
        }
        // SPEC: X-11: who does not have the key learns nothing else, not even that the client has one.
        jws.verify(keys.key_for(jws)?)?;
        let audience = audience(reader, expect)?;
        let expires = reader.expect_current(now, skew)?;
        if expires.since(now.plus(skew.as_seconds())) > LIFETIME_LIMIT {
            let reason = format!("the client assertion ends more than {LIFETIME_LIMIT} seconds ahead (`exp`); sign it for less");
            return Err(Refusal::new(Code::TokenMalformed, reason));
        }
        let jti = reader.id("jti")?;
        let (client_id, compact) = (expect.client_id.to_owned(), jws.compact().to_owned());
        Ok(ClientAssertion { client_id, jti: jti.to_owned(), expires, audience, compact })
    }
}

/// The one audience: our issuer, or the token endpoint where the client is registered to name it.
fn audience(reader: Reader<'_>, expect: &Expect<'_>) -> Result<AssertionAudience, Refusal> {
    let named = reader.sole_audience()?;
    if named == expect.issuer {
        return Ok(AssertionAudience::Issuer);
    }
    if expect.token_endpoint == Some(named) {
        return Ok(AssertionAudience::TokenEndpoint);
    }
    let reason = format!("the only audience (`aud`) of a client assertion must be our issuer identifier, `{}`", expect.issuer);
    Err(Refusal::new(Code::TokenAudienceWrong, reason))
}

/// Verifies a client assertion.
///
/// # Errors
/// `token_*`.
pub fn verify(compact: &str, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<ClientAssertion, Refusal> {
    Presented::read(compact)?.verify(keys, expect, now, skew)
}

/// Signs an assertion for one of our own clients, good for a minute.
///
/// # Errors
/// Only when the library fails.
pub fn create(key: &PrivateKey, client_id: &str, issuer: &str, jti: &str, now: UnixTime) -> Result<String, Fault> {
    let body = json!({"iss": client_id, "sub": client_id, "aud": issuer, "jti": jti, "iat": now, "exp": now.plus(60)});
    sign_jws(TYP, key, None, &body)
}
