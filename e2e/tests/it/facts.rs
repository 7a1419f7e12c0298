//! What the records of a run say of where requests came from, and of what was in force.

use crate::{
    harness::{Player, Remit, Setup, play},
    ledger::second_opinion,
};
use serde_json::{Value, json};
use std::fs;

#[test]
fn records_say_which_configuration_and_policies_are_in_force() {
    let mut remit = Setup::new().start();
    let first = fs::read(remit.config()).unwrap();
    remit.stop();
    let mut second = first.clone();
    second.extend_from_slice(b"\n# A secret of the operator.\n");
    fs::write(remit.config(), &second).unwrap();
    let policy = remit.folder().join("policies/more.cedar");
    fs::write(policy, "@id(\"more\") forbid (principal, action, resource) when { false };\n").unwrap();
    remit.restart();
    remit.stop();
    let records = records(&remit);
    let of = |action: &str, path: &str| -> Vec<Value> {
        let found = records.iter().filter(|record| record["action"]["name"] == action);
        found.map(|record| record.pointer(path).cloned().unwrap_or_default()).collect()
    };
    let digests = [&first, &second].map(|bytes| remit_model::json::sha256_label(bytes));
    assert_eq!(
        of("config.load", "/ext/config"),
        digests.map(|digest| json!({ "digest": digest })),
        "the digest and nothing else"
    );
    let (now, before) = (of("policy.load", "/ext/policy/digest"), of("policy.load", "/ext/policy/previous"));
    assert_ne!(now[0], now[1]);
    assert_eq!(before, [Value::Null, now[0].clone()]);
}

#[test]
fn records_say_by_which_route_and_from_where_a_request_came() {
    let mut remit = Setup::new().start();
    remit.agent("reader", &["helpdesk:tickets_read"]);
    let calls = json!([{"name": "tickets_read", "arguments": {"id": "T-1001"}}]);
    play(Player::TypeScriptModern, &remit.directly("reader", "helpdesk"), &calls);
    remit.stop();
    let records = records(&remit);
    let came = |action: &str| {
        let record = records.iter().find(|record| record["action"]["name"] == action);
        let record = record.unwrap_or_else(|| panic!("{action} is not recorded"));
        let from = record["net"]["src_ip_ref"].as_str().unwrap_or_default().to_owned();
        assert!(from.len() > 20 && !from.contains("127.0.0.1"), "{action}: {from}");
        (record["http"].clone(), from)
    };
    let (token, token_from) = came("authority.client_credentials");
    let (call, call_from) = came("tickets_read");
    let (admin, admin_from) = came("agent.add");
    assert_eq!(token, json!({"method": "POST", "route": "/oauth/token"}));
    assert_eq!(call, json!({"method": "POST", "route": "/mcp/{server}"}));
    assert_eq!(admin, json!({"method": "POST", "route": "/admin/v1/agents"}));
    assert_eq!((&token_from, &token_from), (&call_from, &admin_from), "one address has one pseudonym");
}

fn records(remit: &Remit) -> Vec<Value> {
    let output = second_opinion(&remit.ledger(), &remit.vkey, &["--records"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
