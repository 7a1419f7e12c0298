//! Exports, read back by other people's parsers. SPEC: N-EX-01, N-EX-02, N-EX-03, LG-24, LG-25.

use crate::harness::{Player, Setup, play, python, remit, root, succeed, text};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

/// What the server knows and no export may say: the caller's argument, what the upstream answered, and a token, which begins
/// with its header: `{"alg":` or `{"typ":` in base64.
const PLANTED: [&str; 4] = ["T-1001", "example.com", "eyJhbGci", "eyJ0eXAi"];

pub(crate) fn read_by_others(format: &str, path: &Path) -> Value {
    let output = Command::new(python()).arg(root().join("e2e/clients/exports.py")).arg(format).arg(path).output().unwrap();
    assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn clean(name: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for planted in PLANTED {
        assert!(!text.contains(planted), "{name} says `{planted}`");
    }
}

#[test]
fn every_format_is_read_by_a_strangers_parser_and_tells_no_secret() {
    let mut server = Setup::new().start();
    server.agent("reader", &["helpdesk:tickets_read"]);
    let calls = json!([
        { "name": "tickets_read", "arguments": { "id": "T-1001" } },
        { "name": "admin_purge", "arguments": { "confirm": "purge" } },
    ]);
    play(Player::TypeScriptLegacy, &server.directly("reader", "helpdesk"), &calls);
    server.stop();
    let out = TempDir::new().unwrap();
    let (ledger, at) = (server.ledger(), |name: &str| out.path().join(name));
    let export = |format: &str, more: &[&str]| {
        let file = at(format);
        let mut command = remit(&["audit", "export", "--format", format, "--dir", text(&ledger), "--out", text(&file)]);
        command.args(more);
        succeed(command);
        file
    };

    let ocsf = export("ocsf", &[]);
    let read = read_by_others("ocsf", &ocsf);
    assert_eq!((&read["problems"], &read["undeclared"]), (&json!([]), &json!([])), "N-EX-02");
    let classes = read["classes"].as_object().unwrap();
    for class in ["3002", "3004", "6002", "6003"] {
        assert!(classes.contains_key(class), "{classes:?}");
    }
    let records = read["events"].as_u64().unwrap();
    let next = fs::read_to_string(export("ocsf-1.9", &[])).unwrap();
    assert!(next.contains("\"attestation_list\"") && next.contains("\"ai_agent\""));

    let otlp = export("otlp", &[]);
    let read = read_by_others("otlp", &otlp);
    assert_eq!(read["records"], records);
    let keys = read["keys"].as_array().unwrap();
    assert!(keys.contains(&json!("gen_ai.tool.name")) && keys.contains(&json!("mcp.method.name")));
    assert!(!keys.iter().any(|key| key.as_str().unwrap().contains("argument")), "N-EX-03");

    let cef = export("cef", &[]);
    let read = read_by_others("cef", &cef);
    let events = read["events"].as_array().unwrap();
    assert_eq!(events.len() as u64, records);
    assert!(events.iter().any(|event| event["event"]["outcome"] == "denied" && event["event"]["reason"] == "tool_not_granted"));

    let csv = export("csv", &[]);
    let read = read_by_others("csv", &csv);
    assert_eq!((read["rows"].as_array().unwrap().len() as u64, &read["formulas"]), (records, &json!([])));

    let jsonl = export("jsonl", &[]);
    let lines = fs::read_to_string(&jsonl).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["log"]["index"], (records - 1).to_string());
    assert_eq!(last["log"]["checkpoint_size"], records.to_string());

    for file in [ocsf, at("ocsf-1.9"), otlp, cef, csv, jsonl] {
        clean(text(&file), &fs::read(&file).unwrap());
    }
    let part = fs::read_to_string({
        let file = at("part");
        let args =
            ["audit", "export", "--format", "jsonl", "--from", "1", "--to", "3", "--dir", text(&ledger), "--out", text(&file)];
        succeed(remit(&args));
        file
    });
    assert_eq!(part.unwrap().lines().count(), 2);
}

#[test]
fn statements_proofs_and_the_bundle_hold_for_strangers_and_refuse_what_they_cannot_do() {
    let mut server = Setup::new().start();
    server.agent("reader", &["helpdesk:tickets_read"]);
    let calls = json!([{ "name": "tickets_read", "arguments": { "id": "T-1001" } }]);
    play(Player::TypeScriptLegacy, &server.directly("reader", "helpdesk"), &calls);
    server.stop();
    let out = TempDir::new().unwrap();
    let at = |name: &str| out.path().join(name);
    let (ledger, config) = (server.ledger(), server.config());

    let statements = at("scitt");
    succeed(remit(&["audit", "export", "--format", "scitt", "-c", text(&config), "--out", text(&statements)]));
    let read = read_by_others("scitt", &statements);
    let made = read["statements"].as_array().unwrap();
    assert!(!made.is_empty() && read["forged_refused"] == made.len(), "a changed payload passes");
    assert_eq!(made[0]["sub"], format!("urn:uuid:{}", made[0]["record_id"].as_str().unwrap()));
    let nowhere = TempDir::new().unwrap();
    let mut unsigned = remit(&["audit", "export", "--format", "scitt", "--dir", text(&ledger), "--out", text(&at("none"))]);
    let output = unsigned.current_dir(nowhere.path()).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("record key"), "no key, no statement");
    assert!(!at("none").exists());

    let proofs = at("proofs");
    succeed(remit(&["audit", "export", "--format", "tlog-proof", "--dir", text(&ledger), "--out", text(&proofs)]));
    let proof = fs::read_to_string(proofs.join("1.tlog-proof")).unwrap();
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\nindex 1\n"), "{proof}");

    let bundle = at("bundle");
    succeed(remit(&["audit", "export", "--format", "bundle", "-c", text(&config), "--out", text(&bundle)]));
    let vkey = fs::read_to_string(bundle.join("vkey")).unwrap();
    assert_eq!(vkey.trim(), server.vkey);
    let mut verify = remit(&["audit", "verify", text(&bundle.join("ledger")), "--vkey", vkey.trim()]);
    verify.current_dir(nowhere.path());
    succeed(verify);
    let mut sums = Command::new("sha256sum");
    sums.args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&bundle);
    succeed(sums);
    let side = bundle.join("ledger/side");
    for file in fs::read_dir(&side).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        clean("the bundle", &bytes);
        assert!(!String::from_utf8_lossy(&bytes).contains("\"salt\""), "an open value went with the bundle");
    }
    let mut partial =
        remit(&["audit", "export", "--format", "bundle", "--from", "1", "-c", text(&config), "--out", text(&at("p"))]);
    assert!(!partial.output().unwrap().status.success(), "a part of a ledger is no bundle");
    let mut again = remit(&["audit", "export", "--format", "bundle", "-c", text(&config), "--out", text(&bundle)]);
    assert!(!again.output().unwrap().status.success(), "nothing is overwritten");
}
