//! Base64url, as JOSE has it. SPEC: RFC 7515 §2.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64url without padding, white space or stray trailing bits. SPEC: J-11.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
