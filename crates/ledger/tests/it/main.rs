//! The ledger through its public face.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod attacks;
mod canonical;
mod completeness;
mod corpus;
mod directory;
mod field_proof;
#[path = "../../../../fuzz/src/ledger.rs"]
#[expect(unreachable_pub, reason = "public in the fuzz crate")]
mod fuzz;
mod note;
mod proofs;
mod record;
mod sealed;
mod witnessing;
mod world;
