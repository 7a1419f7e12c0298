//! What a sign-in at a provider proves of a consent: the provider's ID token, whose nonce commits to what was asked for.
//!
//! It is kept with the session that it began, and goes from there into the record of the first token. docs/custody-format.md
//! section 6 says how an auditor checks it.

use super::settings::ProviderSettings;
use remit_model::{Authentication, UnixTime, json};
use remit_token::{
    KeySet,
    provider_id_token::ProviderIdToken,
    sign_in::{self, Committed, Handed, Kind, REQUESTED_SECS, Recorded},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as object};

/// The evidence of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    /// The provider's name here.
    provider: String,
    issuer: String,
    /// The client that we are there.
    client: String,
    id_token: String,
    /// The key that verified it.
    key: Value,
    issued: UnixTime,
    salt: String,
    /// What the nonce commits to.
    request: Value,
}

/// The evidence that a consent rests on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    kind: Kind,
    #[serde(flatten)]
    evidence: Evidence,
}

impl Evidence {
    /// Of a token whose nonce commits to `request`, with `salt` in it.
    pub(crate) fn new(provider: &ProviderSettings, token: &ProviderIdToken, salt: &str, request: Value) -> Self {
        Self {
            provider: provider.name.clone(),
            issuer: provider.issuer.clone(),
            client: provider.client_id.clone(),
            id_token: token.compact().to_owned(),
            key: token.jwk().clone(),
            issued: token.iat,
            salt: salt.to_owned(),
            request,
        }
    }

    /// Whether the person signed in for this very request, and not long ago. `committed` says what its nonce would commit to with
    /// a salt.
    pub(crate) fn is_for(&self, committed: impl FnOnce(&str) -> Value, now: UnixTime) -> bool {
        self.is_fresh(now) && committed(&self.salt) == self.request
    }

    fn is_fresh(&self, now: UnixTime) -> bool {
        now.since(self.issued) <= REQUESTED_SECS
    }

    /// What is kept of it for what a person hands over by the authentication `how`; `None` where an auditor could not check it:
    /// the provider's clock is far from ours. `take` uses the sign-in up as the one for the request.
    pub(crate) fn keep(
        &self,
        requested: Option<&Handed<'_>>,
        how: &Authentication,
        take: impl FnOnce() -> bool,
        now: UnixTime,
    ) -> Option<Kept> {
        let requested = requested.is_some_and(|handed| self.is_fresh(now) && self.holds(Some(handed), how, now)) && take();
        let kind = if requested { Kind::Requested } else { Kind::Earlier };
        let holds = requested || self.holds(None, how, now);
        if !holds {
            tracing::warn!(
                provider = self.provider,
                "the ID token of a sign-in is not kept as evidence: an auditor would refuse it"
            );
        }
        holds.then(|| Kept { kind, evidence: self.clone() })
    }

    /// INVARIANT: what is kept as evidence, both verifiers accept; `handed` as what was asked for.
    fn holds(&self, handed: Option<&Handed<'_>>, how: &Authentication, now: UnixTime) -> bool {
        let kind = if handed.is_some() { Kind::Requested } else { Kind::Earlier };
        let Ok(committed) = Committed::read(&self.request) else { return false };
        if handed.is_some_and(|handed| committed.covers(handed, now).is_err()) {
            return false;
        }
        let recorded =
            Recorded { kind, issuer: &self.issuer, client: &self.client, id_token: &self.id_token, committed: &self.request };
        let key = KeySet::from_keys(std::slice::from_ref(&self.key));
        key.and_then(|key| sign_in::verify_recorded(&recorded, &key, now)).is_ok_and(|signed| sign_in::is_of(how, &signed))
    }
}

impl Kept {
    /// Whether the person signed in for this very consent.
    pub(crate) fn is_requested(&self) -> bool {
        self.kind == Kind::Requested
    }

    /// What the record states in plain: no name and no token.
    pub(crate) fn facts(&self) -> Value {
        let Evidence { provider, issuer, client, id_token, key, .. } = &self.evidence;
        let token_hash = json::sha256_label(id_token.as_bytes());
        object!({
            "kind": self.kind, "provider": provider, "issuer": issuer, "client": client, "token_hash": token_hash, "key": key,
        })
    }

    /// What the record commits to.
    pub(crate) fn committed(&self) -> Value {
        object!({"id_token": self.evidence.id_token, "request": self.evidence.request})
    }
}
