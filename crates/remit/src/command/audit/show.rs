//! `remit audit show`: one record whole, or the latest in a table.

use super::source::{OneRecord, find};
use crate::stdout::print_json;
use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use remit_model::display;
use serde_json::{Value, json};

/// Records shown when none is named.
const LATEST: u64 = 20;

pub(super) fn run(args: &OneRecord) -> Result<()> {
    let reader = args.source.open()?;
    if let Some(wanted) = &args.record {
        let (index, record) = find(&reader, wanted)?;
        let side = reader.side(index)?.and_then(|side| serde_json::from_slice::<Value>(&side.to_bytes()).ok());
        let value = json!({"index": index, "record": record.value(), "side": side});
        return print_json(&value);
    }
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(120)
        .set_header(["#", "time", "type", "action", "outcome", "code"]);
    let mut rows = Vec::new();
    for index in reader.len().saturating_sub(LATEST)..reader.len() {
        let record = reader.record(index)?;
        let code = record.text("/decision/reason_code").unwrap_or_default().to_owned();
        let time = record.text("/time/wall").unwrap_or_default().to_owned();
        rows.push(json!({"index": index, "record_id": record.record_id(), "time": time, "type": record.record_type(), "action": record.action(), "outcome": record.outcome(), "code": code}));
        table.add_row([
            index.to_string(),
            time.get(..19).unwrap_or_default().to_owned(),
            display::escape(record.record_type()).into_owned(),
            display::escape(record.action()).into_owned(),
            display::escape(record.outcome()).into_owned(),
            display::escape(&code).into_owned(),
        ]);
    }
    if args.source.config.json {
        return print_json(&Value::Array(rows));
    }
    outln!("{table}");
    Ok(())
}
