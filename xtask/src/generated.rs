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
    run::run(&run::cargo(), &["build", "--locked", "--package", "remit"])?;
    Ok(run::target().join("debug").join("remit"))
}

pub(crate) fn generate(mode: Mode) -> Result<()> {
    let binary = binary()?;
    let files = [
        ("schema/policy.cedarschema", fs::read_to_string(run::root().join("crates/policy/src/schema.cedarschema"))?),
        ("schema/config.json", run::output(&binary.display().to_string(), &["config", "schema"])?),
        ("docs/cli.md", manual(&binary)?),
    ];
    let mut stale = Vec::new();
    for (name, text) in &files {
        let path = run::root().join(name);
        if fs::read_to_string(&path).is_ok_and(|current| current == *text) {
            continue;
        }
        match mode {
            Mode::Check => stale.push(*name),
            Mode::Write => write(&path, text)?,
        }
    }
    if !stale.is_empty() {
        bail!("not current, run `cargo xtask schemas`: {}", stale.join(", "));
    }
    println!("schemas: good ({} files)", files.len());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    println!("schemas: writing {}", path.display());
    Ok(fs::write(path, text)?)
}

/// Every command's `--help`, in the order in which the binary lists them.
fn manual(binary: &Path) -> Result<String> {
    let mut text = "# Commands\n\nGenerated from the binary by `cargo xtask schemas`.\n".to_owned();
    let mut open = vec![Vec::<String>::new()];
    while let Some(command) = open.pop() {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = run::output(&binary.display().to_string(), &arguments)?;
        let title: Vec<&str> = ["remit"].into_iter().chain(command.iter().map(String::as_str)).collect();
        text.push_str("\n## `");
        text.push_str(&title.join(" "));
        text.push_str("`\n\n```text\n");
        text.push_str(help.trim_end());
        text.push_str("\n```\n");
        for name in subcommands(&help).into_iter().rev() {
            open.push(command.iter().cloned().chain([name]).collect());
        }
    }
    Ok(text)
}

/// The names under `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let section = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = section.take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_are_read_from_help() {
        let help = "Usage\n\nCommands:\n  init   Writes\n         more\n  serve  Runs\n  help   Print\n\nOptions:\n  -h\n";
        assert_eq!(super::subcommands(help), ["init", "serve"]);
    }
}
