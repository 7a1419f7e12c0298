//! Access tokens. SPEC: RFC 9068, standards 4.1; `typ: at+jwt`.

use crate::{
    actor::Actor,
    claims::{self, Claims as Reader, Skew},
    jws::{Jws, sign_jws},
    key::{PrivateKey, PublicKey},
    keyset::KeySet,
    restrictions::Restrictions,
};
use remit_model::{
    Authentication, Authority, Code, Confirmation, Fault, PrincipalKind, Refusal, UnixTime, criterion, display, json::sha256,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;
use std::{fmt, ops::Deref};

/// The media type in `typ`.
pub const TYP: &str = "at+jwt";
/// Longest life of an access token, in seconds, from any issuer.
pub const LIFETIME_LIMIT: i64 = 3600;

/// What an access token says. Plain data: [`mint`] signs it, [`verify`] reads it back inside an [`AccessToken`].
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    pub iss: String,
    /// Whose authority is used; never changes along a chain (DC-02).
    pub sub: String,
    /// One resource identifier. SPEC: N-AT-03.
    pub aud: String,
    /// The client that called the token endpoint.
    pub client_id: String,
    /// Space separated, sorted; may be empty.
    pub scope: String,
    pub jti: String,
    pub iat: UnixTime,
    pub exp: UnixTime,
    /// The human's authentication, copied through hops and never refreshed by one.
    pub auth_time: Option<UnixTime>,
    pub acr: Option<String>,
    pub amr: Vec<String>,
    /// RFC 7638 thumbprint of the only key that may use this token.
    pub cnf_jkt: Option<String>,
    /// Thumbprint of the only certificate that may use this token (`x5t#S256`). No token is bound to both. SPEC: RFC 8705 §3.1
    pub cnf_x5t: Option<String>,
    pub act: Option<Actor>,
    /// `authorization_details`.
    pub authority: Authority,
    /// Id of the chain.
    pub txn: String,
    /// `jti` of every token above this one, parent first, root last.
    pub ancestors: Vec<String>,
    /// The `kid`s that signed the tokens above this one, as far as they are not the one that signs this.
    pub ancestor_keys: Vec<String>,
    /// What the tokens above this one are bound to, as far as it is not its own: thumbprints of keys, and of certificates after
    /// `x5t#S256:`. SPEC: RV-05
    pub ancestor_jkts: Vec<String>,
    pub purpose: Option<String>,
    /// The digest of the consent document that the root person's passkey signed (`urn:remit:signed`).
    pub signed: Option<String>,
}

impl Claims {
    /// What the token is bound to; `None` for a bearer token.
    pub fn confirmation(&self) -> Option<Confirmation> {
        Confirmation::of(self.cnf_jkt.as_deref(), self.cnf_x5t.as_deref())
    }

    /// Whether the token is bound to a key or a certificate.
    pub fn is_bound(&self) -> bool {
        self.cnf_jkt.is_some() || self.cnf_x5t.is_some()
    }
}

#[cfg(test)]
impl Claims {
    /// A token that says little, good for a minute.
    pub(crate) fn example(now: UnixTime) -> Self {
        Self {
            iss: "https://as".into(),
            sub: "user:a".into(),
            aud: "https://rs".into(),
            client_id: "agent:b".into(),
            scope: String::new(),
            jti: "1".into(),
            iat: now,
            exp: now.plus(60),
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            cnf_jkt: None,
            cnf_x5t: None,
            act: None,
            authority: Authority::none(),
            txn: "t".into(),
            ancestors: Vec::new(),
            ancestor_keys: Vec::new(),
            ancestor_jkts: Vec::new(),
            purpose: None,
            signed: None,
        }
    }
}

/// A verified access token. Reads like its [`Claims`]; only [`verify`] makes one.
#[derive(Clone)]
pub struct AccessToken {
    claims: Claims,
    digest: [u8; 32],
    keys: Vec<String>,
    criteria: Vec<String>,
    /// The later of `iat` and `nbf`.
    begins: UnixTime,
    restrictions: Restrictions,
}

impl AccessToken {
    /// How the person at the root authenticated; `None` where the token does not say when.
    pub fn authentication(&self) -> Option<Authentication> {
        let Claims { auth_time, acr, amr, .. } = &self.claims;
        auth_time.map(|time| Authentication { time, acr: acr.clone(), amr: amr.clone() })
    }

