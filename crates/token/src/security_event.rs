//! Security event tokens: a transmitter says that something happened to a person. SPEC: RFC 8417, OpenID SSF 1.0 §4, §11.1.
//!
//! A security event token has no expiry and names no subject by `sub`, so that it can never pass for an access token or an ID token.

use crate::{
    claims::{self, Claims as Reader, Skew},
    jws::Jws,
    keyset::KeySet,
};
use remit_model::{Code, Refusal, UnixTime, bounds};
use serde_json::{Map, Value};

/// Longest security event token that is taken, in bytes.
pub const SIZE_LIMIT: usize = bounds::SECURITY_EVENT.size();
/// The oldest that is taken, in seconds by its `iat`: a transmitter may deliver late, and a receiver may have been away.
pub const AGE_LIMIT: i64 = 7 * 24 * 3_600;
/// Longest type of an event, in bytes.
const TYPE_LIMIT: usize = 512;
/// Most subjects of the format `aliases` that are looked at. SPEC: RFC 9493 §3.2.8
const ALIASES_LIMIT: usize = 16;
/// Most audiences that are looked at.
const AUDIENCES_LIMIT: usize = 16;

/// A verified security event token. The caller still has to notice a `jti` it has seen, until `until`.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityEvent {
    pub jti: String,
    pub iat: UnixTime,
    /// No copy of it is accepted after this time.
    pub until: UnixTime,
    /// The URI of the one event. SPEC: SS-06
    pub event: String,
    /// What the event says besides its type.
    pub payload: Map<String, Value>,
    pub subject: Subject,
}

/// Whom an event is about. SPEC: RFC 9493, OpenID SSF 1.0 §3
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An issuer and its subject.
    IssuerSubject { issuer: String, subject: String },
    /// An identifier of the transmitter's own: of a person, or of the stream.
    Opaque(String),
    /// Something that names no account for certain, such as an e-mail address or a telephone number; its format.
    Unusable(Format),
}

/// Why a subject cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Email,
    Phone,
    /// A complex subject without a `user`, or aliases without an issuer and subject.
    NoUser,
    Other,
}

impl Format {
    /// The word for it in a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone_number",
            Self::NoUser => "no_user",
            Self::Other => "other",
        }
    }
}

/// What the verifier insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The transmitter's issuer identifier, exactly. SPEC: J-07
    pub issuer: &'a str,
    /// What the transmitter calls us.
    pub audience: &'a str,
}

/// Whether the set has the key that the token's header names; it says nothing about the signature.
///
/// # Errors
/// `token_malformed`.
pub fn has_key(compact: &str, keys: &KeySet) -> Result<bool, Refusal> {
    Ok(keys.key_for(&parse(compact)?).is_ok())
}

/// Verifies a security event token. SPEC: SS-11
///
/// # Errors
/// `token_*`.
pub fn verify(compact: &str, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<SecurityEvent, Refusal> {
    let jws = parse(compact)?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    reader.expect_issuer(expect.issuer)?;
    expect_audience(&body, expect.audience)?;
    // SPEC: N-SS-01: what has one of these is another kind of token.
    for claim in ["sub", "exp"] {
        if body.contains_key(claim) {
            return Err(Refusal::new(Code::TokenTypeWrong, format!("a security event token has no `{claim}`")));
        }
    }
    let iat = reader.time("iat")?;
    if iat > now.plus(skew.as_seconds()) {
        return Err(Refusal::new(Code::TokenNotYetValid, "the security event token's `iat` is in the future"));
    }
    let until = iat.plus(AGE_LIMIT.saturating_add(skew.as_seconds()));
    if now >= until {
        return Err(Refusal::new(Code::TokenExpired, format!("the security event token is older than {AGE_LIMIT} seconds")));
    }
    let jti = reader.id("jti")?.to_owned();
    let (event, payload) = the_event(&body)?;
    let subject = subject(&body, &payload)?;
    jws.verify(keys.key_for(&jws)?)?;
    Ok(SecurityEvent { jti, iat, until, event, payload, subject })
}

fn parse(compact: &str) -> Result<Jws<'_>, Refusal> {
    if compact.len() > SIZE_LIMIT {
        return Err(claims::malformed(format!("the security event token is longer than {SIZE_LIMIT} bytes")));
    }
    let jws = Jws::parse(compact)?;
    // SPEC: N-SS-02, RFC 8417 §2.3, SSF 1.0 §4.1.1
    jws.expect_typ(&[Some("secevent+jwt")])?;
    jws.refuse_embedded_key()?;
    Ok(jws)
}

