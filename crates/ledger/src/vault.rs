//! Sealed values: a person can be erased from an append-only log by destroying keys.
//!
//! Every value kept beside the log is encrypted under the keys of those it is about (HKDF-SHA-256, AES-256-GCM); all of
//! them are needed, so destroying any one destroys the value, its salt, and nothing else: the leaf stays, and with it
//! every proof. Pure: keys come from a [`Keyring`] or from the caller that seals, randomness from a parameter.

mod disclosure;
pub(crate) mod field;
mod key;

pub use disclosure::{DISCLOSURE, DISCLOSURE_LIMIT, DisclosureError, Keyring};
pub use field::{BoxError, SealedBox};
pub use key::{KEYS_LIMIT, Key, KeyId, Subject, SubjectKey};
