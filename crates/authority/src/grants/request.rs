//! An authenticated, proven request for a token: what every grant starts from.

use crate::{Server, clients::authenticate::Client, http::form::Form};
use remit_model::{Refusal, UnixTime};
use remit_store::Snapshot;
use remit_token::dpop::Proof;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// RFC 8693 §3.
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Client, proof and parameters, at one moment of one snapshot.
#[derive(Debug)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) server: &'a Server,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) form: Form,
    pub(crate) grant_type: &'static str,
    pub(crate) client: Client,
    pub(crate) proof: Proof,
    pub(crate) now: UnixTime,
    /// Whether the proof of a client without keys is remembered.
    pub(crate) remembered: AtomicBool,
}

impl TokenRequest<'_> {
    /// Remembers the proof of a client with keys, which has authenticated and may act. SPEC: DP-09
    pub(crate) fn remember_confidential(&self) -> Result<(), Refusal> {
        if self.client.credential.is_some() { self.server.replays.remember(&self.proof, self.now) } else { Ok(()) }
    }

    /// Remembers the proof of a client without keys. Anyone can use its name, so its proof takes room only once it is the
    /// proof of what it redeems, and before a second use of that is punished. A request that is decided twice remembers it
    /// once. SPEC: DP-09
    pub(crate) fn remember_public(&self) -> Result<(), Refusal> {
        if self.client.credential.is_some() || self.remembered.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.server.public_replays.remember(&self.proof, self.now)
    }
}
