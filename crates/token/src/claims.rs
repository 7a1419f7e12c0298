//! Reading claims: typed, bounded, and with our clock. SPEC: J-06 to J-08, RFC 7519 §4.1.

use remit_model::{Authority, Code, Confirmation, Refusal, UnixTime, confirmation::X5T, json, token_bounds};
use serde_json::{Map, Value};

/// Longest identifier-like claim (`jti`, `nonce`, `txn`), in bytes. SPEC: N-DP-18.
pub(crate) const ID_LIMIT: usize = 256;
/// Longest other text claim, in bytes.
const TEXT_LIMIT: usize = 4096;

/// How far a sender's clock may be off. Never more than a minute. SPEC: J-06.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew(i64);

impl Skew {
    pub const NONE: Self = Self(0);
    pub const MAX: Self = Self(60);

    /// `seconds`, held to 0..=60.
    pub fn seconds(seconds: i64) -> Self {
        Self(seconds.clamp(0, Self::MAX.0))
    }

    /// The tolerated difference of two clocks, in seconds.
    pub fn as_seconds(self) -> i64 {
        self.0
    }
}

impl Default for Skew {
    /// 30 seconds.
    fn default() -> Self {
        Self(30)
    }
}

/// A JSON object read strictly: no duplicate members, bounded depth, nothing after it.
pub(crate) fn object(bytes: &[u8], what: &str) -> Result<Map<String, Value>, Refusal> {
    match json::parse(bytes, &json::Limits::TOKEN) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(malformed(format!("the token's {what} is not a JSON object"))),
        Err(refusal) => Err(malformed(format!("the token's {what} is not acceptable JSON: {}", refusal.reason))),
    }
}

