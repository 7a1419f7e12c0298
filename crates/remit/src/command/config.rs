//! `remit config …`: what is wrong with a configuration, and the schema of one.

use crate::{
    args::{ConfigArg, ConfigCommand},
    config,
};
use serde_json::json;

/// Runs the command; `false` when the configuration has a problem.
pub(crate) fn run(command: &ConfigCommand) -> bool {
    match command {
        ConfigCommand::Schema { .. } => {
            out!("{}", config::schema());
            true
        }
        ConfigCommand::Check(args) => check(args),
    }
}

fn check(args: &ConfigArg) -> bool {
    let (warnings, problems) = match config::load(&args.config) {
        Ok(loaded) => (loaded.warnings(), Vec::new()),
        Err(problems) => (Vec::new(), problems),
    };
    if args.json {
        let list: Vec<_> = problems
            .iter()
            .map(|problem| json!({"file": problem.file, "line": problem.line, "reason": problem.reason}))
            .collect();
        outln!("{}", json!({"ok": problems.is_empty(), "problems": list, "warnings": warnings}));
    } else if problems.is_empty() {
        for warning in &warnings {
            eprintln!("{}: warning: {warning}", args.config.display());
        }
        outln!("{}: fine", args.config.display());
    } else {
        for problem in &problems {
            eprintln!("{problem}");
        }
    }
    problems.is_empty()
}
