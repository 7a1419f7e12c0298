//! The database.

pub(crate) mod readers;
pub(crate) mod sqlite;
