//! The store through its public face: rules of commit, the published ledger, and death at any moment.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod commit;
mod crash;
mod fixture;
mod follow;
mod forget;
mod outages;
mod publication;
mod rows;
mod rules;
mod sessions;
mod unproven;
