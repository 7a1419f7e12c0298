//! Protected resources: upstream servers, their tools, and what kind of act each tool is.

use crate::id::ServerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a tool does to the world; anything but `Read` needs a durable intent before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ToolClass {
    Read,
    Write,
    Delete,
    /// The default: an unclassified tool is taken for one that changes things.
    #[default]
    Execute,
    Admin,
    Identity,
    Payment,
}

impl ToolClass {
    pub fn mutates(self) -> bool {
        self != Self::Read
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Execute => "execute",
            Self::Admin => "admin",
            Self::Identity => "identity",
            Self::Payment => "payment",
        }
    }
}

/// What the operator says about one tool of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ToolRule {
    pub class: ToolClass,
    /// `public`, `internal`, `confidential`, `pii`, `phi`, `pci` or `secret`.
    pub classification: Option<String>,
    /// In words, for the consent page: "Create a refund".
    pub title: Option<String>,
}

/// A registered upstream: an OAuth protected resource with its own audience (RFC 8707).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub id: ServerId,
    pub title: String,
    /// Canonical resource identifier: `https://gw.example/mcp/helpdesk`. Tokens for it carry this `aud`.
    pub location: String,
    /// Rules by action name (for MCP, the tool's name).
    pub tools: BTreeMap<String, ToolRule>,
}

impl Server {
    pub fn class_of(&self, action: &str) -> ToolClass {
        self.tools.get(action).map(|rule| rule.class).unwrap_or_default()
    }
}
