//! How much of the public code is documented: `cargo xtask docs-share`.
//!
//! Counts, for each crate, the public functions with a comment above them, and those that return a `Result` and say in
//! `# Errors` when they fail. A crate fails below 95 % and 100 %, and if its head holds no example. Tests do not count.
//!
//! It reads lines, not syntax: what a macro writes is not seen.

use crate::run;
use anyhow::{Context, Result};
use std::{collections::BTreeMap, fs, path::Path};

/// Per cent of public functions that must be documented.
const SHARE: usize = 95;
/// Crates without a public face: the program, and what tests share.
const INNER: &[&str] = &["remit", "testkit"];

/// What one crate has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    functions: usize,
    documented: usize,
    fallible: usize,
    errors: usize,
    example: bool,
    /// `FILE:LINE NAME` of what is missing.
    missing: Vec<String>,
}

pub(crate) fn check() -> Result<()> {
    let mut crates: BTreeMap<String, Count> = BTreeMap::new();
    for file in run::committed()? {
        let Some(name) = crate_of(&file) else { continue };
        let text = fs::read_to_string(run::root().join(&file)).with_context(|| format!("{}", file.display()))?;
        let count = crates.entry(name).or_default();
        count_file(&text, &file.display().to_string(), count);
        count.example |= file.ends_with("src/lib.rs") && has_example(&text);
    }
    println!("{:<10} {:>12} {:>12}  example", "crate", "documented", "# Errors");
    for (name, count) in &crates {
        let Count { functions, documented, fallible, errors, example, .. } = count;
        let example = if *example { "yes" } else { "no" };
        println!("{name:<10} {:>12} {:>12}  {example}", format!("{documented}/{functions}"), format!("{errors}/{fallible}"));
    }
    let findings: Vec<String> = crates.iter().flat_map(|(name, count)| shortfall(name, count)).collect();
    run::verdict("docs-share", &format!("{} crates", crates.len()), &findings)
}

/// The crate that a source file belongs to, by its folder: `crates/NAME/src/…`.
fn crate_of(file: &Path) -> Option<String> {
    let mut parts = file.iter().filter_map(|part| part.to_str());
    let is_source = file.extension().is_some_and(|kind| kind == "rs") && parts.next() == Some("crates");
    let name = parts.next().filter(|_| is_source)?;
    (parts.next() == Some("src")).then(|| name.to_owned())
}

/// What a crate lacks, each in a line.
fn shortfall(name: &str, count: &Count) -> Vec<String> {
    let mut findings = Vec::new();
    if count.documented * 100 < count.functions * SHARE || count.errors < count.fallible {
        findings.extend(count.missing.iter().cloned());
    }
    if !count.example && !INNER.contains(&name) {
        findings.push(format!("crates/{name}/src/lib.rs has no example in its head"));
    }
    findings
}

/// Whether the comment that opens the file has a block of code that is compiled.
fn has_example(text: &str) -> bool {
    text.lines().take_while(|line| line.starts_with("//!")).any(|line| matches!(line, "//! ```" | "//! ```no_run"))
}

fn count_file(text: &str, place: &str, count: &mut Count) {
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        if *line == "#[cfg(test)]" && lines.get(at + 1).is_some_and(|next| next.starts_with("mod ")) {
            return;
        }
        let Some(name) = public_function(line) else { continue };
        let comment = comment_above(&lines, at);
        let missing = |what: &str| format!("{place}:{} `{name}` {what}", at + 1);
        count.functions += 1;
        if comment.is_empty() {
            count.missing.push(missing("is not documented"));
        } else {
            count.documented += 1;
        }
        if returns_result(&lines, at) {
            count.fallible += 1;
            if comment.iter().any(|line| line.contains("# Errors")) {
                count.errors += 1;
            } else {
                count.missing.push(missing("does not say in `# Errors` when it fails"));
            }
        }
    }
}

/// The name of the function that a line declares, if it is public without limit.
fn public_function(line: &str) -> Option<&str> {
    let mut rest = line.trim_start().strip_prefix("pub ")?;
    for word in ["const ", "async "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// The documentation above a declaration, its attributes skipped.
fn comment_above<'t>(lines: &[&'t str], at: usize) -> Vec<&'t str> {
    let mut comment = Vec::new();
    let mut inside_attribute = false;
    for line in lines.iter().take(at).rev().map(|line| line.trim()) {
        if inside_attribute {
            inside_attribute = !line.starts_with("#[");
        } else if line.starts_with("///") {
            comment.push(line);
        } else if line == ")]" {
            inside_attribute = true;
        } else if !line.starts_with("#[") {
            break;
        }
    }
    comment
}

/// Whether the declaration at a line returns a `Result`; a declaration ends with its body or a semicolon.
fn returns_result(lines: &[&str], at: usize) -> bool {
    let mut declaration = String::new();
    for line in lines.iter().skip(at) {
        declaration.push_str(line.trim());
        declaration.push(' ');
        if line.ends_with(['{', ';', '}']) {
            break;
        }
    }
    let returned = declaration.rsplit_once("-> ").map(|(_, returned)| returned).unwrap_or_default();
    let name = returned.split(['<', ' ', '{']).next().unwrap_or_default();
    name.rsplit("::").next() == Some("Result")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
/// Reads.
///
/// # Errors
/// When it cannot.
#[expect(
    clippy::long,
    reason = \"\"
)]
pub fn read(
    text: &str,
) -> Result<(), Fault> {
}
    pub async fn bare(&self) -> std::io::Result<()> {
    /// Asks for what gives a `Result`.
    pub fn ask(&self, with: impl Fn() -> Result<(), Fault>) -> bool {
pub(crate) fn inner() -> Result<(), Fault> {
#[cfg(test)]
mod tests {
pub fn tested() {}
";

    #[test]
    fn public_functions_are_counted_with_what_they_lack() {
        let mut count = Count::default();
        count_file(SOURCE, "a.rs", &mut count);
        assert_eq!((count.functions, count.documented, count.fallible, count.errors), (3, 2, 2, 1));
        assert_eq!(
            count.missing,
            ["a.rs:13 `bare` is not documented", "a.rs:13 `bare` does not say in `# Errors` when it fails"]
        );
    }

    #[test]
    fn a_crate_fails_below_its_share_or_without_an_example() {
        let good = Count { functions: 100, documented: 95, fallible: 3, errors: 3, example: true, missing: vec!["x".to_owned()] };
        assert!(shortfall("store", &good).is_empty());
        assert_eq!(shortfall("store", &Count { documented: 94, ..good.clone() }), ["x"]);
        assert_eq!(shortfall("store", &Count { errors: 2, ..good.clone() }), ["x"]);
        assert_eq!(shortfall("store", &Count { example: false, ..good.clone() }).len(), 1);
        assert!(shortfall("remit", &Count { example: false, ..good }).is_empty(), "a program has no public face");
    }

    #[test]
    fn only_code_that_is_compiled_is_an_example() {
        assert!(has_example("//! A crate.\n//!\n//! ```\n//! f();\n//! ```\n"));
        assert!(!has_example("//! A crate.\n//!\n//! ```text\n//! f();\n//! x\n"));
        assert!(!has_example("//! A crate.\n\n/// ```\n"));
    }

    #[test]
    fn only_sources_of_crates_count() {
        assert_eq!(crate_of(Path::new("crates/store/src/a/b.rs")).as_deref(), Some("store"));
        for other in ["crates/store/tests/it/main.rs", "crates/store/Cargo.toml", "xtask/src/main.rs", "crates/store/src/a.sql"] {
            assert_eq!(crate_of(Path::new(other)), None);
        }
    }
}
