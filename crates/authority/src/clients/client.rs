//! The client of a request, and how one is refused that did not prove who it is.

use crate::clients::{credential::ClientCredential, identifier};
use remit_model::{Agent, Code, Refusal};
use remit_store::Snapshot;
use std::sync::Arc;

/// A registered agent that identified itself; with a credential, proved it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) agent: Arc<Agent>,
    /// `None` for a public client.
    pub(crate) credential: Option<ClientCredential>,
}

impl Client {
    /// The agent's subject, by which codes and tokens are kept. What it calls itself is [`Agent::client_id`].
    pub(crate) fn id(&self) -> String {
        self.agent.id.subject()
    }

    /// SPEC: CC-01, TX-03 (public clients are refused)
    pub(crate) fn confidential(&self) -> Result<&ClientCredential, Refusal> {
        self.credential.as_ref().ok_or_else(|| {
            Refusal::new(Code::ClientNotAllowed, "this needs an agent with a key or another credential of its own")
        })
    }
}

/// The registered agent with this `client_id`.
///
/// # Errors
/// `client_unauthenticated`.
pub(crate) fn find(snapshot: &Snapshot, client_id: &str) -> Result<Arc<Agent>, Refusal> {
    identifier::registered(snapshot, client_id).ok_or_else(failed)
}

/// The same words for an unknown client and a wrong key. SPEC: X-11
pub(crate) fn failed() -> Refusal {
    unauthenticated("client authentication failed")
}

/// A client that did not prove who it is.
pub(crate) fn unauthenticated(reason: &str) -> Refusal {
    Refusal::new(Code::ClientUnauthenticated, reason)
}
