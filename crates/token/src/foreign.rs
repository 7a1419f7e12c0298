//! Tokens of issuers that are trusted to say who a person is: access tokens, JWT grants and ID-JAGs. SPEC: TX-01, TX-02,
//! JB-01 to JB-03, IR-01; RFC 7523 §3, RFC 9068 §4, draft-ietf-oauth-identity-assertion-authz-grant-04 §5.
//!
//! A foreign token is evidence of who the person is, and for whom its issuer meant it. What that person may hand over here is
//! for others to say. A token that itself was delegated on (`act`) is refused: its chain could not be kept.

use crate::{
    claims::{Claims as Reader, Skew, insert_present, malformed},
    jws::Jws,
    key::{Algorithm, PublicKey},
    keyset::KeySet,
    restrictions::Restrictions,
};
use remit_model::{Authentication, Code, Refusal, UnixTime, json::sha256};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Most audiences a foreign access token may have. SPEC: X-10
const AUDIENCES: usize = 32;

/// What kind of token it is; each has a `typ` and rules of its own. SPEC: J-01
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An access token, which the exchange takes for its subject.
    AccessToken,
    /// A JWT that was made to be a grant here: RFC 7523 §2.1, identity chaining.
    JwtGrant,
    /// An identity assertion JWT authorization grant.
    IdJag,
}

impl Kind {
    /// Values of `typ` that this kind may have. Keycloak writes `JWT` into its access tokens.
    fn types(self) -> &'static [Option<&'static str>] {
        match self {
            Self::AccessToken => &[Some("at+jwt"), Some("JWT")],
            Self::JwtGrant => &[Some("JWT"), None],
            Self::IdJag => &[Some("oauth-id-jag+jwt")],
        }
    }

    /// Whether it has to be addressed to one audience, and named by a `jti` that is accepted once. SPEC: JB-02, IR-03
    pub fn is_grant(self) -> bool {
        self != Self::AccessToken
    }
}

/// A verified foreign token.
#[derive(Clone, Debug)]
pub struct ForeignToken {
    pub kind: Kind,
    pub iss: String,
    pub sub: String,
    /// Who it is for, as it says.
    pub aud: Vec<String>,
    pub jti: Option<String>,
    pub iat: UnixTime,
    pub exp: UnixTime,
    /// The client it was issued to: `client_id`, or else `azp`.
    pub client: Option<String>,
    /// When and how the person signed in.
    pub authentication: Option<Authentication>,
    pub scope: Option<String>,
    /// The resources that it is for: `resource` of an ID-JAG.
    pub resources: Vec<String>,
    /// Thumbprint of the key that it is bound to.
    pub jkt: Option<String>,
    /// What it says of its own exchange.
    pub restrictions: Restrictions,
    key: PublicKey,
    /// Under which name its header means the key.
    kid: Option<String>,
    compact: String,
}

impl ForeignToken {
    /// The key that signed it, for the ledger: a JWK with `alg`, and with the `kid` by which the token names it.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.key.to_jwk();
        let named = [("alg", Some(json!(self.key.algorithm().name()))), ("kid", self.kid.as_ref().map(|kid| json!(kid)))];
        insert_present(&mut jwk, named);
        jwk
    }

    /// The signed text, for the ledger.
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// SHA-256 of the signed text: what a proof of its holder covers (`ath`).
    pub fn digest(&self) -> [u8; 32] {
        sha256(self.compact.as_bytes())
    }

    /// What a DPoP proof with this token has in `ath`.
    pub fn ath(&self) -> String {
        crate::base64url::encode(&self.digest())
    }

    /// What names it among the tokens of its issuer: its `jti`, or what was signed. A signature can be made again (J-12).
    pub fn name(&self) -> String {
        let signed = || self.compact.rsplit_once('.').map_or(self.compact.as_str(), |(signed, _)| signed);
        self.jti.clone().unwrap_or_else(|| remit_model::json::sha256_label(signed().as_bytes()))
    }
}

/// What the verifier insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    pub kind: Kind,
    pub issuer: &'a str,
    /// One of these has to be an audience. A grant has no other.
    pub audiences: &'a [String],
    /// Algorithms that its signature may have; empty for every one that is verified here. SPEC: JB-01
    pub algorithms: &'a [String],
    /// Longest life, in seconds.
    pub lifetime: i64,
    /// How long ago it may have been issued, in seconds. SPEC: JB-03
    pub age: i64,
}

/// The issuer that a compact token names, **not verified**: only for finding the issuer's keys.
///
/// # Errors
/// `token_malformed`.
pub fn issuer(compact: &str) -> Result<String, Refusal> {
    let claims = Jws::parse(compact)?.claims()?;
    Ok(Reader(&claims).text("iss")?.to_owned())
}

/// The audiences that a compact token names, **not verified**: for an auditor, who checks the signature and leaves to the
/// server's configuration which audience means the server.
///
/// # Errors
/// `token_malformed`.
pub fn audiences(compact: &str) -> Result<Vec<String>, Refusal> {
    one_or_more(Jws::parse(compact)?.claims()?.get("aud"), "aud")
}

