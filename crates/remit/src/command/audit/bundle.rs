//! `remit audit export --format bundle`: the folder an auditor takes home. SPEC: LG-25.

use super::{new_file::write, source::Source, verify::prove};
use crate::{config, keys, stdout::print_json};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use remit_ledger::{Side, Trust, record::Opening};
use remit_model::json::sha256_label;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// How often the copy is made anew because the server went on writing.
const TRIES: usize = 5;
/// Deepest folder of a ledger: `tile/entries/x001/x002/003`.
const DEPTH: usize = 12;
const FORMAT: &str = include_str!("../../../../../docs/ledger-format.md");

/// What goes into the folder beside the ledger.
#[derive(Clone, Debug, Args)]
pub(super) struct Contents {
    /// bundle: the log's verifier key (default: from the configuration's keys)
    #[arg(long, value_name = "VKEY")]
    vkey: Option<String>,
    /// bundle: the witness policy file (C2SP tlog-policy) to put into it
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

pub(super) fn run(contents: &Contents, source: &Source, dir: &Path) -> Result<()> {
    let folder = source.folder()?;
    let vkey = match &contents.vkey {
        Some(vkey) => vkey.clone(),
        None => own_vkey(source).context("give the log's verifier key with --vkey, or the configuration with -c")?,
    };
    let ledger = dir.join("ledger");
    copy(&folder, &ledger, &vkey)?;
    let mut parts = vec![("vkey".to_owned(), format!("{vkey}\n").into_bytes()), ("ledger-format.md".to_owned(), FORMAT.into())];
    for (name, file) in [("disclosure.json", &source.keys), ("witness-policy.txt", &contents.policy)] {
        if let Some(file) = file {
            parts.push((name.to_owned(), fs::read(file).with_context(|| format!("cannot read {}", file.display()))?));
        }
    }
    let verifier = std::env::current_exe().and_then(fs::read).map_or_else(|_| "unknown".to_owned(), |bytes| sha256_label(&bytes));
    parts
        .push(("README.txt".to_owned(), readme(source.keys.is_some(), contents.policy.is_some(), &vkey, &verifier).into_bytes()));
    for (name, bytes) in &parts {
        write(&dir.join(name), bytes)?;
    }
    let mut sums = Vec::new();
    for file in files(dir)? {
        let bytes = fs::read(dir.join(&file))?;
        sums.push(format!("{}  {}\n", sha256_label(&bytes).trim_start_matches("sha-256:"), file.display()));
    }
    write(&dir.join("SHA256SUMS"), sums.concat().as_bytes())?;
    if source.config.json {
        return print_json(&json!({"out": dir, "vkey": vkey, "verifier": verifier, "files": sums.len()}));
    }
    outln!("A bundle of {} files in {}; README.txt says how to verify it", sums.len(), dir.display());
    Ok(())
}

fn own_vkey(source: &Source) -> Result<String> {
    let loaded = config::load(&source.config.config).map_err(|problems| config::report(&problems))?;
    let origin = remit_ledger::Reader::open(&source.folder()?)?.checkpoint().origin.clone();
    keys::vkey(&loaded.at(&loaded.config.server.keys_dir), &origin)
}

/// Copies the log. A server that goes on writing may replace a partial tile under our hands; then once more.
fn copy(source: &Path, target: &Path, vkey: &str) -> Result<()> {
    let mut why = Vec::new();
    for _ in 0..TRIES {
        if target.exists() {
            fs::remove_dir_all(target).with_context(|| format!("cannot remove {}", target.display()))?;
        }
        fs::create_dir(target).with_context(|| format!("cannot make {}", target.display()))?;
        // The checkpoint first: whatever is written after it covers more, never less.
        fs::copy(source.join("checkpoint"), target.join("checkpoint")).context("the ledger has no checkpoint")?;
        let before = fs::read(target.join("checkpoint"))?;
        for file in files(source)? {
            if file != Path::new("checkpoint") {
                copy_one(source, target, &file)?;
            }
        }
        let proof = prove_copy(target, vkey);
        if proof.is_empty() {
            return Ok(());
        }
        why = proof;
        if fs::read(source.join("checkpoint"))? == before {
            break;
        }
    }
    bail!("the ledger does not verify, so it is not handed on:\n{}", why.join("\n"))
}

/// The lines of what failed.
fn prove_copy(dir: &Path, vkey: &str) -> Vec<String> {
    let proof = prove(dir, &Trust { vkey: Some(vkey.to_owned()), ..Trust::default() }, None);
    if proof.holds() { Vec::new() } else { proof.lines().into_iter().filter(|line| line.starts_with("FAIL")).collect() }
}

fn copy_one(source: &Path, target: &Path, file: &Path) -> Result<()> {
    let to = target.join(file);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let bytes = match fs::read(source.join(file)) {
        Ok(bytes) => bytes,
        // A partial tile that became a full one meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let bytes = if file.starts_with("side") { closed(&bytes).with_context(|| format!("{}", file.display()))? } else { bytes };
    fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

/// The openings without anything readable: sealed values stay sealed, open ones leave only their leaf. SPEC: N-EX-01.
fn closed(bundle: &[u8]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for line in bundle.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let (index, mut side) = Side::parse_line(line)?;
        let open = side.fields.iter().filter(|(_, opening)| matches!(opening, Opening::Open { .. }));
        let leaves: Vec<_> = open.filter_map(|(path, _)| Some((path.clone(), side.leaf(path)?))).collect();
        side.fields.extend(leaves.into_iter().map(|(path, leaf)| (path, Opening::Closed { leaf })));
        lines.extend(side.to_line(index));
    }
    Ok(lines)
}

/// All files below `dir`, relative to it, sorted.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        for entry in fs::read_dir(dir.join(&folder)).with_context(|| format!("cannot read {}", dir.join(&folder).display()))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < DEPTH {
                waiting.push((path, depth + 1));
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn readme(disclosed: bool, witnessed: bool, vkey: &str, verifier: &str) -> String {
    let mut keys = String::new();
    if disclosed {
        keys.push_str(" --keys disclosure.json");
    }
    if witnessed {
        keys.push_str(" --policy witness-policy.txt");
    }
    format!(
        "A ledger of agent.audit.v1 records, as an auditor takes it home.\n\n\
         Verify it (offline; nothing but this folder and the remit program):\n\n\
         \x20   remit audit verify ledger --vkey '{vkey}'{keys}\n\n\
         Compare the verifier key with the one the operator published elsewhere: a key that comes with the data proves\n\
         that the data is whole, not whose it is.\n\n\
         ledger/            checkpoint, tiles, entries, pinned policy sets, sealed values\n\
         vkey               the log's verifier key (C2SP signed-note)\n\
         ledger-format.md   the format, schema agent.audit.v1, to write a verifier of your own\n\
         disclosure.json    keys of the values you were given, if any\n\
         witness-policy.txt the witnesses and their quorum, if the operator has any\n\
         SHA256SUMS         of all of these; `sha256sum -c SHA256SUMS`\n\n\
         Written by remit {version}. SHA-256 of that program: {verifier}\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}
