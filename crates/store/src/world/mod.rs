//! The world: everything that a snapshot shows, as rows that are loaded, committed and followed alike.

mod agent_index;
pub(crate) mod follow;
pub(crate) mod row;
pub(crate) mod snapshot;
