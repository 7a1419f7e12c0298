//! Why a draft cannot become a record.

use super::{ENTRY_LIMIT, SIDE_LIMIT};
use remit_model::Fault;

/// Why a draft cannot become a record. Nothing was consumed: the sequence stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the record is {bytes} bytes; an entry holds at most {ENTRY_LIMIT}")]
    TooLarge { bytes: usize },
    #[error("the committed values are {bytes} bytes; a record may bring {SIDE_LIMIT}")]
    SideTooLarge { bytes: usize },
    #[error("{count} {what}; a record holds at most {limit}")]
    TooMany { what: &'static str, count: usize, limit: usize },
    #[error("committed path `{path}` {why}")]
    Path { path: String, why: &'static str },
    #[error("`{member}` holds a number that a double cannot; write it as a decimal string")]
    Number { member: String },
    /// The key of a subject is not to be had: nothing can be recorded about them.
    #[error("the key store failed: {fault}")]
    Key { fault: Fault },
    #[error("the first record of an epoch must be the log_control start record")]
    NotStarted,
}
