//! `none`: a client without a credential, which only says who it is. SPEC: RFC 6749 §2.1, TK-01, X-11

use crate::{
    clients::client::{Client, failed, find, unauthenticated},
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
    let agent = find(snapshot, claimed)?;
    if agent.is_public() { Ok(Client { agent, credential: None }) } else { Err(failed()) }
}
