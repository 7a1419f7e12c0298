//! Cosignatures: a witness's statement that, as of a time, a checkpoint is the longest head of a log it has seen.
//!
//! Implements C2SP tlog-cosignature, Ed25519 (`cosignature/v1`, key type 0x04). SPEC: LG-18. Lines of other kinds
//! (ML-DSA-44, 0x06) are lines of unknown keys: they are kept and never counted.

use crate::note::{NamedKey, Note, NoteError, Signature};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use remit_model::Fault;
use std::fmt;

/// Algorithm byte of Ed25519 cosignatures.
const COSIGNATURE_TYPE: u8 = 0x04;
/// Domain separation: the first line of what a witness signs.
const HEADER: &str = "cosignature/v1";
/// Bytes of a cosignature: a 64-bit timestamp and an Ed25519 signature.
const LENGTH: usize = 8 + 64;

/// A witness's public key under its name. Its type byte keeps it apart from a log's key.
#[derive(Clone, PartialEq, Eq)]
pub struct WitnessKey(NamedKey);

/// A witness's private key.
pub struct Cosigner {
    pair: Ed25519KeyPair,
    public: WitnessKey,
}

/// A good cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Seconds since 1970-01-01T00:00:00Z, as the witness states them.
    pub at: u64,
    /// The line, as it stands in the note.
    pub line: Signature,
}

impl WitnessKey {
    /// The key of a witness by its name and raw Ed25519 key.
    ///
    /// # Errors
    /// [`NoteError::Key`] for a name that a key may not have.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        NamedKey::new(name, COSIGNATURE_TYPE, public).map(Self)
    }

    /// Reads a vkey line; the id must be that of the name and key. SPEC: LG-15, N-LG-08.
    ///
    /// # Errors
    /// [`NoteError::Key`] that says what is wrong with the line.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let other = |kind| match kind {
            0x01 => "a log's key (type 0x01), not a witness's (type 0x04)",
            0x06 => "an ML-DSA-44 key (type 0x06); only Ed25519 cosignatures (0x04) are checked",
            _ => "not an Ed25519 cosignature key (type 0x04)",
        };
        NamedKey::parse(vkey, COSIGNATURE_TYPE, other).map(Self)
    }

    /// The name of the witness.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The key id: first 4 bytes of SHA-256 over name, type and key (C2SP signed-note).
    pub fn id(&self) -> [u8; 4] {
        self.0.id
    }

    /// The raw key, for finding two names of one key.
    pub(crate) fn public_bytes(&self) -> [u8; 32] {
        self.0.public
    }

    /// The newest good cosignature of this witness on a note; `None` when it has none.
    ///
    /// # Errors
    /// A line under this very key that does not verify: the note is not what the witness signed. SPEC: LG-15.
    pub fn cosigned(&self, note: &Note) -> Result<Option<Cosigned>, NoteError> {
        let mut newest: Option<Cosigned> = None;
        for line in note.signatures.iter().filter(|line| line.name == self.0.name && line.id == self.0.id) {
            let at = self.check(&note.text, &line.value).ok_or_else(|| NoteError::Signature(self.0.name.clone()))?;
            if newest.as_ref().is_none_or(|known| known.at < at) {
                newest = Some(Cosigned { at, line: line.clone() });
            }
        }
        Ok(newest)
    }

    /// The timestamp of a good cosignature over `text`.
    fn check(&self, text: &str, value: &[u8]) -> Option<u64> {
        if value.len() != LENGTH {
            return None;
        }
        let (stamp, signature) = value.split_first_chunk::<8>()?;
        let at = u64::from_be_bytes(*stamp);
        // Beyond 2^63 - 1 the format ends.
        i64::try_from(at).ok()?;
        UnparsedPublicKey::new(&ED25519, self.0.public).verify(message(text, at).as_bytes(), signature).ok()?;
        Some(at)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Cosigner {
    /// A key from its 32-byte Ed25519 seed. The same seed must not serve two names: the message does not name its signer.
    ///
    /// # Errors
    /// A fault when the name cannot name a key.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, Fault> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Fault::new("the witness key was refused"))?;
        let public = pair.public_key().as_ref().try_into().map_err(Fault::new)?;
        Ok(Self { public: WitnessKey::new(name, public).map_err(Fault::new)?, pair })
    }

    /// The key that verifies these cosignatures.
    pub fn public(&self) -> &WitnessKey {
        &self.public
    }

    /// Cosigns a checkpoint's text as of `at` (seconds since 1970). The caller has checked that it extends what was seen.
    pub fn cosign(&self, text: &str, at: u64) -> Signature {
        let signature = self.pair.sign(message(text, at).as_bytes());
        let value = at.to_be_bytes().iter().chain(signature.as_ref()).copied().collect();
        Signature { name: self.public.0.name.clone(), id: self.public.id(), value }
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cosigner").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What is signed: header, time, and the whole text of the note with its final newline.
fn message(text: &str, at: u64) -> String {
    format!("{HEADER}\ntime {at}\n{text}")
}
