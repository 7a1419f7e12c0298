//! `mcp_servers.NAME.capture` and `.tools.TOOL.capture`: how much of the calls is kept beside the log.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How much of the bodies is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// The arguments, because they are part of the decision; of a result only its size.
    #[default]
    None,
    /// SHA-256 of the result before and after masking.
    Digest,
    /// The result before and after masking.
    Full,
}

/// What is kept of the calls of a server's tools.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Capture {
    /// `none` (the default), `digest` or `full`.
    pub(crate) level: Level,
    /// A class of `ledger.retention`: how long the values beside the records of such calls are kept.
    pub(crate) retention: Option<String>,
    /// A body larger than this is kept as its digest, and the record says so; at most 393216 bytes.
    pub(crate) max_bytes: Option<usize>,
}

/// What is kept of the calls of one tool; it replaces what the server says.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ToolCapture {
    /// `none`, `digest` or `full`; by default the server's.
    pub(crate) level: Option<Level>,
    /// A class of `ledger.retention`; by default the server's.
    pub(crate) retention: Option<String>,
    /// A body larger than this is kept as its digest; by default the server's.
    pub(crate) max_bytes: Option<usize>,
    /// Read what the tool changes before and after the call, and keep both.
    pub(crate) before_after: Option<BeforeAfter>,
}

/// A read of the thing that a tool changes, made by Remit in its own name at the same upstream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeforeAfter {
    /// A tool of the same server, listed under `tools` with class `read`.
    pub(crate) tool: String,
    /// The read's arguments: JSON Pointer into them, and the JSON Pointer into the change's arguments it is taken from.
    pub(crate) arguments: BTreeMap<String, String>,
    /// Refuse the change when its state before cannot be read.
    #[serde(default)]
    pub(crate) required: bool,
}

/// One retention class.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionClass {
    /// Days that the values beside a record of this class are kept.
    pub(crate) keep_days: u32,
}
