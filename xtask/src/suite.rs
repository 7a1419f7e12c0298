//! `cargo xtask test`: everything that must hold before a change lands, cheapest first.

use crate::{counts, deny, docs, generated, interop, layers, run, setup, sizes, words};
use anyhow::{Context, Result};

pub(crate) fn test() -> Result<()> {
    setup::all()?;
    check()?;
    generated::generate(generated::Mode::Check)?;
    tests()?;
    counts::check()
}

pub(crate) fn check() -> Result<()> {
    let cargo = run::cargo();
    run::run(&cargo, &["fmt", "--all", "--check"]).context("run `cargo fmt --all`")?;
    words::check()?;
    sizes::check()?;
    docs::check()?;
    layers::check()?;
    deny::check()?;
    run::run(&cargo, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
}

/// Builds the binary that the end-to-end tests drive, then runs all tests against it.
fn tests() -> Result<()> {
    let cargo = run::cargo();
    match run::variable("REMIT_VECTORS") {
        Some(place) => println!("test: third-party vectors from {place}"),
        None => println!("test: REMIT_VECTORS is not set: tests on third-party vectors say so and are skipped"),
    }
    interop::say_what_is_skipped();
    let binary = generated::binary()?.display().to_string();
    let python = setup::python().display().to_string();
    let variables = [("REMIT_BIN", binary.as_str()), ("REMIT_E2E_PYTHON", python.as_str())];
    if run::answers("cargo-nextest") {
        run::run_in(&run::root(), &cargo, &["nextest", "run", "--workspace", "--locked"], &variables)?;
        // nextest does not run the examples in the documentation.
        run::run_in(&run::root(), &cargo, &["test", "--workspace", "--locked", "--doc", "--quiet"], &variables)
    } else {
        println!("test: cargo-nextest is not installed: using cargo test");
        run::run_in(&run::root(), &cargo, &["test", "--workspace", "--locked", "--no-fail-fast"], &variables)
    }
}
