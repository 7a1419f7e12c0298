//! Strict JSON for hostile bytes, and the one canonical form that is hashed and signed.
use crate::refusal::{Code, Refusal};
use serde_json::Value;
pub mod pointer;

/// How much of a document we are willing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    /// Nesting of arrays and objects; at most [`DEPTH_CAP`].
    pub depth: usize,
    /// Object members and array items in the whole document.
    pub members: usize,
}

impl Limits {
    /// A request body.
    pub const REQUEST: Self = Self { bytes: 1 << 20, depth: 32, members: 20_000 };
    /// An upstream's reply.
    pub const RESPONSE: Self = Self { bytes: 16 << 20, depth: 64, members: 500_000 };
    /// A JOSE header or claims set.
    pub const TOKEN: Self = Self { bytes: 64 << 10, depth: 32, members: 4_000 };
}

pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, Refusal> {
    if bytes.len() > limits.bytes {
        return Err(Refusal::new(Code::RequestTooLarge, "too large"));
    }
    serde_json::from_slice(bytes).map_err(|e| Refusal::new(Code::RequestMalformed, e.to_string()))
}
/// RFC 8785 bytes.
pub fn canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
}
/// `sha-256:<hex>` over [`canonical`].
pub fn digest(value: &Value) -> String {
    sha256_label(&canonical(value))
}
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}
/// `sha-256:<hex>` of the bytes.
pub fn sha256_label(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    sha256(bytes).iter().fold(String::from("sha-256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
