//! `remit audit …`: reads a ledger folder. Needs neither the server nor its database.

use crate::{
    agent::print,
    cli::{AuditCommand, AuditRecord},
    config,
};
use anyhow::{Context as _, Result, bail};
use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use remit_insight::{CustodyReport, ReplayReport, custody, explain_at, replay};
use remit_ledger::{Reader, Record, Report, Trust, verify};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Records shown when none is named.
const LATEST: u64 = 20;

/// Runs the command; `false` when a check failed.
pub(crate) async fn run(command: &AuditCommand) -> Result<bool> {
    let command = command.clone();
    tokio::task::spawn_blocking(move || match &command {
        AuditCommand::Show(args) => show(args).map(|()| true),
        AuditCommand::Explain(args) => explained(args).map(|()| true),
        AuditCommand::Verify { dir, vkey, json } => {
            let proof = prove(dir, vkey.clone());
            if *json {
                print(&proof.to_value())?;
            } else {
                say(&proof.lines());
            }
            Ok(proof.holds())
        }
        AuditCommand::Replay { dir, json } => {
            let report = replay(&open(dir)?);
            if *json {
                print(&serde_json::to_value(&report)?)?;
            } else {
                say(&replay_lines(&report));
            }
            Ok(report.ok())
        }
    })
    .await?
}

/// Everything that can be said about a ledger folder from itself.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) log: Report,
    pub(crate) custody: Option<CustodyReport>,
    pub(crate) replay: Option<ReplayReport>,
}

/// Verifies a folder: the log, then the chain of custody, then every decision.
pub(crate) fn prove(dir: &Path, vkey: Option<String>) -> Proof {
    let log = verify(dir, &Trust { vkey, earlier: None });
    // A log that cannot be opened has no custody to check; the report already says why.
    let reader = Reader::open(dir).ok();
    Proof { custody: reader.as_ref().map(custody), replay: reader.as_ref().map(replay), log }
}

impl Proof {
    pub(crate) fn holds(&self) -> bool {
        self.log.ok()
            && self.custody.as_ref().is_some_and(CustodyReport::ok)
            && self.replay.as_ref().is_some_and(ReplayReport::ok)
    }

    pub(crate) fn to_value(&self) -> Value {
        json!({"ok": self.holds(), "disclosed": self.custody.as_ref().is_some_and(|report| report.undisclosed == 0) && self.replay.as_ref().is_some_and(|report| report.undisclosed == 0), "log": self.log, "custody": self.custody, "replay": self.replay})
    }

    /// One line for each check that holds or fails, then what is worth knowing.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for check in &self.log.checks {
            let place = check.index.map(|index| format!(" at record {index}")).unwrap_or_default();
            lines.push(format!("{} {}{place}: {}", if check.ok { "ok  " } else { "FAIL" }, check.name, check.detail));
        }
        if let Some(custody) = &self.custody {
            lines.extend(custody_lines(custody));
        }
        if let Some(replay) = &self.replay {
            lines.extend(replay_lines(replay));
        }
        if !self.log.unknown_outcomes.is_empty() {
            lines.push(format!(
                "note an intent has no effect record, so its outcome is unknown: records {:?}",
                self.log.unknown_outcomes
            ));
        }
        lines.extend(self.log.notes.iter().map(|note| format!("note {note}")));
        if !self.log.independent {
            lines.push("note the log's key was taken from the log itself: this shows that it is whole, not whose it is; give --vkey from a source you trust".to_owned());
        }
        let root = self.log.root.map(|root| format!(", root {root}")).unwrap_or_default();
        let hidden = self.custody.as_ref().map_or(0, |report| report.undisclosed)
            + self.replay.as_ref().map_or(0, |report| report.undisclosed);
        let verdict = match (self.holds(), hidden) {
            (true, 0) => "VERIFIED",
            (true, _) => "VERIFIED as far as this copy discloses (see the undisclosed custody and decisions above)",
            (false, _) => "NOT VERIFIED",
        };
        lines.push(format!("{verdict}: {} records{root}", self.log.records));
        lines
    }
}

fn custody_lines(report: &CustodyReport) -> Vec<String> {
    let mut lines: Vec<String> =
        report.failures.iter().map(|failure| format!("FAIL custody at record {}: {}", failure.index, failure.detail)).collect();
    lines.push(format!(
        "{} custody: {} chains, {} hops re-checked by the delegators' signatures, {} undisclosed",
        if report.ok() { "ok  " } else { "FAIL" },
        report.chains,
        report.hops,
        report.undisclosed
    ));
    lines
}

fn replay_lines(report: &ReplayReport) -> Vec<String> {
    let mut lines: Vec<String> = report
        .mismatches
        .iter()
        .map(|mismatch| format!("FAIL replay at record {}: {}", mismatch.index, mismatch.detail))
        .collect();
    lines.push(format!(
        "{} replay: {} of {} decisions agree, {} undisclosed",
        if report.ok() { "ok  " } else { "FAIL" },
        report.agree,
        report.decisions,
        report.undisclosed
    ));
    lines
}

fn say(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

fn show(args: &AuditRecord) -> Result<()> {
    let reader = open(&folder(args)?)?;
    if let Some(wanted) = &args.record {
        let (index, record) = find(&reader, wanted)?;
        let side = reader.side(index)?.and_then(|side| serde_json::from_slice::<Value>(&side.to_bytes()).ok());
        let value = json!({"index": index, "record": record.value(), "side": side});
        return print(&value);
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
            record.record_type().to_owned(),
            record.action().to_owned(),
            record.outcome().to_owned(),
            code,
        ]);
    }
    if args.config.json {
        return print(&Value::Array(rows));
    }
    println!("{table}");
    Ok(())
}

fn explained(args: &AuditRecord) -> Result<()> {
    let reader = open(&folder(args)?)?;
    let Some(wanted) = &args.record else { bail!("name a record: its id or its number") };
    let (index, record) = find(&reader, wanted)?;
    let explanation = explain_at(&reader, index)?;
    if args.config.json {
        return print(&serde_json::to_value(&explanation)?);
    }
    println!("Record {index} ({})", record.record_id());
    for (word, lines) in [
        ("Who", &explanation.who),
        ("What", &explanation.what),
        ("Why", &explanation.why),
        ("How", &explanation.how),
        ("When", &explanation.when),
    ] {
        for (number, line) in lines.iter().enumerate() {
            println!("{:<6}{line}", if number == 0 { word } else { "" });
        }
    }
    Ok(())
}

fn open(dir: &Path) -> Result<Reader> {
    Reader::open(dir).with_context(|| format!("{} is not a ledger folder", dir.display()))
}

fn folder(args: &AuditRecord) -> Result<PathBuf> {
    if let Some(dir) = &args.dir {
        return Ok(dir.clone());
    }
    let loaded = config::load(&args.config.config).map_err(|problems| config::report(&problems))?;
    Ok(loaded.at(&loaded.config.ledger.dir))
}

/// A record by its number or its id; the latest first, because that is what people ask for.
fn find(reader: &Reader, wanted: &str) -> Result<(u64, Record)> {
    if let Ok(index) = wanted.parse::<u64>() {
        let record = reader.record(index).with_context(|| format!("the ledger has {} published records", reader.len()))?;
        return Ok((index, record));
    }
    for index in (0..reader.len()).rev() {
        let record = reader.record(index)?;
        if record.record_id() == wanted {
            return Ok((index, record));
        }
    }
    bail!("no published record has the id `{wanted}`; a record is published within a second")
}
