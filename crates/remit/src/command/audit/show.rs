//! `remit audit show`: one record whole, or the latest in a table.

use super::{
    source::{OneRecord, find},
    table::{self, Row},
};
use crate::stdout::print_json;
use anyhow::Result;
use remit_ledger::Reader;
use serde_json::{Value, json};

/// Records shown when none is named.
const LATEST: u64 = 20;

pub(super) fn run(args: &OneRecord) -> Result<()> {
    let reader = args.source.open()?;
    let Some(wanted) = &args.record else { return latest(&reader, args.source.config.json) };
    let (index, record) = find(&reader, wanted)?;
    let side = reader.side(index)?.and_then(|side| serde_json::from_slice::<Value>(&side.to_bytes()).ok());
    let value = json!({"index": index, "record": record.value(), "side": side});
    print_json(&value)
}

/// The latest records, oldest first.
///
/// # Errors
/// A record cannot be read.
pub(super) fn latest(reader: &Reader, as_json: bool) -> Result<()> {
    let indices = reader.len().saturating_sub(LATEST)..reader.len();
    let rows = indices.map(|index| Row::of(reader, index, &reader.record(index)?)).collect::<Result<Vec<_>>>()?;
    if as_json {
        return print_json(&rows.iter().map(Row::to_json).collect());
    }
    table::print(&rows);
    Ok(())
}
