//! `remit audit replay`: the past again, at the level asked for. Live re-execution is none of them and does not exist.

use super::{
    source::{Source, say},
    view,
};
use crate::stdout::print_json;
use anyhow::Result;
use clap::{Args, ValueEnum};
use remit_clock::Ambient;
use remit_insight::{ReplayReport, execution, replay};
use std::path::PathBuf;

/// What is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Nothing: the timeline is shown, in a player when there is a terminal
    View,
    /// Every decision, from its pinned policies and inputs; it must come out the same
    Decision,
    /// Captured calls: authority, decision and masking, with the upstream's answer read back from the ledger
    Execution,
}

/// Repeats the past from the ledger alone. No level calls anything: live re-execution against real systems does not exist.
#[derive(Clone, Debug, Args)]
pub(crate) struct Replay {
    /// The ledger folder (default: from the configuration)
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// What is repeated
    #[arg(long, value_enum, default_value_t = Level::Decision)]
    level: Level,
    #[command(flatten)]
    viewing: view::Viewing,
    #[command(flatten)]
    source: Source,
    #[arg(skip)]
    json: bool,
}

pub(super) fn run(args: &Replay, ambient: &Ambient) -> Result<bool> {
    let mut args = args.clone();
    args.json = args.source.config.json;
    let mut source = args.source.clone();
    if let Some(folder) = args.folder.take() {
        source.dir = Some(folder);
    }
    match args.level {
        Level::View => view::run(&args.viewing, &source, args.json, ambient).map(|()| true),
        Level::Decision => {
            let report = replay(&source.open()?);
            if args.json {
                print_json(&serde_json::to_value(&report)?)?;
            } else {
                say(&replay_lines(&report));
            }
            Ok(report.ok())
        }
        Level::Execution => {
            let report = execution(&source.open()?);
            if args.json {
                print_json(&serde_json::to_value(&report)?)?;
            } else {
                out!("{report}");
            }
            Ok(report.ok())
        }
    }
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
