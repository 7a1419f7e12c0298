//! DPoP proofs: the sender shows that it holds the key. SPEC: RFC 9449, DP-01 to DP-15; `typ: dpop+jwt`.
//!
//! A proof shows possession, never identity: the key comes out of the proof itself, and means something only once it is
//! compared with what a token or a registration is bound to.

mod htu;
pub mod nonce;
mod proof;
mod replay;

pub use htu::{htu_matches, normalise};
pub use nonce::{NonceRule, Nonces};
pub use proof::{Claims, Header, Proof};
pub use replay::ReplaySet;

use crate::{
    base64url::encode,
    claims::{self, Claims as Reader},
    jws::{Jws, Segments, sign_jws},
    key::{PrivateKey, PublicKey},
    statement::Delegation,
};
use remit_model::{Code, Fault, Refusal, UnixTime, json::sha256};
use serde_json::{Value, json};

/// The media type in `typ`.
pub const TYP: &str = "dpop+jwt";
/// How far `iat` may be from now, either way, unless configured otherwise. SPEC: DP-08.
pub const WINDOW_SECS: i64 = 300;
/// The claim that carries a [`Delegation`] in a proof at the token endpoint.
pub const DELEGATION_CLAIM: &str = "urn:remit:delegation";

/// What the verifier of a proof insists on.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The request's method, exact.
    pub method: &'a str,
    /// The request's URL as the outside sees it, from configuration. Query and fragment are ignored.
    pub url: &'a str,
    /// Digest of the access token presented with the proof; then `ath` is required (DP-10).
    pub access_token: Option<&'a [u8; 32]>,
    /// The thumbprint the token, code or client is bound to (DP-10, DP-13).
    pub bound_to: Option<&'a str>,
    /// An earlier header of the same sender, so that the same key is not read again.
    pub known: Option<&'a Header>,
    pub nonce: NonceRule<'a>,
    /// Where used proofs are remembered; `None` only where a second use is harmless or checked elsewhere.
    pub replay: Option<&'a ReplaySet>,
    pub now: UnixTime,
    /// How far `iat` may be from `now`; [`WINDOW_SECS`] unless configured. A [`ReplaySet`] must be made for the same window.
    pub window_secs: i64,
}

/// Verifies the one proof of a request. The order is from cheap to expensive; the proof is looked up only after its
/// signature was checked.
///
/// It is not remembered here: anyone can make a proof, and room is for those who may act. A caller that accepts it has
/// [`ReplaySet::remember`] do that, once it is known that they may, and before anything comes of it.
///
/// # Errors
/// `dpop_proof_missing`, `dpop_proof_invalid`, `dpop_proof_replayed`, `dpop_nonce_required`, `dpop_key_mismatch`.
pub fn verify(header_values: &[&str], expect: &Expect<'_>) -> Result<Proof, Refusal> {
    let compact = match header_values {
        [] => return Err(Refusal::new(Code::DpopProofMissing, "the request has no `DPoP` header")),
        [compact] => *compact,
        _ => return Err(invalid("the request has more than one `DPoP` header")),
    };
    let (form, claims) = read(compact, expect.known)?;
    // SPEC: DP-05. Methods are case-sensitive.
    if claims.htm != expect.method {
        return Err(invalid("`htm` is not the method of the request"));
    }
    if !htu_matches(&claims.htu, expect.url) {
        return Err(invalid("`htu` is not the URL of the request"));
    }
    if claims.iat.since(expect.now).abs() > expect.window_secs {
        return Err(invalid(format!("`iat` is {}, more than {} seconds from {}", claims.iat, expect.window_secs, expect.now)));
    }
    if let Some(digest) = expect.access_token
        && claims.ath.as_deref() != Some(encode(digest).as_str())
    {
        return Err(invalid("`ath` is not the hash of the access token"));
    }
    expect.nonce.check(claims.nonce.as_deref(), claims.iat, expect.now)?;
    let proof = verify_key(&form, claims, expect.bound_to)?;
    // INVARIANT: only proofs with a good signature reach the replay memory, so that a stranger cannot probe or fill it.
    if let Some(replay) = expect.replay {
        replay.look(&proof, expect.now)?;
    }
    Ok(proof)
}

