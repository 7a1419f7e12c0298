//! `spiffe_jwt`: the agent shows a JWT-SVID of a trust domain that is configured.
//!
//! Implements draft-ietf-oauth-spiffe-client-auth (`client_assertion_type=…:jwt-spiffe`, with `client_id`); rules SP-01, SP-02, SP-04 to
//! SP-06. An SVID is a bearer credential that a workload uses until it ends, so it is not good once; what is issued for it is
//! bound to the key that is proved with it, and ends with it.

use super::mapped;
use crate::{
    Server,
    clients::{
        client::{Client, failed, unauthenticated},
        credential::ClientCredential,
    },
};
use remit_model::{Agent, Code, Credential, Refusal, SpiffeId, UnixTime};
use remit_store::Snapshot;
use remit_token::{Skew, workload::Presented};
use std::sync::Arc;

/// `client_assertion_type` of a JWT-SVID.
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// Verifies the SVID with the bundle of its own trust domain, and finds the agent whose SPIFFE IDs it matches.
///
/// # Errors
/// `client_unauthenticated`; in the same words for an unknown trust domain, an unknown key and a wrong signature.
pub(super) async fn verify(
    server: &Server,
    snapshot: &Snapshot,
    named: Option<Arc<Agent>>,
    compact: &str,
    now: UnixTime,
) -> Result<Client, Refusal> {
    let presented = Presented::read(compact).map_err(|refusal| unauthenticated(&refusal.reason))?;
    if named.as_ref().is_some_and(|agent| accepted(agent).next().is_none()) {
        return Err(failed());
    }
    let subject = presented.subject().and_then(SpiffeId::parse).map_err(|refusal| unauthenticated(&refusal.reason))?;
    let domain = server.bundles.domain(subject.trust_domain()).ok_or_else(failed)?;
    let wanted = |keys: &remit_token::KeySet| presented.names_key_of(keys);
    let keys = server.bundles.keys(&domain.name, wanted).await.map_err(|why| {
        tracing::warn!(trust_domain = domain.name, why, "the trust bundle cannot be used");
        failed()
    })?;
    let skew = server.settings.skew;
    let verified = presented.verify_svid(&keys, &server.issuer, domain.max_lifetime, now, Skew::seconds(skew));
    let svid = verified.map_err(|refusal| match refusal.code {
        Code::TokenSignatureInvalid => failed(),
        _ => unauthenticated(&refusal.reason),
    })?;
    let (agent, ()) = mapped::accepting(snapshot, named, &subject.leads(), |agent| {
        let one = accepted(agent).any(|credential| credential.matches(svid.claims()).is_ok());
        one.then_some(()).ok_or_else(|| unauthenticated("the agent does not accept this SVID: its SPIFFE ID is another"))
    })?;
    let credential = ClientCredential::of_svid(&domain.name, &svid, compact, presented.unsigned());
    Ok(Client { agent, credential: Some(credential) })
}

/// The SPIFFE IDs that the agent accepts.
fn accepted(agent: &Agent) -> impl Iterator<Item = &Credential> {
    agent.client.credentials.iter().filter(|credential| matches!(credential, Credential::Spiffe { .. }))
}
