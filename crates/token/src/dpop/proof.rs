//! A verified proof, and what is kept of its header.

use crate::{key::PublicKey, statement::Delegation};
use remit_model::UnixTime;
use std::ops::Deref;

/// What a proof says.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    pub jti: String,
    pub iat: UnixTime,
    pub htm: String,
    pub htu: String,
    pub nonce: Option<String>,
    /// Base64url SHA-256 of the access token.
    pub ath: Option<String>,
    /// What the sender hands on with this very request, when it exchanges for a named child.
    pub delegation: Option<Delegation>,
}

/// A verified proof. Reads like its [`Claims`].
#[derive(Clone, Debug)]
pub struct Proof {
    pub(super) claims: Claims,
    pub(super) key: PublicKey,
    pub(super) compact: String,
}

impl Proof {
    /// Thumbprint of the key that signed.
    pub fn jkt(&self) -> &str {
        self.key.thumbprint()
    }

    /// The key that signed the proof, from its header.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The signed text, for the ledger.
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// To be given to [`Expect::known`](super::Expect::known) with the sender's next proof; `None` when it is too long to be kept.
    pub fn header(&self) -> Option<Header> {
        let text = self.compact.split('.').next().filter(|text| text.len() <= HEADER_KEPT)?;
        Some(Header { text: text.to_owned(), key: self.key.clone() })
    }
}

/// Longest header that is kept, in bytes. One with a 2048-bit RSA key has some 500.
const HEADER_KEPT: usize = 1024;

/// The header of a proof that was accepted. What a header decides by itself (its type, its algorithm, its key, nothing
/// critical in it) was found good then, and is of any other proof with the very same header.
#[derive(Clone, Debug)]
pub struct Header {
    pub(super) text: String,
    pub(super) key: PublicKey,
}

impl Deref for Proof {
    type Target = Claims;
    fn deref(&self) -> &Claims {
        &self.claims
    }
}
