//! What a record can be found by. Every term is something the record itself holds: names of people and resources
//! appear only as the record's own pseudonyms, so erasing a person never has to touch an index.

use remit_ledger::{Hash, Record};
use serde_json::Value;
use std::collections::BTreeSet;

/// Longest term kept as text, in bytes; a longer one is kept as its digest.
const TERM_LIMIT: usize = 256;

/// One dimension of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// A person in the chain, by pseudonym.
    Human,
    /// An agent in the chain, by pseudonym.
    Agent,
    /// A tool's name, or `server/name`.
    Tool,
    /// `type`, or `type:` and the id's pseudonym.
    Resource,
    /// A field that was asked for, returned or masked, as a JSON Pointer.
    Field,
    /// A refusal or outcome code.
    Code,
    /// The id or digest of a policy that determined a decision.
    Policy,
    /// A delegation chain's id (`txn`).
    Task,
    /// A record type.
    Type,
    /// An outcome's status.
    Outcome,
    /// A session's id.
    Session,
    /// A token, by the digest of its `jti`: issued, used, revoked, or the one that another was taken from.
    Token,
    /// The label that was given to a token when it was issued.
    Label,
}

impl Dimension {
    /// The term that stands for `value` in this dimension.
    pub fn term(self, value: &str) -> String {
        let prefix = match self {
            Self::Human => "human",
            Self::Agent => "agent",
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::Field => "field",
            Self::Code => "code",
            Self::Policy => "policy",
            Self::Task => "task",
            Self::Type => "type",
            Self::Outcome => "outcome",
            Self::Session => "session",
            Self::Token => "token",
            Self::Label => "label",
        };
        if value.len() > TERM_LIMIT {
            return format!("{prefix}:{}", Hash::of(&[value.as_bytes()]));
        }
        format!("{prefix}:{value}")
    }
}

/// Every term of a record, sorted.
pub fn terms(record: &Record) -> BTreeSet<String> {
    let mut found = Found::default();
    for party in record.chain() {
        let dimension = match text(party, "/kind") {
            Some("human") => Dimension::Human,
            _ => Dimension::Agent,
        };
        found.text(dimension, party, "/subject_ref");
        found.text(Dimension::Token, party, "/token/jti_hash");
    }
    let whole = record.value();
    found.text(Dimension::Tool, whole, "/tool/name");
    if let (Some(server), Some(tool)) = (record.text("/tool/server_id"), record.text("/tool/name")) {
        found.add(Dimension::Tool, &format!("{server}/{tool}"));
    }
    found.text(Dimension::Tool, whole, "/action/name");
    for resource in list(whole, "/resource") {
        found.text(Dimension::Resource, resource, "/type");
        if let (Some(kind), Some(id)) = (text(resource, "/type"), text(resource, "/id_ref")) {
            found.add(Dimension::Resource, &format!("{kind}:{id}"));
        }
        for field in list(resource, "/fields").iter().chain(list(resource, "/fields_returned")) {
            found.text(Dimension::Field, field, "");
        }
        for masked in list(resource, "/fields_masked") {
            found.text(Dimension::Field, masked, "/ptr");
        }
    }
    found.text(Dimension::Code, whole, "/outcome/code");
    found.text(Dimension::Code, whole, "/decision/reason_code");
    for policy in list(whole, "/decision/policies") {
        found.text(Dimension::Policy, policy, "/id");
        found.text(Dimension::Policy, policy, "/digest");
    }
    for error in list(whole, "/decision/errors") {
        found.text(Dimension::Policy, error, "/policy_id");
    }
    found.text(Dimension::Task, whole, "/txn");
    found.text(Dimension::Type, whole, "/record_type");
    found.text(Dimension::Outcome, whole, "/outcome/status");
    found.text(Dimension::Session, whole, "/session/id");
    found.text(Dimension::Token, whole, "/ext/token/jti_hash");
    found.text(Dimension::Token, whole, "/ext/token/parent_jti_hash");
    found.text(Dimension::Label, whole, "/ext/token/label");
    found.0
}

#[derive(Default)]
struct Found(BTreeSet<String>);

impl Found {
    fn add(&mut self, dimension: Dimension, value: &str) {
        self.0.insert(dimension.term(value));
    }

    fn text(&mut self, dimension: Dimension, value: &Value, pointer: &str) {
        if let Some(value) = text(value, pointer).filter(|value| !value.is_empty()) {
            self.add(dimension, value);
        }
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
