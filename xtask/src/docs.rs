//! Documents: the ones every project needs are there, their links lead somewhere, every crate says what it is.

use crate::run;
use anyhow::{Context, Result};
use std::{collections::BTreeSet, fs, path::Path};

const NEEDED: [&str; 6] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE"];

pub(crate) fn check() -> Result<()> {
    let root = run::root();
    let files = run::committed()?;
    let mut findings: Vec<String> =
        NEEDED.iter().filter(|name| !root.join(name).is_file()).map(|name| format!("{name} is missing")).collect();
    for file in &files {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        if file.extension().is_some_and(|kind| kind == "md") {
            let place = root.join(file).parent().unwrap_or(&root).to_owned();
            findings.extend(broken_links(&text, &place).map(|link| format!("{}: {link} leads nowhere", file.display())));
        }
        let is_crate_root = file.ends_with("src/lib.rs") || file.ends_with("src/main.rs");
        if is_crate_root && !text.starts_with("//!") {
            findings.push(format!("{} does not open with what the crate is", file.display()));
        }
        if file.ends_with("Cargo.toml") && !text.contains("[workspace]") && !file.starts_with("fuzz") {
            for line in ["license.workspace = true", "[lints]"] {
                if !text.contains(line) {
                    findings.push(format!("{} lacks {line}", file.display()));
                }
            }
        }
    }
    findings.extend(undocumented_refusals(&root)?);
    run::verdict("docs", &format!("{} files", files.len()), &findings)
}

/// Every refusal code has its row in `docs/refusals.md`, and every row is a code.
fn undocumented_refusals(root: &Path) -> Result<Vec<String>> {
    let source = fs::read_to_string(root.join("crates/model/src/refusal.rs")).context("the registry of refusal codes")?;
    let page = fs::read_to_string(root.join("docs/refusals.md")).unwrap_or_default();
    let codes: BTreeSet<&str> = source.lines().filter_map(|line| between(line, " => \"", "\",")).collect();
    let rows: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(code, _)| code).collect();
    let missing = codes.difference(&rows).map(|code| format!("docs/refusals.md has no row for {code}"));
    let unknown = rows.difference(&codes).map(|row| format!("docs/refusals.md explains {row}, which is no code"));
    Ok(missing.chain(unknown).collect())
}

fn between<'t>(line: &'t str, before: &str, after: &str) -> Option<&'t str> {
    line.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

/// Relative targets of `[text](target)` that are not there.
fn broken_links<'t>(text: &'t str, place: &Path) -> impl Iterator<Item = &'t str> {
    let place = place.to_owned();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(move |target| {
        let path = target.split('#').next().unwrap_or_default();
        !path.is_empty() && !target.contains("://") && !target.starts_with("mailto:") && !place.join(path).exists()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_relative_links_that_lead_nowhere_are_found() {
        let text = "[a](https://a.example) [b](#b) [c](gone.md#x) [d](Cargo.toml)";
        let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(super::broken_links(text, place).collect::<Vec<_>>(), ["gone.md#x"]);
    }
}
