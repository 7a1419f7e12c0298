//! Logout tokens: a provider says that a person's session ended. SPEC: OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6.

use crate::{
    claims::{self, Claims as Reader, Skew},
    jws::Jws,
    key::Algorithm,
    keyset::KeySet,
};
use remit_model::{Code, Refusal, UnixTime};
use serde_json::Value;

/// The member of `events` that makes a token one of logout.
pub const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Longest life of a logout token, in seconds, and the oldest that is taken without an `exp`.
pub const LIFETIME_LIMIT: i64 = 600;

/// A verified logout token. The caller still has to refuse a `jti` it has seen, until `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// The person, as the provider knows them.
    pub sub: Option<String>,
    /// The session at the provider.
    pub sid: Option<String>,
    pub jti: String,
    pub iat: UnixTime,
    /// No copy of it is accepted after this time.
    pub until: UnixTime,
}

/// What the verifier insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The provider's issuer identifier, exactly.
    pub issuer: &'a str,
    /// The client that we are there.
    pub client_id: &'a str,
}

/// Verifies a logout token.
///
/// # Errors
/// `token_*`.
pub fn verify(compact: &str, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<LogoutToken, Refusal> {
    let (jws, token) = read(compact, expect, now, skew)?;
    jws.verify(keys.key_for(&jws)?)?;
    token
}

/// What of [`verify`] needs no key: whether keys are worth fetching for it. What passes may still be anyone's.
///
/// # Errors
/// `token_*`.
pub fn check(compact: &str, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<(), Refusal> {
    let (jws, _) = read(compact, expect, now, skew)?;
    if Algorithm::ACCEPTED.contains(&jws.alg()?) {
        return Ok(());
    }
    Err(Refusal::new(Code::TokenSignatureInvalid, "the logout token's `alg` is none that is accepted"))
}

/// The claims of a token, in the order in which they are refused. Those that name a person come behind the signature.
fn read<'t>(
    compact: &'t str,
    expect: &Expect<'_>,
    now: UnixTime,
    skew: Skew,
) -> Result<(Jws<'t>, Result<LogoutToken, Refusal>), Refusal> {
    let jws = Jws::parse(compact)?;
    // SPEC: §2.4 recommends the type; providers of before it send `JWT`, and then the event alone tells it from an ID token.
    jws.expect_typ(&[Some("logout+jwt"), Some("JWT"), None])?;
    jws.refuse_embedded_key()?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    reader.expect_issuer(expect.issuer)?;
    if reader.sole_audience()? != expect.client_id {
        return Err(Refusal::new(Code::TokenAudienceWrong, "the logout token is for another client"));
    }
    if body.contains_key("nonce") {
        return Err(Refusal::new(Code::TokenTypeWrong, "a logout token has no `nonce`"));
    }
    if !body.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err(Refusal::new(Code::TokenTypeWrong, "the token's `events` do not say that a session ended"));
    }
    let iat = reader.time("iat")?;
    // §2.4 requires `exp`; drafts before it did not.
    let until = match reader.optional_time("exp")? {
        Some(_) => {
            reader.expect_lifetime(iat, LIFETIME_LIMIT)?;
            reader.expect_current(now, skew)?
        }
        None => iat.plus(LIFETIME_LIMIT),
    };
    if now >= until.plus(skew.as_seconds()) {
        return Err(Refusal::new(Code::TokenExpired, "the logout token is too old"));
    }
    if iat > now.plus(skew.as_seconds()) {
        return Err(Refusal::new(Code::TokenNotYetValid, "the logout token's `iat` is in the future"));
    }
    let token = named(reader, iat, until.plus(skew.as_seconds()));
    Ok((jws, token))
}

fn named(reader: Reader<'_>, iat: UnixTime, until: UnixTime) -> Result<LogoutToken, Refusal> {
    let token = LogoutToken {
        sub: reader.optional_id("sub")?.map(str::to_owned),
        sid: reader.optional_id("sid")?.map(str::to_owned),
        jti: reader.id("jti")?.to_owned(),
        iat,
        until,
    };
    if token.sub.is_none() && token.sid.is_none() {
        return Err(claims::malformed("a logout token names a `sub` or a `sid`"));
    }
    Ok(token)
}
