//! The root of a chain without a person: what the agent authenticated with.
//!
//! Its own client assertion is checked with its registered keys, or with the key that its record states where the agent
//! publishes its keys elsewhere.

use super::{
    edge::{Keys, Registered},
    error::CustodyError,
};
use remit_ledger::{Record, Side};
use remit_model::{AssertionAudience, Credential, EdgeProof, Principal, UnixTime};
use remit_token::{KeySet, Skew, assertion};

/// A root that holds.
pub(super) struct Root {
    /// What proves it.
    pub(super) edge: EdgeProof,
    /// What the signature does not show by itself, when that is worth knowing.
    pub(super) note: Option<&'static str>,
}

/// Checks what the agent authenticated with.
pub(super) fn verify(record: &Record, side: &Side, agent: &Principal, keys: &Keys, at: UnixTime) -> Result<Root, CustodyError> {
    let Some(Ok(edge)) = side.value("/chain/0/edge").map(serde_json::from_value::<EdgeProof>) else {
        return Err(CustodyError::NoAssertion);
    };
    let known = keys.registered(&agent.sub, at)?;
    let EdgeProof::ClientAssertion(jws) = &edge else { return Err(CustodyError::NoAssertion) };
    let note = first_good(known, |registered| own_assertion(record, side, jws, agent, registered, at))?;
    Ok(Root { edge, note })
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
