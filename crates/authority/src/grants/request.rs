//! An authenticated, proven request for a token: what every grant starts from.

use crate::{
    Server,
    clients::{binding, client::Client},
    http::form::Form,
};
use remit_decide::{Principals, bearer};
use remit_model::{Code, Confirmation, Principal, Refusal, UnixTime};
use remit_store::Snapshot;
use remit_token::{PeerCertificate, dpop::Proof};
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
    /// `None` for a client whose tokens are bound to no key: a proof that comes nevertheless binds nothing. SPEC: DP-11
    pub(crate) proof: Option<Proof>,
    /// The certificate of the connection, of a client whose tokens are bound to it. SPEC: RFC 8705 §3
    pub(crate) certificate: Option<PeerCertificate>,
    pub(crate) now: UnixTime,
    /// Whether the proof of a client without keys is remembered.
    pub(crate) remembered: AtomicBool,
}

impl TokenRequest<'_> {
    /// Thumbprint of the key that was proved, if one was.
    pub(crate) fn jkt(&self) -> Option<&str> {
        self.proof.as_ref().map(Proof::jkt)
    }

    /// What is issued is bound to this.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        Confirmation::of(self.jkt(), self.certificate.as_ref().map(PeerCertificate::thumbprint))
    }

    /// The proof of possession, where nothing can be done without one.
    ///
    /// # Errors
    /// `bearer_not_allowed`, `delegation_unsigned`.
    pub(crate) fn proven(&self) -> Result<&Proof, Refusal> {
        self.may_exchange()?;
        if self.certificate.is_some() {
            return Err(binding::unsigned(&self.client.agent));
        }
        self.proof.as_ref().ok_or_else(|| Refusal::new(Code::DpopProofMissing, "the request has no proof of a key"))
    }

    /// Checks that the client exchanges tokens at all.
    ///
    /// # Errors
    /// `bearer_not_allowed`.
    pub(crate) fn may_exchange(&self) -> Result<(), Refusal> {
        let caller = Principal::agent(&self.server.issuer, &self.client.agent.id);
        bearer::exchange(Principals::new(&self.server.issuer, &self.snapshot), &caller)
    }

    /// Longest life of an access token for this client, in seconds: no longer than a credential by which an issuer vouched for
    /// it. SPEC: KS-03, TX-05
    pub(crate) fn longest(&self) -> i64 {
        let settings = &self.server.settings;
        let most = if self.client.agent.is_bearer() { settings.bearer_token } else { settings.access_token };
        let ends = self.client.credential.as_ref().and_then(|shown| shown.ends);
        ends.map_or(most, |ends| ends.since(self.now).clamp(1, most))
    }

    /// Remembers the proof of a client with keys, which has authenticated and may act. SPEC: DP-09
    pub(crate) fn remember_confidential(&self) -> Result<(), Refusal> {
        match &self.proof {
            Some(proof) if self.client.credential.is_some() => self.server.replays.remember(proof, self.now),
            _ => Ok(()),
        }
    }

    /// Remembers the proof of a client without keys. Anyone can use its name, so its proof takes room only once it is the
    /// proof of what it redeems, and before a second use of that is punished. A request that is decided twice remembers it
    /// once. SPEC: DP-09
    pub(crate) fn remember_public(&self) -> Result<(), Refusal> {
        match &self.proof {
            Some(proof) if self.client.credential.is_none() && !self.remembered.swap(true, Ordering::Relaxed) => {
                self.server.public_replays.remember(proof, self.now)
            }
            _ => Ok(()),
        }
    }
}
