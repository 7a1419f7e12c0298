//! Bans, licences and sources of every dependency, read from `deny.toml` and held against `cargo metadata`.
//!
//! The same file drives `cargo deny` in the public workflow, which also knows advisories; building that tool costs more
//! than the rest of the checks together, so this covers here what needs no database.

use crate::{
    layers::{array, metadata, text},
    run,
};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

#[derive(Deserialize)]
struct Deny {
    bans: Bans,
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
    #[serde(default)]
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

pub(crate) fn check() -> Result<()> {
    let rules = fs::read_to_string(run::root().join("deny.toml")).context("deny.toml")?;
    let rules: Deny = basic_toml::from_str(&rules).context("deny.toml")?;
    let metadata = metadata()?;
    let packages = &used(array(&metadata, "packages")?)?;
    let mut findings = Vec::new();
    for package in packages {
        let name = text(package, "name")?;
        findings.extend(source_finding(name, package));
        findings.extend(licence_finding(name, package, &rules.licenses));
    }
    findings.extend(banned(packages, &rules.bans)?);
    findings.extend(twins(packages, &rules.bans)?);
    run::verdict("deny", &format!("{} packages", packages.len()), &findings)
}

/// The packages that some build of ours compiles: a lock file also names those of features that are turned off.
fn used(packages: &[Value]) -> Result<Vec<Value>> {
    let shape = [
        "tree",
        "--workspace",
        "--target",
        "all",
        "--edges",
        "normal,build,dev",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--locked",
    ];
    let tree = run::output(&run::cargo(), &shape)?;
    let mut named = BTreeSet::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let (name, rest) = line.split_once(" v").with_context(|| format!("cargo tree says {line:?}"))?;
        named.insert((name, rest.split(' ').next().unwrap_or(rest)));
    }
    let mut used = Vec::new();
    for package in packages {
        if named.contains(&(text(package, "name")?, text(package, "version")?)) {
            used.push(package.clone());
        }
    }
    Ok(used)
}

/// Ours are in this workspace; all others come from the one registry of the lock file, never from git or elsewhere.
fn source_finding(name: &str, package: &Value) -> Option<String> {
    let source = package.get("source").and_then(Value::as_str);
    let ours = package
        .get("manifest_path")
        .and_then(Value::as_str)
        .is_some_and(|path| path.starts_with(&run::root().display().to_string()));
    match source {
        None if ours => None,
        Some(source) if source.starts_with("registry+") && source.ends_with("/crates.io-index") => None,
        _ => Some(format!("{name} comes from {}", source.unwrap_or("a path outside the workspace"))),
    }
}

fn licence_finding(name: &str, package: &Value, rules: &Licenses) -> Option<String> {
    let Some(expression) = package.get("license").and_then(Value::as_str) else {
        return Some(format!("{name} states no licence"));
    };
    let more = rules.exceptions.iter().filter(|exception| exception.name == name).flat_map(|exception| &exception.allow);
    let allowed: BTreeSet<&str> = rules.allow.iter().chain(more).map(String::as_str).collect();
    (!permits(expression, &allowed)).then(|| format!("{name} is licensed {expression:?}, which deny.toml does not allow"))
}

/// Evaluates an SPDX expression: `OR` (also the old `/`) below `AND` below parentheses; `WITH` makes one longer name.
fn permits(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    let mut good = all_of(rest, allowed);
    while let ["OR", tail @ ..] = *rest {
        *rest = tail;
        good |= all_of(rest, allowed);
    }
    good
}

fn all_of(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    let mut good = one(rest, allowed);
    while let ["AND", tail @ ..] = *rest {
        *rest = tail;
        good &= one(rest, allowed);
    }
    good
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> bool {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let good = any_of(rest, allowed);
            let [")", tail @ ..] = *rest else { return false };
            *rest = tail;
            good
        }
        [licence, "WITH", exception, tail @ ..] => {
            *rest = tail;
            allowed.contains(format!("{licence} WITH {exception}").as_str())
        }
        [licence, tail @ ..] => {
            *rest = tail;
            allowed.contains(licence)
        }
        [] => false,
    }
}

fn banned(packages: &[Value], rules: &Bans) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for ban in &rules.deny {
        if !packages.iter().any(|package| package.get("name").and_then(Value::as_str) == Some(&ban.name)) {
            continue;
        }
        for package in packages {
            let (name, imports) = (text(package, "name")?, array(package, "dependencies")?);
            let foreign = package.get("source").is_some_and(|source| !source.is_null());
            let imports_it = imports.iter().any(|import| {
                let unused = import.get("optional").and_then(Value::as_bool).unwrap_or(false)
                    || (foreign && import.get("kind").and_then(Value::as_str) == Some("dev"));
                import.get("name").and_then(Value::as_str) == Some(&ban.name) && !unused
            });
            if imports_it && !ban.wrappers.iter().any(|wrapper| wrapper == name) {
                findings.push(format!("{name} imports {}, which is banned", ban.name));
            }
        }
        if ban.wrappers.is_empty() {
            findings.push(format!("{} is banned and in the lock file", ban.name));
        }
    }
    Ok(findings)
}

/// Two versions of one crate need a reason in `deny.toml`, where the older one is named `crate@version`.
fn twins(packages: &[Value], rules: &Bans) -> Result<Vec<String>> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(text(package, "name")?).or_default().push(text(package, "version")?);
    }
    let known = |name: &str| rules.skip.iter().any(|skip| skip.name.split('@').next() == Some(name));
    let twice = versions.iter().filter(|(name, versions)| versions.len() > 1 && !known(name));
    Ok(twice
        .map(|(name, versions)| {
            format!("{name} is there as {}: give a reason in deny.toml or unite them", versions.join(" and "))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_read_as_spdx_means_them() {
        let allowed = BTreeSet::from(["MIT", "Apache-2.0", "ISC", "Apache-2.0 WITH LLVM-exception"]);
        for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Zlib", "(GPL-3.0 OR MIT) AND ISC", "Apache-2.0 WITH LLVM-exception OR GPL-2.0"]
        {
            assert!(permits(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC", "MIT WITH Other", "MIT MIT", "GPL-3.0 AND MIT OR Zlib"] {
            assert!(!permits(bad, &allowed), "{bad}");
        }
    }
}
