//! `cargo xtask bench`: measures in the release profile and puts the figures where people look for them.

use crate::{counts, profile, run};
use anyhow::{Context as _, Result, bail};
use std::{fs, path::Path};

/// The full run writes `bench/latest.json` and the table of `docs/performance.md`; `--quick` only prints.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    match words {
        ["--profile"] => return profile::run(),
        ["--counts"] => return counts::show(),
        ["--baseline", "--reason", reason] => return counts::update(reason),
        ["--baseline", ..] => bail!("`bench --baseline` takes `--reason \"WHY\"`"),
        _ => {}
    }
    let cargo = run::cargo();
    // The server under test is built beside the program that measures it.
    run::run(&cargo, &["build", "--release", "--locked", "--package", "remit-bench", "--package", "remit"])?;
    if let Err(why) = peers() {
        println!("bench: some peers are not installed, and their rows will say so: {why:#}");
    }
    let program = run::target().join("release").join("remit-bench").display().to_string();
    let latest = run::root().join("bench").join("latest.json").display().to_string();
    let page = run::root().join("docs").join("performance.md").display().to_string();
    match words {
        [] => run::run(&program, &["--out", &latest, "--table", &page]),
        ["--quick"] => run::run(&program, &["--quick"]),
        other => bail!("`bench` takes `--quick` or nothing, not {other:?}"),
    }
}

/// Puts the programs of `bench/peers` into the target directory, when the lists have changed. One that cannot be had does
/// not keep the others away.
fn peers() -> Result<()> {
    let (from, place) = (run::root().join("bench").join("peers"), run::target().join("bench-peers"));
    fs::create_dir_all(place.join("cerbos"))?;
    for file in ["package.json", "package-lock.json", ".npmrc", "oidc-provider.mjs", "cerbos/tool.yaml"] {
        fs::copy(from.join(file), place.join(file)).with_context(|| format!("bench/peers/{file}"))?;
    }
    let node = installed(&from.join("package-lock.json"), &place.join(".npm-installed-from"), || {
        run::run_in(&place, "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"], &[])
    });
    let list = from.join("requirements.txt");
    let python = installed(&list, &place.join(".python-installed-from"), || {
        let (venv, list) = (place.join("python").display().to_string(), list.display().to_string());
        run::run("python3", &["-m", "venv", "--clear", &venv])?;
        let python = format!("{venv}/bin/python");
        run::run(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", &list])
    });
    node.and(python)
}

/// Does `work` unless it was done for this very list.
fn installed(list: &Path, done: &Path, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let wanted = fs::read(list)?;
    if fs::read(done).is_ok_and(|known| known == wanted) {
        return Ok(());
    }
    work()?;
    Ok(fs::write(done, wanted)?)
}