    /// SHA-256 of the compact token: what DPoP's `ath` must equal, and a cache key that holds no secret.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The `kid` of the key that signed it, then of those that signed the tokens it descends from.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// What it can be revoked by, besides its own identifiers. SPEC: RV-05
    pub fn criteria(&self) -> &[String] {
        &self.criteria
    }

    /// What it says of its own exchange.
    pub fn restrictions(&self) -> &Restrictions {
        &self.restrictions
    }

    /// The verified claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Bytes that a token of this text takes in memory, roughly: many short texts, each of which costs something.
    pub fn bytes(compact: &str) -> usize {
        size_of::<Self>() + 4 * compact.len()
    }

    /// Whether [`verify`] would still take this token, as far as issuer, audience and time go.
    pub fn meets(&self, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> bool {
        let skew = skew.as_seconds();
        self.claims.iss == expect.issuer
            && expect.audience.is_none_or(|audience| audience == self.claims.aud)
            && now < self.claims.exp.plus(skew)
            && self.begins <= now.plus(skew)
    }

    /// The acting party's subject: the outermost actor, or the subject itself.
    pub fn actor(&self) -> &str {
        self.claims.act.as_ref().map_or(self.claims.sub.as_str(), |actor| actor.sub.as_str())
    }
}

impl Deref for AccessToken {
    type Target = Claims;
    fn deref(&self) -> &Claims {
        &self.claims
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// What the verifier of an access token insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    pub issuer: &'a str,
    /// The resource asking; `None` only where the issuer reads its own tokens (introspection, revocation, exchange).
    pub audience: Option<&'a str>,
}

/// The digest of a compact token, for looking up a verification that was done before.
pub fn digest(compact: &str) -> [u8; 32] {
    sha256(compact.as_bytes())
}

/// Signs an access token.
///
/// # Errors
/// Only when the library fails.
pub fn mint(key: &PrivateKey, claims: &Claims) -> Result<String, Fault> {
    mint_restricted(key, claims, &Restrictions::default())
}

/// Signs an access token that restricts its own exchange.
///
/// # Errors
/// Only when the library fails.
pub fn mint_restricted(key: &PrivateKey, claims: &Claims, restrictions: &Restrictions) -> Result<String, Fault> {
    sign_jws(TYP, key, None, &Body(claims, restrictions))
}

/// Claims as a token has them; what is absent is left out.
struct Body<'c>(&'c Claims, &'c Restrictions);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let claims = self.0;
        let mut body = to.serialize_map(None)?;
        body.serialize_entry("iss", &claims.iss)?;
        body.serialize_entry("sub", &claims.sub)?;
        body.serialize_entry("aud", &claims.aud)?;
        body.serialize_entry("client_id", &claims.client_id)?;
        body.serialize_entry("scope", &claims.scope)?;
        body.serialize_entry("jti", &claims.jti)?;
        body.serialize_entry("iat", &claims.iat)?;
        body.serialize_entry("exp", &claims.exp)?;
        body.serialize_entry("authorization_details", &claims.authority)?;
        body.serialize_entry("txn", &claims.txn)?;
        if let Some(time) = claims.auth_time {
            body.serialize_entry("auth_time", &time)?;
        }
        if let Some(acr) = &claims.acr {
            body.serialize_entry("acr", acr)?;
        }
        if !claims.amr.is_empty() {
            body.serialize_entry("amr", &claims.amr)?;
        }
        if let Some(confirmation) = claims.confirmation() {
            body.serialize_entry("cnf", &confirmation.to_value())?;
        }
        if let Some(act) = &claims.act {
            body.serialize_entry("act", act)?;
        }
        if !claims.ancestors.is_empty() {
            body.serialize_entry("urn:remit:ancestors", &claims.ancestors)?;
        }
        if !claims.ancestor_keys.is_empty() {
            body.serialize_entry("urn:remit:ancestor_keys", &claims.ancestor_keys)?;
        }
        if !claims.ancestor_jkts.is_empty() {
            body.serialize_entry("urn:remit:ancestor_jkts", &claims.ancestor_jkts)?;
        }
        if let Some(purpose) = &claims.purpose {
            body.serialize_entry("urn:remit:purpose", purpose)?;
        }
        if let Some(signed) = &claims.signed {
            body.serialize_entry("urn:remit:signed", signed)?;
        }
        for (name, value) in self.1.claims() {
            body.serialize_entry(&name, &value)?;
        }
        body.end()
    }
}

