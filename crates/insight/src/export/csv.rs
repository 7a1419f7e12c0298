//! CSV (RFC 4180) with fixed columns, safe to open in a spreadsheet: no cell can begin a formula.

use super::Item;

/// The columns, in order; a newer version only adds at the end.
pub const COLUMNS: &[&str] = &[
    "index",
    "record_id",
    "record_type",
    "time",
    "tenant",
    "producer",
    "epoch",
    "seq",
    "origin_ref",
    "origin_name",
    "caller_ref",
    "caller_name",
    "caller_agent",
    "chain_depth",
    "owner_ref",
    "txn",
    "protocol",
    "action",
    "class",
    "server",
    "tool",
    "resource_type",
    "resource_ref",
    "classification",
    "decision",
    "reason_code",
    "policy",
    "outcome",
    "effect_confirmed",
    "outcome_code",
    "human_in_loop",
    "purpose",
    "intent_id",
    "retention_class",
    "not_before_delete",
    "trace_id",
    "record_hash",
    "log_origin",
    "checkpoint_size",
    "clock_status",
    "error_bound_ns",
];

/// The header line.
pub fn header() -> Vec<u8> {
    row(COLUMNS.iter().map(|&column| column.to_owned()).collect())
}

/// The record's line.
pub fn line(item: &Item<'_>) -> Vec<u8> {
    let text = |pointer: &str| item.text(pointer).to_owned();
    let caller = |pointer: &str| item.caller_text(pointer).unwrap_or_default().to_owned();
    row(vec![
        item.index.to_string(),
        text("/record_id"),
        text("/record_type"),
        text("/time/wall"),
        text("/tenant_id"),
        text("/producer/id"),
        text("/producer/epoch"),
        text("/seq"),
        text("/chain/0/subject_ref"),
        item.names.at(0).unwrap_or_default().to_owned(),
        caller("/subject_ref"),
        item.caller_name().unwrap_or_default().to_owned(),
        caller("/agent/uid"),
        item.record.chain().len().to_string(),
        text("/owner_ref"),
        text("/txn"),
        text("/protocol"),
        text("/action/name"),
        text("/action/class"),
        text("/tool/server_id"),
        text("/tool/name"),
        text("/resource/0/type"),
        text("/resource/0/id_ref"),
        text("/resource/0/classification"),
        text("/decision/result"),
        text("/decision/reason_code"),
        text("/decision/policies/0/id"),
        text("/outcome/status"),
        text("/outcome/effect_confirmed"),
        text("/outcome/code"),
        text("/human_in_loop"),
        text("/purpose/code"),
        text("/intent_id"),
        text("/retention/class"),
        text("/retention/not_before_delete"),
        text("/trace/trace_id"),
        text("/record_hash"),
        item.origin.to_owned(),
        item.size.to_string(),
        text("/time/clock_status"),
        item.record.error_bound_ns().map(|bound| bound.to_string()).unwrap_or_default(),
    ])
}

fn row(cells: Vec<String>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(cells.into_iter().map(harmless));
    writer.into_inner().unwrap_or_default()
}

/// A cell that no spreadsheet takes for a formula: an apostrophe in front says "text".
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_can_begin_a_formula_or_leave_its_row() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"] {
            let written = String::from_utf8(row(vec![cell.to_owned(), "x".to_owned()])).unwrap();
            assert!(written.trim_start_matches('"').starts_with('\''), "{written}");
        }
        let written = row(vec!["a,\"b\"\r\nc".to_owned(), "1=1".to_owned()]);
        assert_eq!(written, b"\"a,\"\"b\"\"\r\nc\",1=1\r\n");
    }
}
