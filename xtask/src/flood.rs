//! `cargo xtask flood`: what strangers can do to a running server, at full size, against the release build or the binary that
//! `REMIT_BIN` names. The end-to-end tests run the same with fewer requests.

use crate::{generated, run};
use anyhow::{Result, bail};

/// More than the silent connections and those that flood.
const DESCRIPTORS: u32 = 4_096;

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let size = match words {
        [] => "full",
        ["--quick"] => "quick",
        other => bail!("flood takes nothing or --quick, not {other:?}"),
    };
    let binary = match run::variable("REMIT_BIN") {
        Some(binary) => binary,
        None if size == "full" => {
            run::run(&run::cargo(), &["build", "--release", "--package", "remit", "--locked"])?;
            run::target().join("release/remit").display().to_string()
        }
        None => generated::binary()?.display().to_string(),
    };
    // The soft limit is often too low for the connections that are held open.
    let test = format!(
        "ulimit -n {DESCRIPTORS} 2>/dev/null; exec {} test --package remit-e2e --test it --locked -- --exact {TEST} --nocapture",
        run::cargo()
    );
    run::run_in(&run::root(), "sh", &["-c", &test], &[("REMIT_BIN", &binary), ("REMIT_FLOOD", size)])
}

const TEST: &str = "flood::a_flood_of_strangers_stops_nobody_and_fills_nothing";
