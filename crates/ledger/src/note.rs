//! Signed notes: text with Ed25519 signatures under named keys.
//!
//! Implements C2SP signed-note, algorithm byte 0x01. SPEC: LG-14 to LG-16. Parsing is strict: one note has one spelling.

use crate::hash::{Hash, hex};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use remit_model::Fault;
use std::fmt;

/// Longest note we read.
pub const NOTE_LIMIT: usize = 64 * 1024;
/// Most signature lines of a note.
pub const SIGNATURE_LIMIT: usize = 64;
/// Algorithm byte of plain Ed25519 signatures.
const ED25519_TYPE: u8 = 0x01;
/// How a signature line begins: em dash and space.
pub(crate) const SIGNATURE_START: &str = "\u{2014} ";

/// A public key under a name: `name+hex(id)+base64(type ‖ key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey(NamedKey);

/// An Ed25519 public key under a name, for the use its algorithm byte says. SPEC: LG-15.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NamedKey {
    pub(crate) name: String,
    /// Algorithm byte.
    kind: u8,
    pub(crate) id: [u8; 4],
    pub(crate) public: [u8; 32],
}

/// A private key under a name.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

/// A parsed note; nothing about it is trusted until [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The signed text, final newline included.
    pub text: String,
    pub signatures: Vec<Signature>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    pub id: [u8; 4],
    pub value: Vec<u8>,
}

/// Why a note or key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("malformed note: {0}")]
    Malformed(&'static str),
    #[error("malformed verifier key: {0}")]
    Key(&'static str),
    #[error("the signature of `{0}` does not verify")]
    Signature(String),
    #[error("no signature by a known key")]
    Unsigned,
}

impl VerifyingKey {
    /// The key of a log by its name (the origin) and raw Ed25519 key.
    ///
    /// # Errors
    /// [`NoteError::Key`] for a name that a key may not have.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        NamedKey::new(name, ED25519_TYPE, public).map(Self)
    }

    /// Reads a vkey line; the id must be that of the name and key. SPEC: LG-15, N-LG-08.
    ///
    /// # Errors
    /// [`NoteError::Key`] that says what is wrong with the line.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        NamedKey::parse(vkey, ED25519_TYPE, |_| "not an Ed25519 key (type 0x01)").map(Self)
    }

    /// The name of the key: the log's origin.
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

    fn signed(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0.public).verify(text.as_bytes(), signature).is_ok()
    }
}

impl NamedKey {
    pub(crate) fn new(name: &str, kind: u8, public: [u8; 32]) -> Result<Self, NoteError> {
        if !valid_name(name) {
            return Err(NoteError::Key("the name is empty or holds a space, `+` or a control character"));
        }
        Ok(Self { name: name.to_owned(), kind, id: key_id(name, kind, &public), public })
    }

    /// Reads a vkey line of one kind; `other` says what a key of another kind is.
    pub(crate) fn parse(vkey: &str, kind: u8, other: impl Fn(u8) -> &'static str) -> Result<Self, NoteError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("not `name+id+key`"));
        };
        let key = STANDARD.decode(key).map_err(|_| NoteError::Key("the key is not base64"))?;
        let public = match key.split_first() {
            Some((&stated, public)) if stated == kind => public,
            Some((&stated, _)) => return Err(NoteError::Key(other(stated))),
            None => return Err(NoteError::Key("the key is empty")),
        };
        let public = public.try_into().map_err(|_| NoteError::Key("an Ed25519 key has 32 bytes"))?;
        let key = Self::new(name, kind, public)?;
        if hex(&key.id) == id { Ok(key) } else { Err(NoteError::Key("the id is not that of this name and key")) }
    }
}

