//! `cargo xtask interop`: end-to-end tests with programs that are too large or too slow for `cargo xtask test`.
//!
//! Each suite runs by name, or all of them without one. What a suite needs is fetched and built when it is first run, and kept
//! in the target folder: `suites.rs` has the table, `parts.rs` the programs, `go.rs` and `java.rs` how they are made. A suite
//! that cannot run here is skipped, in one line that says why, unless it was asked for by name.

mod go;
mod java;
mod parts;
mod suites;

use crate::{generated, run, setup};
use anyhow::{Context, Result, bail, ensure};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};
use suites::{SUITES, Suite};

pub(crate) fn run(names: &[&str]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| SUITES.iter().all(|suite| suite.name != **name)) {
        let known: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        bail!("there is no suite {unknown:?}; the suites are {}", known.join(", "));
    }
    setup::all()?;
    let binary = generated::binary()?;
    let chosen: Vec<&Suite> = SUITES.iter().filter(|suite| names.is_empty() || names.contains(&suite.name)).collect();
    let mut told = Vec::new();
    for suite in chosen {
        match suite.make() {
            Ok(()) => told.push(report(suite, &binary)),
            Err(error) if names.is_empty() => {
                told.push(Told { line: format!("{}: skipped: {error:#}", suite.title()), failed: None });
            }
            Err(error) => return Err(error.context(format!("suite {}", suite.name))),
        }
    }
    verdict(&told)
}

/// Runs the suites whose programs and packages are already there. For each other one, a line with what it costs and the
/// command that runs it.
pub(crate) fn run_those_there(binary: &Path) -> Result<()> {
    let mut told = Vec::new();
    for suite in &SUITES {
        told.push(if suite.there() {
            report(suite, binary)
        } else {
            let line = format!("{}: skipped, not installed ({}): cargo xtask interop {}", suite.title(), suite.cost, suite.name);
            Told { line, failed: None }
        });
    }
    verdict(&told)
}

/// What became of a suite.
struct Told {
    line: String,
    failed: Option<&'static str>,
}

/// All lines together at the end, where they can be read; fails if a suite failed.
fn verdict(told: &[Told]) -> Result<()> {
    for Told { line, .. } in told {
        println!("interop: {line}");
    }
    let failed: Vec<&str> = told.iter().filter_map(|told| told.failed).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("interop: failed: {}", failed.join(", "))
}

#[expect(clippy::disallowed_methods, reason = "the line says how long the suite took in real time")]
fn report(suite: &'static Suite, binary: &Path) -> Told {
    let began = Instant::now();
    println!("interop: {}", suite.title());
    let outcome = test(suite, binary);
    let seconds = began.elapsed().as_secs();
    let (line, failed) = match outcome {
        Ok(counts) => {
            let Counts { passed, failed, skipped } = counts;
            let line = format!("{}: {passed} passed, {failed} failed, {skipped} skipped, {seconds} s", suite.title());
            // A name that no test has would pass in silence.
            (line, failed > 0 || passed == 0)
        }
        Err(error) => (format!("{}: failed: {error:#}, {seconds} s", suite.title()), true),
    };
    Told { line, failed: failed.then_some(suite.name) }
}

/// What libtest counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Counts {
    fn and(self, more: Self) -> Self {
        Self { passed: self.passed + more.passed, failed: self.failed + more.failed, skipped: self.skipped + more.skipped }
    }
}

fn test(suite: &Suite, binary: &Path) -> Result<Counts> {
    let mut command = Command::new(run::cargo());
    // The whole workspace, so that nothing is built twice: `cargo xtask test` builds it with the same features.
    command.args(["test", "--workspace", "--test", "it", "--locked", "--quiet", "--"]);
    command.args(["--ignored", "--show-output"]).args(suite.tests);
    command.env("REMIT_BIN", binary).env("REMIT_E2E_PYTHON", setup::python()).envs(suite.variables()?);
    command.current_dir(run::root()).stdin(Stdio::null()).stdout(Stdio::piped());
    println!("$ cargo test --workspace --test it -- --ignored --show-output {}", suite.tests.join(" "));
    let mut child = command.spawn().context("cargo does not start")?;
    let mut all: Option<Counts> = None;
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        all = match (all, counts(&line)) {
            (Some(before), Some(more)) => Some(before.and(more)),
            (before, more) => before.or(more),
        };
        println!("{line}");
    }
    let status = child.wait()?;
    let all = all.with_context(|| format!("the tests did not run: {status}"))?;
    ensure!(status.success() || all.failed > 0, "the tests did not end: {status}");
    Ok(all)
}

/// Reads libtest's last line: `test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 170 filtered out; finished in 9.1s`.
fn counts(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        let mut parts = numbers.split("; ");
        parts.find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
    };
    Some(Counts { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_all_programs_are_counted() {
        let one = Counts { passed: 3, failed: 1, skipped: 2 };
        assert_eq!(one.and(Counts { passed: 1, failed: 0, skipped: 0 }), Counts { passed: 4, failed: 1, skipped: 2 });
    }

    #[test]
    fn the_last_line_of_the_test_program_is_counted() {
        let line = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 170 filtered out; finished in 9.13s";
        assert_eq!(counts(line), Some(Counts { passed: 3, failed: 1, skipped: 2 }));
        assert_eq!(counts("test providers::keycloak::sign_in ... ok"), None);
    }
}