/// Verifies an access token: `typ`, issuer, audience and time first, then the signature, then the rest.
///
/// # Errors
/// `token_malformed`, `token_type_wrong`, `token_issuer_unknown`, `token_audience_wrong`, `token_expired`,
/// `token_not_yet_valid`, `token_signature_invalid`.
pub fn verify(compact: &str, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<AccessToken, Refusal> {
    check(compact, keys, expect, now, skew).map(|(token, _)| token)
}

/// As [`verify`], with the key whose signature it is.
pub(crate) fn check(
    compact: &str,
    keys: &KeySet,
    expect: &Expect<'_>,
    now: UnixTime,
    skew: Skew,
) -> Result<(AccessToken, PublicKey), Refusal> {
    let jws = Jws::parse(compact)?;
    jws.expect_typ(&[Some(TYP)])?;
    jws.refuse_embedded_key()?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    reader.expect_issuer(expect.issuer)?;
    let aud = strict_audience(reader.0.get("aud"), expect.audience)?;
    reader.expect_current(now, skew)?;
    reader.expect_lifetime(reader.time("iat")?, LIFETIME_LIMIT)?;
    let key = keys.key_for(&jws)?;
    // INVARIANT: no claim leaves this function before the signature is good; holding an `AccessToken` proves it.
    jws.verify(key)?;
    let claims = read(reader, aud)?;
    let begins = reader.optional_time("nbf")?.map_or(claims.iat, |nbf| nbf.max(claims.iat));
    let keys = std::iter::once(key.thumbprint().to_owned()).chain(claims.ancestor_keys.iter().cloned()).collect();
    let restrictions = Restrictions::read(&body)?;
    let criteria = criteria(&claims);
    Ok((AccessToken { claims, digest: digest(compact), keys, criteria, begins, restrictions }, key.clone()))
}

fn criteria(claims: &Claims) -> Vec<String> {
    let actors = claims.act.iter().flat_map(Actor::chain).map(|actor| actor.sub.as_str());
    let own = claims.confirmation().map(|confirmation| confirmation.to_string());
    let keys = own.iter().chain(&claims.ancestor_jkts).map(String::as_str);
    let agents = std::iter::once(claims.sub.as_str()).chain(actors).filter(|sub| PrincipalKind::Agent.name_in(sub).is_some());
    criterion::of(agents, keys, Some(&claims.aud), &claims.authority)
}

/// SPEC: N-AT-03: one string. An array is refused even when we are in it.
fn strict_audience<'a>(aud: Option<&'a Value>, wanted: Option<&str>) -> Result<&'a str, Refusal> {
    let wrong = |reason: &str| Err(Refusal::new(Code::TokenAudienceWrong, reason));
    match aud {
        Some(Value::String(aud)) if wanted.is_none_or(|wanted| wanted == aud) => Ok(aud),
        Some(Value::String(aud)) => wrong(&format!("the token is for `{}`", display::excerpt(aud, 200))),
        Some(_) => wrong("the token must have exactly one audience, as a string"),
        None => Err(claims::malformed("the token has no `aud`")),
    }
}

fn read(reader: Reader<'_>, aud: &str) -> Result<Claims, Refusal> {
    let confirmation = reader.key_or_certificate()?;
    Ok(Claims {
        iss: reader.text("iss")?.to_owned(),
        sub: reader.id("sub")?.to_owned(),
        aud: aud.to_owned(),
        client_id: reader.text("client_id")?.to_owned(),
        scope: reader.scope()?.to_owned(),
        jti: reader.id("jti")?.to_owned(),
        iat: reader.time("iat")?,
        exp: reader.time("exp")?,
        auth_time: reader.optional_time("auth_time")?,
        acr: reader.optional_text("acr")?.map(str::to_owned),
        amr: reader.texts("amr")?,
        cnf_jkt: confirmation.as_ref().and_then(Confirmation::jkt).map(str::to_owned),
        cnf_x5t: confirmation.as_ref().and_then(Confirmation::x5t).map(str::to_owned),
        act: reader.0.get("act").map(Actor::parse).transpose()?,
        authority: reader.authority("authorization_details")?,
        txn: reader.id("txn")?.to_owned(),
        ancestors: reader.texts("urn:remit:ancestors")?,
        ancestor_keys: reader.texts("urn:remit:ancestor_keys")?,
        ancestor_jkts: reader.texts("urn:remit:ancestor_jkts")?,
        purpose: reader.optional_text("urn:remit:purpose")?.map(str::to_owned),
        signed: reader.optional_id("urn:remit:signed")?.map(str::to_owned),
    })
}
