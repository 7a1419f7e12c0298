//! Strict JSON for hostile bytes, and the one canonical form that is hashed and signed.
//!
//! Reading implements RFC 8259 with the restrictions of I-JSON (RFC 7493): UTF-8, no duplicate members at any depth,
//! no lone surrogates; and with limits on size, depth and count. [`Numbers`] says what becomes of numbers. Canonical bytes
//! are RFC 8785. It deliberately repairs nothing: what has two meanings is refused. Only [`parse_repaired`] mends texts that
//! are not Unicode, because an answer that a server gave is worth more than a refusal of all of it.

mod canonical;
mod limits;
mod number;
pub mod pointer;
pub(crate) mod reader;
mod strict;

use crate::refusal::{Code, Refusal};
pub use canonical::{by_utf16, canonical, write, write_members, write_text};
pub use limits::{DEPTH_CAP, Limits};
pub(crate) use number::in_form;
pub use number::{EXACT, Numbers, is_exact, is_same};
use reader::HalfPair;
use serde_json::Value;
pub(crate) use strict::{is_reserved, strict};

/// Reads one JSON document and nothing after it.
///
/// # Errors
/// `request_too_large` (bytes or members), `json_too_deep`, `json_duplicate_member`, or `request_malformed`.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, Refusal> {
    fits(bytes, limits)?;
    let text = str::from_utf8(bytes).map_err(|error| Refusal::new(Code::RequestMalformed, format!("not JSON: {error}")))?;
    strict::document(text, limits, HalfPair::Refuse)
}

/// As [`parse`], but what is not Unicode (bytes that are not UTF-8, half a surrogate pair) becomes U+FFFD. For answers to pass
/// on, and to find the id of a request that is refused.
///
/// # Errors
/// Those of [`parse`] for everything else.
pub fn parse_repaired(bytes: &[u8], limits: &Limits) -> Result<Value, Refusal> {
    fits(bytes, limits)?;
    strict::document(&String::from_utf8_lossy(bytes), limits, HalfPair::Replace)
}

fn fits(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    if bytes.len() <= limits.bytes {
        return Ok(());
    }
    let reason = format!("the document has {} bytes; at most {} are read", bytes.len(), limits.bytes);
    Err(Refusal::new(Code::RequestTooLarge, reason))
}

/// `sha-256:<hex>` over [`canonical`].
pub fn digest(value: &Value) -> String {
    sha256_label(&canonical(value))
}

/// SHA-256 of the bytes (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    digest
}

/// `sha-256:<hex>` of the bytes.
pub fn sha256_label(bytes: &[u8]) -> String {
    label(&sha256(bytes))
}

/// `sha-256:<hex>` of what was hashed already.
pub fn label(digest: &[u8; 32]) -> String {
    let mut label = String::with_capacity("sha-256:".len() + 2 * digest.len());
    label.push_str("sha-256:");
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    label.extend(digits.map(|digit| char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit })));
    label
}
