//! The audit record `agent.audit.v1`: drafted by the part that acts, sealed by the one writer, parsed by anyone.
//!
//! A [`Draft`] says what happened in plain values. [`Sealer::seal`] turns personal values into salted commitments
//! and keyed pseudonyms, gives the record its place (producer, epoch, sequence, previous hash), hashes the canonical
//! form (RFC 8785) and signs it. What must be forgettable leaves in a [`Side`] that lives beside the log; the
//! [`Sealed`] bytes hold no personal value and no secret (LG-03).

mod canonical_writer;
mod commit;
mod draft;
mod envelope;
mod fields;
pub(crate) mod key;
mod parse;
mod party;
mod seal;
mod seal_side;
mod values;

pub(crate) use canonical_writer::CanonicalWriter;
pub use commit::{Opening, Side, SideError};
pub use draft::{Draft, ProducerKind, RecordType, Turn};
pub use fields::{
    Action, Classification, DecisionFacts, DecisionResult, EffectConfirmed, Engine, Http, HumanInLoop, Mask, Masked, Mcp,
    Outcome, OutcomeStatus, PolicyFact, PolicyFailure, Protocol, Purpose, Resource, Retention, Session, Tool, Trace,
};
pub use key::{Pepper, RecordKey, verify_record_signature};
pub(crate) use parse::decimal;
pub use parse::{Record, RecordError};
pub use party::{AgentFacts, Auth, AuthMethod, Edge, GrantFacts, GrantKind, Party, PartyKind, TokenFacts};
pub use seal::{Environment, Identity, Position, SealError, Sealed, Sealer};
pub use seal_side::KeySource;

/// The value of `schema` in every record.
pub const SCHEMA: &str = "agent.audit.v1";
/// JSON Schema (2020-12) of a record.
pub const JSON_SCHEMA: &str = include_str!("../../../../schema/agent.audit.v1.json");
/// Longest canonical record: an entry bundle prefixes each with a 16-bit length. SPEC: LG-01.
pub const ENTRY_LIMIT: usize = 65_535;
/// Most bytes of canonical side values one record may bring.
pub const SIDE_LIMIT: usize = 4 << 20;
/// Most nodes in `chain`. SPEC: record.md §1.11.
pub const CHAIN_LIMIT: usize = 16;
/// Most entries in `resource`.
pub const RESOURCE_LIMIT: usize = 256;
/// Most pointers kept in one list of fields; a longer list is cut and its true length recorded beside it.
pub const FIELD_LIMIT: usize = 128;
/// Most committed values in one record.
pub const COMMIT_LIMIT: usize = 256;
/// Most bytes of `decision.explanation`.
pub const EXPLANATION_LIMIT: usize = 512;
