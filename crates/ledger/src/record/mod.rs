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
mod error;
mod fields;
mod identity;
pub(crate) mod key;
mod leaf;
mod limits;
mod parse;
mod party;
mod rfc3339;
mod seal;
mod seal_side;
mod values;

pub(crate) use canonical_writer::CanonicalWriter;
pub use commit::{Opening, Side, SideError};
pub use draft::{Draft, ProducerKind, RecordType, Turn};
pub use error::SealError;
pub use fields::{
    Action, Classification, DecisionFacts, DecisionResult, EffectConfirmed, Engine, Http, HumanInLoop, Mask, Masked, Mcp,
    Outcome, OutcomeStatus, PolicyFact, PolicyFailure, Protocol, Purpose, Resource, Retention, Session, Tool, Trace,
};
pub use identity::{Environment, Identity, Position};
pub use key::{Pepper, RecordKey, verify_record_signature};
pub use limits::{
    CHAIN_LIMIT, COMMIT_LIMIT, ENTRY_LIMIT, EXPLANATION_LIMIT, FIELD_LIMIT, JSON_SCHEMA, RESOURCE_LIMIT, SCHEMA, SIDE_LIMIT,
};
pub(crate) use parse::decimal;
pub use parse::{Record, RecordError};
pub use party::{AgentFacts, Auth, AuthMethod, Edge, GrantFacts, GrantKind, Party, PartyKind, TokenFacts};
pub use seal::{Sealed, Sealer};
pub use seal_side::KeySource;
