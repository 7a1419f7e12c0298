//! Reads a token without verifying it, for debugging.

use crate::jws::Jws;
use remit_model::Refusal;
use serde_json::{Map, Value};

/// A token's content as its sender wrote it. **Nothing here was verified**; no decision may rest on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Unverified {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
}

/// Reads header and claims without checking the signature, the time or the kind.
///
/// # Errors
/// `token_malformed`.
pub fn inspect_unverified(compact: &str) -> Result<Unverified, Refusal> {
    let jws = Jws::parse(compact)?;
    Ok(Unverified { claims: jws.claims()?, header: jws.header().clone() })
}
