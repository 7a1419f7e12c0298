//! Side values, used only if they match what the record commits to; and the record's own time.

use remit_ledger::{Reader, Record, Side};
use remit_model::UnixTime;

/// The openings of record `index`, checked against its `commit.root`; `None` when they are not with this copy.
///
/// # Errors
/// In words: they cannot be read, or are not the ones that were committed.
pub(crate) fn opened(reader: &Reader, index: u64, record: &Record) -> Result<Option<Side>, String> {
    match reader.side_of(index, record) {
        Ok(Some(side)) if side.root() != record.commit_root() => {
            Err("the values beside the record are not those it commits to".to_owned())
        }
        Ok(side) => Ok(side),
        Err(error) => Err(error.to_string()),
    }
}

/// When the record was written, by its own clock.
pub(crate) fn written(record: &Record) -> UnixTime {
    UnixTime(i64::try_from(record.wall_ns() / 1_000_000_000).unwrap_or(i64::MAX))
}
