//! The tamper-evident log: records, the Merkle tree over them, C2SP tiles, signed checkpoints, and the offline
//! verification of a copied directory.
//!
//! Implements the `agent.audit.v1` record (RFC 8785, SHA-256, Ed25519), the RFC 6962 tree, and the C2SP documents
//! tlog-tiles, signed-note, tlog-checkpoint, tlog-cosignature, tlog-witness, tlog-policy and tlog-proof (standards LG-01
//! to LG-24). `docs/ledger-format.md` is the page a stranger writes a second verifier from. Deliberately absent: HTTP,
//! SQL, clocks and randomness; the only I/O is [`dir::Writer`] and the bytes a [`dir::Reader`] is handed.
//!
//! ```
//! use remit_ledger::tree;
//!
//! let leaves: Vec<_> = ["first", "second", "third"].iter().map(|entry| tree::leaf_hash(entry.as_bytes())).collect();
//! let root = tree::root(&leaves);
//! let proof = tree::prove_inclusion(&leaves, 1)?;
//! assert!(tree::verify_inclusion(&leaves[1], 1, 3, &proof, &root).is_ok());
//! assert!(tree::verify_inclusion(&leaves[0], 1, 3, &proof, &root).is_err());
//! # Ok::<(), tree::ProofError>(())
//! ```

pub mod checkpoint;
pub mod compare;
pub mod cosign;
pub mod dir;
pub mod field_proof;
pub mod hash;
pub mod note;
pub mod policy;
pub mod proof;
pub mod record;
pub mod tile;
pub mod tree;
pub mod vault;
pub mod verify;
pub mod witness;

pub use checkpoint::Checkpoint;
pub use dir::{Reader, Writer};
pub use hash::Hash;
pub use record::{Draft, Record, Sealed, Sealer, Side};
pub use vault::Keyring;
pub use verify::{Against, Report, Trust, verify};