/// A transmitter may send one token to several receivers, so ours is one of the audiences.
fn expect_audience(body: &Map<String, Value>, audience: &str) -> Result<(), Refusal> {
    let ours = match body.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(all)) if all.len() <= AUDIENCES_LIMIT => all.iter().any(|one| one.as_str() == Some(audience)),
        _ => return Err(claims::malformed("`aud` is neither a string nor a short list")),
    };
    if ours { Ok(()) } else { Err(Refusal::new(Code::TokenAudienceWrong, "the security event token is for another receiver")) }
}

/// SPEC: N-SS-12, SSF 1.0 §4.1.6: exactly one.
fn the_event(body: &Map<String, Value>) -> Result<(String, Map<String, Value>), Refusal> {
    let events = body.get("events").and_then(Value::as_object).ok_or_else(|| claims::malformed("`events` is not an object"))?;
    let mut all = events.iter();
    match (all.next(), all.next()) {
        (Some((event, Value::Object(payload))), None) if event.len() <= TYPE_LIMIT => Ok((event.clone(), payload.clone())),
        (Some(_), Some(_)) => Err(claims::malformed("`events` has more than one event")),
        _ => Err(claims::malformed("`events` does not have one event that is an object")),
    }
}

/// The subject beside the events, or, as transmitters of before RFC 9493 write it, inside the event.
fn subject(body: &Map<String, Value>, payload: &Map<String, Value>) -> Result<Subject, Refusal> {
    match (body.get("sub_id"), payload.get("subject")) {
        (Some(Value::Object(subject)), _) | (None, Some(Value::Object(subject))) => Ok(read(subject)),
        (None, None) => Ok(Subject::Unusable(Format::NoUser)),
        _ => Err(claims::malformed("the subject is not an object")),
    }
}

fn read(subject: &Map<String, Value>) -> Subject {
    let text = |name: &str| subject.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= 512);
    let format = text("format").or_else(|| text("subject_type")).map(|format| format.replace('-', "_"));
    // SPEC: SSF 1.0 §3.2; drafts had no format for a complex subject.
    let complex = format.as_deref().is_none_or(|format| format == "complex");
    if complex {
        return match subject.get("user") {
            // A user inside a user is no format of any document.
            Some(Value::Object(user)) if !user.contains_key("user") => read(user),
            _ => Subject::Unusable(Format::NoUser),
        };
    }
    match format.as_deref() {
        // `id_token_claims` is what RISC transmitters of before RFC 9493 send: these two, and an e-mail address at most.
        Some("iss_sub" | "id_token_claims") => match (text("iss"), text("sub")) {
            (Some(issuer), Some(subject)) => Subject::IssuerSubject { issuer: issuer.to_owned(), subject: subject.to_owned() },
            _ => Subject::Unusable(Format::Other),
        },
        Some("opaque") => text("id").map_or(Subject::Unusable(Format::Other), |id| Subject::Opaque(id.to_owned())),
        Some("aliases") => aliased(subject),
        Some("email") => Subject::Unusable(Format::Email),
        Some("phone_number") => Subject::Unusable(Format::Phone),
        _ => Subject::Unusable(Format::Other),
    }
}

