//! JSON Pointers (RFC 6901).

use serde_json::Value;
use std::borrow::Cow;

/// What `pointer` addresses in `value`; `None` when nothing is there or the pointer is malformed.
pub fn get<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    if valid(pointer) { value.pointer(pointer) } else { None }
}

/// Whether this is a JSON Pointer: empty, or `/`-led tokens whose every `~` is `~0` or `~1`.
pub fn valid(pointer: &str) -> bool {
    let led = pointer.is_empty() || pointer.starts_with('/');
    led && pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

/// The tokens of a pointer, still escaped; `None` when it is malformed.
pub(crate) fn tokens(pointer: &str) -> Option<impl Iterator<Item = &str>> {
    valid(pointer).then(|| pointer.split('/').skip(1))
}

/// A token as the member name it addresses.
pub(crate) fn unescape(token: &str) -> String {
    // `~1` first: `~01` is the name `~1`, not `/`. SPEC: RFC 6901 §4.
    token.replace("~1", "/").replace("~0", "~")
}

/// A member name as a token.
pub fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { Cow::Owned(name.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(name) }
}
