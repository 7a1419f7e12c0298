//! The RFC 6962 Merkle tree over SHA-256: roots, proofs and their verification, and the incremental frontier.
//!
//! Implements RFC 6962 §2.1 and RFC 9162 §2.1.3.2 and §2.1.4.2. SPEC: LG-05. Knows nothing of tiles or files: a proof is
//! first a list of [`Range`]s of leaves, which any store of hashes can then fill in.

use crate::hash::Hash;

/// The leaves `start..end` of a tree; as a proof element, the hash of the subtree over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub end: u64,
}

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("the index or size is outside the tree")]
    OutOfRange,
    #[error("the proof has the wrong length")]
    Length,
    #[error("the proof leads to another root")]
    Root,
}

/// `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash::of(&[&[0], entry])
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut node = [1; 65];
    let (_, hashes) = node.split_at_mut(1);
    let (first, second) = hashes.split_at_mut(32);
    first.copy_from_slice(&left.0);
    second.copy_from_slice(&right.0);
    Hash::of(&[&node])
}

/// The root of the tree without leaves: `SHA-256("")`.
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// MTH of the leaf hashes.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf);
    }
    frontier.root()
}

/// The subtrees whose hashes prove leaf `index` in a tree of `size`, leaf to root. SPEC: RFC 6962 §2.1.1.
///
/// # Errors
/// [`ProofError::OutOfRange`].
pub fn inclusion_ranges(index: u64, size: u64) -> Result<Vec<Range>, ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut start, mut end) = (0, size);
    let mut ranges = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            ranges.push(Range { start: middle, end });
            end = middle;
        } else {
            ranges.push(Range { start, end: middle });
            start = middle;
        }
    }
    ranges.reverse();
    Ok(ranges)
}

/// The subtrees whose hashes prove that the tree of `old` leaves is a prefix of that of `new`. SPEC: RFC 6962 §2.1.2.
///
/// Equal sizes need no hash. From the empty tree there is nothing to prove, so it is refused.
///
/// # Errors
/// [`ProofError::OutOfRange`].
pub fn consistency_ranges(old: u64, new: u64) -> Result<Vec<Range>, ProofError> {
    if old > new || old == 0 {
        return Err(ProofError::OutOfRange);
    }
    if old == new {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, new);
    let mut whole = true;
    let mut ranges = Vec::new();
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            ranges.push(Range { start: middle, end });
            end = middle;
        } else {
            ranges.push(Range { start, end: middle });
            start = middle;
            whole = false;
        }
    }
    if !whole {
        ranges.push(Range { start, end });
    }
    ranges.reverse();
    Ok(ranges)
}

/// The inclusion proof of leaf `index` among `leaves`.
///
/// # Errors
/// [`ProofError::OutOfRange`].
pub fn prove_inclusion(leaves: &[Hash], index: u64) -> Result<Vec<Hash>, ProofError> {
    fill(leaves, inclusion_ranges(index, leaves.len() as u64)?)
}

/// The consistency proof from the first `old` of `leaves` to all of them.
///
/// # Errors
/// [`ProofError::OutOfRange`].
pub fn prove_consistency(leaves: &[Hash], old: u64) -> Result<Vec<Hash>, ProofError> {
    fill(leaves, consistency_ranges(old, leaves.len() as u64)?)
}

fn fill(leaves: &[Hash], ranges: Vec<Range>) -> Result<Vec<Hash>, ProofError> {
    let part = |range: Range| {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        leaves.get(start..end).map(root)
    };
    ranges.into_iter().map(|range| part(range).ok_or(ProofError::OutOfRange)).collect()
}

/// Checks that `leaf` stands at `index` in the tree of `size` leaves with `root`. SPEC: RFC 9162 §2.1.3.2.
///
/// # Errors
/// [`ProofError::OutOfRange`], [`ProofError::Length`], [`ProofError::Root`].
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree (`old`, `old_root`) is a prefix of (`new`, `new_root`). SPEC: RFC 9162 §2.1.4.2.
///
/// Every tree extends the empty one, so a proof from it would say nothing: refused, as RFC 9162 requires `0 < old`.
///
/// # Errors
/// [`ProofError::OutOfRange`], [`ProofError::Length`], [`ProofError::Root`].
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if old > new || old == 0 {
        return Err(ProofError::OutOfRange);
    }
    if old == new {
        return match (proof.is_empty(), old_root == new_root) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    verify_subtree(Range { start: 0, end: old }, old_root, new, new_root, proof)
}

