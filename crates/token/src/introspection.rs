//! Signed introspection answers. SPEC: RFC 9701 §5, IN-05; `typ: token-introspection+jwt`.
//!
//! What was asked about stands inside one member, so that no reader takes the answer for an access token: it has neither `sub`
//! nor `exp` (RFC 9701 §8.1).

use crate::{
    claims::{Claims as Reader, Skew, malformed},
    jws::{Jws, sign_jws},
    key::PrivateKey,
    keyset::KeySet,
};
use remit_model::{Code, Fault, Refusal, UnixTime};
use serde_json::{Map, Value, json};

/// The value of `typ`.
pub const TYP: &str = "token-introspection+jwt";
/// The media type of the answer, which a caller names in `Accept`.
pub const MEDIA_TYPE: &str = "application/token-introspection+jwt";
/// An answer older than this many seconds says nothing any more. SPEC: IN-06
pub const AGE_LIMIT: i64 = 30;

/// Signs an answer.
///
/// # Arguments
/// `issuer` is our issuer identifier, `caller` the client that asked and alone may rely on the answer, `answer` what an
/// unsigned answer would be.
///
/// # Errors
/// Only when the library fails.
pub fn mint(key: &PrivateKey, issuer: &str, caller: &str, now: UnixTime, answer: &Value) -> Result<String, Fault> {
    sign_jws(TYP, key, None, &json!({"iss": issuer, "aud": caller, "iat": now, "token_introspection": answer}))
}

/// What a resource server insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The authorization server that it asked.
    pub issuer: &'a str,
    /// The resource server itself, as the client that asked.
    pub caller: &'a str,
}

/// Verifies an answer and gives what it says of the token. That a DPoP-bound token is used with its key is for the resource
/// server to check.
///
/// # Errors
/// `token_malformed`, `token_type_wrong`, `token_issuer_unknown`, `token_audience_wrong` for an answer to another caller,
/// `token_expired` for one that is older than [`AGE_LIMIT`], `token_not_yet_valid`, `token_signature_invalid`.
pub fn verify(
    compact: &str,
    keys: &KeySet,
    expect: &Expect<'_>,
    now: UnixTime,
    skew: Skew,
) -> Result<Map<String, Value>, Refusal> {
    let jws = Jws::parse(compact)?;
    jws.expect_typ(&[Some(TYP)])?;
    jws.refuse_embedded_key()?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    reader.expect_issuer(expect.issuer)?;
    // SPEC: N-IN-05
    if reader.sole_audience()? != expect.caller {
        return Err(Refusal::new(Code::TokenAudienceWrong, "the answer was given to another resource server"));
    }
    if let Some(name) = ["sub", "exp"].into_iter().find(|name| body.contains_key(*name)) {
        return Err(malformed(format!("an introspection answer has no `{name}` of its own")));
    }
    let age = now.since(reader.time("iat")?);
    if age > AGE_LIMIT + skew.as_seconds() {
        return Err(Refusal::new(Code::TokenExpired, format!("the answer is {age} seconds old; ask again")));
    }
    if age < -skew.as_seconds() {
        return Err(Refusal::new(Code::TokenNotYetValid, "the answer is of the future"));
    }
    jws.verify(keys.key_for(&jws)?)?;
    match body.get("token_introspection") {
        Some(Value::Object(answer)) if answer.get("active").is_some_and(Value::is_boolean) => Ok(answer.clone()),
        _ => Err(malformed("`token_introspection` is not an object with `active`")),
    }
}
