//! Checkpoints: the signed head of the log.
//!
//! Implements C2SP tlog-checkpoint with the three mandatory lines and nothing else. SPEC: LG-13, LG-16.

use crate::{
    hash::Hash,
    note::{Note, NoteError, SigningKey, VerifyingKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// A tree head: which log, how many entries, which root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Schema-less URL prefix of the log; also the name of its key.
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

/// Why a checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Note(#[from] NoteError),
    #[error("malformed checkpoint: {0}")]
    Malformed(&'static str),
    #[error("malformed checkpoint: an empty log with another root")]
    EmptyRoot,
    #[error("the checkpoint is of log `{found}`, not `{expected}`")]
    Origin { found: String, expected: String },
}

impl Checkpoint {
    /// The note's text: origin, size, base64 of the root.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads the text of a note. Exactly three lines; sizes without leading zeros; canonical base64. SPEC: N-LG-06.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`], [`CheckpointError::EmptyRoot`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines: Vec<&str> = text.strip_suffix('\n').ok_or(malformed("no final newline"))?.split('\n').collect();
        let [origin, size, root] = lines.as_slice() else { return Err(malformed("not three lines")) };
        if !valid_origin(origin) {
            return Err(malformed("the origin is empty or holds a space, `+` or a control character"));
        }
        let size = crate::record::decimal(size).ok_or(malformed("the size is not a decimal number"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| Hash::from_slice(&root));
        let root = root.ok_or(malformed("the root is not the base64 of 32 bytes"))?;
        if size == 0 && root != crate::tree::empty_root() {
            return Err(CheckpointError::EmptyRoot);
        }
        Ok(Self { origin: (*origin).to_owned(), size, root })
    }

    /// Opens a signed checkpoint: a good signature by `key`, whose name is the origin.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] for a signature that does not verify or is missing; [`CheckpointError::Origin`]; as for
    /// [`Checkpoint::parse`].
    pub fn open(note: &[u8], key: &VerifyingKey) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        note.verify(std::slice::from_ref(key))?;
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin { found: checkpoint.origin, expected: key.name().to_owned() });
        }
        Ok(checkpoint)
    }

    /// Reads without checking any signature: for display, and where the key is yet to be found.
    ///
    /// # Errors
    /// As for [`Checkpoint::parse`]; [`CheckpointError::Note`] for bytes that are no note.
    pub fn danger_open_unverified(note: &[u8]) -> Result<Self, CheckpointError> {
        Self::parse(&Note::parse(note)?.text)
    }

    /// Signs. Callers go through [`crate::dir::Writer`], which alone knows that this head extends the last one.
    pub(crate) fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, NoteError> {
        key.sign(&self.to_text())
    }
}

fn valid_origin(origin: &str) -> bool {
    !origin.is_empty() && !origin.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

fn malformed(why: &'static str) -> CheckpointError {
    CheckpointError::Malformed(why)
}
