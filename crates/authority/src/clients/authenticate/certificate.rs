//! `self_signed_tls_client_auth` and `spiffe_x509`: the agent shows a certificate on the connection itself.
//!
//! Implements RFC 8705 §2.2 (by the thumbprint that is registered) and draft-ietf-oauth-spiffe-client-auth (an X.509-SVID, with
//! `client_id`); rules SP-01, SP-03, SP-04. The key was proved in the handshake. It deliberately does not implement
//! `tls_client_auth`: no public authority is trusted for agents.

use crate::{
    Server,
    clients::{
        client::{failed, unauthenticated},
        credential::ClientCredential,
    },
};
use remit_model::{Agent, Credential, Refusal, UnixTime};
use remit_token::{
    PeerCertificate,
    certificate::validity,
    svid::{self, SvidCertificate},
};

/// Whether the agent is registered with a credential that a certificate can be.
pub(super) fn is_for(agent: &Agent) -> bool {
    agent
        .client
        .credentials
        .iter()
        .any(|credential| matches!(credential, Credential::Certificate { .. } | Credential::Spiffe { .. }))
}

/// Matches the certificate of the connection with what the agent is registered with.
///
/// # Errors
/// `client_unauthenticated`; in the same words for an unknown certificate, an unknown trust domain and a wrong signature.
pub(super) async fn verify(
    server: &Server,
    agent: &Agent,
    shown: &PeerCertificate,
    now: UnixTime,
) -> Result<ClientCredential, Refusal> {
    let registered = |credential: &Credential| matches!(credential, Credential::Certificate { thumbprint } if thumbprint == shown.thumbprint());
    if agent.client.credentials.iter().any(registered) {
        let (from, until) = validity(shown.der()).ok_or_else(failed)?;
        if now < from || now >= until {
            return Err(unauthenticated(
                "the certificate is registered for the agent, and is not valid now; register its successor",
            ));
        }
        return Ok(ClientCredential::of_certificate(&agent.client_id(), shown, until));
    }
    if !agent.client.credentials.iter().any(|credential| matches!(credential, Credential::Spiffe { .. })) {
        return Err(failed());
    }
    svid(server, agent, shown, now).await
}

/// Verifies an SVID with the bundle of its own trust domain. SPEC: SP-03, N-SP-01
async fn svid(server: &Server, agent: &Agent, shown: &PeerCertificate, now: UnixTime) -> Result<ClientCredential, Refusal> {
    let certificate = SvidCertificate::read(shown.der()).map_err(|refusal| unauthenticated(&refusal.reason))?;
    if !certificate.is_valid(now, 0) {
        return Err(unauthenticated("the X.509-SVID is not valid now"));
    }
    let domain = server.bundles.domain(certificate.id().trust_domain()).ok_or_else(failed)?;
    let wanted = |authorities: &[Vec<u8>]| svid::vouched(shown, authorities, now).is_ok();
    let authorities = server.bundles.authorities(&domain.name, wanted).await.map_err(|why| {
        tracing::warn!(trust_domain = domain.name, why, "the trust bundle cannot be used");
        failed()
    })?;
    // SPEC: X-11: which trust domains are configured is not said before one of their authorities vouches.
    svid::vouched(shown, &authorities, now).map_err(|refusal| {
        tracing::debug!(trust_domain = domain.name, why = refusal.reason, "an X.509-SVID is refused");
        failed()
    })?;
    if !agent.client.credentials.iter().any(|credential| credential.is_spiffe_id(certificate.id())) {
        return Err(unauthenticated("the agent does not accept this SVID: its SPIFFE ID is another"));
    }
    Ok(ClientCredential::of_x509_svid(&domain.name, &certificate, shown))
}
