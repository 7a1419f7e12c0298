//! Disclosing, proving, holding and forgetting with the real binary: what an operator types, and what an auditor can see before
//! and after. SPEC: record.md §1.6.

use crate::{
    harness::{Player, Remit, Setup, play, remit, succeed, text},
    ledger::copy_folder,
};
use remit_testkit::wait_until;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// A change to a proof.
type Tampering = fn(&mut Value);

/// A quorum of a witness that has cosigned nothing here.
const UNSIGNED: &str = "witness w1 witness1.example/w+9755e017+BNYvAWoe/R5P33k+tCzYRHHhup8M8E0Sh7XMcfYWKHy4\nquorum w1";
const BASIS: &str = "GDPR Art. 17(1)(a)";

/// A live server, and a place for what is taken from it.
struct Office {
    remit: Remit,
    out: TempDir,
}

impl Office {
    /// Two customers and a ticket were read.
    fn new() -> Self {
        let remit = Setup::new().section("\nledger:\n  heartbeat_s: 0\n  publish_every_ms: 50\n").start();
        remit.agent("reader", &["helpdesk:tickets_read", "helpdesk:customers_read"]);
        let calls = json!([
            { "name": "customers_read", "arguments": { "id": "C-001" } },
            { "name": "customers_read", "arguments": { "id": "C-002" } },
            { "name": "tickets_read", "arguments": { "id": "T-1001" } },
        ]);
        play(Player::TypeScriptLegacy, &remit.directly("reader", "helpdesk"), &calls);
        Self { remit, out: TempDir::new().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.out.path().join(name)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.remit.run(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Waits until the record is in the published folder, which is off the path of requests.
    fn published(&self, record: &Value) {
        let shown = || self.remit.command(&["audit", "show", record.as_str().unwrap()]).output().unwrap().status.success();
        wait_until(&format!("{record} is published"), shown);
    }

    /// `remit audit disclose`: the file.
    fn disclose(&self, name: &str) -> PathBuf {
        let file = self.file(name);
        let told = self.json(&["audit", "disclose", "--out", text(&file)]);
        self.published(&told["record"]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        file
    }

    /// What an auditor takes away.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.file(name);
        copy_folder(&self.remit.ledger(), &copy);
        copy
    }

    /// The latest records, oldest first, as the table has them.
    fn rows(&self) -> Vec<Value> {
        self.json(&["audit", "show"]).as_array().unwrap().clone()
    }

    /// The numbers of the reads of customers, in the order of the calls.
    fn reads(&self) -> Vec<String> {
        let rows = self.rows().into_iter();
        rows.filter(|row| row["action"] == "customers_read").map(|row| row["index"].to_string()).collect()
    }

    fn verify_live(&self) -> Value {
        verdict(
            &self
                .remit
                .command(&["audit", "verify", text(&self.remit.ledger()), "--vkey", &self.remit.vkey, "--json"])
                .output()
                .unwrap(),
        )
    }
}

fn verdict(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

/// On an auditor's machine there is no configuration.
fn elsewhere(arguments: &[&str], place: &Path) -> Command {
    let mut command = remit(arguments);
    command.current_dir(place);
    command
}

/// The command says no, with exit code 1 and these words.
fn refused(mut command: Command, words: &[&str]) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {}", said(&output));
    for word in words {
        assert!(said(&output).contains(word), "{command:?} does not say {word:?}: {}", said(&output));
    }
}

/// The value at a place beside a record, as a holder of this copy and these keys reads it.
fn seen(copy: &Path, keys: &Path, record: &str, path: &str) -> Option<Value> {
    let show = elsewhere(&["audit", "show", record, "--dir", text(copy), "--keys", text(keys)], copy);
    let shown: Value = serde_json::from_slice(&succeed(show).stdout).unwrap();
    let field = &shown["side"]["fields"][path];
    assert!(field.is_object(), "{path} is not there at all: {shown}");
    field.get("value").cloned()
}

fn check(proof: &Path, vkey: &str) -> Output {
    let place = proof.parent().unwrap();
    elsewhere(&["audit", "prove", "--check", text(proof), "--vkey", vkey], place).output().unwrap()
}

#[test]
fn what_is_disclosed_proved_held_and_forgotten() {
    let office = Office::new();
    let first = office.disclose("keys.json");
    let copy = office.copy("copy");
    let reads = office.reads();
    let [ours, theirs] = reads.as_slice() else { panic!("{reads:?}") };

    an_auditor_reads_what_was_disclosed(&office, &copy, &first, ours);
    let proof = a_field_is_proved_to_a_stranger(&office, ours);
    a_hold_prevents_the_erasure(&office);
    the_customer_is_forgotten(&office, &proof, ours, theirs);
    the_agent_is_forgotten(&office, &proof, theirs);
    // What was handed out before is beyond any erasure, and the documentation says so.
    assert_eq!(seen(&copy, &first, ours, "/call/arguments"), Some(json!({"id": "C-001"})));
}

fn an_auditor_reads_what_was_disclosed(office: &Office, copy: &Path, keys: &Path, read: &str) {
    let vkey = &office.remit.vkey;
    let verify = |more: &[&str]| {
        let arguments = [&["audit", "verify", text(copy), "--vkey", vkey, "--json"], more].concat();
        verdict(&elsewhere(&arguments, copy).output().unwrap())
    };
    let opened = verify(&["--keys", text(keys)]);
    assert_eq!((&opened["ok"], &opened["disclosed"]), (&json!(true), &json!(true)), "{opened}");
    assert_eq!((&opened["custody"]["undisclosed"], &opened["replay"]["undisclosed"]), (&json!(0), &json!(0)));
    let sealed = verify(&[]);
    assert_eq!((&sealed["ok"], &sealed["disclosed"]), (&json!(true), &json!(false)), "{sealed}");
    assert_eq!(seen(copy, keys, read, "/call/arguments"), Some(json!({"id": "C-001"})));
    // One person's keys open one person's part: values about several people need all of theirs.
    let agent = office.file("agent.json");
    office.remit.run(&["audit", "disclose", "--out", text(&agent), "--subject", "agent:reader"]);
    assert_eq!(seen(copy, &agent, read, "/call/arguments"), None);
    assert_eq!(seen(copy, &agent, read, "/chain/0/subject").unwrap()["sub"], "agent:reader");
    let unwritten = office.file("unwritten.json");
    refused(office.remit.command(&["audit", "disclose", "--out", text(&unwritten), "--subject", "customer:C-999"]), &["no key"]);
    assert!(!unwritten.exists());
}

fn a_field_is_proved_to_a_stranger(office: &Office, read: &str) -> PathBuf {
    let proof = office.file("p.json");
    office.remit.run(&["audit", "prove", read, "--field", "/call/arguments", "--out", text(&proof)]);
    let bytes = fs::read_to_string(&proof).unwrap();
    assert!(bytes.contains("C-001") && !bytes.contains("agent:reader"), "one value and no other: {bytes}");
    let vkey = &office.remit.vkey;
    let output = check(&proof, vkey);
    assert!(output.status.success() && said(&output).contains("PROVED") && said(&output).contains("C-001"), "{}", said(&output));
    assert_eq!(check(&proof, Setup::new().vkey()).status.code(), Some(1), "another log's key");
    for (quorum, proved) in [("quorum none", true), (UNSIGNED, false)] {
        let policy = office.file("proof.policy");
        fs::write(&policy, format!("log {vkey}\n{quorum}\n")).unwrap();
        let judged = |more: &[&str]| {
            let arguments = [&["audit", "prove", "--check", text(&proof), "--policy", text(&policy)], more].concat();
            elsewhere(&arguments, proof.parent().unwrap()).output().unwrap()
        };
        assert_eq!(judged(&[]).status.success(), proved, "{quorum}: {}", said(&judged(&[])));
        assert_eq!(judged(&["--vkey", vkey]).status.success(), proved, "{quorum}");
        assert!(!judged(&["--vkey", Setup::new().vkey()]).status.success(), "the policy is for another log");
    }

    let honest: Value = serde_json::from_str(&bytes).unwrap();
    let forged = office.file("forged.json");
    let tampering: [(&str, Tampering); 6] = [
        ("value", |proof| proof["field"]["value"] = json!({"id": "C-002"})),
        ("path", |proof| proof["field"]["path"] = json!("/call/result")),
        ("salt", |proof| proof["field"]["salt"] = json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ("position", |proof| proof["position"] = json!(proof["position"].as_u64().unwrap() ^ 1)),
        ("sibling", |proof| proof["siblings"][0] = json!(format!("sha-256:{}", "0".repeat(64)))),
        ("entry", |proof| {
            let entry = proof["entry"].as_str().unwrap().to_owned();
            let other = if entry.as_bytes()[400] == b'A' { "B" } else { "A" };
            proof["entry"] = json!([entry.get(..400).unwrap(), other, entry.get(401..).unwrap()].concat());
        }),
    ];
    for (what, tamper) in tampering {
        let mut changed = honest.clone();
        tamper(&mut changed);
        assert_ne!(changed, honest, "{what}");
        fs::write(&forged, changed.to_string()).unwrap();
        let output = check(&forged, vkey);
        assert_eq!(output.status.code(), Some(1), "{what}: {}", said(&output));
    }
    proof
}

fn a_hold_prevents_the_erasure(office: &Office) {
    let subject = ["--subject", "customer:C-001"];
    let erase = |basis: &str| office.remit.command(&[&["audit", "erase"], subject.as_slice(), &["--basis", basis]].concat());
    let add = [&["audit", "hold", "add"], subject.as_slice(), &["--basis", "case 7"]].concat();
    office.json(&add);
    refused(office.remit.command(&add), &["already"]);
    assert_eq!(office.json(&["audit", "hold", "list"])["holds"].as_array().unwrap().len(), 1);
    refused(erase(BASIS), &["legal_hold"]);
    let released = office.json(&[&["audit", "hold", "release"], subject.as_slice()].concat());
    office.published(&released["record"]);
    let denied = office.rows().into_iter().find(|row| row["type"] == "redaction").unwrap();
    assert_eq!(denied["outcome"], "denied");
    refused(office.remit.command(&[&["audit", "hold", "release"], subject.as_slice()].concat()), &["no legal hold"]);
    refused(erase("C-001 asked for it"), &["must not name"]);
}

fn the_customer_is_forgotten(office: &Office, proof: &Path, ours: &str, theirs: &str) {
    let whole = office.verify_live();
    assert_eq!(whole["disclosed"], true, "the server has all its keys: {whole}");
    let erased = office.json(&["audit", "erase", "--subject", "customer:C-001", "--basis", BASIS]);
    assert_eq!(erased["keys_destroyed"], 1);
    let keys = office.disclose("after-customer.json");
    let copy = office.copy("after-customer");
    for path in ["/call/arguments", "/resource/1/id", "/decision/input"] {
        assert_eq!(seen(&copy, &keys, ours, path), None, "{path}");
        assert!(seen(&copy, &keys, theirs, path).is_some(), "{path} of the other customer");
    }
    assert_eq!(seen(&copy, &keys, ours, "/chain/0/subject").unwrap()["sub"], "agent:reader", "who asked is not forgotten");
    holds_with_gaps(&office.verify_live());
    still_proved(proof, &office.remit.vkey);
    let none = office.file("none.json");
    refused(office.remit.command(&["audit", "prove", ours, "--field", "/call/arguments", "--out", text(&none)]), &[]);
    assert!(!none.exists());
    for (subject, words) in [
        ("customer:C-999", "not_found"),
        ("customer:C-001", "was erased at"),
        ("user:nobody", "not_found"),
        ("C-001", "a subject is"),
    ] {
        refused(office.remit.command(&["audit", "erase", "--subject", subject, "--basis", BASIS]), &[words]);
    }
}

fn the_agent_is_forgotten(office: &Office, proof: &Path, theirs: &str) {
    office.json(&["audit", "erase", "--subject", "agent:reader", "--basis", BASIS]);
    let keys = office.disclose("after-agent.json");
    let copy = office.copy("after-agent");
    for path in ["/call/arguments", "/chain/0/subject"] {
        assert_eq!(seen(&copy, &keys, theirs, path), None, "{path}");
    }
    holds_with_gaps(&office.verify_live());
    still_proved(proof, &office.remit.vkey);
    // Its registration is the operator's, and stays.
    assert!(!office.remit.token("reader", "helpdesk").is_empty());
    let classes = office.json(&["audit", "retention"]);
    let standard = classes.as_array().unwrap().iter().find(|class| class["class"] == "standard").unwrap();
    assert!(standard["records"].as_u64().unwrap() > 5 && standard["with_values"].as_u64().unwrap() > 0, "{classes}");
    let oldest = office.file("oldest.tlog-proof");
    succeed(elsewhere(&["audit", "retention", "--dir", text(&copy), "--out", text(&oldest)], &copy));
    assert!(fs::read_to_string(oldest).unwrap().starts_with("c2sp.org/tlog-proof@v1\n"));
}

/// Everything that can still be judged is right, and what cannot be is counted.
fn holds_with_gaps(verdict: &Value) {
    assert_eq!((&verdict["ok"], &verdict["disclosed"]), (&json!(true), &json!(false)), "{verdict}");
    assert_eq!((&verdict["custody"]["failures"], &verdict["replay"]["mismatches"]), (&json!([]), &json!([])), "{verdict}");
    assert!(verdict["replay"]["undisclosed"].as_u64().unwrap() > 0, "{verdict}");
}

fn still_proved(proof: &Path, vkey: &str) {
    let output = check(proof, vkey);
    assert!(output.status.success(), "a proof made before an erasure holds: {}", said(&output));
}
