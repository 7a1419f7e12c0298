//! `openid-client` (npm): discovery, code with PKCE, DPoP with nonce retry, refresh, token exchange.

use crate::harness::{Setup, desk, node};
use serde_json::json;

#[test]
fn openid_client_does_the_whole_round() {
    let (desk, url) = desk();
    let remit = Setup::new().desk(&url).section("\nagents:\n  require_dpop_nonce: true\n").start();
    let helpdesk = remit.resource("helpdesk");
    let details = json!([{
        "type": "tool_access", "locations": [helpdesk], "actions": ["tickets.read", "tickets.list"],
        "fields": ["/id", "/subject", "/customer/name"], "delegate": { "to": ["agent:summarizer"], "depth": 1 },
    }]);
    let planner = remit.agent_with("planner", &details);
    let child = remit.agent("summarizer", &["helpdesk:tickets.read"]);
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
    assert_eq!(report["narrowed"]["scope"], "helpdesk:tickets.read", "{report}");
    let act = &report["handed"]["act"];
    assert_eq!((&act["sub"], &act["act"]["sub"]), (&json!("agent:summarizer"), &json!("agent:planner")), "{report}");
    assert_eq!(report["child_called"]["body"]["result"]["structuredContent"]["id"], "T-1002", "{report}");
    assert_eq!(report["child_refused"]["body"]["error"]["data"]["code"], "tool_not_granted", "{report}");
    assert_eq!(report["stolen"]["status"], 401, "{report}");
    assert_eq!(report["replayed"], "invalid_grant", "{report}");
    assert_eq!(desk.calls_of("customers.read"), 0, "a refused call does not reach the helpdesk");
    assert_eq!(desk.calls_of("tickets.read"), 2);
    for request in desk.received() {
        for header in ["authorization", "dpop", "cookie"] {
            assert_eq!(request.header(header), None, "the caller's {header} was forwarded");
        }
    }
}
