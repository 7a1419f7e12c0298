//! The authority algebra.
use crate::{
    call::Call,
    id::Principal,
    refusal::{Code, Refusal},
    resource::Server,
    time::UnixTime,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A finite set of grants in canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Authority {
    grants: Vec<Grant>,
}

/// One RFC 9396 authorization detail of type `tool_access`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {}

/// Which actions: every one, or those named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionSet {
    Any,
    Named(BTreeSet<String>),
}

impl ActionSet {
    pub fn contains(&self, action: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(names) => names.contains(action),
        }
    }
}

/// How often, and how much in total. `None` and absent pointers are unlimited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub calls: Option<u64>,
    /// Argument pointer to the most its values may add up to.
    pub spend: BTreeMap<String, f64>,
}

/// What a permitted call may see, and which grants allowed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Permit {
    /// Digests of the grants that cover the call and are used for it, in canonical order.
    pub grants: Vec<String>,
    /// Response fields the caller may see: `None` means all of them.
    pub fields: Option<Vec<String>>,
    /// Budgets this call draws on, by grant digest.
    pub limits: Vec<(String, Limits)>,
}

fn soon<T>() -> Result<T, Refusal> {
    Err(Refusal::new(Code::Internal, "not written yet"))
}

impl Grant {
    /// Every action at `location`.
    pub fn at(_location: &str) -> Result<Self, Refusal> {
        soon()
    }
    pub fn parse(_detail: &Value) -> Result<Self, Refusal> {
        soon()
    }
    pub fn to_value(&self) -> Value {
        Value::Null
    }
    pub fn digest(&self) -> String {
        crate::json::digest(&self.to_value())
    }
    /// The resources this grant is for; `None` means every one.
    pub fn locations(&self) -> Option<&BTreeSet<String>> {
        None
    }
    pub fn actions(&self) -> &ActionSet {
        &ActionSet::Any
    }
    pub fn not_after(&self) -> Option<UnixTime> {
        None
    }
}

impl Authority {
    /// The authority that permits nothing.
    pub fn none() -> Self {
        Self::default()
    }
    pub fn is_none(&self) -> bool {
        self.grants.is_empty()
    }
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }
    pub fn from_grants(grants: impl IntoIterator<Item = Grant>) -> Self {
        Self { grants: grants.into_iter().collect() }
    }
    /// Reads RFC 9396 `authorization_details`.
    pub fn parse(_details: &Value) -> Result<Self, Refusal> {
        soon()
    }
    /// Expands OAuth scope shorthand, `helpdesk:tickets.read helpdesk:*`.
    pub fn from_scope(_scope: &str, _servers: &[&Server]) -> Result<Self, Refusal> {
        soon()
    }
    pub fn to_value(&self) -> Value {
        Value::Array(self.grants.iter().map(Grant::to_value).collect())
    }
    /// `sha-256:<hex>` over the canonical JSON.
    pub fn digest(&self) -> String {
        crate::json::digest(&self.to_value())
    }
    /// Scope strings that summarise this authority, sorted; only `authorization_details` decides.
    pub fn scopes(&self, _servers: &[&Server]) -> Vec<String> {
        Vec::new()
    }
    /// The greatest authority below both.
    #[must_use]
    pub fn meet(&self, _other: &Self) -> Self {
        Self::none()
    }
    /// `self ⊑ parent`.
    ///
    /// # Errors
    /// A `widens_*` code naming the first dimension that widens.
    pub fn within(&self, _parent: &Self) -> Result<(), Refusal> {
        soon()
    }
    /// Whether some grant covers this call.
    ///
    /// # Errors
    /// `tool_not_granted`, `argument_not_granted`, `grant_expired`.
    pub fn permits(&self, call: &Call<'_>) -> Result<Permit, Refusal> {
        self.permits_beyond(call, &BTreeSet::new())
    }
    /// As [`permits`](Self::permits), as if the grants whose digests are `exhausted` were not there.
    ///
    /// # Errors
    /// Those of `permits`, and `limit_exhausted` when only exhausted grants would cover the call.
    pub fn permits_beyond(&self, _call: &Call<'_>, _exhausted: &BTreeSet<String>) -> Result<Permit, Refusal> {
        soon()
    }
    /// The part that may be handed to `delegate`, with one hop less to go.
    ///
    /// # Errors
    /// `delegation_not_allowed` (nothing here may be handed on), `delegate_not_named`.
    pub fn delegable_to(&self, _delegate: &Principal) -> Result<Self, Refusal> {
        soon()
    }
    /// This authority, ending at `t` at the latest.
    #[must_use]
    pub fn until(&self, _t: UnixTime) -> Self {
        Self::none()
    }
    /// The part of this authority that is for `location`.
    #[must_use]
    pub fn at_location(&self, _location: &str) -> Self {
        Self::none()
    }
    /// Every action some grant names at `location`, expired or not.
    pub fn actions_at(&self, _location: &str) -> ActionSet {
        ActionSet::Named(BTreeSet::new())
    }
    /// Whether some arguments exist with which `action` would be permitted now; for filtering lists.
    pub fn could_call(&self, _location: &str, _action: &str, _now: UnixTime) -> bool {
        false
    }
    /// One sentence for each grant, for consent pages and explanations.
    pub fn describe(&self) -> Vec<String> {
        Vec::new()
    }
}
