//! The ledger, checked independently: a second implementation in Python, and `remit audit verify` on a bare machine.

use crate::harness::{Player, Remit, Setup, play, python, remit, root, succeed, text};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// A closed ledger with some history in it.
struct Past {
    remit: Remit,
    copy: TempDir,
}

impl Past {
    fn new() -> Self {
        let mut remit = Setup::new().start();
        remit.agent("reader", &["helpdesk:tickets_read"]);
        let calls: Vec<Value> =
            (0..8).map(|at| json!({ "name": "tickets_read", "arguments": { "id": format!("T-{}", 1001 + at) } })).collect();
        let mut calls = json!(calls);
        calls.as_array_mut().unwrap().push(json!({ "name": "admin_purge", "arguments": { "confirm": "purge" } }));
        play(Player::TypeScriptLegacy, &remit.directly("reader", "helpdesk"), &calls);
        remit.stop();
        let copy = TempDir::new().unwrap();
        copy_folder(&remit.ledger(), copy.path());
        Self { remit, copy }
    }

    fn fresh_copy(&self) -> TempDir {
        let copy = TempDir::new().unwrap();
        copy_folder(self.copy.path(), copy.path());
        copy
    }
}

/// `verify.py`, which shares no code with Remit.
pub(crate) fn second_opinion(ledger: &Path, vkey: &str, more: &[&str]) -> Output {
    Command::new(python()).arg(root().join("verify.py")).arg(ledger).arg("--vkey").arg(vkey).args(more).output().unwrap()
}

/// `remit audit verify` where there is neither a server nor its database.
fn bare_machine(ledger: &Path, vkey: &str) -> Output {
    let nowhere = TempDir::new().unwrap();
    let mut command = remit(&["audit", "verify", text(ledger), "--vkey", vkey]);
    command.env_clear().env("HOME", nowhere.path()).current_dir(nowhere.path()).output().unwrap()
}

#[test]
fn a_copied_ledger_verifies_without_server_and_database() {
    let past = Past::new();
    let output = bare_machine(past.copy.path(), &past.remit.vkey);
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_second_implementation_agrees() {
    let past = Past::new();
    let mut command = Command::new(python());
    command.arg(root().join("verify.py")).arg(past.copy.path()).arg("--vkey").arg(&past.remit.vkey).arg("--records");
    let records = String::from_utf8(succeed(command).stdout).unwrap();
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.len() > 9, "{} records", records.len());
    assert_eq!(records[0]["record_type"], "log_control");
}

/// What is done to a copy, and how.
type Tampering = (&'static str, fn(&Path));

/// Whatever is changed, both verifiers say no.
#[test]
fn tampered_copies_are_refused_by_both() {
    let past = Past::new();
    let vkey = &past.remit.vkey;
    let tampering: [Tampering; 7] = [
        ("a bit of an entry flipped", |ledger| flip(&some_file(ledger, "tile/entries"), 40)),
        ("a bit of a hash tile flipped", |ledger| flip(&some_file(ledger, "tile/0"), 5)),
        ("the last entry dropped", drop_last_entry),
        ("the leaf of a sealed value changed", |ledger| {
            let file = some_file(ledger, "side");
            let text = String::from_utf8(read(&file)).unwrap();
            assert!(!text.contains("T-1003"), "a value in plain");
            let at = text.find("\"leaf\":\"sha-256:").unwrap() + 16;
            flip(&file, at);
        }),
        ("a hash tile truncated", |ledger| {
            let file = some_file(ledger, "tile/0");
            let bytes = read(&file);
            write(&file, &bytes[..bytes.len() - 32]);
        }),
        ("the checkpoint's size changed", |ledger| {
            let file = ledger.join("checkpoint");
            let note = String::from_utf8(read(&file)).unwrap();
            let mut lines: Vec<String> = note.split('\n').map(str::to_owned).collect();
            lines[1] = (lines[1].parse::<u64>().unwrap() - 1).to_string();
            write(&file, lines.join("\n").as_bytes());
        }),
        ("the checkpoint's signature forged", |ledger| {
            let file = ledger.join("checkpoint");
            let mut note = read(&file);
            let at = note.len() - 12;
            note[at] = if note[at] == b'A' { b'B' } else { b'A' };
            write(&file, &note);
        }),
    ];
    for (what, tamper) in tampering {
        let copy = past.fresh_copy();
        tamper(copy.path());
        let ours = bare_machine(copy.path(), vkey);
        assert_eq!(ours.status.code(), Some(1), "{what}: {}", String::from_utf8_lossy(&ours.stdout));
        let theirs = second_opinion(copy.path(), vkey, &[]);
        assert_eq!(theirs.status.code(), Some(1), "{what}: {}", String::from_utf8_lossy(&theirs.stdout));
    }
    // Another log's key is no key for this one.
    let other = Setup::new().start().vkey;
    assert_eq!(bare_machine(past.copy.path(), &other).status.code(), Some(1));
    assert_eq!(second_opinion(past.copy.path(), &other, &[]).status.code(), Some(1));
}

/// Re-frames the last entry bundle without its last entry.
fn drop_last_entry(ledger: &Path) {
    let file = some_file(ledger, "tile/entries");
    let bytes = read(&file);
    let (mut at, mut last) = (0, 0);
    while at < bytes.len() {
        last = at;
        at += 2 + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    }
    write(&file, &bytes[..last]);
}

fn flip(file: &Path, at: usize) {
    let mut bytes = read(file);
    bytes[at] ^= 1;
    write(file, &bytes);
}

/// The widest file under a folder of tiles: the one that the newest checkpoint uses.
fn some_file(ledger: &Path, folder: &str) -> PathBuf {
    let mut found = Vec::new();
    let mut open = vec![ledger.join(folder)];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(place).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() { open.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.into_iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
}

fn read(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap()
}

fn write(file: &Path, bytes: &[u8]) {
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(file, bytes).unwrap();
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
