//! A root hop whose evidence is a token of a trusted issuer. SPEC: TX-02, TX-06, IR-01; docs/custody-format.md section 4.
//!
//! The key that verified the token is committed with its record. That it is the issuer's key, an auditor asks the issuer.

use super::{
    edge::{Link, Proved, WINDOW_SECS},
    error::CustodyError,
};
use remit_token::{
    KeySet, Skew, dpop,
    foreign::{self, Expect, ForeignToken, Kind},
};
use serde::Deserialize;
use serde_json::Value;

/// Longest life of a foreign token that a server may be configured with, in seconds.
const LIFETIME_SECS: i64 = 86_400;

/// What the signatures leave to the server.
const NOTE: &str = "whom a token of another issuer means here, and what its scopes hand over, is the server's statement";

/// What is committed beside the record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    kind: Kind,
    jwk: Value,
    single_use: bool,
    /// The holder's proof, where the token is bound to another key than the agent's.
    proof: Option<String>,
}

/// Checks the token of the hop, and the proof of its holder.
pub(super) fn verify(link: &Link<'_>, jws: &str) -> Result<Proved, CustodyError> {
    let subject = link.subject.clone().ok_or(CustodyError::NoForeignKey)?;
    let subject: Subject = serde_json::from_value(subject).map_err(CustodyError::Subject)?;
    let keys = KeySet::from_keys(std::slice::from_ref(&subject.jwk)).map_err(CustodyError::ForeignKey)?;
    let issuer = foreign::issuer(jws).map_err(CustodyError::Signature)?;
    let token = read(jws, &keys, &issuer, &subject, link)?;
    let hop = link.hop;
    if !token.restrictions.admits(&hop.delegate, &issuer) {
        return Err(CustodyError::NotAdmitted);
    }
    if token.kind == Kind::IdJag && token.client.as_deref() != Some(hop.delegate.sub.as_str()) {
        return Err(CustodyError::OtherClient);
    }
    if token.kind == Kind::AccessToken && hop.expires > token.exp {
        return Err(CustodyError::OutlivesForeign { token: token.exp, delegation: hop.expires });
    }
    holder(link, &token, subject.proof.as_deref())?;
    let once = subject.single_use || token.kind.is_grant() || token.restrictions.single_use;
    Ok(Proved { note: Some(NOTE), once, holder: subject.proof })
}

/// The issuer that a token names.
pub(super) fn issuer_of(jws: &str) -> Result<String, CustodyError> {
    foreign::issuer(jws).map_err(CustodyError::Signature)
}

fn read(jws: &str, keys: &KeySet, issuer: &str, subject: &Subject, link: &Link<'_>) -> Result<ForeignToken, CustodyError> {
    // Which audience of an access token means this server is configuration; an assertion is for its issuer identifier.
    let stated = foreign::audiences(jws).map_err(CustodyError::Signature)?;
    let audiences = if subject.kind == Kind::IdJag { vec![link.issuer.to_owned()] } else { stated };
    let expect = Expect {
        kind: subject.kind,
        issuer,
        audiences: &audiences,
        algorithms: &[],
        lifetime: LIFETIME_SECS,
        age: LIFETIME_SECS,
    };
    foreign::verify(jws, keys, &expect, link.at, Skew::MAX).map_err(CustodyError::Signature)
}

/// A token that is bound to a key is exchanged by its holder, or with its holder's proof.
fn holder(link: &Link<'_>, token: &ForeignToken, proof: Option<&str>) -> Result<(), CustodyError> {
    let bound = token.jkt.as_deref().filter(|jkt| Some(*jkt) != link.hop.jkt.as_deref());
    let (jkt, proof) = match (bound, proof) {
        (None, None) => return Ok(()),
        (Some(jkt), Some(proof)) if token.kind == Kind::AccessToken => (jkt, proof),
        _ => return Err(CustodyError::NoHolder),
    };
    let seen = dpop::verify_recorded(proof, jkt).map_err(CustodyError::Signature)?;
    if seen.iat.since(link.at).abs() > WINDOW_SECS {
        return Err(CustodyError::ProofTime { proof: seen.iat, record: link.at });
    }
    if seen.htm != "POST" || seen.ath.as_deref() != Some(token.ath().as_str()) {
        return Err(CustodyError::OtherToken);
    }
    Ok(())
}
