//! Generated files are committed; this writes them anew and, for CI, proves that they are current.

use crate::run;
use anyhow::{Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    Check,
}

/// Builds the `remit` binary in the development profile and says where it is.
pub(crate) fn binary() -> Result<PathBuf> {
    run::run(&run::cargo(), &["build", "--locked", "--workspace", "--bin", "remit"])?;
    Ok(run::target().join("debug").join("remit"))
}

pub(crate) fn generate(mode: Mode) -> Result<()> {
    let binary = binary()?;
    let files = [
        ("schema/policy.cedarschema", fs::read_to_string(run::root().join("crates/policy/src/schema.cedarschema"))?),
        ("schema/config.json", run::output(&binary.display().to_string(), &["config", "schema"])?),
        ("docs/cli.md", run::output(&binary.display().to_string(), &["reference"])?),
    ];
    current("schemas", &files, mode)
}

/// Writes files anew, or fails with the names of those that are not current; `check` is the chore that writes them.
pub(crate) fn current(check: &str, files: &[(&str, String)], mode: Mode) -> Result<()> {
    let mut stale = Vec::new();
    for (name, text) in files {
        let path = run::root().join(name);
        if fs::read_to_string(&path).is_ok_and(|current| current == *text) {
            continue;
        }
        match mode {
            Mode::Check => stale.push(*name),
            Mode::Write => write(check, &path, text)?,
        }
    }
    if !stale.is_empty() {
        bail!("not current, run `cargo xtask {check}`: {}", stale.join(", "));
    }
    println!("{check}: good ({} files)", files.len());
    Ok(())
}

fn write(check: &str, path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    println!("{check}: writing {}", path.display());
    Ok(fs::write(path, text)?)
}
