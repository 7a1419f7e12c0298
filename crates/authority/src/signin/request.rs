//! An authorization request after it was checked: RFC 6749 §4.1.1 with the parameters of RFC 7636, RFC 9396 and RFC 9449.

use crate::{
    clients::candidate::Candidate,
    grants::requested::RequestedAuthority,
    signin::{devices::Device, pushed::UsedOnce},
};
use remit_model::{AgentId, Refusal};
use remit_token::sign_in;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a person signs in for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum SignInFor {
    /// An agent asks to act for them.
    Request(Box<AuthorizationRequest>),
    /// Their own account.
    Account,
}

impl SignInFor {
    /// The request, if there is one.
    pub(crate) fn request(&self) -> Option<&AuthorizationRequest> {
        match self {
            Self::Request(ask) => Some(ask),
            Self::Account => None,
        }
    }

    /// What the nonce of a sign-in at an identity provider commits to.
    pub(crate) fn committed(&self, salt: &str) -> Value {
        self.request().map_or_else(|| sign_in::committed(None, salt), |ask| ask.committed(salt))
    }
}

/// An authorization request that may be put before a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client: AgentId,
    pub(crate) back: ReturnTo,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: String,
    pub(crate) asked: RequestedAuthority,
    pub(crate) dpop_jkt: Option<String>,
    pub(crate) prompt: Prompt,
    pub(crate) max_age: Option<i64>,
    /// Authentication context classes of which the client, or a policy, wants one.
    #[serde(default)]
    pub(crate) acr_values: Vec<String>,
    /// Whether a policy has asked for a better sign-in already: it asks once.
    #[serde(default)]
    pub(crate) stepped_up: bool,
    pub(crate) login_hint: Option<String>,
    /// What the client would become, when it is not registered yet or not as it now describes itself.
    #[serde(default)]
    pub(crate) candidate: Option<Box<Candidate>>,
    /// The pushed request that this one was.
    #[serde(default)]
    pub(crate) pushed: Option<UsedOnce>,
}

impl AuthorizationRequest {
    /// The same request with the sign-in that would be enough, unless the person was asked for one before.
    pub(crate) fn stepped_up(&self, refusal: &Refusal) -> Option<Self> {
        let enough = refusal.step_up.as_deref().filter(|_| !self.stepped_up)?;
        let acr_values = if enough.acr_values.is_empty() { self.acr_values.clone() } else { enough.acr_values.clone() };
        let max_age = self.max_age.into_iter().chain(enough.max_age.map(i64::from)).min();
        Some(Self { acr_values, max_age, stepped_up: true, ..self.clone() })
    }

    /// Whether one of the classes that are wanted was reached; so it is where none is wanted.
    pub(crate) fn is_met_by(&self, acr: Option<&str>) -> bool {
        self.acr_values.is_empty() || acr.is_some_and(|acr| self.acr_values.iter().any(|wanted| wanted == acr))
    }

    /// What the nonce of a sign-in for this request commits to: who asks, and for what at most.
    pub(crate) fn committed(&self, salt: &str) -> Value {
        let (agent, authority) = (self.client.subject(), self.asked.by_name().map(|authority| authority.to_value()));
        let request = sign_in::Request {
            agent: &agent,
            redirect_uri: &self.back.redirect_uri,
            code_challenge: &self.challenge,
            authority: authority.as_ref(),
            resources: &self.asked.targets,
            lifetime: self.asked.lifetime,
            purpose: self.asked.purpose.as_deref(),
        };
        sign_in::committed(Some(request), salt)
    }
}

/// Where the answer goes; both parts are checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReturnTo {
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    /// The device that waits for the answer, which then goes to no address.
    #[serde(default)]
    pub(crate) device: Option<Box<Device>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prompt {
    pub(crate) none: bool,
    pub(crate) login: bool,
}
