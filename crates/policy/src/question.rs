//! What a decision is asked about, complete: everything a policy can see is in here, and nothing else is.
//!
//! The serialised question is the replay input that a ledger commits to (`/decision/input`).

use remit_model::{
    id::{PrincipalKind, ServerId, TenantId},
    resource::ToolClass,
    time::UnixTime,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One question to the policies. SPEC: CE-01, CE-05.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub tenant: TenantId,
    /// Our own issuer. A party of any other issuer gets an entity id that contains its issuer (N-DC-15).
    pub issuer: String,
    /// The acting party: the agent that calls, or the human when nobody stands between.
    pub principal: Party,
    /// Whose authority is exercised (`sub` of the token); the principal itself for an agent on its own account.
    pub on_behalf_of: Party,
    /// Subjects of the actors, root first and the caller last; empty when the principal acts for itself.
    pub chain: Vec<String>,
    /// The chain's id (`txn`), once there is one.
    pub txn: Option<String>,
    pub action: Action,
    /// The upstream; absent only for a delegation that is not about one server.
    pub server: Option<ServerId>,
    /// The tool; present for `call` and `read_field`.
    pub tool: Option<ToolFacts>,
    /// The call's arguments object; `null` when there are none.
    ///
    /// Serialised as JSON text inside a string: RFC 8785 would round integers beyond 2^53, and a replay must see
    /// the very numbers that were decided on.
    #[serde(with = "exact")]
    pub arguments: Value,
    /// Digest of the caller's effective authority.
    pub authority_digest: String,
    pub purpose: Option<String>,
    pub now: UnixTime,
    /// Seconds since the human last authenticated, when a human did. SPEC: DC-15.
    pub auth_age: Option<i64>,
}

/// A human or an agent as the policies see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    pub kind: PrincipalKind,
    /// `user:alice` or `agent:planner`.
    pub sub: String,
    pub iss: String,
    /// Subject of the accountable human; agents only.
    pub owner: Option<String>,
    /// Each label `key=value` puts the party into `Group::"key=value"`.
    pub labels: BTreeMap<String, String>,
}

/// What is about to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Hand authority to the agent `to` (a subject), which may hand it on `depth` times, for `lifetime` seconds.
    Delegate { to: String, depth: u32, lifetime: i64 },
    /// See which tools a server offers.
    List,
    /// Call a tool.
    Call,
    /// Let fields of this class (for instance `pii`) of a tool's answer through.
    ReadField { class: String },
}

impl Action {
    /// The name in the schema and in the record.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delegate { .. } => "delegate",
            Self::List => "list",
            Self::Call => "call",
            Self::ReadField { .. } => "read_field",
        }
    }
}

/// What the operator's configuration says about the tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolFacts {
    pub name: String,
    pub class: ToolClass,
    pub classification: Option<String>,
}

mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(value: &Value, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        serde_json::from_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}
