//! What an agent's registration says its tokens are bound to, and what a client hears that cannot do it.
//!
//! Implements RFC 6750 §5.3, RFC 8705 §3 and RFC 9449 §5 as a ladder: a key (`dpop`), the certificate of the connection (`mtls`), or
//! nothing where an operator registers the agent with `danger_bearer` and the configuration allows that.

use crate::Server;
use axum::http::HeaderMap;
use remit_model::{Agent, Code, Refusal, Registration};
use remit_token::PeerCertificate;

/// Checks that this server issues the kind of token that the agent is registered for.
///
/// # Errors
/// `bearer_not_allowed` while the configuration does not allow such agents.
pub(crate) fn offered(server: &Server, agent: &Agent) -> Result<(), Refusal> {
    if server.settings.danger_bearer || !agent.is_bearer() {
        return Ok(());
    }
    let reason = format!(
        "`{}` is registered with `binding: danger_bearer`, and this server does not issue tokens that are bound to no key \
         (`agents.danger_bearer: refused`); connect through `remit connect`, or have the agent registered with `binding: dpop`",
        agent.id.subject()
    );
    Err(Refusal::new(Code::BearerNotAllowed, reason))
}

/// The certificate to which an agent's tokens are bound.
///
/// # Errors
/// `certificate_missing`, with what the client or the operator can do.
pub(crate) fn certificate<'c>(
    server: &Server,
    agent: &Agent,
    shown: Option<&'c PeerCertificate>,
) -> Result<&'c PeerCertificate, Refusal> {
    let help = if server.settings.client_certificates {
        "the client showed none in the TLS handshake"
    } else {
        "this server asks for none; an operator sets `server.tls.client_certificates: optional` or `server.client_certificate_header`"
    };
    shown.ok_or_else(|| {
        let reason = format!("the tokens of `{}` are bound to a certificate (`binding: mtls`), and {help}", agent.id.subject());
        Refusal::new(Code::CertificateMissing, reason)
    })
}

/// Why an agent whose tokens are bound to a certificate hands nothing on, and trades in no token of another issuer. SPEC: DC-05
pub(crate) fn unsigned(agent: &Agent) -> Refusal {
    let reason = format!(
        "`{}` is registered with `binding: mtls`: a TLS connection leaves no signature by which an auditor could check what it handed \
         on or brought; an agent that delegates is registered with `binding: dpop`",
        agent.id.subject()
    );
    Refusal::new(Code::DelegationUnsigned, reason)
}

/// Checks that the request has a proof at all. A client without DPoP hears here what it can do, on its first request that
/// needs one.
///
/// # Errors
/// `dpop_proof_missing`.
pub(crate) fn proof_sent(server: &Server, headers: &HeaderMap, agent: &Agent) -> Result<(), Refusal> {
    if headers.contains_key("dpop") {
        return Ok(());
    }
    let allowed =
        if server.settings.danger_bearer { "" } else { ", once the configuration says `agents.danger_bearer: allowed`" };
    let operator = match agent.client.registration {
        Registration::Administrator => "registers the agent with `binding: danger_bearer`",
        // No administrator registers this one: its binding came from the configuration.
        Registration::Dynamic { .. } | Registration::MetadataDocument { .. } => {
            "gives it `binding: danger_bearer`, as `clients.binding` does for every client that registers itself"
        }
    };
    let reason = format!(
        "the request has no `DPoP` header, and the tokens of `{}` are bound to a key (`binding: dpop`). A client without DPoP \
         connects through `remit connect`; or an operator {operator}{allowed}",
        agent.id.subject()
    );
    Err(Refusal::new(Code::DpopProofMissing, reason))
}
