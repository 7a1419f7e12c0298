//! The project's chores: `cargo xtask test` is everything that must hold before a change lands.
//!
//! Each chore is one module with one public function that prints what it looked at and fails with what is wrong. A tool
//! that is missing is installed or asked for by name; nothing is skipped in silence.

mod baseline;
mod bench;
mod bounds;
mod callgrind;
mod chaos;
mod circles;
mod conformance;
mod counts;
mod deny;
mod docs;
mod docs_share;
mod flame;
mod flood;
mod fuzz;
mod generated;
mod interop;
mod layers;
mod profile;
mod prose;
mod run;
mod setup;
mod sizes;
mod suite;
mod words;

use anyhow::{Result, bail};
use std::{env, process::ExitCode};

const USAGE: &str = "\
cargo xtask CHORE

  test      install what the tests need, then run every check and every test
  check     every check but no test: fmt, clippy, layers, sizes, words, docs, docs-share, deny
  bench     measure against the floor of this machine, in the release profile; --quick takes minutes, not an hour;
            --counts counts instructions, signatures, statements and the like, and shows them beside the baseline;
            --baseline --reason \"WHY\" takes them into bench/baseline.json; --profile draws where the main roads' time goes
  fuzz      search for inputs that break a fuzz target, all or those named; --seconds N for each (60);
            --keep writes the minimised results to fuzz/corpus
  chaos     random traffic against the real server, which is killed ten times: both verifiers must accept its ledger, and it
            must hold everything that was answered; --requests N, --kills N, --seed N
  setup     install what the end-to-end tests need (Chromium, npm and Python packages)
  interop   end-to-end tests with what is large: agent frameworks, identity providers, workload identity issuers; all suites or
            those named. Fetches and builds what they need once, and keeps it in the target folder
  layers    no crate imports upwards, and none imports what its layer must not contain;
            no crate has more import circles between its files than the table in layers.rs says
  bounds    everything in the server that grows with what others send has a bound in a table
  flood     80,000 small and 20,000 large requests without a credential and 1,100 silent connections against the release
            build, or the binary that REMIT_BIN names; --quick sends few, to the build of the tests
  sizes     no source file is longer than its budget
  words     no committed file names a machine's path or a package registry's host; no test waits for a fixed time without a
            reason, or lets go of a port before it is used; comments and pages name who acts
  docs      links lead somewhere, crates say what they are, the documents every project needs are there
  docs-share  public functions are documented, say when they fail, and each crate shows an example
  conformance  write docs/conformance.md: each rule with its tests; with --check, fail if it is not current
  deny      bans, licences and sources of every dependency, as deny.toml says
  schemas   write the generated files anew; with --check, fail if one is not current
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match chore(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore(words: &[&str]) -> Result<()> {
    match words {
        ["test"] => suite::test(),
        ["check"] => suite::check(),
        ["bench", more @ ..] => bench::run(more),
        ["fuzz", more @ ..] => fuzz::run(more),
        ["chaos", more @ ..] => chaos::run(more),
        ["setup"] => setup::all(),
        ["interop", names @ ..] => interop::run(names),
        ["layers"] => layers::check(),
        ["bounds"] => bounds::check(),
        ["flood", more @ ..] => flood::run(more),
        ["sizes"] => sizes::check(),
        ["words"] => words::check(),
        ["docs"] => docs::check(),
        ["docs-share"] => docs_share::check(),
        ["conformance"] => conformance::run(generated::Mode::Write),
        ["conformance", "--check"] => conformance::run(generated::Mode::Check),
        ["deny"] => deny::check(),
        ["schemas"] => generated::generate(generated::Mode::Write),
        ["schemas", "--check"] => generated::generate(generated::Mode::Check),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no chore {other:?}\n\n{USAGE}"),
    }
}
