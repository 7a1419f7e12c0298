//! Runs a program under valgrind's callgrind, and reads what it counted.
//!
//! The program calls a function named `cut` around everything that is to be counted by itself; callgrind writes one file
//! for each part. A part is the whole process, all threads: instructions, and the calls of functions by name.

use anyhow::{Context, Result, anyhow, bail};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// How glibc copies and fills: never by one repeated instruction, which callgrind counts once for each byte. Whether a
/// buffer of 8 KB grows where it lies or is copied depends on the length of the program's path; it would be 8,000
/// instructions.
const COPIES: &str = "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000";

/// What was counted between two cuts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) instructions: u64,
    /// Of the functions that were asked for, by their names.
    pub(crate) calls: BTreeMap<String, Calls>,
}

/// All calls of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) count: u64,
    /// Instructions of the function and all that it called.
    pub(crate) instructions: u64,
}

impl Part {
    /// Calls of every function with one of these names together.
    pub(crate) fn of(&self, names: &[&str]) -> Calls {
        let mut sum = Calls::default();
        for calls in names.iter().filter_map(|name| self.calls.get(*name)) {
            sum.count += calls.count;
            sum.instructions += calls.instructions;
        }
        sum
    }
}

/// Runs the program to its end; gives its output, and writes `parts.N` into the folder.
pub(crate) fn run(program: &Path, arguments: &[&str], folder: &Path) -> Result<String> {
    fs::create_dir_all(folder)?;
    for old in fs::read_dir(folder)? {
        fs::remove_file(old?.path())?;
    }
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--dump-before=*counts*cut*", "--separate-threads=no", "--fair-sched=yes"])
        .arg(format!("--callgrind-out-file={}", folder.join("parts").display()))
        .arg(program)
        .args(arguments)
        // What surrounds a program is part of its memory, and so of its counts.
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("GLIBC_TUNABLES", COPIES)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("valgrind does not start")?;
    if !output.status.success() {
        bail!(
            "{} {} failed under valgrind: {}\n{}",
            program.display(),
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The n-th part of a run.
pub(crate) fn part(folder: &Path, number: u64, wanted: &[&str]) -> Result<Part> {
    let file = folder.join(format!("parts.{number}"));
    let text =
        fs::read_to_string(&file).with_context(|| format!("callgrind wrote no {}: did it see the cuts?", file.display()))?;
    read(&text, wanted).with_context(|| file.display().to_string())
}

/// Reads one file: its total, and the calls of the wanted functions. Their names may have a prefix of their library's
/// (`aws_lc_0_47_0_`), which changes with its version; they are given without.
fn read(text: &str, wanted: &[&str]) -> Result<Part> {
    let mut part = Part::default();
    let mut total = None;
    // Names are written once for each file and referred to by number afterwards.
    let mut names: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    let mut callee: Option<&str> = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("cfn=") {
            callee = named(name, &mut names, wanted)?;
        } else if let Some(name) = line.strip_prefix("fn=") {
            named(name, &mut names, wanted)?;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let count = number(calls.split(' ').next())?;
            let cost = number(lines.next().and_then(|cost| cost.rsplit(' ').next()))?;
            if let Some(name) = callee.take() {
                let calls = part.calls.entry(name.to_owned()).or_default();
                calls.count += count;
                calls.instructions += cost;
            }
        } else if let Some(sum) = line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")) {
            total = Some(number(Some(sum.trim()))?);
        }
    }
    part.instructions = total.ok_or_else(|| anyhow!("no total: not a callgrind profile"))?;
    Ok(part)
}

/// Which of the wanted functions `(12) name` or `(12)` is.
fn named<'t, 'w>(text: &'t str, names: &mut BTreeMap<&'t str, Option<&'w str>>, wanted: &[&'w str]) -> Result<Option<&'w str>> {
    let Some((number, name)) = text.split_once(' ') else {
        return names.get(text).copied().ok_or_else(|| anyhow!("function {text} is used before it is named"));
    };
    let found = wanted.iter().copied().find(|wanted| name == *wanted || library(name) == Some(*wanted));
    names.insert(number, found);
    Ok(found)
}

/// A function of aws-lc without the prefix that carries its version.
fn library(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("aws_lc_")?;
    Some(rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '_'))
}

fn number(text: Option<&str>) -> Result<u64> {
    let text = text.unwrap_or_default();
    text.parse().with_context(|| format!("{text:?} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
# callgrind format
positions: line
events: Ir

fn=(1) work
16 400
cfn=(2) aws_lc_0_47_0_EVP_DigestVerify
calls=2 50
16 700
cfn=(3) sqlite3_malloc
calls=9 1
16 90
fn=(3)
2 10
cfn=(4) malloc
calls=9 7
+1 80
fn=(5) other
cfn=(2)
calls=1 50
* 350

totals: 1234
";

    #[test]
    fn calls_of_a_function_are_summed_over_its_callers() {
        let part = read(PROFILE, &["EVP_DigestVerify", "malloc"]).unwrap();
        assert_eq!(part.instructions, 1234);
        assert_eq!(part.of(&["EVP_DigestVerify"]), Calls { count: 3, instructions: 1050 });
        assert_eq!(part.of(&["malloc"]).count, 9, "sqlite3_malloc is another function");
        assert_eq!(part.of(&["malloc", "EVP_DigestVerify", "calloc"]).count, 12);
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        assert!(read("", &[]).is_err());
        assert!(read("cfn=(7)\ncalls=1 2\n1 2\ntotals: 5\n", &[]).is_err(), "a name that was never given");
        assert!(read("cfn=(7) a\ncalls=x 2\n1 2\ntotals: 5\n", &[]).is_err());
        assert!(read("cfn=(7) a\ncalls=1 2\n", &[]).is_err());
    }
}
