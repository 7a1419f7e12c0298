//! Registered principals: agents with an owner, a status and a ceiling; humans with entitlements.

use crate::{
    authority::Authority,
    id::{AgentId, PrincipalKind},
    time::UnixTime,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// Whether an agent may act at all. Checked on every call, for every agent of the chain (DC-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    Active,
    /// Stopped for the time being; its tokens, and those of its descendants, are refused.
    Quarantined,
    /// Gone for good; its name is never reused.
    Retired,
}

/// On whose authority an agent may act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acts {
    /// On what others delegate to it, and on its own up to its ceiling.
    #[default]
    Either,
    /// Only where a person is at the root of the chain.
    OnBehalf,
}

/// A registered non-human principal; also the OAuth client `agent:NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    pub id: AgentId,
    /// Shown on consent pages and in reports.
    pub display_name: String,
    /// Subject of the accountable human, for instance `user:alice`.
    pub owner: String,
    pub status: AgentStatus,
    /// Public JWKs for `private_key_jwt` (RFC 7523); empty means the agent cannot authenticate by itself.
    pub keys: Vec<Value>,
    /// Exact redirect URIs for the authorization code grant (AZ-02).
    pub redirect_uris: Vec<String>,
    /// Authorization that no token of this agent may exceed, whatever a delegator hands it.
    pub ceiling: Authority,
    pub labels: BTreeMap<String, String>,
    /// Whether it may also act without a person. Rows that do not say are of agents that may.
    #[serde(default)]
    pub acts: Acts,
    pub registered: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HumanStatus {
    Active,
    Disabled,
}

/// A person who can sign in and delegate.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Human {
    /// Local name; the subject is `user:NAME`.
    pub name: String,
    pub display_name: String,
    pub status: HumanStatus,
    /// Argon2 PHC string; never shown.
    pub password_hash: Option<String>,
    /// What this person may do, and so the most they can hand on.
    pub entitlements: Authority,
}

impl Human {
    /// The subject that names this person in tokens and records: `user:NAME`.
    pub fn subject(&self) -> String {
        PrincipalKind::Human.subject(&self.name)
    }
}

impl fmt::Debug for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Human").field("name", &self.name).field("status", &self.status).finish_non_exhaustive()
    }
}

/// Whether a scheme can belong to an installed program: none that a browser, or the system's own programs, act upon. One
/// without a dot is accepted when it is registered, though RFC 8252 §7.1 asks for one: some clients have no other.
pub fn is_private_scheme(scheme: &str) -> bool {
    const TAKEN: [&str; 29] = [
        "about",
        "blob",
        "chrome",
        "content",
        "data",
        "dav",
        "facetime",
        "file",
        "filesystem",
        "ftp",
        "geo",
        "http",
        "https",
        "imap",
        "intent",
        "jar",
        "javascript",
        "ldap",
        "mailto",
        "market",
        "news",
        "res",
        "sms",
        "ssh",
        "tel",
        "vbscript",
        "view-source",
        "ws",
        "wss",
    ];
    let proper = scheme.len() >= 3 && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let letters = scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b));
    proper && letters && !TAKEN.contains(&scheme) && !scheme.starts_with("ms-") && !scheme.starts_with("chrome-")
}