/// Checks that the hash over leaves `start..end` is that of the tree (`size`, `root`): a consistency proof when the range
/// starts at 0. The range must be one that a tree has: it starts at a multiple of the power of two not below its width.
/// SPEC: RFC 9162 §2.1.4.2, generalised by draft-ietf-plants-merkle-tree-certs §4.4.
///
/// # Errors
/// [`ProofError::OutOfRange`], [`ProofError::Length`], [`ProofError::Root`].
pub fn verify_subtree(range: Range, hash: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if range.end > size {
        return Err(ProofError::OutOfRange);
    }
    if range.start == range.end {
        // Every tree has an empty range everywhere; nothing needs proof but that it is empty.
        return match (proof.is_empty(), *hash == empty_root()) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    if !is_subtree(range) {
        return Err(ProofError::OutOfRange);
    }
    // `first` and `last` are the edges of the range, `end` that of the tree, as node numbers of one rising level.
    let (mut first, mut last, mut end) = (range.start, range.end - 1, size - 1);
    while first != last && (last == end || last & 1 == 1) {
        (first, last, end) = (first >> 1, last >> 1, end >> 1);
    }
    // A perfect subtree of the tree begins the proof itself.
    let (start, rest) = if first == last { (hash, proof) } else { proof.split_first().ok_or(ProofError::Length)? };
    let (mut part, mut whole) = (*start, *start);
    for sibling in rest {
        if end == 0 {
            return Err(ProofError::Length);
        }
        if last & 1 == 1 || last == end {
            if first < last {
                part = node_hash(sibling, &part);
            }
            whole = node_hash(sibling, &whole);
            while last & 1 == 0 && last != 0 {
                (first, last, end) = (first >> 1, last >> 1, end >> 1);
            }
        } else {
            whole = node_hash(&whole, sibling);
        }
        (first, last, end) = (first >> 1, last >> 1, end >> 1);
    }
    if end != 0 {
        return Err(ProofError::Length);
    }
    if part == *hash && whole == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that `leaf` stands at `index` of the tree inside the subtree over `range` with this hash.
///
/// # Errors
/// [`ProofError::OutOfRange`], [`ProofError::Length`], [`ProofError::Root`].
pub fn verify_subtree_inclusion(leaf: &Hash, index: u64, range: Range, proof: &[Hash], hash: &Hash) -> Result<(), ProofError> {
    let inside = is_subtree(range).then(|| index.checked_sub(range.start)).flatten().ok_or(ProofError::OutOfRange)?;
    verify_inclusion(leaf, inside, range.end - range.start, proof, hash)
}

/// Whether a tree has a subtree over exactly these leaves.
fn is_subtree(range: Range) -> bool {
    let width = range.end.checked_sub(range.start).and_then(u64::checked_next_power_of_two);
    width.is_some_and(|width| range.start < range.end && range.start.is_multiple_of(width))
}

/// The right edge of a growing tree: enough to add leaves and know the root.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the perfect subtrees, largest first: one for each 1 bit of `size`.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// From the roots of the perfect subtrees of a tree of `size`, largest first; `None` when their number is wrong.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (u64::from(size.count_ones()) == peaks.len() as u64).then_some(Self { size, peaks })
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Every trailing 1 bit of the size is a perfect subtree that this leaf completes.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root over all leaves so far (RFC 6962 §2.1).
    pub fn root(&self) -> Hash {
        fold(&self.peaks)
    }
}

/// The perfect subtrees that make up a range that starts where one of its size may start, largest first.
pub fn perfect_parts(range: Range) -> Vec<Range> {
    let mut parts = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let width = 1 << (range.end - start).ilog2();
        parts.push(Range { start, end: start + width });
        start += width;
    }
    parts
}

/// The root over adjacent perfect subtrees, largest first.
pub fn fold(peaks: &[Hash]) -> Hash {
    let mut rest = peaks.iter().rev();
    let Some(last) = rest.next() else { return empty_root() };
    rest.fold(*last, |right, left| node_hash(left, &right))
}

/// The largest power of two smaller than `size`; `size` is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
    }

    /// MTH as RFC 6962 §2.1 writes it, to check the frontier against.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(usize::try_from(split(more.len() as u64)).unwrap());
                node_hash(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn lg_05_frontier_is_the_definition() {
        for size in 0..300 {
            let leaves = leaves(size);
            assert_eq!(root(&leaves), by_definition(&leaves), "{size}");
        }
    }

    #[test]
    fn n_lg_05_a_64_byte_entry_is_not_a_node() {
        let pair = leaves(2);
        let entry: Vec<u8> = pair.iter().flat_map(|hash| hash.0).collect();
        assert_ne!(root(&pair), root(&[leaf_hash(&entry)]));
    }

    #[test]
    fn n_lg_14_an_index_outside_the_tree_is_refused() {
        let leaves = leaves(5);
        assert_eq!(prove_inclusion(&leaves, 5), Err(ProofError::OutOfRange));
        let proof = prove_inclusion(&leaves, 4).unwrap();
        assert_eq!(verify_inclusion(&leaves[4], 5, 5, &proof, &root(&leaves)), Err(ProofError::OutOfRange));
        assert_eq!(verify_inclusion(&leaves[4], u64::MAX, 5, &proof, &root(&leaves)), Err(ProofError::OutOfRange));
        assert_eq!(prove_consistency(&leaves, 6), Err(ProofError::OutOfRange));
    }

    #[test]
    fn proofs_of_every_size_and_index_hold_and_nothing_near_them_does() {
        for size in 1..=65_u64 {
            let leaves = leaves(size);
            let root = root(&leaves);
            for index in 0..size {
                let proof = prove_inclusion(&leaves, index).unwrap();
                let leaf = &leaves[usize::try_from(index).unwrap()];
                assert_eq!(verify_inclusion(leaf, index, size, &proof, &root), Ok(()));
                let other = index ^ 1;
                if other < size {
                    assert!(verify_inclusion(leaf, other, size, &proof, &root).is_err());
                }
                let longer: Vec<_> = proof.iter().copied().chain([*leaf]).collect();
                assert!(verify_inclusion(leaf, index, size, &longer, &root).is_err());
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(verify_inclusion(leaf, index, size, shorter.first().map_or(&[], |_| shorter), &root).is_err());
                }
            }
        }
    }

    #[test]
    fn perfect_parts_fold_to_the_root() {
        for size in 1..200_u64 {
            let leaves = leaves(size);
            let peaks: Vec<_> = perfect_parts(Range { start: 0, end: size })
                .into_iter()
                .map(|part| root(&leaves[usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap()]))
                .collect();
            assert_eq!(fold(&peaks), root(&leaves));
            assert_eq!(Frontier::from_peaks(size, peaks).unwrap().root(), root(&leaves));
        }
    }
}