/// The first of the aliases that is an issuer and its subject: they are all the same person.
fn aliased(subject: &Map<String, Value>) -> Subject {
    let all = subject.get("identifiers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named = all.iter().take(ALIASES_LIMIT).filter_map(Value::as_object);
    // RFC 9493 §3.2.8: aliases are not nested.
    let mut read = named.filter(|one| one.get("format").and_then(Value::as_str) == Some("iss_sub")).map(read);
    read.next().unwrap_or(Subject::Unusable(Format::NoUser))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, PrivateKey, sign_jws};
    use serde_json::json;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const EXPECT: Expect<'_> = Expect { issuer: "https://ssf.example", audience: "https://remit.example/ssf" };
    const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

    fn key() -> PrivateKey {
        PrivateKey::from_seed(Algorithm::Es256, &[7; 32]).unwrap()
    }

    fn body() -> Value {
        json!({
            "iss": EXPECT.issuer, "aud": EXPECT.audience, "iat": NOW.0, "jti": "1",
            "sub_id": {"format": "iss_sub", "iss": "https://id.example", "sub": "42"}, "events": {REVOKED: {}},
        })
    }

    fn checked(typ: &str, body: &Value) -> Result<SecurityEvent, Refusal> {
        let (key, keys) = (key(), KeySet::of([key().public()]));
        verify(&sign_jws(typ, &key, None, body).unwrap(), &keys, &EXPECT, NOW, Skew::default())
    }

    #[test]
    fn ss_11_a_token_is_read_whole() {
        let event = checked("secevent+jwt", &body()).unwrap();
        assert_eq!((event.jti.as_str(), event.event.as_str()), ("1", REVOKED));
        assert_eq!(event.subject, Subject::IssuerSubject { issuer: "https://id.example".into(), subject: "42".into() });
        let mut several = body();
        several["aud"] = json!(["https://other.example", EXPECT.audience]);
        assert!(checked("application/secevent+JWT", &several).is_ok());
    }

    #[test]
    fn n_ss_01_02_03_12_what_is_no_security_event_token_for_us_is_refused() {
        type Change = fn(&mut Value);
        let wrong: [(Code, Change); 16] = [
            (Code::TokenTypeWrong, |body| body["sub"] = json!("42")),
            (Code::TokenTypeWrong, |body| body["exp"] = json!(NOW.0 + 60)),
            (Code::TokenIssuerUnknown, |body| body["iss"] = json!("https://ssf.example/")),
            (Code::TokenMalformed, |body| drop(body.as_object_mut().unwrap().remove("iss"))),
            (Code::TokenAudienceWrong, |body| body["aud"] = json!("https://remit.example")),
            (Code::TokenAudienceWrong, |body| body["aud"] = json!([])),
            (Code::TokenMalformed, |body| body["aud"] = json!(vec![EXPECT.audience; 17])),
            (Code::TokenMalformed, |body| drop(body.as_object_mut().unwrap().remove("aud"))),
            (Code::TokenNotYetValid, |body| body["iat"] = json!(NOW.0 + 31)),
            (Code::TokenExpired, |body| body["iat"] = json!(NOW.0 - AGE_LIMIT - 30)),
            (Code::TokenMalformed, |body| drop(body.as_object_mut().unwrap().remove("iat"))),
            (Code::TokenMalformed, |body| drop(body.as_object_mut().unwrap().remove("jti"))),
            (Code::TokenMalformed, |body| body["events"] = json!({})),
            (Code::TokenMalformed, |body| body["events"] = json!({REVOKED: {}, "https://other.example": {}})),
            (Code::TokenMalformed, |body| body["events"] = json!({REVOKED: true})),
            (Code::TokenMalformed, |body| body["sub_id"] = json!("42")),
        ];
        for (code, change) in wrong {
            let mut body = body();
            change(&mut body);
            assert_eq!(checked("secevent+jwt", &body).map_err(|refusal| refusal.code), Err(code), "{body}");
        }
        for typ in ["JWT", "at+jwt", "logout+jwt", "secevent"] {
            assert_eq!(checked(typ, &body()).unwrap_err().code, Code::TokenTypeWrong, "{typ}");
        }
        let padded = json!({"padding": "x".repeat(SIZE_LIMIT)});
        assert_eq!(checked("secevent+jwt", &padded).unwrap_err().code, Code::TokenMalformed);
    }

    #[test]
    fn only_an_issuer_and_its_subject_or_an_opaque_id_names_somebody() {
        let pair = || Subject::IssuerSubject { issuer: "i".into(), subject: "s".into() };
        for (subject, read) in [
            (json!({"format": "iss_sub", "iss": "i", "sub": "s"}), pair()),
            (json!({"subject_type": "iss-sub", "iss": "i", "sub": "s"}), pair()),
            (json!({"subject_type": "id_token_claims", "iss": "i", "sub": "s", "email": "a@b"}), pair()),
            (json!({"format": "complex", "user": {"format": "iss_sub", "iss": "i", "sub": "s"}, "tenant": {}}), pair()),
            (json!({"user": {"format": "iss_sub", "iss": "i", "sub": "s"}}), pair()),
            (
                json!({"format": "aliases", "identifiers": [{"format": "email", "email": "a@b"}, {"format": "iss_sub", "iss": "i", "sub": "s"}]}),
                pair(),
            ),
            (json!({"format": "opaque", "id": "s"}), Subject::Opaque("s".into())),
            (json!({"format": "email", "email": "a@b"}), Subject::Unusable(Format::Email)),
            (json!({"format": "complex", "user": {"format": "email", "email": "a@b"}}), Subject::Unusable(Format::Email)),
            (json!({"format": "phone_number", "phone_number": "+1"}), Subject::Unusable(Format::Phone)),
            (json!({"format": "account", "uri": "acct:s@i"}), Subject::Unusable(Format::Other)),
            (json!({"format": "iss_sub", "iss": "i"}), Subject::Unusable(Format::Other)),
            (json!({"format": "complex", "session": {"format": "opaque", "id": "s"}}), Subject::Unusable(Format::NoUser)),
            (json!({"user": {"user": {"format": "opaque", "id": "s"}}}), Subject::Unusable(Format::NoUser)),
        ] {
            let mut body = body();
            body["sub_id"] = subject.clone();
            assert_eq!(checked("secevent+jwt", &body).unwrap().subject, read, "{subject}");
            let inside = json!({"subject": subject});
            body.as_object_mut().unwrap().remove("sub_id");
            body["events"] = json!({REVOKED: inside});
            assert_eq!(checked("secevent+jwt", &body).unwrap().subject, read, "inside the event: {inside}");
        }
    }
}
