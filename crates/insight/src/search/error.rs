//! Why the search index could not be used.

use remit_ledger::dir::ReadError;
use std::io;

/// Why the index could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("the search index: {0}")]
    Index(#[from] rusqlite::Error),
    #[error("the search index is damaged: {0}; make it anew")]
    Damaged(&'static str),
    #[error("the file is something else than a search index, so it was left as it is")]
    SomethingElse,
    #[error("the search index cannot be made anew: {0}")]
    Remove(#[from] io::Error),
    #[error("another process is bringing the search index up to date; try again")]
    Busy,
    #[error("record {index} was added to the search index, which stands at {size}")]
    Order { index: u64, size: u64 },
    #[error(transparent)]
    Read(#[from] ReadError),
}
