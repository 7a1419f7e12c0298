//! The database behind verbs. Nothing above this room names a driver or a statement.
//!
//! A group of batches is `begin`, `facts`, `write`, `commit`; each verb is shaped so that an engine behind a network needs
//! one round trip for it, and `begin` and `facts`, or `write` and `commit`, can share one. SQLite is the only engine so far.
//! A second one becomes `enum Db { Sqlite(…), Postgres(…) }` here, with the statements of `sql.rs` and these verbs.

pub(crate) mod error;
pub(crate) mod group;
pub(crate) mod readers;
mod sql;
pub(crate) mod sqlite;
