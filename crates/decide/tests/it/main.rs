//! The decision point through its public face.
#![expect(clippy::unwrap_used, reason = "tests")]

mod active;
mod bearer;
mod budgets;
mod facts;
mod fields;
mod oracle;
mod registry;
