//! The root of a chain without a person: what the agent authenticated with.
//!
//! Its own client assertion is checked with its registered keys, or with the key that its record states where the agent
//! publishes its keys elsewhere. A token of an issuer that vouched for it is checked with the key in the record, and its claims
//! with the credentials that the agent is registered with.

use super::{
    edge::{Keys, Registered},
    error::CustodyError,
};
use remit_ledger::{Record, Side};
use remit_model::{AssertionAudience, Confirmation, Credential, EdgeProof, Principal, SpiffeId, UnixTime};
use remit_token::{KeySet, PeerCertificate, Skew, assertion, certificate::validity, svid::SvidCertificate, workload};
use serde_json::Value;

/// A root that holds.
pub(super) struct Root {
    /// What proves it.
    pub(super) edge: EdgeProof,
    /// Whether it may prove this root alone: a token of an issuer without its signature may be used until it ends.
    pub(super) once: bool,
    /// What the signature does not show by itself, when that is worth knowing.
    pub(super) note: Option<&'static str>,
}

/// Checks what the agent authenticated with, `bound_to` being what its token is bound to.
pub(super) fn verify(
    record: &Record,
    side: &Side,
    agent: &Principal,
    bound_to: Option<&str>,
    keys: &Keys,
    at: UnixTime,
) -> Result<Root, CustodyError> {
    let Some(Ok(edge)) = side.value("/chain/0/edge").map(serde_json::from_value::<EdgeProof>) else {
        return Err(CustodyError::NoAssertion);
    };
    let known = keys.registered(&agent.sub, at)?;
    let note = match &edge {
        EdgeProof::ClientAssertion(jws) => {
            first_good(known, |registered| own_assertion(record, side, jws, agent, registered, at))?
        }
        EdgeProof::WorkloadToken(jws) => {
            first_good(known, |registered| workload_token(record, side, jws, agent, registered, at))?
        }
        EdgeProof::ClientCertificate(text) => {
            first_good(known, |registered| certificate(record, text, bound_to, registered, at))?
        }
        _ => return Err(CustodyError::NoAssertion),
    };
    let once = matches!(edge, EdgeProof::ClientAssertion(_) | EdgeProof::WorkloadToken(_)) && !edge.jws().ends_with('.');
    Ok(Root { edge, once, note })
}

/// The outcome with the latest registration, unless only the one before it fits.
fn first_good<T>(known: Vec<&Registered>, check: impl Fn(&Registered) -> Result<T, CustodyError>) -> Result<T, CustodyError> {
    let mut outcome = Err(CustodyError::Unregistered);
    for registered in known {
        let checked = check(registered);
        match (&outcome, checked) {
            (_, Ok(good)) => return Ok(good),
            (Err(CustodyError::Unregistered), Err(why)) => outcome = Err(why),
            _ => {}
        }
    }
    outcome
}

/// Whether the agent signed this assertion.
fn own_assertion(
    record: &Record,
    side: &Side,
    jws: &str,
    agent: &Principal,
    registered: &Registered,
    at: UnixTime,
) -> Result<Option<&'static str>, CustodyError> {
    let token_endpoint = format!("{}/oauth/token", agent.iss);
    let may_name_it = registered.client.assertion_audience == AssertionAudience::TokenEndpoint;
    let token_endpoint = may_name_it.then_some(token_endpoint.as_str());
    let expect = assertion::Expect { client_id: &agent.sub, issuer: &agent.iss, token_endpoint };
    let signed = |keys: &KeySet| assertion::verify(jws, keys, &expect, at, Skew::MAX).map_err(CustodyError::Signature);
    if record.text("/ext/token/credential/kind") != Some("jwks_uri") {
        return named_audience(record, signed(&registered.keys)?.audience()).map(|()| None);
    }
    if !registered.client.credentials.iter().any(|credential| matches!(credential, Credential::JwksUri { .. })) {
        return Err(CustodyError::OtherCredential);
    }
    named_audience(record, signed(&stated_key(side)?)?.audience())?;
    Ok(Some("the key of the agent is as the server fetched it from where the agent publishes its keys"))
}

