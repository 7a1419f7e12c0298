//! The ledger through its public face.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod attacks;
mod canonical;
mod completeness;
mod corpus;
mod directory;
mod field_proof;
mod note;
mod proofs;
mod record;
mod sealed;
mod witnessing;
mod world;
