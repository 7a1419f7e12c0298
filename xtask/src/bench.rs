//! `cargo xtask bench`: measures in the release profile and puts the figures where people look for them.

use crate::run;
use anyhow::{Result, bail};

/// The full run writes `bench/latest.json` and the table of `docs/performance.md`; `--quick` only prints.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let cargo = run::cargo();
    run::run(&cargo, &["build", "--release", "--locked", "--package", "remit-bench"])?;
    let program = run::target().join("release").join("remit-bench").display().to_string();
    let latest = run::root().join("bench").join("latest.json").display().to_string();
    let page = run::root().join("docs").join("performance.md").display().to_string();
    match words {
        [] => run::run(&program, &["--out", &latest, "--table", &page]),
        ["--quick"] => run::run(&program, &["--quick"]),
        other => bail!("`bench` takes `--quick` or nothing, not {other:?}"),
    }
}