/// Whether the agent accepts the token by which an issuer vouched for it.
fn workload_token(
    record: &Record,
    side: &Side,
    jws: &str,
    agent: &Principal,
    registered: &Registered,
    at: UnixTime,
) -> Result<Option<&'static str>, CustodyError> {
    let stated = side.value("/token/credential").ok_or(CustodyError::NoCredentialKey)?;
    let unsigned = jws.ends_with('.');
    let keys = if unsigned { None } else { Some(stated_key(side)?) };
    let presented = workload::Presented::read(jws).map_err(CustodyError::Signature)?;
    let token = presented.verify_recorded(keys.as_ref(), &agent.iss, at).map_err(CustodyError::Signature)?;
    let kind = record.text("/ext/token/credential/kind");
    let trusted_as = record.text("/ext/token/credential/trusted_as").unwrap_or_default();
    let named = |credential: &Credential| match credential {
        Credential::Kubernetes { cluster, .. } => kind == Some("kubernetes") && cluster == trusted_as,
        Credential::Federated { issuer, .. } => kind == Some("federated") && issuer == trusted_as,
        Credential::Spiffe { .. } => {
            let of_domain = SpiffeId::parse(token.subject()).is_ok_and(|id| id.trust_domain() == trusted_as);
            kind == Some("spiffe_jwt") && of_domain
        }
        Credential::JwksUri { .. } | Credential::Certificate { .. } => false,
    };
    let accepted = registered.client.credentials.iter().filter(|credential| named(credential));
    let same = stated.get("subject").and_then(Value::as_str) == Some(token.subject());
    if !same || !accepted.into_iter().any(|credential| credential.matches(token.claims()).is_ok()) {
        return Err(CustodyError::OtherCredential);
    }
    Ok(Some(if unsigned {
        "the token of an issuer vouched for the agent; its signature was not kept, because it could be used again"
    } else {
        "the token of an issuer vouched for the agent; the issuer's key is as the server fetched it"
    }))
}

/// Whether the agent is registered with this certificate, or with the SPIFFE ID in it.
fn certificate(
    record: &Record,
    text: &str,
    bound_to: Option<&str>,
    registered: &Registered,
    at: UnixTime,
) -> Result<Option<&'static str>, CustodyError> {
    let shown = PeerCertificate::from_text(text).ok_or(CustodyError::CertificateUnreadable)?;
    // SPEC: RFC 8705 §3: one connection has one certificate.
    let bound_to = bound_to.map(Confirmation::parse);
    if bound_to.as_ref().and_then(Confirmation::x5t).is_some_and(|bound_to| bound_to != shown.thumbprint()) {
        return Err(CustodyError::OtherCertificate);
    }
    let (from, until) = validity(shown.der()).ok_or(CustodyError::CertificateUnreadable)?;
    if at.plus(Skew::MAX.as_seconds()) < from || at >= until.plus(Skew::MAX.as_seconds()) {
        return Err(CustodyError::CertificateNotValid);
    }
    let credentials = &registered.client.credentials;
    let (good, note) = match record.text("/ext/token/credential/kind") {
        Some("self_signed_tls_client_auth") => {
            let own =
                |one: &Credential| matches!(one, Credential::Certificate { thumbprint } if thumbprint == shown.thumbprint());
            (credentials.iter().any(own), "that the agent held the key of its certificate is the server's statement")
        }
        Some("spiffe_x509") => {
            let svid = SvidCertificate::read(shown.der()).map_err(CustodyError::Signature)?;
            let of_domain = record.text("/ext/token/credential/trusted_as") == Some(svid.id().trust_domain());
            let note = "that the agent held the key of its certificate, and that an authority of the trust domain vouched for it, is \
                        the server's statement";
            (of_domain && credentials.iter().any(|one| one.is_spiffe_id(svid.id())), note)
        }
        _ => (false, ""),
    };
    if good { Ok(Some(note)) } else { Err(CustodyError::OtherCredential) }
}

/// An audience other than our issuer is named in the record.
fn named_audience(record: &Record, audience: AssertionAudience) -> Result<(), CustodyError> {
    let named = record.text("/ext/token/credential/audience") == Some("token_endpoint");
    if named == (audience == AssertionAudience::TokenEndpoint) { Ok(()) } else { Err(CustodyError::OtherCredential) }
}

/// The key that the record commits to as the one that verified the credential.
fn stated_key(side: &Side) -> Result<KeySet, CustodyError> {
    let stated = side.value("/token/credential").ok_or(CustodyError::NoCredentialKey)?;
    let key = stated.get("key").filter(|key| key.is_object()).cloned().ok_or(CustodyError::NoCredentialKey)?;
    KeySet::from_keys(&[key]).map_err(CustodyError::AgentKeys)
}
