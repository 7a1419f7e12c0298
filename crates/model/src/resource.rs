//! Protected resources: upstream servers, their tools, and what kind of act each tool is.

use crate::{decimal::Decimal, id::ServerId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Longest id of a data subject, in bytes.
const SUBJECT_ID_LIMIT: usize = 256;

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
    /// Whether tools of this class can change something; all but `read`.
    pub fn mutates(self) -> bool {
        self != Self::Read
    }

    /// The word for this class in configuration and records.
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
    /// `public`, `internal`, `confidential`, `pii`, `phi`, `pci` or `secret`: the class of every field of the answer that
    /// has none of its own.
    pub classification: Option<String>,
    /// The class of single fields of the answer, by JSON Pointer with `*` for array items.
    pub fields: BTreeMap<String, String>,
    /// In words, for the consent page: "Create a refund".
    pub title: Option<String>,
    /// Whom a call of the tool is about.
    pub subject: Option<SubjectRule>,
    /// The name by which clients see and call the tool. Grants, policies and records know only the tool's own name.
    pub alias: Option<String>,
}

/// Longest name of a tool that large model interfaces take, in bytes.
pub const MODEL_NAME_LIMIT: usize = 64;

/// Whether large model interfaces take a tool of this name: letters, digits, `_` and `-`, 64 at most. Frameworks pass the names of
/// tools to the model unchanged.
pub fn is_model_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=MODEL_NAME_LIMIT).contains(&name.len()) && name.bytes().all(letter)
}

/// Where a call says whom it is about, so that what is recorded of it can be forgotten with that person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectRule {
    /// What kind of person or thing it is: `customer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// JSON Pointer (RFC 6901) into the arguments.
    pub argument: String,
}

/// Whom the arguments of a call name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The argument is absent or null.
    No,
    /// The id, exactly as given; of a whole number, its decimal digits.
    Subject(String),
    /// There is a value that is no id; why, as a word.
    Unusable(&'static str),
}

impl SubjectRule {
    /// The data subject that the arguments of a call name under this rule.
    pub fn named(&self, arguments: &Value) -> Named {
        let id = match arguments.pointer(&self.argument) {
            None | Some(Value::Null) => return Named::No,
            Some(Value::String(text)) => text.clone(),
            // 17.0 is 17 to many an upstream, and must not be a way to name no subject.
            Some(Value::Number(number)) => match Decimal::of(number) {
                Some(decimal) if decimal.is_whole() => match decimal.integer_digits() {
                    Some(digits) => digits,
                    None => return Named::Unusable("too_long"),
                },
                _ => return Named::Unusable("not_an_id"),
            },
            Some(_) => return Named::Unusable("not_an_id"),
        };
        match id {
            id if id.len() > SUBJECT_ID_LIMIT => Named::Unusable("too_long"),
            id if id.is_empty() || id.contains(char::is_control) => Named::Unusable("not_an_id"),
            id => Named::Subject(id),
        }
    }
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
    /// The class of an action: the configured one, or the default class where none is configured.
    pub fn class_of(&self, action: &str) -> ToolClass {
        self.tools.get(action).map(|rule| rule.class).unwrap_or_default()
    }

    /// The tool that a client means by a name: an alias stands for its tool, any other name for itself.
    pub fn tool_named<'a>(&'a self, name: &'a str) -> &'a str {
        if self.tools.contains_key(name) {
            return name;
        }
        self.tools.iter().find(|(_, rule)| rule.alias.as_deref() == Some(name)).map_or(name, |(tool, _)| tool)
    }

    /// The name by which clients know a tool.
    pub fn alias_of<'a>(&'a self, tool: &'a str) -> &'a str {
        self.tools.get(tool).and_then(|rule| rule.alias.as_deref()).unwrap_or(tool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn model_interfaces_take_letters_digits_underscores_and_hyphens() {
        for good in ["a", "tickets_read", "Get-Ticket2", &"x".repeat(64)] {
            assert!(is_model_name(good), "{good}");
        }
        for bad in ["", "tickets.read", "a b", "a:b", "a/b", "\u{dc}bersicht", &"x".repeat(65)] {
            assert!(!is_model_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_call_names_the_subject_of_its_argument_and_no_other() {
        let rule = SubjectRule { kind: "customer".into(), argument: "/who/0~1id".into() };
        let named = |value: Value| rule.named(&json!({"who": {"0/id": value}}));
        let subject = |id: &str| Named::Subject(id.to_owned());
        for (value, id) in [
            (json!("C-17"), "C-17"),
            (json!(" c-17"), " c-17"),
            (json!(17), "17"),
            (json!(-1), "-1"),
            (json!(17.0), "17"),
            (json!(-0.0), "0"),
            (json!(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(named(value), subject(id));
        }
        for value in [json!(1.5), json!(true), json!(["C-17"]), json!({"id": "C-17"}), json!(""), json!("C\n17")] {
            assert_eq!(named(value), Named::Unusable("not_an_id"));
        }
        assert_eq!(named(json!("x".repeat(256))), subject(&"x".repeat(256)));
        assert_eq!(named(json!("x".repeat(257))), Named::Unusable("too_long"));
        assert_eq!(named(json!(1e300)), Named::Unusable("too_long"));
        assert_eq!(named(Value::Null), Named::No);
        for arguments in [json!({}), json!({"who": "C-17"}), json!([]), Value::Null] {
            assert_eq!(rule.named(&arguments), Named::No);
        }
    }
}