/// Claims of a token that is being verified.
#[derive(Clone, Copy)]
pub(crate) struct Claims<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Claims<'a> {
    pub(crate) fn text(self, name: &str) -> Result<&'a str, Refusal> {
        self.optional_text(name)?.ok_or_else(|| missing(name))
    }

    pub(crate) fn optional_text(self, name: &str) -> Result<Option<&'a str>, Refusal> {
        self.text_within(name, TEXT_LIMIT)
    }

    pub(crate) fn scope(self) -> Result<&'a str, Refusal> {
        self.text_within("scope", token_bounds::SCOPE.size())?.ok_or_else(|| missing("scope"))
    }

    fn text_within(self, name: &str, limit: usize) -> Result<Option<&'a str>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= limit => Ok(Some(text)),
            Some(_) => Err(malformed(format!("`{name}` is not a string of at most {limit} bytes"))),
        }
    }

    /// A short, non-empty identifier.
    pub(crate) fn id(self, name: &str) -> Result<&'a str, Refusal> {
        self.optional_id(name)?.ok_or_else(|| missing(name))
    }

    pub(crate) fn optional_id(self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.optional_text(name)? {
            Some(id) if id.is_empty() || id.len() > ID_LIMIT => {
                Err(malformed(format!("`{name}` is not 1 to {ID_LIMIT} bytes long")))
            }
            id => Ok(id),
        }
    }

    pub(crate) fn texts(self, name: &str) -> Result<Vec<String>, Refusal> {
        let wrong = || malformed(format!("`{name}` is not an array of strings"));
        match self.0.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
            Some(_) => Err(wrong()),
        }
    }

    pub(crate) fn time(self, name: &str) -> Result<UnixTime, Refusal> {
        self.optional_time(name)?.ok_or_else(|| missing(name))
    }

    /// A NumericDate: it may have a fraction, which is dropped, and must be a moment we can compute with.
    pub(crate) fn optional_time(self, name: &str) -> Result<Option<UnixTime>, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        seconds(value).map(Some).ok_or_else(|| malformed(format!("`{name}` is not a time in seconds")))
    }

    pub(crate) fn authority(self, name: &str) -> Result<Authority, Refusal> {
        let details = self.0.get(name).ok_or_else(|| missing(name))?;
        parse_authority(details)
    }

    /// `cnf.jkt`, when the token is bound to a key.
    pub(crate) fn confirmation(self) -> Result<Option<&'a str>, Refusal> {
        let Some(cnf) = self.0.get("cnf") else { return Ok(None) };
        let jkt = cnf.get("jkt").and_then(Value::as_str).filter(|jkt| is_thumbprint(jkt));
        // A confirmation we cannot check must not make the token a bearer token.
        jkt.map(Some).ok_or_else(|| malformed("`cnf` has no `jkt` that is a SHA-256 thumbprint"))
    }

    /// A key, or a certificate, and never both: one of them would not be checked. SPEC: RFC 8705 §3.1
    pub(crate) fn key_or_certificate(self) -> Result<Option<Confirmation>, Refusal> {
        let Some(x5t) = self.0.get("cnf").and_then(|cnf| cnf.get(X5T)) else {
            return Ok(self.confirmation()?.map(|jkt| Confirmation::Key(jkt.to_owned())));
        };
        let alone = self.0.get("cnf").and_then(Value::as_object).is_some_and(|cnf| cnf.len() == 1);
        let x5t = x5t.as_str().filter(|x5t| alone && is_thumbprint(x5t));
        let wrong = || malformed("`cnf` has no `x5t#S256` that is a SHA-256 thumbprint and stands alone");
        x5t.map(|x5t| Some(Confirmation::Certificate(x5t.to_owned()))).ok_or_else(wrong)
    }

    /// `iss` as an exact string. SPEC: J-07.
    pub(crate) fn expect_issuer(self, issuer: &str) -> Result<(), Refusal> {
        if self.text("iss")? == issuer {
            return Ok(());
        }
        Err(Refusal::new(Code::TokenIssuerUnknown, "the token is not from the expected issuer"))
    }

    /// The one audience, as a string or an array of one. SPEC: J-09.
    pub(crate) fn sole_audience(self) -> Result<&'a str, Refusal> {
        match self.0.get("aud") {
            None => Err(missing("aud")),
            Some(Value::String(aud)) => Ok(aud),
            Some(Value::Array(items)) => match items.as_slice() {
                [Value::String(aud)] => Ok(aud),
                _ => Err(Refusal::new(Code::TokenAudienceWrong, "the token must have exactly one audience")),
            },
            Some(_) => Err(malformed("`aud` is neither a string nor an array")),
        }
    }

    /// `exp` is required, `nbf` and `iat` are honoured. SPEC: J-06. Returns `exp`.
    pub(crate) fn expect_current(self, now: UnixTime, skew: Skew) -> Result<UnixTime, Refusal> {
        let expires = self.time("exp")?;
        if now >= expires.plus(skew.0) {
            return Err(Refusal::new(Code::TokenExpired, format!("the token expired at {expires}; it is {now}")));
        }
        for name in ["nbf", "iat"] {
            if let Some(begins) = self.optional_time(name)?
                && begins > now.plus(skew.0)
            {
                return Err(Refusal::new(Code::TokenNotYetValid, format!("`{name}` is {begins}, in the future of {now}")));
            }
        }
        Ok(expires)
    }

    /// SPEC: J-01: each kind has a longest life.
    pub(crate) fn expect_lifetime(self, from: UnixTime, limit: i64) -> Result<(), Refusal> {
        let expires = self.time("exp")?;
        if expires.since(from) > limit {
            return Err(malformed(format!("the token lives longer than {limit} seconds")));
        }
        Ok(())
    }
}

pub(crate) fn parse_authority(details: &Value) -> Result<Authority, Refusal> {
    Authority::parse(details).map_err(|refusal| malformed(format!("`authorization_details` cannot be read: {}", refusal.reason)))
}

/// Adds the claims that have a value.
pub(crate) fn insert_present<const N: usize>(body: &mut Value, claims: [(&str, Option<Value>); N]) {
    if let Some(members) = body.as_object_mut() {
        members.extend(claims.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
}

/// Whether this could be a base64url SHA-256.
pub(crate) fn is_thumbprint(text: &str) -> bool {
    text.len() == 43 && crate::base64url::decode(text).is_some_and(|hash| hash.len() == 32)
}

fn seconds(value: &Value) -> Option<UnixTime> {
    /// 2^53: beyond it a JSON number is not exact.
    const LIMIT: i64 = 1 << 53;
    let whole = match (value.as_i64(), value.as_f64()) {
        (Some(whole), _) => whole,
        (None, Some(number)) if number.is_finite() && (0.0..9.0e15).contains(&number) => {
            #[expect(clippy::cast_possible_truncation, reason = "in range by the guard; the fraction is meant to go")]
            let whole = number as i64;
            whole
        }
        _ => return None,
    };
    (0..LIMIT).contains(&whole).then_some(UnixTime(whole))
}

fn missing(name: &str) -> Refusal {
    malformed(format!("the token has no `{name}`"))
}

pub(crate) fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::TokenMalformed, reason)
}
