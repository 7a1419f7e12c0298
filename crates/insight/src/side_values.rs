//! Side values, used only if they match what the record commits to; and the record's own time.

use remit_ledger::{Reader, Record, Side, dir::ReadError};
use remit_model::UnixTime;
use thiserror::Error;

/// Why side values cannot be used.
#[derive(Debug, Error)]
pub(crate) enum UnusableSide {
    #[error("the values beside the record are not those it commits to")]
    Foreign,
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The openings of record `index`, checked against its `commit.root`; `None` when they are not with this copy.
///
/// # Errors
/// [`UnusableSide`].
pub(crate) fn opened(reader: &Reader, index: u64, record: &Record) -> Result<Option<Side>, UnusableSide> {
    let side = reader.side_of(index, record)?;
    if side.as_ref().is_some_and(|side| side.root() != record.commit_root()) {
        return Err(UnusableSide::Foreign);
    }
    Ok(side)
}

/// When the record was written, by its own clock.
pub(crate) fn written(record: &Record) -> UnixTime {
    UnixTime(i64::try_from(record.wall_ns() / 1_000_000_000).unwrap_or(i64::MAX))
}