/// Checks a proof that was accepted before, from the ledger: its form, its key and its signature, and not the request it
/// came with, which is gone. A caller that reads a proof as evidence of one act compares `htm`, `htu`, `iat` and `ath` with what
/// was recorded of that act.
///
/// # Errors
/// `dpop_proof_invalid`, `dpop_key_mismatch`.
pub fn verify_recorded(compact: &str, bound_to: &str) -> Result<Proof, Refusal> {
    let (form, claims) = read(compact, None)?;
    verify_key(&form, claims, Some(bound_to))
}

/// What [`create`] signs.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProofFor<'a> {
    pub method: &'a str,
    /// Query and fragment are cut off before signing.
    pub url: &'a str,
    pub now: UnixTime,
    /// Fresh for every proof.
    pub jti: &'a str,
    /// The server's latest nonce, when it gave one.
    pub nonce: Option<&'a str>,
    /// The access token sent along.
    pub access_token: Option<&'a str>,
    pub delegation: Option<&'a Delegation>,
}

/// Signs a proof.
///
/// # Errors
/// Only when the library fails.
pub fn create(key: &PrivateKey, request: &ProofFor<'_>) -> Result<String, Fault> {
    let url = request.url.split(['?', '#']).next().unwrap_or_default();
    let mut body = json!({"jti": request.jti, "htm": request.method, "htu": url, "iat": request.now});
    let optional = [
        ("nonce", request.nonce.map(|nonce| json!(nonce))),
        ("ath", request.access_token.map(|token| json!(encode(&sha256(token.as_bytes()))))),
        (DELEGATION_CLAIM, request.delegation.map(Delegation::to_value)),
    ];
    claims::insert_present(&mut body, optional);
    sign_jws(TYP, key, Some(json!({"jwk": key.public().to_jwk()})), &body)
}

/// A proof taken apart: with its header read, or with one that was read before.
enum Form<'a> {
    Read(Jws<'a>),
    Known(Segments<'a>, &'a PublicKey),
}

/// SPEC: DP-02: well-formed, `typ` exact, every required claim.
fn read<'a>(compact: &'a str, known: Option<&'a Header>) -> Result<(Form<'a>, Claims), Refusal> {
    let segments = Segments::split(compact).map_err(as_dpop)?;
    let (form, body) = if let Some(known) = known.filter(|known| known.text == segments.header) {
        let body = segments.payload().and_then(|payload| claims::object(&payload, "payload"));
        (Form::Known(segments, &known.key), body)
    } else {
        let jws = Jws::parse(compact).map_err(as_dpop)?;
        jws.expect_typ(&[Some(TYP)]).map_err(as_dpop)?;
        let body = jws.claims();
        (Form::Read(jws), body)
    };
    let claims = read_claims(Reader(&body.map_err(as_dpop)?)).map_err(as_dpop)?;
    Ok((form, claims))
}

fn read_claims(reader: Reader<'_>) -> Result<Claims, Refusal> {
    let delegation = match reader.0.get(DELEGATION_CLAIM) {
        None => None,
        Some(Value::Object(members)) => Some(Delegation::parse(members)?),
        Some(_) => return Err(invalid("the proof's delegation is not an object")),
    };
    Ok(Claims {
        jti: reader.id("jti")?.to_owned(),
        iat: reader.time("iat")?,
        htm: reader.text("htm")?.to_owned(),
        htu: reader.text("htu")?.to_owned(),
        nonce: reader.optional_id("nonce")?.map(str::to_owned),
        ath: reader.optional_text("ath")?.map(str::to_owned),
        delegation,
    })
}

/// SPEC: DP-03, DP-04, DP-10.
fn verify_key(form: &Form<'_>, claims: Claims, bound_to: Option<&str>) -> Result<Proof, Refusal> {
    let key = match form {
        Form::Read(jws) => jws.embedded_key().map_err(as_dpop)?,
        Form::Known(_, key) => PublicKey::clone(key),
    };
    if bound_to.is_some_and(|jkt| jkt != key.thumbprint()) {
        return Err(Refusal::new(Code::DpopKeyMismatch, "the proof is made with another key than the one the token is bound to"));
    }
    let (verified, compact) = match form {
        Form::Read(jws) => (jws.verify(&key), jws.compact()),
        Form::Known(segments, _) => (segments.verify(&key), segments.compact),
    };
    verified.map_err(as_dpop)?;
    Ok(Proof { claims, key, compact: compact.to_owned() })
}

fn as_dpop(refusal: Refusal) -> Refusal {
    invalid(refusal.reason)
}

fn invalid(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::DpopProofInvalid, reason)
}
