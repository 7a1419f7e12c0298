//! JSON Pointers (RFC 6901).
use serde_json::Value;

/// What `pointer` addresses in `value`; `None` when nothing is there or the pointer is malformed.
pub fn get<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    if valid(pointer) { value.pointer(pointer) } else { None }
}

/// Whether this is a JSON Pointer: empty, or `/`-led tokens whose `~` are `~0` or `~1`.
pub fn valid(pointer: &str) -> bool {
    let escapes = || pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (pointer.is_empty() || pointer.starts_with('/')) && escapes()
}
