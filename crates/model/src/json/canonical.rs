//! RFC 8785 in one pass over the value: every record is hashed in this form, so it is on the way of every append.
//!
//! Members are sorted by UTF-16 code units and texts escaped as `serde_json` does, which is how RFC 8785 wants it.
//! Numbers that are no small integers go to `serde_json_canonicalizer`, which knows how ECMAScript writes doubles; it
//! is also the oracle that the tests compare the whole form with.

use serde_json::{Map, Number, Value};
use std::cmp::Ordering;

/// Integers up to here are the same number as a double, and are written as they stand.
const EXACT: u64 = (1 << 53) - 1;

/// RFC 8785 bytes. Numbers are doubles there: integers beyond ±(2^53 - 1) lose digits, so callers that hash keep them
/// out with `exact_integers` or writes them as texts.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    write(value, &mut bytes);
    bytes
}

/// Appends what [`canonical`] gives.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => write_members(members, out),
    }
}

/// Appends an object in canonical form.
pub fn write_members(members: &Map<String, Value>, out: &mut Vec<u8>) {
    // What was read from canonical bytes is in order already.
    if members.keys().is_sorted_by(|a, b| by_utf16(a, b).is_lt()) {
        return write_sorted(members.iter(), out);
    }
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| by_utf16(a, b));
    write_sorted(sorted.into_iter(), out);
}

fn write_sorted<'m>(members: impl Iterator<Item = (&'m String, &'m Value)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (name, value)) in members.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(name, out);
        out.push(b':');
        write(value, out);
    }
    out.push(b'}');
}

/// The order of member names. SPEC: RFC 8785 §3.2.3. Bytes and UTF-16 units order ASCII alike.
pub fn by_utf16(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// Appends a text with its quotes.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    // No early end: the loop then looks at many bytes at once.
    let is = u8::from;
    let special = text.bytes().fold(0, |seen, byte| seen | is(byte < 0x20) | is(byte == b'"') | is(byte == b'\\'));
    if special == 0 {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    // Writing text into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_number(number: &Number, out: &mut Vec<u8>) {
    let small = number.as_i64().is_some_and(|integer| integer.unsigned_abs() <= EXACT);
    if small {
        let _ = serde_json::to_writer(out, number);
        return;
    }
    // A `Value` holds only finite numbers, so this cannot fail; were it to, plain JSON is no canonical form of anything
    // else.
    let value = Value::Number(number.clone());
    out.extend(serde_json_canonicalizer::to_vec(&value).unwrap_or_else(|_| number.to_string().into_bytes()));
}
