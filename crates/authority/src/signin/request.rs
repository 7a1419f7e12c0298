//! An authorization request after it was checked: RFC 6749 §4.1.1 with the parameters of RFC 7636, RFC 9396 and RFC 9449.

use crate::{
    clients::candidate::Candidate,
    grants::requested::RequestedAuthority,
    signin::{devices::Device, pushed::UsedOnce},
};
use remit_model::AgentId;
use serde::{Deserialize, Serialize};

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
    pub(crate) login_hint: Option<String>,
    /// What the client would become, when it is not registered yet or not as it now describes itself.
    #[serde(default)]
    pub(crate) candidate: Option<Box<Candidate>>,
    /// The pushed request that this one was.
    #[serde(default)]
    pub(crate) pushed: Option<UsedOnce>,
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
