//! One entry's evidence in one small file: C2SP tlog-proof. SPEC: LG-24.
//!
//! The file holds the index, the inclusion proof and the checkpoint with its cosignatures. The entry's bytes lie beside
//! it. Nothing in the file is trusted but what the log's key, the witnesses' keys and the tree then prove.

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    dir::{ReadError, Reader},
    hash::Hash,
    note::NOTE_LIMIT,
    policy::{Judgement, Policy},
    tree::{self, ProofError},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// First line of the file.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Most bytes of extra data.
const EXTRA_LIMIT: usize = 64 * 1024;
/// Most hashes: the height of a tree of 2^64 leaves.
const PATH_LIMIT: usize = 64;
/// Longest proof file we read.
pub const PROOF_LIMIT: usize = NOTE_LIMIT + EXTRA_LIMIT * 2;

/// A proof as it stands in its file; nothing about it is trusted until [`Proof::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Not authenticated by anything; an application may use it to find the entry again.
    pub extra: Option<Vec<u8>>,
    pub index: u64,
    /// Siblings from the leaf's to the root's child.
    pub path: Vec<Hash>,
    /// The checkpoint, byte for byte as the log published it.
    pub note: Vec<u8>,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum TlogProofError {
    #[error("malformed tlog-proof: {0}")]
    Malformed(&'static str),
    #[error("the proof's checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the entry is not in the tree of the checkpoint: {0}")]
    Inclusion(#[from] ProofError),
    #[error("the cosignatures are not the quorum that the policy asks for")]
    Quorum,
}

impl Proof {
    /// The proof of entry `index` under the checkpoint of a log's copy.
    ///
    /// # Errors
    /// [`ReadError::Proof`] for an index outside the log; as for [`Reader::hashes`].
    pub fn of(reader: &Reader, index: u64) -> Result<Self, ReadError> {
        Ok(Self { extra: None, index, path: reader.inclusion(index)?, note: reader.checkpoint_note().to_vec() })
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let extra = self.extra.as_ref().map(|extra| format!("extra {}\n", STANDARD.encode(extra))).unwrap_or_default();
        let mut head = format!("{HEADER}\n{extra}index {}\n", self.index);
        for hash in &self.path {
            head.push_str(&STANDARD.encode(hash.0));
            head.push('\n');
        }
        head.push('\n');
        [head.as_bytes(), &self.note].concat()
    }

    /// Reads a file; one proof has one spelling.
    ///
    /// # Errors
    /// [`TlogProofError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        let malformed = TlogProofError::Malformed;
        if bytes.len() > PROOF_LIMIT {
            return Err(malformed("too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or(malformed("no blank line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(malformed("the first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            None => None,
            Some(extra) => {
                let extra = STANDARD.decode(extra).map_err(|_| malformed("the extra data is not base64"))?;
                lines.next();
                Some(extra)
            }
        };
        if extra.as_ref().is_some_and(|extra| extra.len() > EXTRA_LIMIT) {
            return Err(malformed("too much extra data"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(crate::record::decimal);
        let index = index.ok_or(malformed("no line `index` with a decimal number"))?;
        let hash = |line: &str| STANDARD.decode(line).ok().and_then(|hash| Hash::from_slice(&hash));
        let path: Option<Vec<Hash>> = lines.map(hash).collect();
        let path = path.ok_or(malformed("a proof line that is not the base64 of 32 bytes"))?;
        if path.len() > PATH_LIMIT {
            return Err(malformed("too many proof lines"));
        }
        // Its form now, its signatures when it is verified.
        Checkpoint::danger_open_unverified(note.as_bytes())?;
        Ok(Self { extra, index, path, note: note.as_bytes().to_vec() })
    }

    /// Checks that `entry` stands at [`Self::index`] of a log of the policy, under a checkpoint with its quorum.
    ///
    /// # Errors
    /// A signature, the quorum or the inclusion that does not hold, in this order.
    pub fn verify(&self, entry: &[u8], policy: &Policy) -> Result<Judgement, TlogProofError> {
        let judgement = policy.judge(&self.note, |_| Ok(()))?;
        if !judgement.quorum {
            return Err(TlogProofError::Quorum);
        }
        let Checkpoint { size, root, .. } = &judgement.checkpoint;
        tree::verify_inclusion(&tree::leaf_hash(entry), self.index, *size, &self.path, root)?;
        Ok(judgement)
    }
}
