//! Delegation statements: a delegator signs, with its DPoP key, what it hands to whom. `typ: delegation+jwt`.
//!
//! The child presents the statement at the token endpoint; the ledger keeps it as the hop's edge proof (DC-12). The
//! same content may instead ride in the delegator's DPoP proof, as the claim `urn:remit:delegation`.

use crate::{
    claims::{self, Claims as Reader, Skew},
    jws::{Jws, sign_jws},
    key::{PrivateKey, PublicKey},
};
use remit_model::{Authority, Code, Fault, Refusal, UnixTime};
use serde_json::{Map, Value, json};

/// The media type in `typ`.
pub const TYP: &str = "delegation+jwt";
/// A delegation may last at most this many seconds from its signing.
pub const LIFETIME_LIMIT: i64 = 30 * 24 * 3600;

/// What is handed on, to whom, until when.
#[derive(Clone, Debug, PartialEq)]
pub struct Delegation {
    /// Subject of the delegate, for instance `agent:summarizer`.
    pub delegate: String,
    /// Thumbprint of the delegate's proof key.
    pub jkt: String,
    /// `jti` of the delegator's own token, of which this is a part.
    pub parent: String,
    pub authority: Authority,
    /// The delegate's token may not outlive this.
    pub expires: UnixTime,
    pub purpose: Option<String>,
}

impl Delegation {
    /// As a JSON object with the claim names of a statement.
    pub fn to_value(&self) -> Value {
        let mut body = json!({
            "sub": self.delegate, "cnf": {"jkt": self.jkt}, "parent": self.parent, "exp": self.expires,
            "authorization_details": self.authority.to_value(),
        });
        claims::insert_present(&mut body, [("purpose", self.purpose.as_ref().map(|purpose| json!(purpose)))]);
        body
    }

    /// Reads the object that [`Self::to_value`] writes.
    ///
    /// # Errors
    /// `token_malformed`.
    pub fn parse(members: &Map<String, Value>) -> Result<Self, Refusal> {
        let reader = Reader(members);
        Ok(Self {
            delegate: reader.id("sub")?.to_owned(),
            jkt: reader.confirmation()?.ok_or_else(|| claims::malformed("the delegation names no key (`cnf.jkt`)"))?.to_owned(),
            parent: reader.id("parent")?.to_owned(),
            authority: reader.authority("authorization_details")?,
            expires: reader.time("exp")?,
            purpose: reader.optional_text("purpose")?.map(str::to_owned),
        })
    }
}

/// A verified statement by the holder of the key `jkt()`. Whether that key is the delegator's is for the caller to
/// compare with the `cnf.jkt` of the token `parent`.
#[derive(Clone, Debug)]
pub struct Statement {
    delegator: String,
    jti: String,
    issued: UnixTime,
    delegation: Delegation,
    key: PublicKey,
    compact: String,
}

impl Statement {
    /// Subject of the delegator, as it says itself.
    pub fn delegator(&self) -> &str {
        &self.delegator
    }

    /// The identifier that may be used once.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// When the delegator signed, `iat`.
    pub fn issued(&self) -> UnixTime {
        self.issued
    }

    /// What the delegator hands on, to which agent, and until when.
    pub fn delegation(&self) -> &Delegation {
        &self.delegation
    }

    /// Thumbprint of the key that signed.
    pub fn jkt(&self) -> &str {
        self.key.thumbprint()
    }

    /// The key that signed.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The signed text, for the ledger.
    pub fn compact(&self) -> &str {
        &self.compact
    }
}

/// What the verifier insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Our issuer identifier: the only audience.
    pub issuer: &'a str,
    /// The key that must have signed (`cnf.jkt` of the delegator's token), when the caller already knows it.
    pub bound_to: Option<&'a str>,
}

/// Verifies a statement.
///
/// # Errors
/// `token_*`; `dpop_key_mismatch` when another key signed than the one expected.
pub fn verify(compact: &str, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<Statement, Refusal> {
    let jws = Jws::parse(compact)?;
    jws.expect_typ(&[Some(TYP)])?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    if reader.sole_audience()? != expect.issuer {
        return Err(Refusal::new(Code::TokenAudienceWrong, "the delegation statement is not addressed to this issuer"));
    }
    reader.expect_current(now, skew)?;
    let issued = reader.time("iat")?;
    reader.expect_lifetime(issued, LIFETIME_LIMIT)?;
    let key = jws.embedded_key()?;
    if expect.bound_to.is_some_and(|jkt| jkt != key.thumbprint()) {
        return Err(Refusal::new(Code::DpopKeyMismatch, "the statement is not signed with the delegator's proof key"));
    }
    jws.verify(&key)?;
    Ok(Statement {
        delegator: reader.id("iss")?.to_owned(),
        jti: reader.id("jti")?.to_owned(),
        issued,
        delegation: Delegation::parse(&body)?,
        key,
        compact: compact.to_owned(),
    })
}

/// Signs a statement with the delegator's DPoP key.
///
/// # Errors
/// Only when the library fails.
pub fn create(
    key: &PrivateKey,
    delegator: &str,
    issuer: &str,
    jti: &str,
    now: UnixTime,
    delegation: &Delegation,
) -> Result<String, Fault> {
    let mut body = delegation.to_value();
    claims::insert_present(
        &mut body,
        [("iss", Some(json!(delegator))), ("aud", Some(json!(issuer))), ("jti", Some(json!(jti))), ("iat", Some(json!(now)))],
    );
    sign_jws(TYP, key, Some(json!({"jwk": key.public().to_jwk()})), &body)
}
