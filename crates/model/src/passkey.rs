//! A person's passkeys, as the registry keeps them. W3C Web Authentication calls each a public key credential.

use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Most passkeys of one person.
pub const MOST: usize = 16;
/// Longest name of a passkey, in characters.
pub const LABEL_LIMIT: usize = 64;

/// The passkeys of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkeys {
    /// Whether a password alone signs this person in no longer: the configuration says so.
    #[serde(default)]
    pub demanded: bool,
    /// Oldest first. Only [`crate::passkey`]'s own changes touch them; an account that is written again keeps them.
    #[serde(default)]
    pub enrolled: Vec<Passkey>,
}

impl Passkeys {
    /// Whether the person has none and need not have one.
    pub fn is_empty(&self) -> bool {
        !self.demanded && self.enrolled.is_empty()
    }

    /// The passkey of this credential id.
    pub fn find(&self, id: &str) -> Option<&Passkey> {
        self.enrolled.iter().find(|passkey| passkey.id == id)
    }
}

/// One passkey: a key pair whose private half an authenticator keeps.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// Credential id, base64url.
    pub id: String,
    /// Public JWK.
    pub key: Value,
    /// The signature counter last seen; 0 while the authenticator does not count.
    pub counter: u32,
    /// Whether it can be copied to other devices of the person.
    pub synced: bool,
    /// What the person calls it.
    pub label: String,
    pub added: UnixTime,
    /// When it last signed.
    pub used: Option<UnixTime>,
}

impl fmt::Debug for Passkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passkey").field("counter", &self.counter).field("synced", &self.synced).finish_non_exhaustive()
    }
}
