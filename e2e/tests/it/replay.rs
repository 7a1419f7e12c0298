//! The past of a server with captured bodies, used as an auditor would: replayed, reconciled with the upstream's own log,
//! exported, asked what other policies would have said, and searched. SPEC: R1, R2, R3, R4, LG-24, N-EX-03.

use crate::{
    export::read_by_others,
    harness::{Player, Remit, Setup, node, play, python, remit, root, succeed, text},
    ledger::copy_folder,
};
use remit_ledger::{Reader, Record};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
/// Answered calls, and how many of them changed something.
const ANSWERED: u64 = 9;
const CHANGES: u64 = 2;

#[test]
fn captured_calls_are_replayed_reconciled_exported_and_found() {
    let mut server = with_capture().start();
    calls(&server);
    server.published();
    let out = TempDir::new().unwrap();
    server.run(&["audit", "disclose", "--out", text(&out.path().join("keys.json"))]);
    server.stop();
    replayed(&server, out.path());
    reconciled(&server, out.path());
    exported(&server, out.path());
    asked_what_if(&server, out.path());
    found(&server, out.path());
    a_closed_pipe_is_no_accident(&server);
    server.restart();
    recorded(&mut server);
}

fn with_capture() -> Setup {
    Setup::new().replace("    sample: helpdesk\n", "    sample: helpdesk\n    capture: { level: full }\n").replace(
        "tickets_update: { class: write,",
        "tickets_update: { capture: { before_after: { tool: tickets_read, arguments: { /id: /id }, required: true } }, class: write,",
    )
}

