//! Names, scopes and times.

use crate::support::read;
use remit_model::{
    AgentId, Authority, Code, Principal, PrincipalKind, Server, ServerId, TenantId, ToolClass, ToolRule, UnixTime,
};
use serde_json::json;

fn server(id: &str, tools: &[&str]) -> Server {
    Server {
        id: ServerId::parse(id).unwrap(),
        title: id.into(),
        location: format!("https://gw.example/mcp/{id}"),
        tools: tools.iter().map(|tool| ((*tool).to_owned(), ToolRule::default())).collect(),
    }
}

#[test]
fn scopes_expand_through_the_registration() {
    let (desk, files) = (server("helpdesk", &["tickets_read", "refund_create"]), server("files", &[]));
    let servers = [&desk, &files];
    let expand = |scope: &str| Authority::from_scope(scope, &servers);
    let two = expand("helpdesk:tickets_read helpdesk:refund_create").unwrap();
    assert_eq!(
        two,
        read(&[json!({"type": "tool_access", "locations": [desk.location], "actions": ["refund_create", "tickets_read"]})])
    );
    assert_eq!(two.scopes(&servers), ["helpdesk:refund_create", "helpdesk:tickets_read"]);
    let all = expand("helpdesk:tickets_read helpdesk:* files:mcp:resources/read").unwrap();
    assert_eq!(all.scopes(&servers), ["files:mcp:resources/read", "helpdesk:*"]);
    assert_eq!(expand("helpdesk:* helpdesk:*").unwrap(), expand("helpdesk:*").unwrap());
    assert!(expand("").unwrap().is_none());
    assert!(all.scopes(&[]).is_empty());
    let everywhere = read(&[json!({"type": "tool_access"})]);
    assert_eq!(everywhere.scopes(&servers), ["files:*", "helpdesk:*"]);
    assert!(two.delegable_to(&Principal::local("", "agent:a")).is_err());
}

#[test]
fn n_tx_01_unknown_and_malformed_scopes_are_refused() {
    let desk = server("helpdesk", &["tickets_read"]);
    let many = vec!["helpdesk:*"; 1025].join(" ");
    for scope in [
        "tickets_read",
        "helpdesk",
        "helpdesk:",
        ":tickets_read",
        "helpdesk:tickets",
        "helpdesk:tickets.read2",
        "helpdesk:tickets.*",
        "HELPDESK:tickets_read",
        "helpdesk:TICKETS.READ",
        "other:*",
        "*",
        "*:*",
        "helpdesk:tickets_read:x",
        "helpdesk:mcp:",
        " helpdesk:*",
        "helpdesk:* ",
        "helpdesk:*  helpdesk:*",
        "helpdesk:*\thelpdesk:*",
        "helpdesk:*,helpdesk:*",
        "helpdesk:mcp:a\u{e4}",
        " ",
        many.as_str(),
    ] {
        assert_eq!(Authority::from_scope(scope, &[&desk]).expect_err(scope).code, Code::ScopeUnknown, "{scope:?}");
    }
}

#[test]
fn n_dc_16_names_are_plain_ascii() {
    for name in ["", "-a", ".a", "_a", "A", "a b", "a/b", "a:b", "a*", "ä", "аgent", "a\0", "a\n", "*", &"a".repeat(65)] {
        assert!(AgentId::parse(name).is_err(), "{name:?}");
        assert!(ServerId::parse(name).is_err() && TenantId::parse(name).is_err(), "{name:?}");
        assert!(serde_json::from_value::<AgentId>(json!(name)).is_err(), "{name:?}");
        assert!(AgentId::from_subject(&format!("agent:{name}")).is_err(), "{name:?}");
    }
    for subject in
        ["planner", "Agent:planner", "agent:", "user:planner", "agent:agent:planner", " agent:planner", "agent:planner "]
    {
        assert!(AgentId::from_subject(subject).is_err(), "{subject:?}");
    }
    assert_eq!(AgentId::from_subject("agent:planner-1.x_y").unwrap().as_str(), "planner-1.x_y");
    assert!(AgentId::parse(&"a".repeat(64)).is_ok());
}

#[test]
fn cc_01_an_agent_is_never_taken_for_a_human() {
    let kind = |sub: &str| Principal::local("https://gw.example", sub).kind();
    assert_eq!(kind("user:alice"), PrincipalKind::Human);
    for sub in ["agent:alice", "alice", "User:alice", " user:alice", "", "spiffe://x/user:alice"] {
        assert_eq!(kind(sub), PrincipalKind::Agent, "{sub:?}");
    }
}

#[test]
fn times_read_as_rfc_3339() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (951_868_799, "2000-02-29T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (1_798_761_600, "2027-01-01T00:00:00Z"),
        (1_709_164_800, "2024-02-29T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (-62_167_219_200, "0000-01-01T00:00:00Z"),
        (253_402_300_800, "253402300800 seconds since 1970"),
        (i64::MAX, "9223372036854775807 seconds since 1970"),
        (i64::MIN, "-9223372036854775808 seconds since 1970"),
    ] {
        assert_eq!(UnixTime(seconds).utc(), text);
    }
}

#[test]
fn an_unclassified_tool_is_taken_for_one_that_changes_things() {
    let desk = server("helpdesk", &["tickets_read"]);
    assert_eq!(desk.class_of("tickets_read"), ToolClass::Execute);
    assert_eq!(desk.class_of("unheard.of"), ToolClass::Execute);
    assert!(desk.class_of("unheard.of").mutates() && !ToolClass::Read.mutates());
    for class in ["read", "write", "delete", "execute", "admin", "identity", "payment"] {
        let parsed: ToolClass = serde_json::from_value(json!(class)).unwrap();
        assert_eq!((parsed.as_str(), parsed.mutates()), (class, class != "read"));
    }
    assert!(serde_json::from_value::<ToolRule>(json!({"class": "safe"})).is_err());
    assert!(serde_json::from_value::<ToolRule>(json!({"clas": "read"})).is_err());
}

#[test]
fn misspelt_actions_are_found_once_a_server_describes_its_tools() {
    let details = json!([{"type": "tool_access", "locations": ["https://gw.example/mcp/memory"],
        "actions": ["raed_graph", "read_graph", "mcp:resources/read"]}]);
    let ceiling = Authority::parse(&details).unwrap();
    assert!(ceiling.unknown_actions(&[&server("memory", &[])]).is_empty(), "any name may be a tool of it");
    assert_eq!(ceiling.unknown_actions(&[&server("memory", &["read_graph"])]), ["memory:raed_graph"]);
    let everywhere = Authority::parse(&json!([{"type": "tool_access", "actions": ["read_graph"]}])).unwrap();
    assert_eq!(everywhere.unknown_actions(&[&server("memory", &["read_graph"])]), Vec::<String>::new());
}

#[test]
fn a_scope_names_a_tool_by_its_own_name_and_not_by_its_alias() {
    let mut desk = server("helpdesk", &["tickets.read"]);
    desk.tools.get_mut("tickets.read").unwrap().alias = Some("tickets_read".into());
    let refusal = Authority::from_scope("helpdesk:tickets_read", &[&desk]).unwrap_err();
    assert!(refusal.code == Code::ScopeUnknown && refusal.reason.contains("the name of the tool is `tickets.read`"), "{refusal}");
    assert_eq!((desk.tool_named("tickets_read"), desk.tool_named("other")), ("tickets.read", "other"));
    assert_eq!((desk.alias_of("tickets.read"), desk.alias_of("other")), ("tickets_read", "other"));
}
