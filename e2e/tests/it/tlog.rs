//! The ledger read by transparency-log code of others, which knows nothing of Remit.

use crate::{
    harness::{Setup, root, text},
    witness::{Peer, copy, section},
};
use remit_ledger::{Reader, proof::Proof};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

/// `e2e/clients/tlog`, built on golang.org/x/mod/sumdb: the client of the Go checksum database.
struct Sumdb {
    folder: TempDir,
}

impl Sumdb {
    fn build() -> Self {
        let folder = TempDir::new().unwrap();
        let source = root().join("e2e/clients/tlog/main.go");
        let built = Command::new("go")
            .args(["build", "-o", text(&folder.path().join("tlog")), text(&source)])
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOFLAGS", "")
            .env("GOCACHE", folder.path().join("cache"))
            .output()
            .unwrap_or_else(|error| panic!("Go is missing, run `cargo xtask setup`: {error}"));
        assert!(built.status.success(), "is golang-golang-x-mod-dev there? {}", String::from_utf8_lossy(&built.stderr));
        Self { folder }
    }

    fn read(&self, ledger: &Path, vkey: &str, proof: &Path, entry: &Path, witnesses: &[&str]) -> Output {
        let mut command = Command::new(self.folder.path().join("tlog"));
        command.args([text(ledger), vkey, text(proof), text(entry)]).args(witnesses).output().unwrap()
    }
}

#[test]
fn the_go_checksum_database_client_reads_checkpoints_tiles_and_proofs_unchanged() {
    let setup = Setup::new();
    let peers: Vec<Peer> = (0..2).map(|_| Peer::start(setup.vkey())).collect();
    let mut server = setup.section(&section(&peers, 2, "")).start();
    // More than one tile of records.
    server.agent("first", &["helpdesk:*"]);
    for _ in 0..130 {
        server.run(&["agent", "quarantine", "first"]);
        server.run(&["agent", "activate", "first"]);
    }
    server.stop();
    let reader = Reader::open(&server.ledger()).unwrap();
    assert!(reader.len() > 257, "{} records: no full tile", reader.len());
    let folder = TempDir::new().unwrap();
    let (proof, entry) = (folder.path().join("1.tlog-proof"), folder.path().join("1.json"));
    fs::write(&proof, Proof::of(&reader, 1).unwrap().to_bytes()).unwrap();
    fs::write(&entry, reader.entry(1).unwrap()).unwrap();
    let witnesses: Vec<&str> = peers.iter().map(|peer| peer.vkey.as_str()).collect();

    let sumdb = Sumdb::build();
    let read = |ledger: &Path, vkey: &str| sumdb.read(ledger, vkey, &proof, &entry, &witnesses);
    let output = read(&server.ledger(), &server.vkey);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((told["size"].as_u64(), told["entries"].as_u64()), (Some(reader.len()), Some(reader.len())));
    assert_eq!(told["cosigned"], 2, "{told}");

    // And it refuses what is not ours or not whole.
    assert!(!read(&server.ledger(), &Setup::new().vkey().replace("127.0.0.1", "other")).status.success());
    for file in ["tile/0/000", "tile/entries/000", "checkpoint"] {
        let damaged = folder.path().join("damaged");
        copy(&server.ledger(), &damaged);
        let mut bytes = fs::read(damaged.join(file)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(damaged.join(file), bytes).unwrap();
        assert!(!read(&damaged, &server.vkey).status.success(), "{file}");
    }
}
