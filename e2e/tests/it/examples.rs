//! The programs in `examples/`, as they stand there, with a person at headless Chromium in place of a browser.

use crate::{
    harness::{Setup, client, legacy_python, program, python, python_library, root, succeed, text},
    libraries::delegable,
};
use remit_testkit::wait_until;
use std::{fs, os::unix::fs::symlink, path::Path, process::Command};
use tempfile::TempDir;

/// The most lines of code of one example.
const BUDGET: usize = 30;

#[test]
fn pydantic_ai_passes_authority_on() {
    passes_authority_on("chain_pydantic_ai.py", |file| with_library(Command::new(python()), file));
}

#[test]
fn openai_agents_passes_authority_on() {
    passes_authority_on("chain_openai_agents.py", |file| with_library(Command::new(python()), file));
}

#[test]
fn langchain_passes_authority_on() {
    passes_authority_on("chain_langchain.py", |file| with_library(Command::new(legacy_python()), file));
}

#[test]
fn ai_sdk_passes_authority_on() {
    passes_authority_on("chain-ai-sdk.mjs", |file| {
        let mut command = Command::new("node");
        command.arg(file);
        command
    });
}

fn with_library(mut python: Command, file: &Path) -> Command {
    python.arg(file).env("PYTHONPATH", python_library());
    python
}

fn passes_authority_on(example: &str, command: impl Fn(&Path) -> Command) {
    let folder = TempDir::new().unwrap();
    copy(&root().join("examples"), folder.path());
    symlink(client("node_modules"), folder.path().join("node_modules")).unwrap();
    let remit = Setup::new().start();
    remit.agent_with("planner", &delegable(&remit));
    remit.agent("summarizer", &["helpdesk:tickets_read"]);
    let browser = folder.path().join("browser");
    person(&browser, &remit.password);
    let mut run = command(&folder.path().join(example));
    run.arg(&remit.issuer).arg(remit.folder().join("agents")).env("BROWSER", &browser);
    let told = String::from_utf8(succeed(run).stdout).unwrap();
    assert_eq!(told.matches("Charged twice for March").count(), 2, "{example}: both agents read it: {told}");
    wait_until("the records have the whole chain", || {
        let found = remit.run(&["audit", "search", "--tool", "tickets_read", "--tool", "tickets_list"]);
        found.contains("user:alice → agent:planner → agent:summarizer") && found.contains("user:alice → agent:planner  ")
    });
}

/// A program that opens a URL as a browser does: alice signs in there and allows what it asks. `password` is a word of shell.
pub(crate) fn person(file: &Path, password: &str) {
    let script = r#"{"url": "%s", "user": "alice", "password": "%s"}"#;
    let consent = client("consent.mjs");
    program(
        file,
        &format!(
            "script=$(mktemp)\nprintf '{script}' \"$1\" \"{password}\" > \"$script\"\nexec node {} \"$script\" > \"$script.log\" 2>&1",
            text(&consent)
        ),
    );
}

/// Copies the files of a folder, without its folders.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn examples_are_short() {
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("chain") {
            let code = fs::read_to_string(&path).unwrap();
            let is_code =
                |line: &&str| !line.trim().is_empty() && !["#", "//", "\"\"\""].iter().any(|mark| line.trim().starts_with(mark));
            let lines = code.lines().filter(is_code).count();
            assert!(lines < BUDGET, "{}: {lines} lines", path.display());
        }
    }
}
