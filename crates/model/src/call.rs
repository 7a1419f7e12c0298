//! What a caller asks to do: one action at one resource with exact arguments.

use crate::time::UnixTime;
use serde_json::Value;

/// One request, parsed so that it has a single meaning. The value checked here is the value sent upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<'a> {
    /// Resource identifier the call arrives at.
    pub location: &'a str,
    /// Action name; for an MCP tool call, the tool's name.
    pub action: &'a str,
    /// The arguments object; constraints address it with JSON Pointers (RFC 6901).
    pub arguments: &'a Value,
    pub now: UnixTime,
}
