//! The sign-in that a consent rests on: the identity provider's ID token. docs/custody-format.md section 6.
//!
//! It says who authenticated, when and how, at the client that this server is there, and by its nonce what was asked for then.
//! That the person agreed, and to what, the hop's own ID token says.

use super::{
    error::CustodyError,
    token::{Opened, hash},
};
use remit_ledger::{Record, Side};
use remit_model::{Authority, Hop, Identity, PrincipalKind, UnixTime};
use remit_token::{
    KeySet,
    provider_id_token::ProviderIdToken,
    sign_in::{self, Committed, Kind, Recorded},
};
use serde::Deserialize;
use serde_json::Value;

/// How far the clocks of the provider and the server may differ, in seconds.
const SKEW_SECS: i64 = 60;
const COMMITTED: &str = "/token/sign_in";

/// What a record states in plain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stated {
    kind: Kind,
    /// The provider's name here.
    #[serde(rename = "provider")]
    _provider: String,
    pub(super) issuer: String,
    client: String,
    token_hash: String,
    pub(super) key: Value,
}

/// What is committed beside the record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    id_token: String,
    request: Value,
}

/// A sign-in that holds.
pub(super) struct Proved {
    pub(super) kind: Kind,
    /// What proves one root alone.
    pub(super) once: Option<String>,
}

impl Stated {
    /// `None` when the record states no sign-in.
    pub(super) fn read(record: &Record) -> Result<Option<Self>, CustodyError> {
        let Some(stated) = record.ext("token").and_then(|facts| facts.get("sign_in")) else { return Ok(None) };
        serde_json::from_value(stated.clone()).map(Some).map_err(CustodyError::SignIn)
    }

    /// Checks the provider's ID token; `None` when it is withheld from this copy.
    pub(super) fn verify(&self, side: &Side, token: &Opened, hop: &Hop, at: UnixTime) -> Result<Option<Proved>, CustodyError> {
        let Some(evidence) = side.value(COMMITTED) else {
            // Withheld, a value leaves its leaf behind.
            return if side.fields.contains_key(COMMITTED) { Ok(None) } else { Err(CustodyError::NoSignIn) };
        };
        let evidence: Evidence = serde_json::from_value(evidence).map_err(CustodyError::SignIn)?;
        if hash(&evidence.id_token) != self.token_hash {
            return Err(CustodyError::OtherSignIn);
        }
        let recorded = Recorded {
            kind: self.kind,
            issuer: &self.issuer,
            client: &self.client,
            id_token: &evidence.id_token,
            committed: &evidence.request,
        };
        let key = KeySet::from_keys(std::slice::from_ref(&self.key)).map_err(CustodyError::ForeignKey)?;
        let signed = sign_in::verify_recorded(&recorded, &key, at).map_err(CustodyError::Signature)?;
        is_person(hop, &signed)?;
        authenticated(token, &signed)?;
        let committed = Committed::read(&evidence.request).map_err(CustodyError::Signature)?;
        let once = match self.kind {
            Kind::Earlier => None,
            Kind::Requested => {
                asked_for(&committed, token, hop, at)?;
                Some(evidence.id_token)
            }
        };
        Ok(Some(Proved { kind: self.kind, once }))
    }
}

/// A record that commits to a sign-in states it.
pub(super) fn unstated(side: &Side) -> Result<(), CustodyError> {
    if side.fields.contains_key(COMMITTED) { Err(CustodyError::SignInUnstated) } else { Ok(()) }
}

/// The local name of the person is a digest of the provider's `iss` and `sub`.
fn is_person(hop: &Hop, signed: &ProviderIdToken) -> Result<(), CustodyError> {
    let identity = Identity { issuer: signed.iss.clone(), subject: signed.sub.clone(), withdrawn: false };
    let name = PrincipalKind::Human.name_in(&hop.delegator.sub);
    if name.is_some_and(|name| identity.is_named(name)) { Ok(()) } else { Err(CustodyError::SignInOfAnother) }
}

/// The token says of the person's authentication what the provider said.
fn authenticated(token: &Opened, signed: &ProviderIdToken) -> Result<(), CustodyError> {
    let claims = &token.claims;
    let time = signed.auth_time.unwrap_or(signed.iat);
    // A provider's clock may be ahead; then the server took its own time.
    let same_time = claims.auth_time.is_some_and(|stated| (0..=SKEW_SECS).contains(&time.since(stated)));
    if same_time && claims.acr == signed.acr && claims.amr == signed.amr {
        Ok(())
    } else {
        Err(CustodyError::OtherAuthentication)
    }
}

/// What was handed over is within what the nonce of the sign-in commits to, for the agent that asked.
fn asked_for(committed: &Committed, token: &Opened, hop: &Hop, at: UnixTime) -> Result<(), CustodyError> {
    if committed.agent.as_deref() != Some(hop.delegate.sub.as_str()) {
        return Err(CustodyError::AskedByAnother);
    }
    if committed.purpose != hop.purpose {
        return Err(CustodyError::AskedForOther("purpose"));
    }
    if committed.lifetime.is_some_and(|seconds| hop.expires > at.plus(seconds.saturating_add(SKEW_SECS))) {
        return Err(CustodyError::AskedForOther("end"));
    }
    if let Some(authority) = &committed.authority {
        let asked: Authority = serde_json::from_value(authority.clone()).map_err(CustodyError::SignIn)?;
        let wider = |wider| CustodyError::Wider { bound: "wider than what was asked for when the person signed in", wider };
        hop.authority.within(&asked).map_err(wider)?;
    }
    let located = |grant: &Value| {
        let locations = grant.get("locations").and_then(Value::as_array);
        let asked = |at: &Value| at.as_str().is_some_and(|at| committed.resources.iter().any(|resource| resource == at));
        locations.is_some_and(|locations| locations.iter().all(asked))
    };
    let shown = token.shown().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if committed.resources.is_empty() || shown.iter().all(located) {
        Ok(())
    } else {
        Err(CustodyError::AskedForOther("resource"))
    }
}
