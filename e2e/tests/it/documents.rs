//! Every command that the documents show is run as it stands there.
//!
//! A block of shell that follows the line `<!-- test -->` is run in a fresh folder, after the blocks before it in the same
//! document; `<!-- test background -->` starts a program that stays, and goes on at its ready line. `remit` is the binary
//! under test, also where a document says `cargo run --release --`.

use crate::harness::{Running, binary, program, root, succeed, text};
use std::{env, fs, process::Command};

#[derive(Debug, PartialEq, Eq)]
struct Block {
    background: bool,
    script: String,
}

#[test]
fn documented_commands_run() {
    let mut documents = vec![root().join("README.md")];
    if let Ok(entries) = fs::read_dir(root().join("docs")) {
        documents
            .extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    }
    let mut ran = 0;
    for document in documents {
        let blocks = blocks(&fs::read_to_string(&document).unwrap());
        ran += blocks.len();
        println!("{}: {} blocks", document.display(), blocks.len());
        run(&blocks);
    }
    assert!(ran > 0, "no document has a tested block");
}

fn run(blocks: &[Block]) {
    let folder = tempfile::TempDir::new().unwrap();
    let tools = folder.path().join(".tools");
    fs::create_dir(&tools).unwrap();
    program(&tools.join("remit"), &format!("exec {} \"$@\"", text(binary())));
    program(&tools.join("cargo"), "while [ $# -gt 0 ] && [ \"$1\" != -- ]; do shift; done; shift; exec remit \"$@\"");
    let path = format!("{}:{}", tools.display(), env::var("PATH").unwrap());
    let mut running = Vec::new();
    for block in blocks {
        let mut command = Command::new("bash");
        let lead = if block.background { "exec " } else { "" };
        command
            .args(["-euo", "pipefail", "-c", &format!("{lead}{}", block.script)])
            .env("PATH", &path)
            .current_dir(folder.path());
        if block.background {
            running.push(Running::start(command, "ready"));
        } else {
            succeed(command);
        }
    }
}

fn blocks(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let background = match line.trim() {
            "<!-- test -->" => false,
            "<!-- test background -->" => true,
            _ => continue,
        };
        let fence = lines.find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(fence.starts_with("```sh"), "a tested block must be ```sh, not {fence:?}");
        let script: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        found.push(Block { background, script: script.join("\n") });
    }
    found
}

#[test]
fn marked_blocks_are_found_and_others_are_not() {
    let document = "```sh\nno\n```\n<!-- test -->\n\n```sh\na\nb\n```\n<!-- test background -->\n```sh\nc\n```\n";
    let block = |background, script: &str| Block { background, script: script.to_owned() };
    assert_eq!(blocks(document), [block(false, "a\nb"), block(true, "c")]);
}
