//! The commit path: the writer thread, what one group of batches becomes, and what the store records of itself.

pub(crate) mod changes;
pub(crate) mod erase;
pub(crate) mod group_commit;
pub(crate) mod heartbeat;
pub(crate) mod outage;
pub(crate) mod outage_records;
pub(crate) mod preconditions;
pub(crate) mod session_counts;
pub(crate) mod spool;
pub(crate) mod sweep;
pub(crate) mod writer;
