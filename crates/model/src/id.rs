//! Names of things: tenants, agents, servers and principals.
//!
//! Parsing is the only way in, so a value of one of these types is always well-formed. Subjects live in one
//! namespace per kind (`user:`, `agent:`) so that an agent can never be mistaken for a human.
//! SPEC: CC-01 (RFC 9068 §5), DC-15, N-DC-16 (ASCII only: no look-alikes).

use crate::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};
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

/// A human or an agent, identified by the pair (issuer, subject): RFC 8693 §4.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Issuer identifier, compared as an exact string (J-07).
    pub iss: String,
    /// Subject with its namespace: `user:alice` or `agent:planner`.
    pub sub: String,
}

impl Principal {
    pub fn human(iss: &str, name: &str) -> Self {
        Self { iss: iss.to_owned(), sub: format!("user:{name}") }
    }

    pub fn agent(iss: &str, id: &AgentId) -> Self {
        Self { iss: iss.to_owned(), sub: id.subject() }
    }

    /// The kind its subject's namespace says; anything outside `user:` is treated as a program.
    pub fn kind(&self) -> PrincipalKind {
        if self.sub.starts_with("user:") { PrincipalKind::Human } else { PrincipalKind::Agent }
    }

    /// The agent's name when this is one of ours.
    pub fn agent_id(&self) -> Option<AgentId> {
        AgentId::from_subject(&self.sub).ok()
    }
}

impl TenantId {
    /// The tenant that exists by default.
    pub fn main() -> Self {
        Self(Arc::from("main"))
    }
}

impl AgentId {
    /// The subject and OAuth `client_id` of this agent.
    pub fn subject(&self) -> String {
        format!("agent:{}", self.0)
    }

    /// Reads `agent:NAME`.
    pub fn from_subject(subject: &str) -> Result<Self, Refusal> {
        let name = subject.strip_prefix("agent:").ok_or_else(|| malformed("agent subject", subject))?;
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
    let shown: String = text.chars().take(NAME_LIMIT).collect();
    Refusal::new(
        Code::NameMalformed,
        format!(
            "`{}` is not a valid {what}: use 1 to {NAME_LIMIT} of a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
            shown.escape_debug()
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
            pub fn parse(name: &str) -> Result<Self, Refusal> {
                if well_formed(name) { Ok(Self(Arc::from(name))) } else { Err(malformed($what, name)) }
            }
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
