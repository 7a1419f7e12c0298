//! Signing in through the organisation's identity provider: Remit as a relying party of OpenID Connect.
//!
//! Implements OpenID Connect Core 1.0 §3.1 (code flow), Discovery 1.0, RFC 7636 (S256), RFC 9207; rules AZ-14, AZ-16, J-01,
//! J-07, F-01 to F-07. A person is who `iss` and `sub` say, never who an e-mail address says.
//!
//! `relying_party.rs` tells the story: to the provider and back. `settings.rs` is what the configuration says,
//! `discovery.rs` the provider's documents, `client.rs` its token endpoint, `pending.rs` what the browser keeps meanwhile,
//! `person.rs` whom the ID token makes of whom, `evidence.rs` what it proves of a consent.

pub(crate) mod client;
pub(crate) mod discovery;
pub(crate) mod evidence;
pub(crate) mod pending;
pub(crate) mod person;
pub(crate) mod relying_party;
pub(crate) mod settings;

pub use crate::http::bearer::BearerSecret;
pub use discovery::{Metadata, Transmitter};
pub use settings::{
    Check, ClientCredential, Demand, EntitlementRule, EventSettings, PollSettings, ProviderSettings, ScimSettings, ScimSubject,
};

use discovery::Discovery;
use remit_clock::Clock;
use remit_model::{Human, Identity, Refusal};
use remit_outbound::Outbound;
use remit_token::KeySet;
use std::sync::Arc;

/// Where people sign in.
#[derive(Clone, Debug, Default)]
pub struct SignInMethods {
    pub providers: Vec<Arc<ProviderSettings>>,
    /// Whether there are local accounts.
    pub local: bool,
}

impl SignInMethods {
    pub(crate) fn provider(&self, name: &str) -> Option<Arc<ProviderSettings>> {
        self.providers.iter().find(|provider| provider.name == name).cloned()
    }

    /// The one with this issuer, whatever it is called here.
    pub(crate) fn with_issuer(&self, issuer: &str) -> Option<Arc<ProviderSettings>> {
        self.providers.iter().find(|provider| provider.issuer == issuer).cloned()
    }

    /// Whether this person must sign in at their provider for each consent.
    pub(crate) fn prove_each_consent(&self, human: &Human) -> bool {
        let of = |identity: &Identity| self.providers.iter().any(|one| one.prove_each_consent && one.issuer == identity.issuer);
        human.identity.as_ref().is_some_and(of)
    }
}

/// What a provider publishes, asked for as a sign-in asks for it.
///
/// # Errors
/// `provider_unreachable`, `provider_answer_invalid`.
pub async fn examine(outbound: &Outbound, clock: &Clock, issuer: &str) -> Result<(Metadata, KeySet), Refusal> {
    let discovery = Discovery::new(outbound, clock);
    let metadata = discovery.metadata(issuer).await?;
    let keys = discovery.keys(&metadata, None).await?;
    Ok((metadata, keys))
}

/// What a transmitter of security events publishes, asked for as the receiver asks for it.
///
/// # Errors
/// As [`examine`].
pub async fn examine_transmitter(outbound: &Outbound, clock: &Clock, issuer: &str) -> Result<(Transmitter, KeySet), Refusal> {
    let discovery = Discovery::new(outbound, clock);
    let transmitter = discovery.transmitter(issuer).await?;
    let keys = discovery.transmitter_keys(&transmitter).await?;
    Ok((transmitter, keys))
}
