//! Names of things: tenants, agents, servers and principals.
//!
//! Parsing is the only way in, so a value of one of these types is always well-formed. Local subjects live in one
//! namespace per kind (`user:`, `agent:`) so that an agent can never be mistaken for a human; this module alone
//! knows the prefixes.
//! SPEC: CC-01 (RFC 9068 §5), DC-15, N-DC-16 (ASCII only: no look-alikes).

use crate::{
    display,
    refusal::{Code, Refusal},
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use std::{borrow::Borrow, fmt, sync::Arc};

/// Longest name of an agent, human, server or tenant, in bytes.
pub const NAME_LIMIT: usize = 64;

/// One customer of a deployment. Every row, key, cache entry and record carries it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

/// An agent's name inside its tenant, for instance `planner`; its subject is `agent:planner`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentId(Arc<str>);

/// An upstream's name inside its tenant, for instance `helpdesk` in `/mcp/helpdesk`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerId(Arc<str>);

/// Whether a principal is a person or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    Human,
    Agent,
}

impl PrincipalKind {
    /// The prefix of the local subjects of this kind. No other code spells it.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Human => "user:",
            Self::Agent => "agent:",
        }
    }

    /// The kind of a local subject: everything outside `user:` is a program.
    pub fn of_subject(subject: &str) -> Self {
        if subject.starts_with(Self::Human.prefix()) { Self::Human } else { Self::Agent }
    }

    /// The local subject of the principal of this kind and name: `user:alice`.
    pub fn subject(self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }

    /// The name in a local subject of this kind; `None` for a subject of the other kind or of another form.
    pub fn name_in(self, subject: &str) -> Option<&str> {
        subject.strip_prefix(self.prefix())
    }
}

/// A human or an agent, identified by the pair (issuer, subject): RFC 8693 §4.1.
///
/// The kind is stated, not read from the subject: another issuer may give a person any subject it likes. It is written
/// only where the subject's prefix does not say it already, so a value without it means what it always meant.
///
/// ```
/// use remit_model::{Principal, PrincipalKind};
///
/// let alice = Principal::local("https://as.example", "user:alice");
/// assert_eq!(alice.kind(), PrincipalKind::Human);
/// let federated = Principal::new("https://idp.example", "00u1f9xk", PrincipalKind::Human);
/// assert_eq!(serde_json::to_value(&federated).unwrap()["kind"], "human");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(from = "Stored")]
pub struct Principal {
    /// Issuer identifier, compared as an exact string (J-07).
    pub iss: String,
    /// Subject; with its prefix when the issuer is ours: `user:alice` or `agent:planner`.
    pub sub: String,
    kind: PrincipalKind,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    iss: String,
    sub: String,
    kind: Option<PrincipalKind>,
}

impl From<Stored> for Principal {
    fn from(stored: Stored) -> Self {
        let kind = stored.kind.unwrap_or_else(|| PrincipalKind::of_subject(&stored.sub));
        Self { iss: stored.iss, sub: stored.sub, kind }
    }
}

impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let stated = self.kind != PrincipalKind::of_subject(&self.sub);
        let mut members = to.serialize_struct("Principal", if stated { 3 } else { 2 })?;
        members.serialize_field("iss", &self.iss)?;
        members.serialize_field("sub", &self.sub)?;
        if stated {
            members.serialize_field("kind", &self.kind)?;
        }
        members.end()
    }
}

impl Principal {
    /// A principal of any issuer.
    pub fn new(iss: impl Into<String>, sub: impl Into<String>, kind: PrincipalKind) -> Self {
        Self { iss: iss.into(), sub: sub.into(), kind }
    }

    /// A principal whose subject has our form, so that its prefix says its kind.
    pub fn local(iss: impl Into<String>, sub: impl Into<String>) -> Self {
        let sub = sub.into();
        let kind = PrincipalKind::of_subject(&sub);
        Self { iss: iss.into(), sub, kind }
    }

    /// The person with this local name.
    pub fn human(iss: &str, name: &str) -> Self {
        Self::new(iss, PrincipalKind::Human.subject(name), PrincipalKind::Human)
    }

    /// The agent with this local name.
    pub fn agent(iss: &str, id: &AgentId) -> Self {
        Self::new(iss, id.subject(), PrincipalKind::Agent)
    }

