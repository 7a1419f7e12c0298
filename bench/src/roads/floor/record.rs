//! The floor of one audit record: the cryptography that its format asks for, over bytes of the length it has.
//!
//! For each value beside the record: a salted commitment (SHA-256), a key derived for this record and path (HKDF) and one
//! AES-256-GCM seal. Over those the commitment root; then the record's hash, one Ed25519 signature, the leaf hash of the
//! tree and the hash of its node. Building canonical JSON is a plain concatenation here.

use anyhow::Result;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{Context, SHA256},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom as _, SystemRandom},
    signature::Ed25519KeyPair,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Bytes of what every record says beside its committed values: parties, chain, decision, clock, links.
const ENVELOPE: usize = 4_000;
/// Values that every record commits to, whatever it is about: names that may have to be forgotten.
const NAMES: [&str; 5] = ["/chain/0/subject", "/chain/1/subject", "/net/src_ip", "/owner", "/resource/0/id"];
/// Bytes of one of them, with its salt and type.
const NAME: usize = 90;
const SALT: usize = 16;

/// What is recorded of one operation: committed values by path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) values: Vec<(&'static str, Vec<u8>)>,
    /// State that becomes durable in the same group: a token's row, identifiers that are used up.
    pub(crate) state: Vec<u8>,
}

/// Seals records in order.
#[derive(Debug)]
pub(crate) struct Seal {
    key: Ed25519KeyPair,
    subject: [u8; 32],
    random: SystemRandom,
    envelope: Vec<u8>,
    names: [(&'static str, Vec<u8>); NAMES.len()],
    previous: [u8; 32],
    node: [u8; 32],
}

impl Seal {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            key: Ed25519KeyPair::from_seed_unchecked(&[7; 32])?,
            subject: [8; 32],
            random: SystemRandom::new(),
            envelope: vec![b'e'; ENVELOPE],
            names: NAMES.map(|path| (path, vec![b'n'; NAME])),
            previous: [0; 32],
            node: [0; 32],
        })
    }

    /// Appends one sealed record, its values and its state to `out`.
    pub(crate) fn append(&mut self, facts: &Facts, out: &mut Vec<u8>) -> Result<()> {
        let mut leaves = Vec::with_capacity(facts.values.len() + NAMES.len());
        for (path, value) in facts.values.iter().chain(&self.names) {
            let mut fresh = [0; SALT + NONCE_LEN];
            self.random.fill(&mut fresh)?;
            let (salt, nonce) = fresh.split_at(SALT);
            let leaf = hash(&[&[0], salt, path.as_bytes(), value]);
            out.extend_from_slice(path.as_bytes());
            out.extend_from_slice(&leaf);
            let mut sealed = value.clone();
            let nonce = Nonce::try_assume_unique_for_key(nonce)?;
            self.cipher(&leaf, path)?.seal_in_place_append_tag(nonce, Aad::from(leaf), &mut sealed)?;
            out.extend_from_slice(URL_SAFE_NO_PAD.encode(&sealed).as_bytes());
            leaves.push(leaf);
        }
        let root = root(leaves);
        let at = out.len();
        out.extend_from_slice(&self.envelope);
        out.extend_from_slice(&root);
        out.extend_from_slice(&self.previous);
        let record = hash(&[out.get(at..).unwrap_or_default()]);
        out.extend_from_slice(self.key.sign(&record).as_ref());
        let leaf = hash(&[&[0], out.get(at..).unwrap_or_default()]);
        self.node = hash(&[&[1], &self.node, &leaf]);
        self.previous = record;
        out.extend_from_slice(&facts.state);
        Ok(())
    }

    fn cipher(&self, leaf: &[u8], path: &str) -> Result<LessSafeKey> {
        let info = [leaf, path.as_bytes()];
        let derived = Salt::new(HKDF_SHA256, &[9; 16]).extract(&self.subject);
        let key = derived.expand(&info, &AES_256_GCM)?;
        Ok(LessSafeKey::new(UnboundKey::from(key)))
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The root over the leaves, padded to a power of two.
fn root(mut leaves: Vec<[u8; 32]>) -> [u8; 32] {
    leaves.resize(leaves.len().max(1).next_power_of_two(), [0; 32]);
    while leaves.len() > 1 {
        leaves = leaves.chunks(2).map(|two| hash(&[&[1], two.concat().as_slice()])).collect();
    }
    leaves.into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_and_every_record_leaves_bytes_and_a_link() {
        let (mut seal, mut out) = (Seal::new().unwrap(), Vec::new());
        let facts = Facts { values: vec![("/a", vec![1; 100]), ("/b", vec![2; 300])], state: vec![3; 50] };
        seal.append(&facts, &mut out).unwrap();
        let (first, previous) = (out.len(), seal.previous);
        assert!(first > ENVELOPE + 400 + 64 + 50);
        seal.append(&facts, &mut out).unwrap();
        assert_eq!(out.len(), 2 * first);
        assert_ne!(seal.previous, previous);
        assert!(out.windows(32).any(|bytes| bytes == previous), "the second record names the first");
    }

    #[test]
    fn the_root_depends_on_every_leaf() {
        assert_eq!(root(vec![[1; 32]]), [1; 32]);
        assert_ne!(root(vec![[1; 32], [2; 32], [3; 32]]), root(vec![[1; 32], [2; 32], [4; 32]]));
    }
}
