//! Acting for a person: `openid-client` (npm) does the whole protocol, and `remit connect --login` does it for any client.

use crate::{
    clients::refusal,
    harness::{Setup, desk, node},
};
use serde_json::json;

#[test]
fn openid_client_does_the_whole_round() {
    let (desk, url) = desk();
    let remit = Setup::new().desk(&url).section("\nagents:\n  require_dpop_nonce: true\n").start();
    let helpdesk = remit.resource("helpdesk");
    let details = json!([{
        "type": "tool_access", "locations": [helpdesk], "actions": ["tickets_read", "tickets_list"],
        "fields": ["/id", "/subject", "/customer/name"], "delegate": { "to": ["agent:summarizer"], "depth": 1 },
    }]);
    let planner = remit.agent_with("planner", &details);
    let child = remit.agent("summarizer", &["helpdesk:tickets_read"]);
    let report = node(
        "openid.mjs",
        &json!({
            "issuer": remit.issuer, "resource": helpdesk, "details": details, "agent": "agent:planner", "agent_key": planner,
            "child": "agent:summarizer", "child_key": child, "user": "alice", "password": remit.password,
        }),
    );
    let read = report["read"].as_str().unwrap();
    assert!(read.contains("planner") && read.contains("127.0.0.1"), "{read}");
    assert!(report["challenges"].as_u64().unwrap() > 0, "a nonce was demanded and the request repeated: {report}");
    assert_eq!(report["token_type"], "dpop");
    assert_eq!((&report["access"]["sub"], &report["access"]["client_id"]), (&json!("user:alice"), &json!("agent:planner")));
    assert_eq!(report["access"]["act"]["sub"], "agent:planner");
    assert_eq!(report["id"]["aud"], "agent:planner");
    assert_eq!(report["rotated"], true);
    assert_eq!(report["called"]["body"]["result"]["structuredContent"]["id"], "T-1001", "{report}");
    assert!(report["called"]["body"]["result"]["structuredContent"]["customer"].get("email").is_none(), "{report}");
    assert_eq!(report["narrowed"]["scope"], "helpdesk:tickets_read", "{report}");
    let act = &report["handed"]["act"];
    assert_eq!((&act["sub"], &act["act"]["sub"]), (&json!("agent:summarizer"), &json!("agent:planner")), "{report}");
    assert_eq!(report["child_called"]["body"]["result"]["structuredContent"]["id"], "T-1002", "{report}");
    assert_eq!(report["child_refused"]["body"]["result"]["_meta"]["remit/code"], "tool_not_granted", "{report}");
    assert_eq!(report["stolen"]["status"], 401, "{report}");
    // The holder of the key repeats a refresh within the grace period, as after a lost answer.
    assert_eq!(report["replayed"], "accepted", "{report}");
    assert_eq!(desk.calls_of("customers_read"), 0, "a refused call does not reach the helpdesk");
    assert_eq!(desk.calls_of("tickets_read"), 2);
    for request in desk.received() {
        for header in ["authorization", "dpop", "cookie"] {
            assert_eq!(request.header(header), None, "the caller's {header} was forwarded");
        }
    }
}

/// The person signs in once; the next connection goes on with the kept refresh token. Payments need a person.
#[test]
fn connect_with_login_acts_for_the_person_who_signed_in() {
    let (desk, url) = desk();
    let remit = Setup::new().desk(&url).start();
    remit.agent("payer", &["helpdesk:tickets_read", "helpdesk:refund_create"]);
    let pay = |key: &str, amount: u32| {
        let order = json!({ "ticket_id": "T-1001", "amount": amount, "currency": "EUR", "idempotency_key": key });
        json!({ "name": "refund_create", "arguments": order })
    };
    let session = |asks, calls| {
        let mut connect = remit.through_connect("payer", "helpdesk");
        connect["args"].as_array_mut().unwrap().push(json!("--login"));
        node(
            "login.mjs",
            &json!({ "connect": connect, "asks": asks, "calls": calls, "user": "alice", "password": remit.password }),
        )
    };
    let first =
        session(true, json!([pay("one", 20), pay("too much", 500), { "name": "tickets_read", "arguments": { "id": "T-1001" } }]));
    assert_ne!(first["protocol"], "nobody was asked");
    assert_eq!(first["calls"][0]["structured"]["amount"], 20, "{first}");
    assert_eq!(refusal(&first["calls"][1]), Some("policy_denied"), "{first}");
    assert_eq!(first["calls"][2]["structured"]["id"], "T-1001", "{first}");
    let second = session(false, json!([pay("two", 30)]));
    assert_eq!(
        (&second["protocol"], &second["calls"][0]["structured"]["amount"]),
        (&json!("nobody was asked"), &json!(30)),
        "{second}"
    );
    assert_eq!(desk.refunds().unwrap().len(), 2);
}
