//! Records as a table: when, who, what, where, how it ended and why.

use anyhow::Result;
use comfy_table::{ContentArrangement, Table};
use remit_insight::timeline;
use remit_ledger::{Reader, Record};
use remit_model::display;
use serde_json::{Value, json};

/// One record as a row.
#[derive(Debug)]
pub(super) struct Row {
    index: u64,
    record_id: String,
    time: String,
    kind: String,
    who: String,
    action: String,
    /// The server and the tool, as far as it is about one.
    at: String,
    outcome: String,
    code: String,
    /// The policies that determined the decision.
    policies: Vec<String>,
}

impl Row {
    /// Reads a record. People and agents have their names where this copy, or the keys at hand, disclose them.
    ///
    /// # Errors
    /// The record cannot be read.
    pub(super) fn of(reader: &Reader, index: u64, record: &Record) -> Result<Self> {
        let text = |pointer: &str| record.text(pointer).unwrap_or_default().to_owned();
        let at = [text("/tool/server_id"), text("/tool/name")].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let code = record.text("/outcome/code").or_else(|| record.text("/decision/reason_code")).unwrap_or_default();
        let policies = record.value().pointer("/decision/policies").and_then(Value::as_array);
        let ids = policies.into_iter().flatten().filter_map(|policy| policy.get("id")?.as_str().map(str::to_owned));
        Ok(Self {
            index,
            record_id: record.record_id().to_owned(),
            time: text("/time/wall"),
            kind: record.record_type().to_owned(),
            who: timeline::line(reader, index)?.who,
            action: record.action().to_owned(),
            at: at.join("/"),
            outcome: record.outcome().to_owned(),
            code: code.to_owned(),
            policies: ids.collect(),
        })
    }

    /// The row for a program.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "index": self.index, "record_id": self.record_id, "time": self.time, "type": self.kind, "who": self.who,
            "action": self.action, "at": self.at, "outcome": self.outcome, "code": self.code, "policies": self.policies,
        })
    }

    /// Why it ended so: the refusal's code and the policies behind it.
    fn why(&self) -> String {
        let code = (!self.code.is_empty()).then(|| self.code.clone());
        let policies = (!self.policies.is_empty()).then(|| self.policies.join(", "));
        code.into_iter().chain(policies).collect::<Vec<_>>().join(": ")
    }
}

/// The rows as a table, one line each where the terminal is wide enough.
pub(super) fn print(rows: &[Row]) {
    let mut table = plain(&["#", "time", "who", "action", "server/tool", "outcome", "why"]);
    for row in rows {
        let shown = |text: &str| display::escape(text).into_owned();
        let action = if row.action.is_empty() { &row.kind } else { &row.action };
        table.add_row([
            row.index.to_string(),
            row.time.get(..19).unwrap_or(&row.time).replace('T', " "),
            shown(&row.who),
            shown(action),
            shown(&row.at),
            shown(&row.outcome),
            shown(&row.why()),
        ]);
    }
    outln!("{}", table.trim_fmt());
}

/// A table without rules.
fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(160);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    table
}