/// Verifies a foreign token: kind, issuer, audience and time first, then the signature, then the rest.
///
/// # Errors
/// `token_malformed`, `token_type_wrong`, `token_issuer_unknown`, `token_audience_wrong`, `token_expired`,
/// `token_not_yet_valid`, `token_signature_invalid`.
pub fn verify(compact: &str, keys: &KeySet, expect: &Expect<'_>, now: UnixTime, skew: Skew) -> Result<ForeignToken, Refusal> {
    let jws = Jws::parse(compact)?;
    jws.expect_typ(expect.kind.types())?;
    jws.refuse_embedded_key()?;
    let body = jws.claims()?;
    let reader = Reader(&body);
    reader.expect_issuer(expect.issuer)?;
    let aud = addressed(reader, expect)?;
    let exp = reader.expect_current(now, skew)?;
    let iat = reader.time("iat")?;
    reader.expect_lifetime(iat, expect.lifetime)?;
    if now.since(iat) > expect.age + skew.as_seconds() {
        return Err(Refusal::new(Code::TokenExpired, format!("the token was issued more than {} seconds ago", expect.age)));
    }
    let key = keys.key_for(&jws)?;
    let allowed = |name: &String| Algorithm::is_named(key.algorithm(), name);
    if !expect.algorithms.is_empty() && !expect.algorithms.iter().any(allowed) {
        return Err(Refusal::new(Code::TokenSignatureInvalid, "the token is signed with an algorithm that is not accepted"));
    }
    // INVARIANT: no claim leaves this function before the signature is good.
    jws.verify(key)?;
    is_that_kind(expect.kind, &body)?;
    let client = match reader.optional_text("client_id")? {
        Some(client) => Some(client),
        None => reader.optional_text("azp")?,
    };
    let jti = reader.optional_id("jti")?;
    if expect.kind.is_grant() && jti.is_none() {
        return Err(malformed("a grant has a `jti`, so that it can be accepted once"));
    }
    Ok(ForeignToken {
        kind: expect.kind,
        iss: expect.issuer.to_owned(),
        sub: reader.id("sub")?.to_owned(),
        aud,
        jti: jti.map(str::to_owned),
        iat,
        exp,
        client: client.map(str::to_owned),
        authentication: authentication(reader)?,
        scope: reader.optional_text("scope")?.map(str::to_owned),
        resources: one_or_more(body.get("resource"), "resource")?,
        jkt: reader.confirmation()?.map(str::to_owned),
        restrictions: Restrictions::read(&body)?,
        key: key.clone(),
        kid: jws.kid()?.map(str::to_owned),
        compact: compact.to_owned(),
    })
}

/// SPEC: TX-02, JB-02, N-JB-03, N-IR-01
fn addressed(reader: Reader<'_>, expect: &Expect<'_>) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::new(Code::TokenAudienceWrong, "the token is not addressed to this issuer");
    if expect.kind.is_grant() {
        let aud = reader.sole_audience()?.to_owned();
        return if expect.audiences.contains(&aud) { Ok(vec![aud]) } else { Err(wrong()) };
    }
    let all = one_or_more(reader.0.get("aud"), "aud")?;
    if all.iter().any(|aud| expect.audiences.contains(aud)) { Ok(all) } else { Err(wrong()) }
}

fn one_or_more(value: Option<&Value>, name: &str) -> Result<Vec<String>, Refusal> {
    let wrong = || malformed(format!("`{name}` is neither a text nor a list of at most {AUDIENCES} texts"));
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(all)) if all.len() <= AUDIENCES => {
            all.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// Refuses what another kind of token would say, where `typ` does not tell them apart. SPEC: N-TX-10, N-JB-08, N-DC-06
fn is_that_kind(kind: Kind, body: &Map<String, Value>) -> Result<(), Refusal> {
    // An ID token, a logout token or a security event. Keycloak also says in the claim `typ` what a token is.
    let other = ["nonce", "at_hash", "c_hash", "s_hash", "events", "token_introspection"];
    let other = other.into_iter().find(|name| body.contains_key(*name));
    let stated = body.get("typ").map(|typ| typ.as_str().is_some_and(|typ| matches!(typ, "Bearer" | "DPoP")));
    if other.is_some() || stated == Some(false) || (kind.is_grant() && stated.is_some()) {
        return Err(Refusal::new(Code::TokenTypeWrong, "the token is of another kind: an ID token, say"));
    }
    // SPEC: DC-03
    if body.contains_key("act") {
        return Err(malformed("the token was delegated before it came here (`act`), and that chain cannot be continued"));
    }
    Ok(())
}

/// SPEC: DC-15
fn authentication(reader: Reader<'_>) -> Result<Option<Authentication>, Refusal> {
    let Some(time) = reader.optional_time("auth_time")? else { return Ok(None) };
    Ok(Some(Authentication { time, acr: reader.optional_text("acr")?.map(str::to_owned), amr: reader.texts("amr")? }))
}
