//! Strict JSON for hostile bytes, and the one canonical form that is hashed and signed.
//!
//! Reading implements RFC 8259 with the restrictions of I-JSON (RFC 7493): UTF-8, no duplicate members at any depth,
//! no lone surrogates, integers that every reader takes for the same number; and with limits on size, depth and
//! count. Canonical bytes are RFC 8785. It deliberately repairs nothing: what has two meanings is refused.

mod canonical;
pub mod pointer;
mod strict;

use crate::refusal::{Code, Refusal};
pub use canonical::{by_utf16, canonical, write, write_members, write_text};
use serde_json::Value;
pub(crate) use strict::{is_reserved, strict};

/// No limit on depth may be greater: readers of ours recurse, and the stack is finite.
pub const DEPTH_CAP: usize = 100;

/// How much of a document we are willing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    /// Nesting of arrays and objects; never more than [`DEPTH_CAP`].
    pub depth: usize,
    /// Object members and array items in the whole document.
    pub members: usize,
    /// Refuse integers beyond ±(2^53 - 1), which readers that count in doubles take for other numbers. Where a
    /// foreign answer is passed on, integers of 64 bits may be let through; larger ones never are.
    pub exact_integers: bool,
}

impl Limits {
    /// A request body.
    pub const REQUEST: Self = Self { bytes: 1 << 20, depth: 32, members: 20_000, exact_integers: true };
    /// An upstream's answer.
    pub const RESPONSE: Self = Self { bytes: 16 << 20, depth: 64, members: 500_000, exact_integers: false };
    /// A JOSE header or claims set.
    pub const TOKEN: Self = Self { bytes: 64 << 10, depth: 32, members: 4_000, exact_integers: true };
}

impl Default for Limits {
    fn default() -> Self {
        Self::REQUEST
    }
}

/// Reads one JSON document and nothing after it.
///
/// # Errors
/// `request_too_large` (bytes or members), `json_too_deep`, `json_duplicate_member`, or `request_malformed`.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, Refusal> {
    if bytes.len() > limits.bytes {
        let reason = format!("the document has {} bytes; at most {} are read", bytes.len(), limits.bytes);
        return Err(Refusal::new(Code::RequestTooLarge, reason));
    }
    let value = strict::document(bytes, limits)?;
    strict::integers(bytes, limits.exact_integers)?;
    Ok(value)
}

/// Whether every integer of this JSON text is one that [`parse`] accepts.
pub(crate) fn exact_enough(text: &[u8], limits: &Limits) -> Result<(), Refusal> {
    strict::integers(text, limits.exact_integers)
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
