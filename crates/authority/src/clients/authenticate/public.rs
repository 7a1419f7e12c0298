//! `none`: a client without a credential, which only says who it is. SPEC: RFC 6749 §2.1, TK-01, X-11

use crate::{
    clients::{
        client::{Client, unauthenticated},
        identifier,
    },
    http::form::Form,
};
use remit_model::Refusal;
use remit_store::Snapshot;

/// The client that `client_id` names, if it has no credential. An agent that has one cannot do without it.
///
/// # Errors
/// `client_unauthenticated`, in the same words for an unknown client and for one that has a credential.
pub(super) fn identify(snapshot: &Snapshot, form: &Form) -> Result<Client, Refusal> {
    let claimed = form.one("client_id").ok_or_else(|| unauthenticated("the client does not say who it is"))?;
    let agent = identifier::registered(snapshot, claimed).filter(|agent| agent.is_public());
    agent.map(|agent| Client { agent, credential: None }).ok_or_else(|| unauthenticated(NO_PUBLIC_CLIENT))
}

/// SPEC: X-11: the same words for an unknown client and for one that has a credential.
const NO_PUBLIC_CLIENT: &str = "client authentication failed: without a client assertion only a public client is served. An agent with a \
                                key signs one (`private_key_jwt`; there are no client secrets here)";
