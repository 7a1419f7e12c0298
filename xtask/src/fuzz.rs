//! `cargo xtask fuzz`: searches for inputs that break a fuzz target, with libFuzzer.
//!
//! Needs a C++ compiler, and neither a nightly toolchain nor another tool: the coverage instrumentation is a pass of the
//! stable compiler. No sanitizer is linked, because no code of ours is unsafe; overflows and assertions are checked.

use crate::run;
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The instrumentation that libFuzzer reads, as `cargo fuzz` sets it.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 --cfg fuzzing";
/// How long each target runs, in seconds, unless asked otherwise.
const SECONDS: u32 = 60;
/// Longest input, in bytes.
const INPUT_LIMIT: usize = 4096;
/// Most bytes of inputs that are committed for one target.
const KEPT: usize = 24 << 10;

#[derive(Debug, PartialEq, Eq)]
struct Options {
    targets: Vec<String>,
    seconds: u32,
    /// Write the minimised results to `fuzz/corpus`.
    keep: bool,
}

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let known = targets()?;
    let options = options(words, &known)?;
    let binaries = build()?;
    let mut broken = Vec::new();
    for target in &options.targets {
        if !search(&binaries, target, options.seconds)? {
            broken.push(target.as_str());
        } else if options.keep {
            keep(&binaries, target)?;
        }
    }
    ensure!(broken.is_empty(), "an input breaks {}: see {}", broken.join(", "), work("crashes", "").display());
    Ok(())
}

/// The names of the targets: one file each.
fn targets() -> Result<Vec<String>> {
    let files = fs::read_dir(run::root().join("fuzz/fuzz_targets")).context("fuzz/fuzz_targets")?;
    let mut names = Vec::new();
    for file in files {
        names.extend(file?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn options(words: &[&str], known: &[String]) -> Result<Options> {
    let mut options = Options { targets: Vec::new(), seconds: SECONDS, keep: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--keep" => options.keep = true,
            "--seconds" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                options.seconds = number.context("--seconds needs a whole number from 1")?;
            }
            target if known.iter().any(|known| known == target) => options.targets.push(target.to_owned()),
            other => bail!("there is no target {other:?}; the targets are {}", known.join(", ")),
        }
    }
    if options.targets.is_empty() {
        options.targets = known.to_vec();
    }
    Ok(options)
}

/// Builds every target; the folder of the binaries. Naming the host as the platform keeps the instrumentation out of build
/// scripts and macros.
fn build() -> Result<PathBuf> {
    let version = run::output("rustc", &["--version", "--verbose"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not name its host")?;
    let place = run::target().join("fuzz");
    let arguments = ["build", "--package", "remit-fuzz", "--features", "libfuzzer", "--bins", "--profile", "fuzz", "--locked"];
    let arguments = [arguments.as_slice(), &["--target", host]].concat();
    let variables = [("RUSTFLAGS", INSTRUMENTATION), ("CARGO_TARGET_DIR", &place.display().to_string())];
    run::run_in(&run::root(), &run::cargo(), &arguments, &variables)?;
    Ok(place.join(host).join("fuzz"))
}

/// A folder of a target outside the repository's files.
fn work(what: &str, target: &str) -> PathBuf {
    run::target().join("fuzz").join(what).join(target)
}

/// The folders of what is committed for a target: the seeds, and the kept corpus as libFuzzer reads it, one file an input.
fn committed(target: &str) -> Result<Vec<String>> {
    let seeds = run::root().join("fuzz/seeds").join(target);
    let unpacked = work("kept", target);
    if unpacked.is_dir() {
        fs::remove_dir_all(&unpacked)?;
    }
    fs::create_dir_all(&unpacked)?;
    let lines = fs::read_to_string(corpus(target)).unwrap_or_default();
    for (number, line) in lines.lines().enumerate() {
        fs::write(unpacked.join(number.to_string()), STANDARD.decode(line).context("a line of the corpus is not Base64")?)?;
    }
    Ok([seeds, unpacked].iter().map(|folder| folder.display().to_string()).collect())
}

/// The kept corpus of a target: an input a line, in Base64.
fn corpus(target: &str) -> PathBuf {
    run::root().join("fuzz/corpus").join(format!("{target}.txt"))
}

/// Runs one target for a while and prints what it reached; whether no input broke it.
fn search(binaries: &Path, target: &str, seconds: u32) -> Result<bool> {
    let (corpus, crashes) = (work("corpus", target), work("crashes", target));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&crashes)?;
    println!("fuzz: {target} for {seconds} s");
    let output = Command::new(binaries.join(target))
        .args([format!("-max_total_time={seconds}"), format!("-max_len={INPUT_LIMIT}")])
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .args([format!("-artifact_prefix={}/", crashes.display()), corpus.display().to_string()])
        .args(committed(target)?)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{target} does not start"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    println!("fuzz: {target}: {}", summary(&log));
    if !output.status.success() {
        let last: Vec<&str> = log.lines().filter(|line| !line.starts_with('#')).collect();
        eprintln!("{}", last.get(last.len().saturating_sub(30)..).unwrap_or_default().join("\n"));
    }
    Ok(output.status.success())
}

/// Executions and coverage, from what libFuzzer prints.
fn summary(log: &str) -> String {
    let stat = |name: &str| log.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':'));
    let last = log.lines().rfind(|line| line.contains(" cov: ")).unwrap_or_default();
    let word = |name: &str| last.split_whitespace().skip_while(|word| *word != name).nth(1).unwrap_or("?");
    let executed = stat("number_of_executed_units").map_or("?", str::trim);
    format!("{executed} executions, {} edges, {} features, corpus {}", word("cov:"), word("ft:"), word("corp:"))
}

