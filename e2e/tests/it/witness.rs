//! Witnesses as other parties run them: they cosign, remember what a restored backup forgot, and are missed when gone.

use crate::harness::{Remit, Running, Setup, remit, succeed, text};
use remit_testkit::wait_until;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// A witness in a folder and process of its own.
pub(crate) struct Peer {
    folder: TempDir,
    port: u16,
    log: String,
    pub(crate) vkey: String,
    running: Option<Running>,
}

impl Peer {
    pub(crate) fn start(log: &str) -> Self {
        let mut peer = Self {
            folder: TempDir::new().unwrap(),
            port: remit_testkit::port(),
            log: log.to_owned(),
            vkey: String::new(),
            running: None,
        };
        peer.restart();
        peer
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn restart(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let arguments = ["witness", "--dir", text(self.folder.path()), "--listen", &listen, "--log", &self.log, "--json"];
        let running = Running::start(remit(&arguments), "\"ready\":true");
        let told: Value = serde_json::from_str(&running.said).unwrap();
        told["vkey"].as_str().unwrap().clone_into(&mut self.vkey);
        self.running = Some(running);
    }

    fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }
}

/// The section of `remit.yaml` that names these witnesses.
pub(crate) fn section(peers: &[Peer], quorum: usize, more: &str) -> String {
    let list: String =
        peers.iter().map(|peer| ["      - {vkey: \"", &peer.vkey, "\", url: ", &peer.url(), "}\n"].concat()).collect();
    format!("\nledger:\n  publish_every_ms: 50\n  witnesses:\n    policy:\n{list}    quorum: {quorum}\n{more}")
}

/// A tlog-policy file for an auditor, who needs no URLs.
pub(crate) fn policy_file(dir: &Path, log: &str, peers: &[Peer], quorum: &str) -> PathBuf {
    let lines = peers.iter().enumerate().map(|(at, peer)| ["witness w", &at.to_string(), " ", &peer.vkey, "\n"].concat());
    let names: String = (0..peers.len()).map(|at| [" w", &at.to_string()].concat()).collect();
    let file = dir.join("witnesses.policy");
    fs::write(&file, format!("log {log}\n{}group all {quorum}{names}\nquorum all\n", lines.collect::<String>())).unwrap();
    file
}

