//! `docs/cli.md`: every command's help, made from the command line itself.

use crate::cli::Cli;
use clap::{Command, CommandFactory as _};
use std::fmt::Write as _;

/// The whole reference as Markdown.
pub(crate) fn markdown() -> String {
    let mut text = String::from(
        "# Commands\n\nMade by `cargo xtask schemas` from the program itself. Exit status: 0 good, 1 a check failed, 2 used wrongly,\n141 the output was closed early.\n",
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

#[cfg(test)]
mod tests {
    //! Lists of things are complete: every refusal code and every configuration key has its line in the documentation.

    use remit_model::Code;
    use serde_json::Value;

    #[test]
    fn every_refusal_code_has_a_row() {
        let page = include_str!("../../../../docs/refusals.md");
        for code in Code::ALL {
            assert!(page.contains(&format!("\n| `{code}` |")), "docs/refusals.md says nothing of {code}");
        }
    }

    #[test]
    fn every_configuration_key_has_a_row() {
        let page = include_str!("../../../../docs/configuration.md");
        let schema: Value = serde_json::from_str(&crate::config::schema()).unwrap();
        let definitions = schema["$defs"].as_object().unwrap().values();
        let mut keys = Vec::new();
        for definition in definitions {
            keys.extend(definition["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()));
        }
        assert!(keys.len() > 25, "{keys:?}");
        for key in keys {
            assert!(
                page.contains(&format!(".{key}` |")) || page.contains(&format!(".{key}`")),
                "docs/configuration.md says nothing of {key}"
            );
        }
    }
}
