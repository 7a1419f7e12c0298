//! Insight over ledgers that were written for the purpose, honest and otherwise.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod corpus;
mod custody;
mod execution;
mod explain;
mod export;
mod mtls;
mod reconcile;
mod replay;
mod search;
mod seeds;
mod timeline;
mod what_if;
mod world;
