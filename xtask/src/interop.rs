//! `cargo xtask interop`: end-to-end tests with programs that are too large or too slow for `cargo xtask test`.
//!
//! Each suite runs by name, or all of them without one. What a suite needs is installed when it is first run; a suite that
//! cannot run here is skipped, in one line that says why, unless it was asked for by name.

use crate::{generated, run, setup};
use anyhow::{Result, bail};

/// An agent framework with packages of its own.
struct Suite {
    name: &'static str,
    packages: Packages,
    /// What it takes, measured: why it is not part of `cargo xtask test`.
    cost: &'static str,
    /// The ignored test of `remit-e2e` that it runs.
    test: &'static str,
}

/// What a list in `e2e/clients/interop` installs.
#[derive(Clone, Copy)]
enum Packages {
    /// `NAME.txt`: a virtual environment.
    Python,
    /// `NAME/package-lock.json`: a folder with `node_modules`.
    Node,
}

const SUITES: [Suite; 4] = [
    Suite {
        name: "google-adk",
        packages: Packages::Python,
        cost: "156 MB of packages, two minutes",
        test: "frameworks::google_adk",
    },
    Suite {
        name: "llama-index",
        packages: Packages::Python,
        cost: "300 MB of packages, two minutes",
        test: "frameworks::llama_index",
    },
    Suite { name: "strands", packages: Packages::Python, cost: "127 MB of packages, two minutes", test: "frameworks::strands" },
    Suite {
        name: "langchain-js",
        packages: Packages::Node,
        cost: "89 MB of packages, one minute",
        test: "libraries::langchain_tools",
    },
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
        let installed = match install(suite) {
            Ok(installed) => installed,
            Err(error) if names.is_empty() => {
                println!("interop: skipped {}: {error:#}", suite.name);
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = test(suite, &binary, &installed) {
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

/// Installs what a suite needs; its Python, or the folder that has its `node_modules`.
fn install(suite: &Suite) -> Result<String> {
    let place = format!("interop/{}", suite.name);
    let installed = match suite.packages {
        Packages::Python => setup::python_environment(&place, &format!("{place}.txt"))?,
        Packages::Node => setup::node_folder(&place)?,
    };
    Ok(installed.display().to_string())
}

fn test(suite: &Suite, binary: &str, installed: &str) -> Result<()> {
    println!("interop: {}", suite.name);
    let usual = setup::python().display().to_string();
    let packages = match suite.packages {
        Packages::Python => "REMIT_E2E_INTEROP_PYTHON",
        Packages::Node => "REMIT_E2E_INTEROP_NODE",
    };
    let variables = [("REMIT_BIN", binary), ("REMIT_E2E_PYTHON", usual.as_str()), (packages, installed)];
    let arguments = ["test", "--package", "remit-e2e", "--test", "it", "--locked", "--", "--exact", suite.test, "--ignored"];
    run::run_in(&run::root(), &run::cargo(), &arguments, &variables)
}
