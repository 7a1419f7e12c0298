//! `remit config …`: what is wrong with a configuration, and the schema of one.

use super::policy;
use crate::{
    args::{ConfigArg, ConfigCommand},
    config::{self, Problem},
};
use remit_model::UnixTime;
use serde_json::json;

/// Runs the command; `false` when the configuration has a problem.
pub(crate) fn run(command: &ConfigCommand, now: UnixTime) -> bool {
    match command {
        ConfigCommand::Schema { .. } => {
            out!("{}", config::schema());
            true
        }
        ConfigCommand::Check(args) => check(args, now),
    }
}

/// Everything that would keep the server from starting, or a part of it from working: the file, the policies it names, and
/// the programs.
fn check(args: &ConfigArg, now: UnixTime) -> bool {
    let (warnings, problems) = match config::load(&args.config) {
        Ok(mut loaded) => {
            let mut problems = std::mem::take(&mut loaded.missing);
            problems.extend(policy::read(&loaded).err().into_iter().flatten());
            (loaded.warnings(now), problems)
        }
        Err(problems) => (Vec::new(), problems),
    };
    if args.json {
        let list: Vec<_> = problems.iter().map(Problem::to_json).collect();
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
