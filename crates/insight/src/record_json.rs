//! Short ways to read a member of a record.

use serde_json::Value;

pub(crate) fn member<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn array<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Enough of a digest to find it: its label and twelve digits.
pub(crate) fn short(digest: &str) -> &str {
    let label = digest.find(':').map_or(0, |at| at + 1);
    digest.get(..label + 12).unwrap_or(digest)
}
