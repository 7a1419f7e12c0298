//! A secret that another machine sends as a bearer token (RFC 6750 §2.1), and that the configuration names.

use axum::http::{HeaderMap, header};
use remit_model::{Code, Refusal, json::sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// What is kept of such a secret: its digest, which is compared in constant time. SPEC
#[derive(Clone, PartialEq, Eq)]
pub struct BearerSecret([u8; 32]);

impl BearerSecret {
    pub fn of(secret: &str) -> Self {
        Self(sha256(secret.as_bytes()))
    }
}

impl fmt::Debug for BearerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerSecret")
    }
}

/// Whether the request has this secret.
///
/// # Errors
/// `credentials_invalid`, the same for no secret and for a wrong one.
pub(crate) fn check(headers: &HeaderMap, expected: &BearerSecret) -> Result<(), Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let presented = match (values.next(), values.next()) {
        (Some(one), None) => one.to_str().ok().and_then(|value| value.split_once(' ')),
        _ => None,
    };
    // SPEC: X-08
    let presented = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, secret)| secret.trim());
    let digest = sha256(presented.unwrap_or_default().as_bytes());
    if presented.is_some_and(|secret| !secret.is_empty()) && bool::from(digest.ct_eq(&expected.0)) {
        return Ok(());
    }
    let reason = "the request needs `Authorization: Bearer` with the secret that the configuration names for this provider";
    Err(Refusal::new(Code::CredentialsInvalid, reason))
}