/// An agent that may see some fields only, one on its own account, and one that changes tickets for Alice; in both eras.
fn calls(server: &Remit) {
    let few = json!([{
        "type": "tool_access", "locations": [server.resource("helpdesk")], "actions": ["tickets_read", "tickets_list"],
        "fields": ["/id", "/subject", "/customer/name", "/tickets/*/id"],
    }]);
    server.agent_with("clerk", &few);
    server.agent("reader", &["helpdesk:tickets_read", "helpdesk:tickets_export"]);
    let reads = json!([
        { "name": "tickets_read", "arguments": { "id": "T-1001" } },
        { "name": "tickets_list", "arguments": { "limit": 3 } },
        { "name": "admin_purge", "arguments": { "confirm": "purge" } },
    ]);
    for player in [Player::TypeScriptLegacy, Player::TypeScriptModern] {
        let played = play(player, &server.directly("clerk", "helpdesk"), &reads);
        let ticket = &played["calls"][0]["structured"];
        assert_eq!((&ticket["id"], ticket["customer"].get("email")), (&json!("T-1001"), None), "not masked: {played}");
    }
    let more = json!([
        { "name": "tickets_read", "arguments": { "id": "T-1002" } },
        { "name": "tickets_read", "arguments": { "id": "T-9999" } },
        { "name": "tickets_export", "arguments": { "pause_ms": 0 }, "progress": true },
    ]);
    play(Player::TypeScriptModern, &server.through_connect("reader", "helpdesk"), &more);

    let key = server.agent("helper", &["helpdesk:tickets_update"]);
    let asked = json!({
        "issuer": server.issuer, "resource": server.resource("helpdesk"), "scope": "helpdesk:tickets_update",
        "agent": "agent:helper", "agent_key": key, "user": "alice", "password": server.password,
    });
    let token = node("delegate.mjs", &asked)["access_token"].clone();
    let for_alice = json!({ "url": server.resource("helpdesk"), "token": token, "key_file": key });
    let changes = json!([
        { "name": "tickets_update", "arguments": { "id": "T-1001", "status": "pending" },
          "meta": { "traceparent": format!("00-{TRACE}-{SPAN}-01") } },
        { "name": "tickets_update", "arguments": { "id": "T-1002", "note": "called back" } },
    ]);
    let played = play(Player::TypeScriptLegacy, &for_alice, &changes);
    assert_eq!(played["calls"][0]["structured"]["status"], "pending", "{played}");
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

/// R3, R2 and R1, with the server's own keys and with a disclosure file over a copy.
fn replayed(server: &Remit, out: &Path) {
    let whole = json!({ "calls": ANSWERED, "agree": ANSWERED, "mismatches": [], "not_captured": 0, "undisclosed": 0 });
    let again = json_of(
        &server.command(&["audit", "replay", text(&server.ledger()), "--level", "execution", "--json"]).output().unwrap(),
    );
    assert_eq!(again, whole);
    let decisions = json_of(&server.command(&["audit", "replay", "--level", "decision", "--json"]).output().unwrap());
    assert!(decisions["decisions"].as_u64().unwrap() >= ANSWERED, "{decisions}");
    assert_eq!((&decisions["agree"], &decisions["mismatches"]), (&decisions["decisions"], &json!([])));

    let timeline = server.run(&["audit", "replay", "--level", "view"]);
    let reader = Reader::open(&server.ledger()).unwrap();
    assert_eq!(timeline.lines().count() as u64, reader.len(), "one line a record");
    let change = timeline.lines().find(|line| line.contains("tickets_update")).unwrap();
    assert!(change.contains("alice") && change.contains("helper"), "{change}");

    // An auditor's copy: with the keys that were disclosed the same; without, it says that nothing could be done again.
    let copy = out.join("copy");
    copy_folder(&server.ledger(), &copy);
    let keys = out.join("keys.json");
    let elsewhere = |more: &[&str]| {
        let mut command = remit(&[&["audit", "replay", text(&copy), "--level", "execution", "--json"], more].concat());
        command.current_dir(out).output().unwrap()
    };
    assert_eq!(json_of(&elsewhere(&["--keys", text(&keys)])), whole);
    let bare = json_of(&elsewhere(&[]));
    assert_eq!((&bare["agree"], &bare["undisclosed"]), (&json!(0), &json!(ANSWERED)), "{bare}");
}

fn reconciled(server: &Remit, out: &Path) {
    let log = server.folder().join("data/sample-helpdesk.jsonl");
    let reconcile = |file: &Path| {
        let arguments = ["audit", "reconcile", "--upstream", text(file), "--server", "helpdesk", "--json"];
        server.command(&arguments).output().unwrap()
    };
    let honest = reconcile(&log);
    let report = json_of(&honest);
    assert!(honest.status.success(), "{report}");
    // What the two changes read before and after is in the upstream's log too.
    let lines = fs::read_to_string(&log).unwrap();
    assert_eq!(report["upstream"]["matched"], lines.lines().count(), "{report}");
    assert_eq!(report["upstream"]["matched"], ANSWERED + 2 * CHANGES, "{report}");

    let mut lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let altered = lines.iter().position(|line| line["name"] == "tickets_update").unwrap();
    lines[altered]["digest"] = json!(format!("sha-256:{}", "0".repeat(64)));
    lines.push(json!({ "call": null, "digest": format!("sha-256:{}", "1".repeat(64)), "name": "admin_purge" }));
    let file = out.join("altered.jsonl");
    let text = lines.iter().fold(String::new(), |text, line| text + &line.to_string() + "\n");
    fs::write(&file, text).unwrap();
    let output = reconcile(&file);
    let report = json_of(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    let named = |kind: &str| -> Vec<(u64, String)> {
        let findings = report["upstream"][kind].as_array().unwrap().iter();
        findings.map(|finding| (finding["at"].as_u64().unwrap(), finding["name"].as_str().unwrap().to_owned())).collect()
    };
    let upstream_only = [(altered as u64 + 1, "tickets_update".to_owned()), (lines.len() as u64, "admin_purge".to_owned())];
    assert_eq!(named("upstream_only"), upstream_only);
    let ledger_only = named("ledger_only");
    assert_eq!((ledger_only.len(), ledger_only[0].1.as_str()), (1, "tickets_update"), "{report}");
    fs::write(&file, "{\"call\":1}\n").unwrap();
    let output = reconcile(&file);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("line 1"));
}

/// The server writes down what a reconciliation came to.
fn recorded(server: &mut Remit) {
    let log = server.folder().join("data/sample-helpdesk.jsonl");
    let arguments = ["audit", "reconcile", "--upstream", text(&log), "--server", "helpdesk", "--record", "--json"];
    let record = json_of(&succeed(server.command(&arguments)))["record"].as_str().unwrap().to_owned();
    server.stop();
    let shown: Value = serde_json::from_str(&server.run(&["audit", "show", &record])).unwrap();
    assert_eq!(shown["record"]["record_type"], "reconcile", "{shown}");
    let summary = &shown["record"]["ext"]["reconcile"];
    assert_eq!(
        (&summary["upstream_matched"], &summary["upstream_only"]),
        (&json!((ANSWERED + 2 * CHANGES).to_string()), &json!("0")),
        "{shown}"
    );
    let latest: Value = serde_json::from_str(&server.run(&["audit", "show", "--json"])).unwrap();
    assert!(latest.as_array().unwrap().iter().any(|row| row["record_id"] == record && row["type"] == "reconcile"), "{latest}");
    succeed(server.command(&["audit", "verify", text(&server.ledger()), "--vkey", &server.vkey]));
}

/// The records of one ledger for which something holds.
fn records(server: &Remit, wanted: impl Fn(&Record) -> bool) -> Vec<u64> {
    let reader = Reader::open(&server.ledger()).unwrap();
    (0..reader.len()).filter(|index| wanted(&reader.record(*index).unwrap())).collect()
}

fn exported(server: &Remit, out: &Path) {
    let otlp = out.join("otlp");
    server.run(&["audit", "export", "--format", "otlp", "--out", text(&otlp)]);
    let read = read_by_others("otlp", &otlp);
    let joined: Vec<&Value> = read["traces"].as_array().unwrap().iter().filter(|trace| trace["trace"] == TRACE).collect();
    let events: Vec<&str> = joined.iter().map(|trace| trace["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["agent.audit.intent", "agent.audit.effect"], "{read}");
    assert!(joined.iter().all(|trace| trace["span"] == SPAN), "{read}");

    let proofs = out.join("proofs");
    server.run(&["audit", "export", "--format", "tlog-proof", "--out", text(&proofs)]);
    let of_the_call = records(server, |record| record.text("/trace/trace_id") == Some(TRACE));
    assert_eq!(of_the_call.len(), 2);
    let check = |proof: u64, entry: u64| {
        let mut verify = Command::new(python());
        verify.arg(root().join("verify.py")).arg("proof").arg(proofs.join(format!("{proof}.tlog-proof")));
        verify.arg("--entry").arg(proofs.join(format!("{entry}.json"))).args(["--vkey", &server.vkey]).output().unwrap()
    };
    for index in of_the_call {
        let checked = check(index, index);
        assert!(
            checked.status.success(),
            "{}{}",
            String::from_utf8_lossy(&checked.stdout),
            String::from_utf8_lossy(&checked.stderr)
        );
        assert_eq!(check(index, index - 1).status.code(), Some(1), "another record has the same proof");
    }
}

fn asked_what_if(server: &Remit, out: &Path) {
    let policies = out.join("policies");
    fs::create_dir(&policies).unwrap();
    for file in fs::read_dir(server.folder().join("policies")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), policies.join(file.file_name())).unwrap();
    }
    let ask = |more: &[&str]| {
        server.command(&[&["audit", "what-if", "--policies", text(&policies), "--json"], more].concat()).output().unwrap()
    };
    let same = json_of(&ask(&["--fail-on-flip"]));
    assert_eq!((&same["flipped"], &same["same"]), (&json!(0), &same["decisions"]), "{same}");
    let forbid =
        "@id(\"no-updates\")\nforbid (principal, action == Action::\"call\", resource == Tool::\"helpdesk/tickets_update\");\n";
    fs::write(policies.join("no-updates.cedar"), forbid).unwrap();
    let output = ask(&["--fail-on-flip"]);
    assert_eq!(output.status.code(), Some(1));
    let report = json_of(&output);
    assert_eq!((&report["flipped"], report["flips"].as_array().unwrap().len()), (&json!(CHANGES), 1), "{report}");
    let flip = &report["flips"][0];
    assert_eq!(
        (&flip["what"], &flip["was"], &flip["becomes"]),
        (&json!("helpdesk/tickets_update"), &json!("allow"), &json!("deny"))
    );
    assert!(flip["rules"][0].as_str().unwrap().contains("no-updates"), "{flip}");
    let decided =
        records(server, |record| record.record_type() == "intent" && record.text("/tool/name") == Some("tickets_update"));
    assert_eq!(flip["records"], json!(decided), "{flip}");
    fs::write(policies.join("broken.cedar"), "forbid (nobody").unwrap();
    let broken = ask(&[]);
    assert!(!broken.status.success() && String::from_utf8_lossy(&broken.stderr).contains("broken.cedar"));
}

fn found(server: &Remit, out: &Path) {
    let search =
        |more: &[&str]| server.command(&[&["audit", "search", "--json", "--limit", "500"], more].concat()).output().unwrap();
    let hits = |more: &[&str]| -> Vec<u64> {
        let answer = json_of(&search(more));
        let mut found: Vec<u64> =
            answer["records"].as_array().unwrap().iter().map(|row| row["index"].as_u64().unwrap()).collect();
        assert_eq!(answer["total"], found.len(), "{answer}");
        found.sort_unstable();
        found
    };
    let updates = records(server, |record| record.text("/tool/name") == Some("tickets_update"));
    assert_eq!(updates.len() as u64, 2 * CHANGES);
    assert_eq!(hits(&["--tool", "tickets_update"]), updates);
    assert_eq!(hits(&["--human", "user:alice", "--tool", "helpdesk/tickets_update"]), updates);
    assert_eq!(hits(&["--agent", "agent:helper", "--type", "intent"]).len() as u64, CHANGES);
    assert_eq!(hits(&["--agent", "agent:clerk", "--tool", "tickets_update"]), Vec::<u64>::new());
    assert_eq!(hits(&["--human", "user:bob"]), Vec::<u64>::new());
    let refused = records(server, |record| {
        record.text("/outcome/code") == Some("tool_not_granted")
            || record.text("/decision/reason_code") == Some("tool_not_granted")
    });
    assert_eq!((refused.len(), &hits(&["--code", "tool_not_granted"])), (2, &refused));
    let reader = Reader::open(&server.ledger()).unwrap();
    let txn = reader.record(updates[0]).unwrap().txn().unwrap().to_owned();
    let task = records(server, |record| record.txn() == Some(&txn));
    assert!(task.len() > updates.len(), "the consent is of the same task");
    assert_eq!(hits(&["--task", &txn]), task);

    // A damaged index is made anew, whatever is damaged of it; a file that is no index is left alone.
    let index = server.folder().join("index.db");
    let good = fs::read(&index).unwrap();
    for from in [100, 4096, good.len() / 2] {
        let mut bytes = good.clone();
        bytes[from..].fill(0xa5);
        fs::write(&index, bytes).unwrap();
        assert_eq!(hits(&["--tool", "tickets_update"]), updates, "damaged from byte {from}");
    }
    fs::write(&index, &good[..good.len() / 2]).unwrap();
    assert_eq!(hits(&["--tool", "tickets_update"]), updates, "cut off");
    let other = out.join("other.db");
    for bytes in [b"no index at all, but a person's notes".to_vec(), fs::read(server.folder().join("data/keys.db")).unwrap()] {
        fs::write(&other, &bytes).unwrap();
        for more in [&["--index", text(&other)][..], &["--index", text(&other), "--rebuild"]] {
            let refused = search(more);
            assert!(!refused.status.success());
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(said.contains("other.db") && said.contains("--index"), "{said}");
            assert!(fs::read(&other).unwrap() == bytes, "a foreign file was changed");
        }
    }
}

/// As with `remit … --json | head -1`: a reader that stops early gets no panic.
fn a_closed_pipe_is_no_accident(server: &Remit) {
    for arguments in [
        &["audit", "show", "--json"][..],
        &["audit", "show"],
        &["audit", "verify", text(&server.ledger())],
        &["audit", "replay", "--level", "view"],
        &["audit", "replay", "--level", "execution"],
        &["audit", "export", "--format", "jsonl"],
        &["audit", "schema"],
    ] {
        let (reading, writing) = std::io::pipe().unwrap();
        drop(reading);
        let mut command = if arguments == ["audit", "schema"] { remit(arguments) } else { server.command(arguments) };
        let output = command.stdout(Stdio::from(writing)).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(141), "{arguments:?}: as if SIGPIPE had ended it");
    }
}
