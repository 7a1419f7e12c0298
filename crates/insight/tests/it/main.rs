//! Insight over ledgers that were written for the purpose, honest and otherwise.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod corpus;
mod custody;
mod explain;
mod replay;
mod search;
mod what_if;
mod world;
