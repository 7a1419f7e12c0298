//! The sign-in that a consent rests on: the identity provider's ID token. docs/custody-format.md section 6.
//!
//! It says who authenticated, when and how, at the client that this server is there, and by its nonce what was asked for then.
//! That the person agreed, and to what, the hop's own ID token says.

use super::{
    error::CustodyError,
    token::{Opened, hash},
};
use remit_ledger::{Record, Side};
use remit_model::{Authentication, Hop, Identity, PrincipalKind, UnixTime};
use remit_token::{
    KeySet,
    provider_id_token::ProviderIdToken,
    sign_in::{self, Beyond, Committed, Handed, Kind, Recorded},
};
use serde::Deserialize;
use serde_json::Value;

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
        if !stated.is_object() {
            return Err(CustodyError::SignInNoObject);
        }
        serde_json::from_value(stated.clone()).map(Some).map_err(CustodyError::SignIn)
    }

    /// Checks the provider's ID token; `None` when it is withheld from this copy.
    pub(super) fn verify(&self, side: &Side, token: &Opened, hop: &Hop, at: UnixTime) -> Result<Option<Proved>, CustodyError> {
        let Some(evidence) = side.value(COMMITTED) else {
            // Withheld, a value leaves its leaf behind.
            return if side.fields.contains_key(COMMITTED) { Ok(None) } else { Err(CustodyError::NoSignIn) };
        };
        if !evidence.is_object() {
            return Err(CustodyError::SignInNoObject);
        }
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
    let identity = Identity { issuer: signed.iss.clone(), subject: signed.sub.clone(), withdrawn: false, provisioned: None };
    let name = PrincipalKind::Human.name_in(&hop.delegator.sub);
    if name.is_some_and(|name| identity.is_named(name)) { Ok(()) } else { Err(CustodyError::SignInOfAnother) }
}

/// The token says of the person's authentication what the provider said.
fn authenticated(token: &Opened, signed: &ProviderIdToken) -> Result<(), CustodyError> {
    let claims = &token.claims;
    let how = |time| Authentication { time, acr: claims.acr.clone(), amr: claims.amr.clone() };
    if claims.auth_time.is_some_and(|time| sign_in::is_of(&how(time), signed)) {
        Ok(())
    } else {
        Err(CustodyError::OtherAuthentication)
    }
}

/// What was handed over is within what the nonce of the sign-in commits to, for the agent that asked.
fn asked_for(committed: &Committed, token: &Opened, hop: &Hop, at: UnixTime) -> Result<(), CustodyError> {
    let handed = Handed {
        agent: &hop.delegate.sub,
        authority: &hop.authority,
        shown: token.shown(),
        purpose: hop.purpose.as_deref(),
        expires: hop.expires,
    };
    committed.covers(&handed, at).map_err(|beyond| match beyond {
        Beyond::Agent => CustodyError::AskedByAnother,
        Beyond::Purpose => CustodyError::AskedForOther("purpose"),
        Beyond::End => CustodyError::AskedForOther("end"),
        Beyond::Authority(wider) => {
            CustodyError::Wider { bound: "wider than what was asked for when the person signed in", wider }
        }
        Beyond::Resource => CustodyError::AskedForOther("resource"),
    })
}
