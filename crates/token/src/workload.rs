//! Tokens by which an issuer vouches for a workload: Kubernetes service-account tokens, OIDC tokens of CI systems and clouds,
//! JWT-SVIDs. SPEC: RFC 7523 §3, JB-01 to JB-03, KS-01, OF-02, SP-02.
//!
//! The signature comes first here: what else is wrong with a token is told only to a sender whose issuer is trusted (JB-07).
//! Whether its claims are those of one agent is for the caller to say.

use crate::{
    claims::{Claims as Reader, Skew},
    jws::Jws,
    keyset::KeySet,
};
use remit_model::{Code, Refusal, SpiffeId, UnixTime};
use serde_json::{Map, Value};

/// What the verifier insists on for a token of a trusted issuer.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// `iss`, exactly.
    pub issuer: &'a str,
    /// The only audience: our issuer identifier.
    pub audience: &'a str,
    /// Names of the algorithms that the issuer may use.
    pub algorithms: &'a [String],
    /// Longest time from `iat` to `exp`, in seconds.
    pub max_lifetime: i64,
    /// Longest time since `iat`, in seconds.
    pub max_age: Option<i64>,
    /// Whether a `jti` is required.
    pub single_use: bool,
}

/// A verified token: what the issuer says of the workload.
#[derive(Clone, Debug)]
pub struct WorkloadToken {
    claims: Map<String, Value>,
    subject: String,
    jti: Option<String>,
    expires: UnixTime,
    key: Option<Value>,
}

impl WorkloadToken {
    /// Every claim.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// `sub`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `jti`, if it has one.
    pub fn jti(&self) -> Option<&str> {
        self.jti.as_deref()
    }

    /// The end of its life, `exp`.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// The public JWK that verified it.
    pub fn key(&self) -> Option<&Value> {
        self.key.as_ref()
    }
}