fn said(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

fn verify(ledger: &Path, more: &[&str]) -> Output {
    remit(&[&["audit", "verify", text(ledger)], more].concat()).output().unwrap()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    let copied = Command::new("cp").args(["-a", text(from), text(to)]).status().unwrap();
    assert!(copied.success());
}

/// `remit serve` must refuse to start; what it says.
fn refused(server: &Remit) -> String {
    let output = server.command(&["serve"]).output().unwrap();
    assert!(!output.status.success(), "it started");
    said(&output)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story: backup, restore, fork, evidence")]
fn n_lg_04_a_restored_backup_is_refused_before_anything_is_signed() {
    let setup = Setup::new();
    let log = setup.vkey().to_owned();
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::start(&log)).collect();
    let mut server = setup.section(&section(&peers, 2, "")).start();
    let place = server.folder().to_owned();
    let policy = policy_file(&place, &log, &peers, "2");
    server.agent("first", &["helpdesk:*"]);
    server.stop();
    let verified = verify(&server.ledger(), &["--policy", text(&policy)]);
    assert!(verified.status.success() && said(&verified).contains("the checkpoint is cosigned by"), "{}", said(&verified));
    assert!(!said(&verified).contains("taken from the log itself"), "the policy names the log's key");

    // A backup, and the time after it.
    let part = |name: &str| place.join(name);
    for name in ["data", "ledger"] {
        copy(&part(name), &part(&format!("backup-{name}")));
    }
    let records = |ledger: &Path| -> u64 {
        let note = fs::read_to_string(ledger.join("checkpoint")).unwrap();
        note.lines().nth(1).unwrap().parse().unwrap()
    };
    let backed_up = records(&server.ledger());
    server.restart();
    server.agent("second", &["helpdesk:*"]);
    server.stop();
    copy(&part("ledger"), &part("newer"));
    let newer = records(&part("newer"));

    // Database and ledger restored together: only the witnesses know.
    let restore = || {
        for name in ["data", "ledger"] {
            copy(&part(&format!("backup-{name}")), &part(name));
        }
    };
    restore();
    let told = refused(&server);
    assert!(told.contains(&format!("has cosigned {newer} records")) && told.contains("Nothing was signed"), "{told}");
    assert_eq!(records(&server.ledger()), backed_up);
    // And the ledger wiped away.
    fs::remove_dir_all(part("ledger")).unwrap();
    let told = refused(&server);
    assert!(told.contains("has cosigned"), "{told}");
    assert!(!part("ledger/checkpoint").exists(), "nothing was signed");

    // Without witnesses it starts with a warning, unless it must not.
    for peer in &mut peers {
        peer.kill();
    }
    restore();
    let yaml = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), format!("{yaml}    required_at_start: true\n")).unwrap();
    let told = refused(&server);
    assert!(told.contains("too few witnesses answer"), "{told}");
    fs::write(server.config(), &yaml).unwrap();
    server.restart();
    // Another history, longer than the one the witnesses saw.
    for n in 0..newer {
        server.agent(&format!("other{n}"), &["helpdesk:*"]);
    }
    server.stop();
    let unwitnessed = verify(&server.ledger(), &["--policy", text(&policy)]);
    assert!(!unwitnessed.status.success() && said(&unwitnessed).contains("no quorum"), "{}", said(&unwitnessed));

    // The witnesses are back: the fork is refused, and the first record that differs is named where it can be.
    for peer in &mut peers {
        peer.restart();
    }
    let told = refused(&server);
    assert!(told.contains("another history"), "{told}");
    copy(&part("ledger"), &part("forked"));
    copy(&part("newer"), &part("ledger"));
    let told = refused(&server);
    assert!(told.contains(&format!("record {backed_up} is the first that differs")), "{told}");

    // An auditor with both copies, or with one copy and the other's head, holds the evidence.
    let split = verify(&part("newer"), &["--policy", text(&policy), "--against", text(&part("forked"))]);
    assert!(!split.status.success(), "{}", said(&split));
    assert!(said(&split).contains(&format!("FAIL against at record {backed_up}")), "{}", said(&split));
    assert_eq!(said(&split).matches("evidence").count(), 2);
    let head = part("newer/checkpoint");
    let split = verify(&part("forked"), &["--vkey", &log, "--earlier", text(&head)]);
    assert!(!split.status.success() && said(&split).contains("evidence 2"), "{}", said(&split));
    let extended = verify(&part("newer"), &["--vkey", &log, "--earlier", text(&part("backup-ledger/checkpoint"))]);
    assert!(extended.status.success(), "{}", said(&extended));
}

#[test]
fn a_lost_quorum_refuses_changes_until_it_is_back() {
    let setup = Setup::new();
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::start(setup.vkey())).collect();
    let mut server = setup.section(&section(&peers, 2, "    grace_s: 0\n    timeout_ms: 1000\n")).start();
    server.agent("before", &["helpdesk:*"]);
    peers[0].kill();
    for n in 0..3 {
        server.agent(&format!("meanwhile{n}"), &["helpdesk:*"]);
    }
    peers[1].kill();
    let mut n = 0;
    wait_until("a change is refused", || {
        n += 1;
        let output = server.command(&["agent", "add", &format!("during{n}"), "--scope", "helpdesk:*"]).output().unwrap();
        !output.status.success() && said(&output).contains("witness_quorum_lost")
    });
    peers[0].restart();
    wait_until("changes are allowed again", || {
        n += 1;
        let output = server.command(&["agent", "add", &format!("after{n}"), "--scope", "helpdesk:*"]).output().unwrap();
        output.status.success()
    });
    server.stop();
    let ledger = server.ledger();
    let shown = succeed(remit(&["audit", "show", "--dir", text(&ledger), "--json"]));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let actions: Vec<&str> = shown.as_array().unwrap().iter().filter_map(|record| record["action"].as_str()).collect();
    let place =
        |action: &str| actions.iter().position(|found| *found == action).unwrap_or_else(|| panic!("{action}: {actions:?}"));
    assert!(place("witnesses.lost") < place("witnesses.back"), "{actions:?}");
}
