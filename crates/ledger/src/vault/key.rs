//! Keys of the vault: their names, their secrets, and whom each belongs to.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

/// Most keys one value is sealed under.
pub const KEYS_LIMIT: usize = 16;
const PREFIX: &str = "k:";

/// Names a key and says nothing about whose it is: `k:` and the b64u of 16 random bytes. Ordered as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// From 16 random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)).into())
    }

    /// Reads exactly what [`KeyId::as_str`] shows; nothing else is accepted.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (bytes.len() == 16).then(|| Self(text.into()))
    }

    /// The name as records and key files spell it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Thirty-two secret bytes that belong to one subject. Prints nothing and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectKey(Zeroizing<[u8; 32]>);

impl SubjectKey {
    /// A key of these bytes. They are zeroed when it is dropped.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the cipher and the key store.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(..)")
    }
}

/// A key under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub id: KeyId,
    pub secret: SubjectKey,
}

/// Whom a value is about: the vault has one key for each, known by the pseudonym the record carries.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A party of the chain, or the accountable human.
    Principal { iss: String, sub: String },
    /// A person or thing that is no party and whom the data is about: resource type and id.
    Data { kind: String, id: String },
}

impl fmt::Debug for Subject {
    /// Without names, because subjects end up in error messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Principal { .. } => "Subject::Principal(..)",
            Self::Data { .. } => "Subject::Data(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_has_one_spelling_and_secrets_print_nothing() {
        let id = KeyId::new([0xfb; 16]);
        assert_eq!(KeyId::parse(id.as_str()), Some(id.clone()));
        for wrong in [
            "",
            "k:",
            "k:AAAA",
            id.as_str().trim_start_matches("k:"),
            &format!("{id}="),
            &format!("{id}A"),
            "K:-_v7-_v7-_v7-_v7-_v7-w",
        ] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong}");
        }
        // The last digit carries four unused bits; they must be zero.
        assert_eq!(KeyId::parse("k:-_v7-_v7-_v7-_v7-_v7-x"), None);
        let key = SubjectKey::new([7; 32]);
        assert_eq!(format!("{key:?}"), "SubjectKey(..)");
        let subject = Subject::Data { kind: "customer".into(), id: "c-17".into() };
        assert!(!format!("{subject:?}").contains("c-17"));
    }
}
