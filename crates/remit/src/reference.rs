//! `docs/cli.md`: every command's help, made from the command line itself.

use crate::cli::Cli;
use clap::{Command, CommandFactory as _};
use std::fmt::Write as _;

/// The whole reference as Markdown.
pub(crate) fn markdown() -> String {
    let mut text = String::from(
        "# Commands\n\nMade by `cargo xtask schemas` from the program itself. Exit status: 0 good, 1 a check failed, 2 used wrongly.\n",
    );
    let mut root = Cli::command();
    root.build();
    for command in root.get_subcommands_mut().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        describe(&mut text, command);
    }
    text
}

fn describe(text: &mut String, command: &mut Command) {
    if command.has_subcommands() {
        for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
            describe(text, below);
        }
        return;
    }
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(
        text,
        "\n## {}\n\n```text\n{}\n```\n",
        command.get_bin_name().unwrap_or(command.get_name()),
        lines.join("\n").trim_end()
    );
}
