//! The record's schema and the limits that every reader and writer of a record holds to.

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
