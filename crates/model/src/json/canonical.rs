//! RFC 8785 in one pass over the value: every record is hashed in this form, so it is on the way of every append.
//!
//! Members are sorted by UTF-16 code units and texts escaped as `serde_json` does, which is how RFC 8785 wants it.
//! A number is written as ECMAScript writes doubles, with all its digits: so two numbers never have one form, and of what a
//! double holds exactly it is the form of RFC 8785. `serde_json_canonicalizer` is the oracle that tests compare with.

use crate::decimal::Decimal;
use serde_json::{Map, Number, Value};
use std::{cmp::Ordering, io::Write as _};

/// Integers of so many digits are written as they stand.
const PLAIN_DIGITS: usize = 15;

/// RFC 8785 bytes, except for numbers that no double holds: those keep all their digits. Other readers of a document would
/// read other numbers there, so a document for others keeps them out ([`super::Numbers`]) or writes them as texts
/// ([`super::is_exact`]).
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
    let text = number.as_str();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.len() <= PLAIN_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) && text != "-0";
    match if plain { None } else { Decimal::of(number) } {
        // Writing into memory cannot fail.
        Some(decimal) => drop(write!(out, "{decimal}")),
        None => out.extend_from_slice(text.as_bytes()),
    }
}
