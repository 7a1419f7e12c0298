//! The witness's rule and both sides of its one request: C2SP tlog-witness, without the HTTP.
//!
//! A witness keeps, for each log it knows, the longest head it has cosigned, and cosigns another only when that is proved
//! to extend it. SPEC: LG-20, LG-21. [`judge`] is the whole rule; who calls it must make "judge and store" atomic and
//! durable before answering.

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    hash::Hash,
    note::{NOTE_LIMIT, Note, NoteError, Signature, VerifyingKey},
    tree,
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// Most consistency proof lines of a request.
pub const PROOF_LINES: usize = 63;
/// Longest request body: a note, and 64 lines before it.
pub const REQUEST_LIMIT: usize = NOTE_LIMIT + 64 * 64;
/// Longest answer that is read.
pub const ANSWER_LIMIT: usize = 64 * 1024;
/// Media type of the answer to a request that proves from another size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// The body of `add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Size of the head the proof starts from; 0 when the witness has seen none.
    pub old: u64,
    pub proof: Vec<Hash>,
    /// The checkpoint, byte for byte.
    pub note: Vec<u8>,
}

/// Why a witness does not cosign, in the order in which it looks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("malformed request: {0}")]
    Malformed(String),
    #[error("the log is not one this witness knows")]
    UnknownLog,
    #[error("no good signature by the log's key: {0}")]
    Unsigned(NoteError),
    #[error("the old size is above that of the checkpoint")]
    Backwards,
    #[error("the last cosigned head has {0} entries")]
    Stale(u64),
    #[error("the checkpoint does not extend the one cosigned last")]
    Inconsistent,
}

impl Refused {
    /// The HTTP status code of the refusal.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Backwards => 400,
            Self::UnknownLog => 404,
            Self::Unsigned(_) => 403,
            Self::Stale(_) => 409,
            Self::Inconsistent => 422,
        }
    }
}

impl Request {
    /// The body of the request (C2SP tlog-witness).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("old {}\n", self.old);
        for hash in &self.proof {
            head.push_str(&STANDARD.encode(hash.0));
            head.push('\n');
        }
        head.push('\n');
        [head.as_bytes(), &self.note].concat()
    }

    /// Reads a body; one request has one spelling.
    ///
    /// # Errors
    /// [`Refused::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        let malformed = |why: &str| Refused::Malformed(why.to_owned());
        if bytes.len() > REQUEST_LIMIT {
            return Err(malformed("too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| malformed("no blank line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(crate::record::decimal);
        let old = old.ok_or_else(|| malformed("the first line is not `old` and a decimal number"))?;
        let hash = |line: &str| STANDARD.decode(line).ok().and_then(|hash| Hash::from_slice(&hash));
        // One more than allowed is enough to refuse.
        let proof: Option<Vec<Hash>> = lines.take(PROOF_LINES + 1).map(hash).collect();
        let proof = proof.ok_or_else(|| malformed("a proof line that is not the base64 of 32 bytes"))?;
        if proof.len() > PROOF_LINES {
            return Err(malformed("more than 63 proof lines"));
        }
        match Checkpoint::danger_open_unverified(note.as_bytes()) {
            // Well formed; that no log has such a head is for the rule to say.
            Ok(_) | Err(CheckpointError::EmptyRoot) => {}
            Err(error) => return Err(Refused::Malformed(error.to_string())),
        }
        Ok(Self { old, proof, note: note.as_bytes().to_vec() })
    }
}

/// Judges a request. `logs` are the keys this witness knows; `last(origin)` is the head it cosigned last.
///
/// What comes back is the head to store and then to cosign.
///
/// # Errors
/// Every [`Refused`], each with its HTTP status.
pub fn judge(
    request: &Request,
    logs: &[VerifyingKey],
    last: impl FnOnce(&str) -> Option<Checkpoint>,
) -> Result<Checkpoint, Refused> {
    let malformed = |error: CheckpointError| Refused::Malformed(error.to_string());
    let note = Note::parse(&request.note).map_err(|error| Refused::Malformed(error.to_string()))?;
    let origin = note.text.split('\n').next().unwrap_or_default();
    let keys: Vec<VerifyingKey> = logs.iter().filter(|key| key.name() == origin).cloned().collect();
    if keys.is_empty() {
        return Err(Refused::UnknownLog);
    }
    note.verify(&keys).map_err(Refused::Unsigned)?;
    let head = match Checkpoint::parse(&note.text) {
        Ok(head) => head,
        Err(CheckpointError::EmptyRoot) => return Err(Refused::Inconsistent),
        Err(error) => return Err(malformed(error)),
    };
    if request.old > head.size {
        return Err(Refused::Backwards);
    }
    let last = last(origin);
    let known = last.as_ref().map_or(0, |last| last.size);
    if request.old != known {
        return Err(Refused::Stale(known));
    }
    let extends = match &last {
        // From nothing there is nothing to prove.
        _ if known == 0 => request.proof.is_empty(),
        None => false,
        Some(last) => tree::verify_consistency(last.size, &last.root, head.size, &head.root, &request.proof).is_ok(),
    };
    if extends { Ok(head) } else { Err(Refused::Inconsistent) }
}

/// Reads the answer to a request that was granted: signature lines, each under the name it states. They are not verified here.
///
/// # Errors
/// [`NoteError::Malformed`].
pub fn parse_lines(bytes: &[u8]) -> Result<Vec<Signature>, NoteError> {
    if bytes.len() > ANSWER_LIMIT {
        return Err(NoteError::Malformed("too long"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
    let lines = text.strip_suffix('\n').ok_or(NoteError::Malformed("the last line does not end"))?;
    lines.split('\n').take(crate::note::SIGNATURE_LIMIT).map(Signature::parse).collect()
}

/// Reads the answer to a request that proved from another size than the witness's.
pub fn parse_size(bytes: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    crate::record::decimal(line)
}

/// Where a witness shows the head it holds of a log, below its URL: by the SHA-256 of the origin.
pub fn head_path(origin: &str) -> String {
    format!("{}/checkpoint", Hash::of(&[origin.as_bytes()]).hex())
}
