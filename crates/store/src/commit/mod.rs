//! The commit path: the writer thread, what one group of batches becomes, and what the log records of itself.
//!
//! Bottom up: `weighing`, `preconditions`, `changes` and `erase` weigh one batch, `admit` a group; `seal` gives rows their
//! final form; `group_commit` is the transaction, `spill` what happens when it fails, `writer` the thread.

pub(crate) mod admit;
mod changes;
pub(crate) mod command;
mod erase;
pub(crate) mod group_commit;
pub(crate) mod heartbeat;
pub(crate) mod outage;
mod outage_records;
mod preconditions;
pub(crate) mod seal;
pub(crate) mod session_counts;
mod spill;
pub(crate) mod spool;
mod sweep;
mod value_expiry;
mod weighing;
pub(crate) mod writer;
