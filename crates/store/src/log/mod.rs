//! From the database to the published ledger: publication, retention, witnesses.

pub(crate) mod publisher;
pub(crate) mod retention;
pub(crate) mod witness;
