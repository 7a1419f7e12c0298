//! Another enforcement point asks a running server what a subject may do, with its own token and key, and the ledger holds.

use crate::harness::{Remit, Setup, node, succeed, text};
use serde_json::{Value, json};

fn point() -> Remit {
    Setup::new().section("authzen:\n  enabled: true\n").start()
}

fn ask(remit: &Remit, who: &str, questions: &Value) -> Value {
    let resource = format!("{}/access/v1", remit.issuer);
    let token = remit.run(&["token", "exchange", "--agent", who, "--resource", &resource]);
    let key = remit.folder().join(format!("agents/{who}.pem"));
    node("evaluate.mjs", &json!({"issuer": remit.issuer, "token": token.trim(), "key_file": key, "questions": questions}))
}

fn about(kind: &str, id: &str, tool: &str, arguments: &Value) -> Value {
    json!({"subject": {"type": kind, "id": id}, "action": {"name": "call"}, "resource": {"type": "tool", "id": tool},
        "context": {"arguments": arguments}})
}

#[test]
fn a_decision_is_given_recorded_and_repeated_offline() {
    let mut remit = point();
    remit.agent("gate", &["access:evaluate"]);
    remit.agent("planner", &["helpdesk:tickets_read", "helpdesk:refund_create"]);
    let questions = json!([
        about("agent", "planner", "helpdesk/tickets_read", &json!({"id": "T-1001"})),
        // The starter policies let no agent pay on its own account.
        about("agent", "planner", "helpdesk/refund_create", &json!({"ticket_id": "T-1001", "amount": 5, "currency": "EUR"})),
        about("agent", "planner", "helpdesk/tickets_close", &json!({"id": "T-1001"})),
        about("user", "alice", "helpdesk/tickets_read", &json!({"id": "T-1001"})),
        about("agent", "nobody", "helpdesk/tickets_read", &json!({"id": "T-1001"})),
    ]);
    let answers = ask(&remit, "gate", &questions);
    let codes = [None, Some("policy_denied"), Some("tool_not_granted"), None, Some("client_unknown")];
    for (at, code) in codes.into_iter().enumerate() {
        let one = &answers["each"][at];
        assert_eq!((&one["status"], &one["id"]), (&json!(200), &json!("e2e-1")), "{one}");
        for answer in [&one["body"], &answers["all"]["body"]["evaluations"][at]] {
            assert_eq!((&answer["decision"], answer["context"]["code"].as_str()), (&json!(code.is_none()), code), "{answer}");
        }
    }
    remit.stop();
    let verified = succeed(remit.command(&["audit", "verify", text(&remit.ledger()), "--vkey", &remit.vkey, "--json"]));
    let verdict: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((&verdict["ok"], &verdict["disclosed"]), (&json!(true), &json!(true)), "{verdict}");
    assert!(verdict["replay"]["agree"].as_u64() >= Some(6), "the policies' decisions are made again: {verdict}");
    let record = answers["each"][1]["body"]["context"]["record"].as_str().unwrap();
    let told = remit.run(&["audit", "explain", record]);
    for words in ["agent:gate", "Asked the decision point about `refund_create`", "agent:planner", "policy_denied"] {
        assert!(told.contains(words), "no {words:?} in:\n{told}");
    }
}

#[test]
fn a_caller_that_may_not_ask_gets_no_token_or_no_answer() {
    let remit = point();
    remit.agent("planner", &["helpdesk:tickets_read"]);
    let resource = format!("{}/access/v1", remit.issuer);
    let refused = remit.command(&["token", "exchange", "--agent", "planner", "--resource", &resource]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("widens_resource"), "{refused:?}");
    let details = json!([{"type": "tool_access", "locations": [resource], "actions": ["evaluate"],
        "arguments": {"/resource/id": {"prefix": "crm/"}}}]);
    remit.agent_with("narrow", &details);
    let answers = ask(&remit, "narrow", &json!([about("agent", "planner", "helpdesk/tickets_read", &json!({}))]));
    assert_eq!(answers["each"][0]["status"], 403, "{answers}");
}
