//! `cargo xtask interop`: end-to-end tests with programs that are too large or too slow for `cargo xtask test`.
//!
//! Each suite runs by name, or all of them without one. What a suite needs is installed when it is first run; a suite that
//! cannot run here is skipped, in one line that says why, unless it was asked for by name.

use crate::{generated, run, setup};
use anyhow::{Result, bail};

/// An agent framework in a Python environment of its own.
struct Suite {
    name: &'static str,
    /// What it takes, measured: why it is not part of `cargo xtask test`.
    cost: &'static str,
    /// The ignored test of `remit-e2e` that it runs.
    test: &'static str,
}

const SUITES: [Suite; 3] = [
    Suite { name: "google-adk", cost: "156 MB of packages, two minutes", test: "frameworks::google_adk" },
    Suite { name: "llama-index", cost: "300 MB of packages, two minutes", test: "frameworks::llama_index" },
    Suite { name: "strands", cost: "127 MB of packages, two minutes", test: "frameworks::strands" },
];

pub(crate) fn run(names: &[&str]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| SUITES.iter().all(|suite| suite.name != **name)) {
        let known: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        bail!("there is no suite {unknown:?}; the suites are {}", known.join(", "));
    }
    setup::all()?;
    let binary = generated::binary()?.display().to_string();
    let mut failed = Vec::new();
    for suite in SUITES.iter().filter(|suite| names.is_empty() || names.contains(&suite.name)) {
        let list = format!("interop/{}.txt", suite.name);
        let python = match setup::python_environment(&format!("interop/{}", suite.name), &list) {
            Ok(python) => python.display().to_string(),
            Err(error) if names.is_empty() => {
                println!("interop: skipped {}: {error:#}", suite.name);
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = test(suite, &binary, &python) {
            eprintln!("interop: {}: {error:#}", suite.name);
            failed.push(suite.name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}

/// One line for each suite that the ordinary test command leaves out.
pub(crate) fn say_what_is_skipped() {
    for Suite { name, cost, .. } in &SUITES {
        println!("test: skipped {name} ({cost}): cargo xtask interop {name}");
    }
}

fn test(suite: &Suite, binary: &str, python: &str) -> Result<()> {
    println!("interop: {}", suite.name);
    let usual = setup::python().display().to_string();
    let variables = [("REMIT_BIN", binary), ("REMIT_E2E_PYTHON", usual.as_str()), ("REMIT_E2E_INTEROP_PYTHON", python)];
    let arguments = ["test", "--package", "remit-e2e", "--test", "it", "--locked", "--", "--exact", suite.test, "--ignored"];
    run::run_in(&run::root(), &run::cargo(), &arguments, &variables)
}
