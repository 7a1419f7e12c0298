//! Where two copies of a log part: the first entry that differs, found from the root down.
//!
//! At each step the halves must hash to what stands above them, so that a copy whose tiles were tampered with is told
//! from one that truly holds another history.

use crate::{
    checkpoint::Checkpoint,
    dir::{ReadError, Reader},
    hash::Hash,
    tree::{self, Range},
};

/// How two logs agree over the entries that both have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// The first `size` entries are the same.
    Same { size: u64 },
    /// The entries before `index` are the same, that one is not.
    Parted { index: u64 },
}

/// Why two logs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("{copy}: {error}")]
    Read { copy: &'static str, error: ReadError },
    /// Its tiles do not add up to its own checkpoint.
    #[error("{copy}: its tiles do not add up to its checkpoint; verify that folder first")]
    Damaged { copy: &'static str },
}

/// Compares two logs as far as the shorter reaches. Reads one tile a step: log(size) of them.
///
/// # Errors
/// [`CompareError::Read`] for a file that cannot be read, [`CompareError::Damaged`] for a copy whose tiles are not its own.
pub fn compare(ours: &Reader, theirs: &Reader) -> Result<Agreement, CompareError> {
    let (a, b) = (Copy { name: "this copy", reader: ours }, Copy { name: "the other copy", reader: theirs });
    a.adds_up()?;
    b.adds_up()?;
    let size = ours.len().min(theirs.len());
    a.extends(size)?;
    b.extends(size)?;
    for part in tree::perfect_parts(Range { start: 0, end: size }) {
        if a.hash(part)? != b.hash(part)? {
            return Ok(Agreement::Parted { index: descend(&a, &b, part)? });
        }
    }
    Ok(Agreement::Same { size })
}

/// The first differing leaf under a perfect subtree whose hashes differ.
fn descend(a: &Copy<'_>, b: &Copy<'_>, mut range: Range) -> Result<u64, CompareError> {
    while range.end - range.start > 1 {
        let middle = range.start + (range.end - range.start) / 2;
        let (left, right) = (Range { end: middle, ..range }, Range { start: middle, ..range });
        let same = a.halves(range, left, right)? == b.halves(range, left, right)?;
        range = if same { right } else { left };
    }
    Ok(range.start)
}

struct Copy<'a> {
    name: &'static str,
    reader: &'a Reader,
}

impl Copy<'_> {
    fn hash(&self, range: Range) -> Result<Hash, CompareError> {
        self.reader.subtree(range).map_err(|error| CompareError::Read { copy: self.name, error })
    }

    /// The left half's hash, once both halves are known to make the whole.
    fn halves(&self, whole: Range, left: Range, right: Range) -> Result<Hash, CompareError> {
        let first = self.hash(left)?;
        if tree::node_hash(&first, &self.hash(right)?) != self.hash(whole)? {
            return Err(CompareError::Damaged { copy: self.name });
        }
        Ok(first)
    }

    /// The hashes of the first `size` entries are those of the signed tree: a longer log's own consistency proof.
    fn extends(&self, size: u64) -> Result<(), CompareError> {
        let Checkpoint { size: whole, root, .. } = self.reader.checkpoint();
        if size == 0 || size == *whole {
            return Ok(());
        }
        let first = self.hash(Range { start: 0, end: size })?;
        let proof = self.reader.consistency(size).map_err(|error| CompareError::Read { copy: self.name, error })?;
        tree::verify_consistency(size, &first, *whole, root, &proof).map_err(|_| CompareError::Damaged { copy: self.name })
    }

    fn adds_up(&self) -> Result<(), CompareError> {
        let root = self.hash(Range { start: 0, end: self.reader.len() })?;
        if root == self.reader.checkpoint().root { Ok(()) } else { Err(CompareError::Damaged { copy: self.name }) }
    }
}
