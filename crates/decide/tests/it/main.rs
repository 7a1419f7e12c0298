//! The decision point through its public face.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod active;
mod budgets;
mod facts;
mod fields;
mod oracle;
mod registry;
