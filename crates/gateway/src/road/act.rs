//! One act: what a request asks to do, in the words of grants, policies and records.

use remit_model::resource::ToolClass;
use serde_json::Value;

/// An action with its exact arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Act {
    /// The action's name in grants, policies and records.
    pub(crate) action: String,
    pub(crate) kind: Kind,
    pub(crate) class: ToolClass,
    /// What constraints and policies look at. For a tool call, the very value that is forwarded.
    pub(crate) arguments: Value,
    /// What is acted upon, for the record: kind and identifier.
    pub(crate) resource: (&'static str, String),
}

/// What an act needs to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A grant for its action and arguments; its answer is masked.
    Gated,
    /// Any grant at the server; its answer is filtered to what the caller could use.
    List,
    /// Any grant at the server; each subject of the stream is authorised by itself.
    Listen,
}
