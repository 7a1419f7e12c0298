//! `remit audit what-if`: past decisions under other policies.

use super::source::Source;
use crate::{server::reload, stdout::print_json};
use anyhow::{Result, anyhow};
use clap::Args;
use remit_clock::Ambient;
use remit_insight::{moment_ns, what_if};
use remit_policy::Known;
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
pub(crate) struct WhatIf {
    /// The candidate: a folder of *.cedar files
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// Only decisions since then: 30d, 12h, an RFC 3339 time or a date
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Exit with 1 when any decision flips
    #[arg(long)]
    fail_on_flip: bool,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &WhatIf, ambient: &Ambient) -> Result<bool> {
    let candidate = reload::read(&args.policies, &Known::default())?;
    let now = ambient.clock.now().wall_ns;
    let since = args.since.as_deref().map(|text| moment_ns(text, now)).transpose().map_err(|why| anyhow!("--since: {why}"))?;
    let report = what_if(&args.source.open()?, &candidate, since)?;
    if args.source.config.json {
        print_json(&serde_json::to_value(&report)?)?;
    } else {
        out!("{report}");
    }
    Ok(report.flipped == 0 || !args.fail_on_flip)
}