    /// Whether this is a person or a program.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The local name when `issuer` issued the subject; `None` for a principal of another issuer.
    pub fn name_at(&self, issuer: &str) -> Option<&str> {
        if self.iss == issuer { self.kind.name_in(&self.sub) } else { None }
    }

    /// Whether both are the same (issuer, subject), whatever kind each one has.
    pub fn is_same(&self, other: &Self) -> bool {
        self.iss == other.iss && self.sub == other.sub
    }
}

impl TenantId {
    /// The tenant that exists by default.
    pub fn main() -> Self {
        Self(Arc::from("main"))
    }
}

impl AgentId {
    /// The subject of this agent, and its OAuth `client_id` unless it registered itself.
    pub fn subject(&self) -> String {
        PrincipalKind::Agent.subject(&self.0)
    }

    /// Reads `agent:NAME`.
    ///
    /// # Errors
    /// `name_malformed` for a text that is not `agent:` with a well-formed name.
    pub fn from_subject(subject: &str) -> Result<Self, Refusal> {
        let name = PrincipalKind::Agent.name_in(subject).ok_or_else(|| malformed("agent subject", subject))?;
        Self::parse(name)
    }
}

/// Hashes and compares as its text, so that a map of agents is asked by name without making an id first.
impl Borrow<str> for AgentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn malformed(what: &str, text: &str) -> Refusal {
    Refusal::new(
        Code::NameMalformed,
        format!(
            "`{}` is not a valid {what}: use 1 to {NAME_LIMIT} of a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
            display::excerpt(text, NAME_LIMIT)
        ),
    )
}

fn well_formed(name: &str) -> bool {
    name.len() <= NAME_LIMIT
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! name {
    ($type:ty, $what:literal) => {
        impl $type {
            /// Reads a name: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`, with a letter or digit first.
            ///
            /// # Errors
            /// `name_malformed` for any other text.
            pub fn parse(name: &str) -> Result<Self, Refusal> {
                if well_formed(name) { Ok(Self(Arc::from(name))) } else { Err(malformed($what, name)) }
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $type {
            type Error = Refusal;
            fn try_from(name: String) -> Result<Self, Refusal> {
                Self::parse(&name)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    };
}
name!(TenantId, "tenant name");
name!(AgentId, "agent name");
name!(ServerId, "server name");

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stored_principal_without_a_kind_means_what_its_prefix_says() {
        for (sub, kind) in [("user:alice", PrincipalKind::Human), ("agent:a", PrincipalKind::Agent), ("x", PrincipalKind::Agent)]
        {
            let stored = json!({"iss": "https://as.example", "sub": sub});
            let read: Principal = serde_json::from_value(stored.clone()).unwrap();
            assert_eq!(read.kind(), kind, "{sub}");
            assert_eq!(serde_json::to_value(&read).unwrap(), stored, "written as it was read");
        }
    }

    #[test]
    fn n_dc_15_a_federated_person_with_an_opaque_subject_is_a_person() {
        let person = Principal::new("https://idp.example", "00u1f9xk", PrincipalKind::Human);
        let stored = serde_json::to_value(&person).unwrap();
        assert_eq!(stored, json!({"iss": "https://idp.example", "sub": "00u1f9xk", "kind": "human"}));
        assert_eq!(serde_json::from_value::<Principal>(stored).unwrap(), person);
    }

    #[test]
    fn n_dc_15_a_subject_is_a_local_name_only_at_its_own_issuer_and_kind() {
        let person = Principal::new("https://as.example", "agent:planner", PrincipalKind::Human);
        assert_eq!(person.name_at("https://as.example"), None, "a person with an agent's subject is no agent");
        let planner = Principal::local("https://as.example", "agent:planner");
        assert_eq!(planner.name_at("https://as.example"), Some("planner"));
        assert_eq!(planner.name_at("https://as.example/"), None);
        assert!(person.is_same(&planner) && person != planner);
    }

    #[test]
    fn a_principal_with_an_unknown_kind_or_member_is_not_read() {
        for stored in [
            json!({"iss": "i", "sub": "s", "kind": "robot"}),
            json!({"iss": "i", "sub": "s", "role": "human"}),
            json!({"iss": "i"}),
        ] {
            assert!(serde_json::from_value::<Principal>(stored).is_err());
        }
    }
}
