//! Every record of a real run fits the published JSON Schema, as a third party's validator reads it.

use crate::harness::{Player, Setup, client, play, python, remit, root, succeed};
use remit_testkit::wait_until;
use serde_json::{Value, json};
use std::{fs, process::Command};

#[test]
fn every_record_of_a_run_fits_the_published_schema_and_broken_ones_do_not() {
    let mut remit = Setup::new().section("ledger:\n  heartbeat_s: 1\n").start();
    remit.agent("reader", &["helpdesk:tickets_read", "helpdesk:tickets_update"]);
    let calls = json!([
        {"name": "tickets_read", "arguments": {"id": "T-1001"}},
        {"name": "tickets_update", "arguments": {"id": "T-1001", "status": "closed"}},
        {"name": "admin_purge", "arguments": {"confirm": "purge"}},
    ]);
    play(Player::TypeScriptLegacy, &remit.directly("reader", "helpdesk"), &calls);
    remit.run(&["agent", "quarantine", "reader"]);
    let heartbeat = || remit.run(&["audit", "export", "--format", "jsonl"]).contains("\"record_type\":\"heartbeat\"");
    wait_until("an idle log says that it lives", heartbeat);
    remit.stop();
    let output = succeed({
        let mut command = Command::new(python());
        command.arg(client("records.py")).arg(remit.ledger()).arg(root().join("schema/agent.audit.v1.json"));
        command
    });
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for kind in [
        "intent",
        "decision",
        "effect",
        "token",
        "config_change",
        "policy_change",
        "session_open",
        "session_close",
        "log_control",
        "heartbeat",
    ] {
        assert!(told["seen"][kind].as_u64().is_some_and(|count| count > 0), "{kind} is missing in {told}");
    }
    assert!(told["rejected"].as_u64().unwrap() > 300, "{told}");
}

#[test]
fn the_command_prints_the_schema() {
    let printed = succeed(remit(&["audit", "schema"])).stdout;
    assert_eq!(printed, fs::read(root().join("schema/agent.audit.v1.json")).unwrap());
}