/// A token as it was presented: read once, and **not verified**.
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

    /// The issuer it says it is from: only for finding the keys to verify it with.
    ///
    /// # Errors
    /// `token_malformed`.
    pub fn issuer(&self) -> Result<&str, Refusal> {
        Reader(&self.body).text("iss")
    }

    /// The subject it says it is about: only for finding the keys to verify it with.
    ///
    /// # Errors
    /// `token_malformed`.
    pub fn subject(&self) -> Result<&str, Refusal> {
        Reader(&self.body).text("sub")
    }

    /// Whether the key that it names is in this set.
    pub fn names_key_of(&self, keys: &KeySet) -> bool {
        keys.key_for(&self.jws).is_ok()
    }

    /// The text without its signature: what is kept of a token that can be used again.
    pub fn unsigned(&self) -> String {
        format!("{}.", self.jws.signing_input())
    }

    /// Verifies a token of a trusted issuer.
    ///
    /// # Errors
    /// `token_signature_invalid`, before anything else is looked at; then `token_*` for what else is wrong.
    pub fn verify(&self, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<WorkloadToken, Refusal> {
        let key = self.signed(keys)?;
        if !expect.algorithms.iter().any(|name| self.jws.alg().is_ok_and(|alg| alg == name)) {
            return Err(Refusal::new(Code::TokenSignatureInvalid, "the token's `alg` is not one that the issuer may use"));
        }
        named(self.claims_for(expect, now, skew)).map(|token| WorkloadToken { key, ..token })
    }

    /// Verifies a JWT-SVID of a trust domain whose keys these are. SPEC: SP-02, SP-06
    ///
    /// # Errors
    /// As [`Presented::verify`].
    pub fn verify_svid(
        &self,
        keys: &KeySet,
        audience: &str,
        max_lifetime: i64,
        now: UnixTime,
        skew: Skew,
    ) -> Result<WorkloadToken, Refusal> {
        self.svid_header()?;
        let key = self.signed(keys)?;
        named(self.svid_claims(audience, max_lifetime, now, skew)).map(|token| WorkloadToken { key, ..token })
    }

    /// Reads a recorded token again, by a key that its record states, or without one where its signature was not kept.
    ///
    /// # Errors
    /// As [`Presented::verify`].
    pub fn verify_recorded(&self, keys: Option<&KeySet>, audience: &str, at: UnixTime) -> Result<WorkloadToken, Refusal> {
        if let Some(keys) = keys {
            self.signed(keys)?;
        }
        self.jws.expect_typ(&[Some("JWT"), Some("JOSE"), None])?;
        let reader = Reader(&self.body);
        sole_audience(reader, audience)?;
        let expires = reader.expect_current(at, Skew::MAX)?;
        Ok(self.token(expires, reader.text("sub")?, reader.optional_text("jti")?))
    }

    fn signed(&self, keys: &KeySet) -> Result<Option<Value>, Refusal> {
        self.jws.refuse_embedded_key()?;
        self.jws.verify(keys.key_for(&self.jws)?)?;
        Ok(keys.recorded_key(&self.jws))
    }

    fn claims_for(&self, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<WorkloadToken, Refusal> {
        self.jws.expect_typ(&[Some("JWT"), None])?;
        let reader = Reader(&self.body);
        reader.expect_issuer(expect.issuer)?;
        // SPEC: N-JB-08: a person's ID token is for a sign-in, not for a workload.
        if let Some(claim) = ["nonce", "at_hash", "c_hash"].into_iter().find(|claim| self.body.contains_key(*claim)) {
            let reason = format!("the token is a person's ID token (`{claim}`), which proves no workload");
            return Err(Refusal::new(Code::TokenTypeWrong, reason));
        }
        sole_audience(reader, expect.audience)?;
        let expires = reader.expect_current(now, skew)?;
        let issued = reader.time("iat")?;
        if expires.since(issued) > expect.max_lifetime {
            return Err(lives_too_long(expect.max_lifetime));
        }
        if let Some(most) = expect.max_age.filter(|most| now.since(issued) > most.saturating_add(skew.as_seconds())) {
            let reason = format!("the token was issued more than {most} seconds ago (`iat`); get a fresh one");
            return Err(Refusal::new(Code::TokenExpired, reason));
        }
        let jti = reader.optional_text("jti")?;
        if expect.single_use && jti.is_none() {
            return Err(Refusal::new(Code::TokenMalformed, "the token has no `jti`, and each token is good once"));
        }
        Ok(self.token(expires, reader.text("sub")?, jti))
    }

    /// The header of a JWT-SVID has these members and no other. SPEC: SP-02, N-SP-02
    fn svid_header(&self) -> Result<(), Refusal> {
        let header = self.jws.header();
        if let Some(name) = header.keys().find(|name| !["alg", "kid", "typ"].contains(&name.as_str())) {
            let shown = remit_model::display::excerpt(name, 32);
            return Err(Refusal::new(Code::TokenMalformed, format!("the header of a JWT-SVID has no `{shown}`")));
        }
        self.jws.expect_typ(&[Some("JWT"), Some("JOSE"), None])?;
        match self.jws.alg()? {
            "RS256" | "RS384" | "RS512" | "ES256" | "ES384" | "ES512" | "PS256" | "PS384" | "PS512" => Ok(()),
            _ => Err(Refusal::new(Code::TokenSignatureInvalid, "the `alg` is none that a JWT-SVID may have")),
        }
    }

    fn svid_claims(&self, audience: &str, max_lifetime: i64, now: UnixTime, skew: Skew) -> Result<WorkloadToken, Refusal> {
        let reader = Reader(&self.body);
        sole_audience(reader, audience)?;
        let expires = reader.expect_current(now, skew)?;
        if expires.since(now.plus(skew.as_seconds())) > max_lifetime {
            return Err(lives_too_long(max_lifetime));
        }
        let subject = SpiffeId::parse(reader.text("sub")?)?;
        Ok(self.token(expires, subject.as_str(), reader.optional_text("jti")?))
    }

    fn token(&self, expires: UnixTime, subject: &str, jti: Option<&str>) -> WorkloadToken {
        WorkloadToken { claims: self.body.clone(), subject: subject.to_owned(), jti: jti.map(str::to_owned), expires, key: None }
    }
}

fn sole_audience(reader: Reader<'_>, audience: &str) -> Result<(), Refusal> {
    if reader.sole_audience()? == audience {
        return Ok(());
    }
    let reason = format!("the only audience (`aud`) of the token must be our issuer identifier, `{audience}`");
    Err(Refusal::new(Code::TokenAudienceWrong, reason))
}

fn lives_too_long(most: i64) -> Refusal {
    Refusal::new(Code::TokenMalformed, format!("the token lives longer than {most} seconds; ask its issuer for a shorter one"))
}

/// The same refusal in the words of this kind of token.
fn named(outcome: Result<WorkloadToken, Refusal>) -> Result<WorkloadToken, Refusal> {
    outcome.map_err(|refusal| Refusal { reason: refusal.reason.replacen("the token", "the workload's token", 1), ..refusal })
}