/// Replaces the committed corpus by the smallest inputs that together reach the same edges, within [`KEPT`] bytes.
fn keep(binaries: &Path, target: &str) -> Result<()> {
    let merged = work("merged", target);
    if merged.is_dir() {
        fs::remove_dir_all(&merged)?;
    }
    fs::create_dir_all(&merged)?;
    let status = Command::new(binaries.join(target))
        .args(["-set_cover_merge=1", "-use_counters=0", &format!("-max_len={INPUT_LIMIT}")])
        .args([merged.display().to_string(), work("corpus", target).display().to_string()])
        .args(committed(target)?)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "{target} does not merge its corpus");
    let mut inputs = Vec::new();
    for file in fs::read_dir(&merged)? {
        inputs.push(fs::read(file?.path())?);
    }
    let all = inputs.len();
    let kept = smallest(inputs, KEPT);
    let lines: String = kept.iter().map(|input| STANDARD.encode(input) + "\n").collect();
    fs::create_dir_all(run::root().join("fuzz/corpus"))?;
    fs::write(corpus(target), lines)?;
    println!("fuzz: {target}: kept {} of {all} inputs", kept.len());
    Ok(())
}

/// The smallest inputs that have no more than so many bytes together, in an order that does not depend on their names.
fn smallest(mut inputs: Vec<Vec<u8>>, most: usize) -> Vec<Vec<u8>> {
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let mut bytes = 0;
    inputs.retain(|input| {
        bytes += input.len();
        bytes <= most
    });
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        vec!["a".to_owned(), "b".to_owned()]
    }

    #[test]
    fn options_name_known_targets() {
        let all = options(&[], &known()).ok();
        assert_eq!(all, Some(Options { targets: known(), seconds: SECONDS, keep: false }));
        let one = options(&["b", "--seconds", "5", "--keep"], &known()).ok();
        assert_eq!(one, Some(Options { targets: vec!["b".to_owned()], seconds: 5, keep: true }));
        for wrong in [["c", "b"], ["--seconds", "0"], ["--seconds", "b"], ["a", "--seconds"]] {
            assert!(options(&wrong, &known()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_summary_reads_the_last_line_of_coverage() {
        let log = "#1\tINITED cov: 2 ft: 3 corp: 1/1b exec/s: 0\n#9\tNEW    cov: 12 ft: 30 corp: 7/61b lim: 4\nstat::number_of_executed_units: 90\n";
        assert_eq!(summary(log), "90 executions, 12 edges, 30 features, corpus 7/61b");
        assert_eq!(summary(""), "? executions, ? edges, ? features, corpus ?");
    }

    #[test]
    fn what_is_kept_is_the_smallest_and_bounded() {
        let inputs = vec![b"four".to_vec(), b"one".to_vec(), b"a".to_vec(), b"b".to_vec()];
        assert_eq!(smallest(inputs.clone(), 5), [b"a".to_vec(), b"b".to_vec(), b"one".to_vec()]);
        assert_eq!(smallest(inputs.clone(), 0), Vec::<Vec<u8>>::new());
        assert_eq!(smallest(inputs, 99).len(), 4);
    }
}
