//! The guard: what steps and operations cost, in figures that no clock touches, against `bench/baseline.json`.
//!
//! Instructions of single steps, without those inside signatures and their verification: valgrind sees other code there
//! than the processor runs, and they are not ours. And of whole requests how often they sign and verify, ask the
//! database, sync and allocate. Better is a finding as well as worse: what was won belongs into the baseline, or it
//! may be lost again unseen.

use crate::{
    baseline::{Baseline, Measured},
    callgrind::{self, Part},
    run,
};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
};

/// Everything inside these is left out of the instructions.
const SIGNATURES: &[&str] = &["EVP_DigestVerify", "EVP_DigestSign"];
/// Called once for each; `EVP_DigestSign` is asked for the length first.
const VERIFY: &[&str] = &["EVP_DigestVerify"];
const SIGN: &[&str] = &["ED25519_sign_no_self_test", "ECDSA_sign"];
const STATEMENTS: &[&str] = &["sqlite3VdbeHalt"];
const SYNCS: &[&str] = &["fdatasync", "fsync", "sync_file_range"];
const ALLOCATIONS: &[&str] = &["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// Counts anew and compares.
pub(crate) fn check() -> Result<()> {
    let baseline = Baseline::read(&file())?;
    let measured = measure()?;
    let findings = baseline.compare(&measured);
    run::verdict("counts", &measured.to_string(), &findings).context(
        "if this is meant, `cargo xtask bench --baseline --reason \"WHY\"` takes it into bench/baseline.json; commit that",
    )
}

/// Counts anew and prints everything beside the baseline.
pub(crate) fn show() -> Result<()> {
    let baseline = Baseline::read(&file())?;
    print!("{}", baseline.beside(&measure()?));
    Ok(())
}

/// Counts anew and writes the baseline, with the reason.
pub(crate) fn update(reason: &str) -> Result<()> {
    let reason = reason.trim();
    if reason.len() < 10 {
        bail!("--reason: say in a sentence why the counts change; it is kept in bench/baseline.json");
    }
    let mut baseline = if file().exists() { Baseline::read(&file())? } else { Baseline::default() };
    let measured = measure()?;
    print!("{}", baseline.beside(&measured));
    baseline.take(&measured, run::output("date", &["-u", "+%F"])?.trim(), reason);
    baseline.write(&file())
}

fn file() -> PathBuf {
    run::root().join("bench").join("baseline.json")
}

/// Builds the program once, then counts steps and operations side by side.
fn measure() -> Result<Measured> {
    let program = build()?;
    let place = run::target().join("counts").join("callgrind");
    let (steps, operations) = (place.join("steps"), place.join("operations"));
    println!("counts: {} under callgrind; some minutes", program.display());
    thread::scope(|scope| {
        let other = scope.spawn(|| count(&program, "operations", &operations));
        let mut measured = count(&program, "steps", &steps)?;
        let other = other.join().map_err(|_| anyhow!("counting operations failed"))??;
        measured.operations = other.operations;
        measured.considered = considered(&program)?;
        Ok(measured)
    })
}

/// Policies that a decision looks at; this needs no valgrind.
fn considered(program: &Path) -> Result<BTreeMap<String, u64>> {
    let said = run::output(&program.display().to_string(), &["considered"])?;
    let lines = said.lines().map(|line| match line.split('\t').collect::<Vec<_>>().as_slice() {
        ["considered", agents, count] => Ok((format!("of {agents}"), count.parse()?)),
        _ => bail!("`counts considered` said {line:?}"),
    });
    lines.collect()
}

/// The program, in a profile of its own: as optimised as a release, without the link-time optimisation that takes long.
fn build() -> Result<PathBuf> {
    let arguments = [
        "build",
        "--profile",
        "counts",
        "--workspace",
        "--bench",
        "counts",
        "--locked",
        "--message-format=json-render-diagnostics",
    ];
    println!("$ cargo {}", arguments.join(" "));
    let messages = run::output(&run::cargo(), &arguments)?;
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let named = |message: &Value| message.pointer("/target/name").and_then(Value::as_str) == Some("counts");
    let program = built.filter(named).find_map(|message| message.get("executable").and_then(Value::as_str).map(PathBuf::from));
    program.ok_or_else(|| anyhow!("cargo built no program `counts`"))
}

/// One run: what the program said of its parts, and what callgrind counted in them.
fn count(program: &Path, what: &str, folder: &Path) -> Result<Measured> {
    let wanted = [SIGNATURES, SIGN, STATEMENTS, SYNCS, ALLOCATIONS].concat();
    let said = callgrind::run(program, &[what], folder)?;
    let mut measured = Measured::default();
    for line in said.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        match words.as_slice() {
            ["part", number, times, name] => {
                let part = callgrind::part(folder, number.parse()?, &wanted)?;
                let times: u64 = times.parse()?;
                if what == "steps" {
                    measured.steps.insert((*name).to_owned(), instructions(&part) / times.max(1));
                } else {
                    measured.operations.insert((*name).to_owned(), operation(&part, times));
                }
            }
            _ => bail!("`counts {what}` said {line:?}"),
        }
    }
    Ok(measured)
}

/// Without what signatures take.
fn instructions(part: &Part) -> u64 {
    part.instructions - part.of(SIGNATURES).instructions
}

/// Of one operation. A checkpoint of the write-ahead log adds some syncs now and then; rounded down they do not count.
fn operation(part: &Part, times: u64) -> BTreeMap<String, f64> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let each = |count: u64| count as f64 / times.max(1) as f64;
    let counts = [
        ("verifications", each(part.of(VERIFY).count)),
        ("signatures", each(part.of(SIGN).count)),
        ("statements", each(part.of(STATEMENTS).count)),
        ("syncs", each(part.of(SYNCS).count).floor()),
        ("allocations", each(part.of(ALLOCATIONS).count)),
        ("instructions", each(instructions(part)).round()),
    ];
    counts.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect()
}
