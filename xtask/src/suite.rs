//! `cargo xtask test`: everything that must hold before a change lands, cheapest first.

use crate::{bounds, conformance, counts, deny, docs, docs_share, generated, interop, layers, run, setup, sizes, words};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

/// The most that all tests together may take on two cores, builds apart. Several times what they take, so that only a test that
/// hangs or waits for no reason exceeds it.
const LONGEST: Duration = Duration::from_mins(45);

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
    bounds::check()?;
    docs::check()?;
    docs_share::check()?;
    conformance::run(generated::Mode::Check)?;
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
    let built = generated::binary()?;
    let binary = built.display().to_string();
    let python = setup::python().display().to_string();
    let variables = [("REMIT_BIN", binary.as_str()), ("REMIT_E2E_PYTHON", python.as_str())];
    let test = |arguments: &[&str]| run::run_in(&run::root(), &cargo, arguments, &variables);
    if run::answers("cargo-nextest") {
        test(&["nextest", "run", "--workspace", "--locked", "--no-run"])?;
        timed(|| test(&["nextest", "run", "--workspace", "--locked"]))?;
        // nextest does not run the examples in the documentation.
        test(&["test", "--workspace", "--locked", "--doc", "--quiet"])?;
    } else {
        println!("test: cargo-nextest is not installed: using cargo test");
        test(&["test", "--workspace", "--locked", "--no-run"])?;
        timed(|| test(&["test", "--workspace", "--locked", "--no-fail-fast"]))?;
    }
    interop::run_those_there(&built)
}

/// Says how long the tests took, and fails when that was too long.
#[expect(clippy::disallowed_methods, reason = "the suite takes real time")]
fn timed(tests: impl FnOnce() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    tests()?;
    let took = began.elapsed();
    println!("test: all tests took {} s; {} s is the most", took.as_secs(), LONGEST.as_secs());
    ensure!(took <= LONGEST, "the tests take too long: find which with `cargo nextest run --status-level pass`");
    Ok(())
}
