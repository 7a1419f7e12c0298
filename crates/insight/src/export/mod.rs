//! Records in the formats of other people's systems, one file a format. Pure: a record and its place in, bytes out.
//!
//! An export is a view, never evidence: only the ledger and its proofs are. It holds what the record holds (pseudonyms,
//! codes, digests) and no value from beside the log, except names that were disclosed on purpose ([`Names`]). SPEC: N-EX-01.

pub mod cef;
pub mod csv;
pub mod jsonl;
pub mod ocsf;
pub mod otlp;
pub mod scitt;

use remit_ledger::{Record, Side};
use serde_json::Value;

/// One record, where it stands, and who may be named.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    pub record: &'a Record,
    /// Index of the entry in the log.
    pub index: u64,
    /// The log's name in its checkpoints.
    pub origin: &'a str,
    /// Size of the checkpoint that covers the entry.
    pub size: u64,
    /// The entry's leaf hash in the tree, hash text.
    pub leaf: String,
    pub names: Names,
}

/// Names behind pseudonyms, where they were disclosed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// By node of the chain: its subject.
    pub chain: Vec<Option<String>>,
    /// The accountable human.
    pub owner: Option<String>,
}

impl Names {
    /// As far as the openings at hand say.
    pub fn of(side: &Side, nodes: usize) -> Self {
        let subject = |path: &str| side.value(path)?.get("sub")?.as_str().map(str::to_owned);
        Self { chain: (0..nodes).map(|at| subject(&format!("/chain/{at}/subject"))).collect(), owner: subject("/owner") }
    }

    fn at(&self, node: usize) -> Option<&str> {
        self.chain.get(node)?.as_deref()
    }
}

impl Item<'_> {
    fn text(&self, pointer: &str) -> &str {
        self.record.text(pointer).unwrap_or_default()
    }

    /// The node that acted.
    fn caller(&self) -> Option<&Value> {
        self.record.chain().last()
    }

    fn caller_text(&self, pointer: &str) -> Option<&str> {
        self.caller()?.pointer(pointer)?.as_str()
    }

    fn caller_name(&self) -> Option<&str> {
        self.names.at(self.record.chain().len().saturating_sub(1))
    }

    /// Why not, or what came of it, as a stable code.
    fn code(&self) -> Option<&str> {
        self.record.text("/decision/reason_code").or_else(|| self.record.text("/outcome/code"))
    }

    /// One line for people: what was done and how it went.
    fn summary(&self) -> String {
        let code = self.code().map(|code| format!(" ({code})")).unwrap_or_default();
        format!("{} {}: {}{code}", self.record.record_type(), self.record.action(), self.record.outcome())
    }

    /// The scopes of the caller's token.
    fn scopes(&self) -> Vec<&str> {
        let scopes = self.caller().and_then(|node| node.pointer("/token/scope")).and_then(Value::as_array);
        scopes.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}
