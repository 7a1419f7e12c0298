//! Masking: keep of a response only what the granted field pointers allow.
use serde_json::Value;

/// What is left of a response, and what was taken away.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    pub value: Value,
    /// Pointers that were removed; array indexes collapsed to `*`, sorted, without repeats, bounded in number.
    pub masked: Vec<String>,
    /// Pointers of the leaves that were kept, in the same form.
    pub returned: Vec<String>,
    /// Whether `masked` or `returned` had more entries than are listed.
    pub truncated: bool,
}

/// Keeps only what `fields` (JSON Pointers with `*` for array items) allow.
pub fn project(value: Value, fields: &[String]) -> Projection {
    if fields.iter().any(String::is_empty) {
        return Projection { value, masked: Vec::new(), returned: vec![String::new()], truncated: false };
    }
    Projection { value: Value::Null, masked: vec![String::new()], returned: Vec::new(), truncated: false }
}
