//! What a record commits to of one value.

use crate::hash::Hash;
use remit_model::json;
use serde_json::Value;

/// `type` of a value whose numbers no double holds exactly: it is committed as its JSON text.
pub(super) const JSON_TEXT: &str = "json";

/// The commitment to a value: the hash of `[salt,path,type,value]` in canonical form, as a leaf. SPEC: record.md §1.6
pub(super) fn leaf(path: &str, salt: &str, kind: &str, value: &[u8], scratch: &mut Vec<u8>) -> Hash {
    scratch.clear();
    scratch.extend_from_slice(b"\0[");
    for text in [salt, path, kind] {
        json::write_text(text, scratch);
        scratch.push(b',');
    }
    scratch.extend_from_slice(value);
    scratch.push(b']');
    Hash::of(&[scratch])
}

/// Whether every number in `value` is the same to a reader that takes numbers for doubles. SPEC: RFC 7493 §2.2, record.md §1.7.
pub(super) fn numbers_are_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => json::is_exact(number),
        Value::Array(items) => items.iter().all(numbers_are_exact),
        Value::Object(members) => members.values().all(numbers_are_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}
