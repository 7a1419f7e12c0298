//! Passkeys of people with an account here: making one, signing in with one, and signing a consent.
//!
//! Implements W3C Web Authentication Level 3 §7.1 and §7.2 on top of `token/webauthn`. Site and origin come from configuration. A
//! challenge costs no memory: it is the digest of what the page carries sealed, and that is bound to one browser and expires.

pub(crate) mod account;
pub(crate) mod ceremony;
pub(crate) mod enrolment;
pub(crate) mod used;

use remit_model::json;

/// The challenge of a page: SHA-256 of what it carries sealed.
pub(crate) fn challenge(sealed: &str) -> [u8; 32] {
    json::sha256(sealed.as_bytes())
}

/// What a record calls a passkey: its credential id is the person's own, and its hash is not.
pub(crate) fn named(credential: &str) -> String {
    json::sha256_label(credential.as_bytes())
}
