//! Proofs against an independent implementation and against published vectors.

use base64::{Engine, engine::general_purpose::STANDARD};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use remit_ledger::{
    Hash,
    tree::{self, Range},
};
use serde_json::Value;
use sha2::Sha256;

type Oracle = MemoryBackedTree<Sha256, Vec<u8>>;

fn grow(size: usize) -> (Oracle, Vec<Hash>) {
    let mut oracle = Oracle::new();
    let entries: Vec<Vec<u8>> = (0..size).map(|index| format!("entry {index}").into_bytes()).collect();
    let leaves = entries.iter().map(|entry| tree::leaf_hash(entry)).collect();
    for entry in entries {
        oracle.push(entry);
    }
    (oracle, leaves)
}

fn flat(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

fn at(index: usize) -> u64 {
    u64::try_from(index).unwrap()
}

fn agree(oracle: &Oracle, leaves: &[Hash], index: usize, old: usize) {
    let size = leaves.len();
    let root = tree::root(leaves);
    assert_eq!(oracle.root().as_bytes().as_slice(), root.0, "root of {size}");
    if index < size {
        let proof = tree::prove_inclusion(leaves, at(index)).unwrap();
        assert_eq!(flat(&proof), oracle.prove_inclusion(index).as_bytes(), "inclusion of {index} in {size}");
        assert_eq!(tree::verify_inclusion(&leaves[index], at(index), at(size), &proof, &root), Ok(()));
    }
    if old > 0 && old <= size {
        let proof = tree::prove_consistency(leaves, at(old)).unwrap();
        assert_eq!(flat(&proof), oracle.prove_consistency(size - old).as_bytes(), "consistency of {old} in {size}");
        let old_root = tree::root(&leaves[..old]);
        assert_eq!(tree::verify_consistency(at(old), &old_root, at(size), &root, &proof), Ok(()));
        let mut broken = proof.clone();
        if let Some(hash) = broken.last_mut() {
            hash.0[0] ^= 1;
            assert!(tree::verify_consistency(at(old), &old_root, at(size), &root, &broken).is_err());
        }
        if old < size {
            assert!(tree::verify_consistency(at(old), &root, at(size), &root, &proof).is_err());
        }
    }
}

#[test]
fn lg_05_agrees_with_an_independent_tree_for_all_small_sizes() {
    for size in 0..=130 {
        let (oracle, leaves) = grow(size);
        if size == 0 {
            assert_eq!(oracle.root().as_bytes().as_slice(), tree::root(&leaves).0);
        }
        for index in 0..=size {
            agree(&oracle, &leaves, index, index);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn lg_05_agrees_with_an_independent_tree_up_to_300(size in 131_usize..=300, index in 0_usize..300, old in 1_usize..=300) {
        let (oracle, leaves) = grow(size);
        agree(&oracle, &leaves, index % size, 1 + old % size);
    }

    #[test]
    fn a_proof_of_garbage_is_refused_and_never_panics(
        index in any::<u64>(), size in any::<u64>(), old in any::<u64>(), proof in prop::collection::vec(any::<[u8; 32]>(), 0..70)
    ) {
        let proof: Vec<Hash> = proof.into_iter().map(Hash).collect();
        let (leaf, root) = (Hash([1; 32]), Hash([2; 32]));
        prop_assert!(tree::verify_inclusion(&leaf, index, size, &proof, &root).is_err());
        prop_assert!(tree::verify_consistency(old, &leaf, size, &root, &proof).is_err());
        let range = Range { start: index, end: old };
        prop_assert!(tree::verify_subtree(range, &leaf, size, &root, &proof).is_err());
    }
}

#[test]
fn n_lg_01_and_02_a_changed_or_swapped_entry_changes_the_root() {
    for size in 2..40 {
        let (_, leaves) = grow(size);
        let root = tree::root(&leaves);
        for index in 0..size {
            let mut flipped = leaves.clone();
            flipped[index].0[31] ^= 1;
            assert_ne!(tree::root(&flipped), root);
            let proof = tree::prove_inclusion(&leaves, at(index)).unwrap();
            assert!(tree::verify_inclusion(&flipped[index], at(index), at(size), &proof, &root).is_err());
            let mut swapped = leaves.clone();
            swapped.swap(index, (index + 1) % size);
            assert_ne!(tree::root(&swapped), root);
        }
    }
}

#[test]
fn n_lg_03_a_dropped_tail_is_not_an_extension() {
    let (_, leaves) = grow(20);
    let (old, new) = (tree::root(&leaves), tree::root(&leaves[..19]));
    assert_ne!(old, new);
    assert!(tree::verify_consistency(20, &old, 19, &new, &[]).is_err());
}

#[test]
fn published_rfc_6962_vectors() {
    let Some(vectors) = vectors() else { return };
    let all = vectors.get("vectors").unwrap();
    let mut count = 0;
    for kind in ["inclusion", "consistency", "subtreeinclusion", "subtreeconsistency"] {
        for case in all.get(kind).and_then(Value::as_array).unwrap() {
            assert_eq!(holds(kind, case), case["wantErr"] == false, "{}", case["file"]);
            count += 1;
        }
    }
    assert!(count >= 518, "{count} cases");
}

/// Whether our verifier accepts the case; a hash that is not 32 bytes cannot even be stated.
fn holds(kind: &str, case: &Value) -> bool {
    let number = |name: &str| case[name].as_u64().unwrap();
    let proof: Option<Vec<Hash>> = case["proof"].as_array().map_or(Some(Vec::new()), |proof| {
        proof.iter().map(|hash| Hash::from_slice(&STANDARD.decode(hash.as_str()?).ok()?)).collect()
    });
    let Some(proof) = proof else { return false };
    let hash = |name: &str| {
        let bytes = STANDARD.decode(case[name].as_str().unwrap_or_default()).ok()?;
        // A few cases bring "don't care" for a root: any hash will do, the same for the same text. No bytes are no hash.
        (!bytes.is_empty()).then(|| Hash::from_slice(&bytes).unwrap_or_else(|| Hash::of(&[&bytes])))
    };
    let range = || Range { start: number("start"), end: number("end") };
    let verdict = match kind {
        "inclusion" | "subtreeinclusion" => {
            let (Some(leaf), Some(root)) = (hash("leafHash"), hash("root")) else { return false };
            if kind == "inclusion" {
                tree::verify_inclusion(&leaf, number("leafIdx"), number("treeSize"), &proof, &root)
            } else {
                tree::verify_subtree_inclusion(&leaf, number("leafIdx"), range(), &proof, &root)
            }
        }
        _ => {
            let (Some(old), Some(new)) = (hash("root1"), hash("root2")) else { return false };
            if kind == "consistency" {
                tree::verify_consistency(number("size1"), &old, number("size2"), &new, &proof)
            } else {
                tree::verify_subtree(range(), &old, number("size"), &new, &proof)
            }
        }
    };
    verdict.is_ok()
}

#[expect(clippy::disallowed_methods, reason = "where the vectors are is the one thing a test asks of its environment")]
fn vectors() -> Option<Value> {
    let Ok(folder) = std::env::var("REMIT_VECTORS") else {
        eprintln!("SKIPPED published_rfc_6962_vectors: REMIT_VECTORS names no folder");
        return None;
    };
    let file = std::path::Path::new(&folder).join("merkle/merkle-rfc6962-vectors.json");
    Some(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}
