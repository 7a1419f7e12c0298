//! An authenticated, proven request for a token: what every grant starts from.

use crate::{Server, clients::authenticate::Client, http::form::Form};
use remit_model::{Refusal, UnixTime};
use remit_store::Snapshot;
use remit_token::dpop::Proof;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) server: &'a Server,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) form: &'a Form,
    pub(crate) client: Client,
    pub(crate) proof: Proof,
    pub(crate) now: UnixTime,
}

impl TokenRequest<'_> {
    /// Remembers the proof of a client without keys: its name is known to anybody, so its proof takes room only once it is
    /// the proof of what it redeems, and before a second use of that is punished.
    pub(crate) fn redeems(&self) -> Result<(), Refusal> {
        if self.client.assertion.is_some() { Ok(()) } else { self.server.public_replays.remember(&self.proof, self.now) }
    }
}
