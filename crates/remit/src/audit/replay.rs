//! `remit audit replay`: every decision, made again.

use super::{open_with, say};
use crate::agent::print;
use anyhow::Result;
use clap::Args;
use remit_insight::{ReplayReport, replay};
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
pub(crate) struct Replay {
    /// The ledger folder
    dir: PathBuf,
    /// Read sealed values with the keys of this disclosure file (default: the configuration's own, for its own ledger)
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Configuration file, read only to find its own keys
    #[arg(short, long, default_value = "remit.yaml", value_name = "FILE")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Replay) -> Result<bool> {
    let report = replay(&open_with(&args.dir, args.keys.as_deref(), &args.config)?);
    if args.json {
        print(&serde_json::to_value(&report)?)?;
    } else {
        say(&replay_lines(&report));
    }
    Ok(report.ok())
}

pub(super) fn replay_lines(report: &ReplayReport) -> Vec<String> {
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
