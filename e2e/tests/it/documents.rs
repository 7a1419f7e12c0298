//! Every command that the documents show is run as it stands there.
//!
//! A block of shell that follows the line `<!-- test -->` is run in a fresh folder, after the blocks before it in the same
//! document; `<!-- test background -->` starts a program that stays, and goes on at its ready line; a block of any language
//! after `<!-- test file NAME -->` is written to that file; one after `<!-- test output -->` is what the commands before it
//! print, where `…` stands for anything. `<!-- test run: COMMAND -->` and `<!-- test background: COMMAND -->` do what a reader has
//! done before. `remit` is the binary under test, also where a document says
//! `cargo run --release --`; `pip` and `npm` install the client libraries of this tree without the network, and the browser
//! is one in which alice signs in.

use crate::{
    examples::person,
    harness::{Running, binary, client, legacy_python, program, python, root, succeed, text},
};
use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(Debug, PartialEq, Eq)]
enum Block {
    Run(String),
    Start(String),
    Write {
        file: String,
        content: String,
    },
    /// What the last `Run` prints.
    Output(String),
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
    let tools = tools(folder.path());
    let path = format!("{}:{}", tools.display(), env::var("PATH").unwrap());
    let shell = |lead: &str, script: &str| {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &format!("{lead}{script}")]).current_dir(folder.path());
        command.env("PATH", &path).env("BROWSER", tools.join("browser"));
        command
    };
    let (mut running, mut printed) = (Vec::new(), String::new());
    for block in blocks {
        match block {
            Block::Run(script) => printed = String::from_utf8(succeed(shell("", script)).stdout).unwrap(),
            Block::Output(shown) => {
                assert!(is_shown(&printed, shown), "the document shows\n{shown}\nand this is printed:\n{printed}");
            }
            Block::Start(script) => running.push(Running::start(shell("exec ", script), "ready")),
            Block::Write { file, content } => fs::write(folder.path().join(file), content).unwrap(),
        }
    }
}

/// Whether the document shows what was printed, line by line.
fn is_shown(printed: &str, shown: &str) -> bool {
    let same = |(printed, shown): (&str, &str)| {
        let mut rest = printed;
        shown.split('…').enumerate().all(|(at, part)| match rest.find(part) {
            Some(found) if at > 0 || found == 0 => {
                rest = rest.split_at(found + part.len()).1;
                true
            }
            _ => false,
        }) && (rest.is_empty() || shown.ends_with('…'))
    };
    printed.lines().count() == shown.lines().count() && printed.lines().zip(shown.lines()).all(same)
}

/// The programs that documents call, and the folders of this tree that they name.
fn tools(folder: &Path) -> PathBuf {
    let tools = folder.join(".tools");
    fs::create_dir(&tools).unwrap();
    symlink(root().join("clients"), folder.join("clients")).unwrap();
    let remit = text(binary());
    let said = format!("{}/init", tools.display());
    program(
        &tools.join("remit"),
        &format!("[ \"$1\" != init ] || {{ {remit} \"$@\" | tee {said}; exit; }}\nexec {remit} \"$@\""),
    );
    program(&tools.join("cargo"), "while [ $# -gt 0 ] && [ \"$1\" != -- ]; do shift; done; shift; exec remit \"$@\"");
    let site = format!("{}/site", tools.display());
    let pip = "-m pip install --quiet --no-deps --no-build-isolation --disable-pip-version-check";
    // The first package is the library; the others are there.
    program(&tools.join("pip"), &format!("exec {} {pip} --target {site} \"${{2%%\\[*}}\"", text(&legacy_python())));
    program(&tools.join("python"), &format!("PYTHONPATH={site} exec {} \"$@\"", text(&python())));
    let npm = "PATH=${PATH#*:} npm install --offline --install-links --omit=peer --no-audit --no-fund \"$3\"";
    let link = format!("ln -s {}/@modelcontextprotocol node_modules/", text(&client("node_modules")));
    program(&tools.join("npm"), &format!("set -e\n{npm}\n{link}"));
    person(&tools.join("browser"), &format!("$(sed -n 's/.*shown this once: \\(.*\\)).*/\\1/p' {said})"));
    tools
}

fn blocks(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.trim().strip_prefix("<!-- test").and_then(|rest| rest.strip_suffix("-->")) else { continue };
        if let Some((how, command)) = kind.trim().split_once(": ") {
            found.push(match how {
                "run" => Block::Run(command.to_owned()),
                "background" => Block::Start(command.to_owned()),
                other => panic!("there is no kind of test {other:?}"),
            });
            continue;
        }
        let fence = lines.find(|line| !line.trim().is_empty()).unwrap_or_default();
        let content: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        let content = content.join("\n");
        let block = match (kind.trim(), kind.trim().strip_prefix("file ")) {
            (_, Some(name)) => Block::Write { file: name.to_owned(), content },
            ("", None) => Block::Run(shell(fence, content)),
            ("background", None) => Block::Start(shell(fence, content)),
            ("output", None) => Block::Output(content),
            (other, None) => panic!("there is no kind of test {other:?}"),
        };
        found.push(block);
    }
    found
}

fn shell(fence: &str, content: String) -> String {
    assert!(fence.starts_with("```sh"), "a tested block must be ```sh, not {fence:?}");
    content
}

#[test]
fn marked_blocks_are_found_and_others_are_not() {
    let document = "```sh\nno\n```\n<!-- test -->\n\n```sh\na\nb\n```\n<!-- test background -->\n```sh\nc\n```\n\
                    <!-- test output -->\n```\nx …\n```\n<!-- test run: e -->\n<!-- test file x.py -->\n```python\nd\n```\n";
    let expected = [
        Block::Run("a\nb".to_owned()),
        Block::Start("c".to_owned()),
        Block::Output("x …".to_owned()),
        Block::Run("e".to_owned()),
        Block::Write { file: "x.py".to_owned(), content: "d".to_owned() },
    ];
    assert_eq!(blocks(document), expected);
}

#[test]
fn an_output_is_what_a_document_shows_of_it() {
    for (printed, shown) in [("a b\n", "a b"), ("id 17 of x\nend\n", "id … of x\nend"), ("id 17\n", "id …")] {
        assert!(is_shown(printed, shown), "{printed:?} {shown:?}");
    }
    for (printed, shown) in [("a b\nc\n", "a b"), ("a b c\n", "a b"), ("x a b\n", "a b"), ("id 17 of y\n", "id … of x")] {
        assert!(!is_shown(printed, shown), "{printed:?} {shown:?}");
    }
}