impl fmt::Display for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed: Vec<u8> = std::iter::once(self.kind).chain(self.public).collect();
        write!(f, "{}+{}+{}", self.name, hex(&self.id), STANDARD.encode(typed))
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl SigningKey {
    /// A key from its 32-byte Ed25519 seed. For checkpoints the name is the log's origin (LG-16).
    ///
    /// # Errors
    /// A fault when the name cannot name a key.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, Fault> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Fault::new("the log key was refused"))?;
        let public = pair.public_key().as_ref().try_into().map_err(Fault::new)?;
        Ok(Self { public: VerifyingKey::new(name, public).map_err(Fault::new)?, pair })
    }

    /// The key that verifies these signatures.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// The note over `text`, which must end in a newline.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] for a text that a note cannot hold.
    pub fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError> {
        check_text(text)?;
        let value = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        let line = Signature { name: self.public.0.name.clone(), id: self.public.id(), value };
        Ok(format!("{text}\n{line}").into_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Note {
    /// Splits text and signatures at the last blank line. SPEC: LG-14, N-LG-06.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_LIMIT {
            return Err(NoteError::Malformed("too long"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(NoteError::Malformed("control character"));
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed("no blank line before the signatures"))?;
        let (text, rest) = note.split_at_checked(at + 1).ok_or(NoteError::Malformed("no text"))?;
        let lines = rest.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let lines = lines.ok_or(NoteError::Malformed("the last line does not end"))?;
        check_text(text)?;
        let signatures = lines.split('\n').map(Signature::parse).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURE_LIMIT {
            return Err(NoteError::Malformed("too many signatures"));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The known keys that signed. Unknown keys are ignored; a bad signature under a known key refuses the whole note,
    /// and so does the absence of any good one. SPEC: LG-15.
    ///
    /// # Errors
    /// [`NoteError::Signature`], [`NoteError::Unsigned`].
    pub fn verify<'k>(&self, known: &'k [VerifyingKey]) -> Result<Vec<&'k VerifyingKey>, NoteError> {
        let mut signers: Vec<&VerifyingKey> = Vec::new();
        for signature in &self.signatures {
            let by = |key: &&VerifyingKey| key.name() == signature.name && key.id() == signature.id;
            let Some(key) = known.iter().find(by) else { continue };
            if !key.signed(&self.text, &signature.value) {
                return Err(NoteError::Signature(key.0.name.clone()));
            }
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
        if signers.is_empty() { Err(NoteError::Unsigned) } else { Ok(signers) }
    }
}

impl fmt::Display for Signature {
    /// The signature's line, newline included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob: Vec<u8> = self.id.iter().chain(&self.value).copied().collect();
        writeln!(f, "{SIGNATURE_START}{} {}", self.name, STANDARD.encode(blob))
    }
}

impl Signature {
    pub(crate) fn parse(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix(SIGNATURE_START).ok_or(NoteError::Malformed("a signature line starts otherwise"))?;
        let (name, blob) = rest.split_once(' ').ok_or(NoteError::Malformed("a signature line without signature"))?;
        if !valid_name(name) {
            return Err(NoteError::Malformed("a key name"));
        }
        // The engine refuses missing padding and stray bits, so that one signature has one spelling.
        let blob = STANDARD.decode(blob).map_err(|_| NoteError::Malformed("a signature that is not base64"))?;
        let (id, value) = blob.split_first_chunk::<4>().ok_or(NoteError::Malformed("a signature without key id"))?;
        if value.is_empty() {
            return Err(NoteError::Malformed("an empty signature"));
        }
        Ok(Self { name: name.to_owned(), id: *id, value: value.to_vec() })
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') || text == "\n" {
        return Err(NoteError::Malformed("the text is empty or does not end in a newline"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(NoteError::Malformed("control character"));
    }
    Ok(())
}

fn valid_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

/// `SHA-256(name ‖ 0x0A ‖ type ‖ key)[..4]`. SPEC: LG-15.
fn key_id(name: &str, kind: u8, public: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = Hash::of(&[name.as_bytes(), &[0x0A, kind], public]).0;
    [a, b, c, d]
}
