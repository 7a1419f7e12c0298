//! What a call may do: authority, policy, budgets, and denials that do not end the conversation.

use crate::world::{Wish, World};
use remit_gateway::Denials;
use remit_model::Authority;
use serde_json::json;

#[tokio::test]
async fn a_granted_call_reaches_the_upstream_with_the_authorised_arguments() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let reply = world.all().call("refund", json!({"amount": 5, "note": "ü", "big": 9_007_199_254_740_991_u64})).await;
        let expected = json!({"amount": 5, "note": "ü", "big": 9_007_199_254_740_991_u64});
        assert_eq!(reply.result()["structuredContent"], json!({"done": true, "arguments": expected}));
        assert_eq!(reply.result()["resultType"], "complete");
        let seen = world.fake.received("tools/call");
        assert_eq!(seen[0].body["params"]["arguments"], expected);
    }
}

/// SPEC: DP-16, MG-02
#[tokio::test]
async fn neither_token_nor_proof_nor_cookie_of_the_caller_reaches_the_upstream() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let client = world.all();
        let (mut headers, body) = client.modern_request("tools/call", json!({"name": "refund", "arguments": {"amount": 5}}));
        headers.extend([("cookie".to_owned(), "a=b".to_owned()), ("x-forwarded-user".to_owned(), "root".to_owned())]);
        client.send(headers, &body).await.result();
        let seen = world.fake.seen.lock().unwrap().clone();
        assert!(seen.iter().any(|request| request.body["method"] == "tools/call"));
        for request in seen {
            for name in ["authorization", "dpop", "cookie", "x-forwarded-user"] {
                assert!(!request.headers.contains_key(name), "{name}: {}", request.body["method"]);
            }
            assert!(!format!("{:?}{}", request.headers, request.text).contains(&client.token), "{}", request.body["method"]);
        }
    }
}

#[tokio::test]
async fn n_mg_11_a_tool_that_is_not_granted_is_denied_and_never_called() {
    let world = World::new(true).await;
    let client = world.planner(world.grant(json!({"actions": ["ticket_read"]})));
    let reply = client.call("secret.tool", json!({})).await;
    reply.refused(200, "tool_not_granted");
    assert_eq!(reply.body["id"], 11);
    assert_eq!(world.fake.calls(), 0);
}

/// Everything that refuses a tool call of a known caller: the policy, the client, the call and its code.
const DENIALS: [(&str, &str); 6] = [
    ("nothing", "tool_not_granted"),
    ("refund", "argument_not_granted"),
    ("slow", "grant_expired"),
    ("prose", "limit_exhausted"),
    ("customer_read", "policy_denied"),
    ("broken", "upstream_unavailable"),
];

fn denying(denials: Denials) -> Wish {
    let forbid = "@id(\"all\")\npermit (principal, action, resource);\n@id(\"no\")\n@reason(\"Customers are private.\")\nforbid (principal, action == Action::\"call\", resource == Tool::\"helpdesk/customer_read\");";
    Wish { policy: vec![("p.cedar".into(), forbid.into())], denials, ..Wish::new(true) }
}

fn denied(world: &World) -> Authority {
    world.grants(&[
        json!({"actions": ["refund"], "arguments": {"/amount": {"max": 50}}}),
        json!({"actions": ["slow"], "not_after": crate::world::NOW - 10}),
        json!({"actions": ["prose"], "limits": {"calls": 1}}),
        json!({"actions": ["customer_read", "broken", "error"]}),
    ])
}

#[tokio::test]
async fn a_refused_tool_call_is_a_result_that_tells_the_model_why() {
    let world = denying(Denials::Result).build().await;
    let stateless = world.planner(denied(&world));
    stateless.call("prose", json!({})).await.result();
    let mut session = world.planner(denied(&world));
    session.initialize().await.result();
    session.legacy_call("prose", json!({})).await.result();
    for (tool, code) in DENIALS {
        for modern in [true, false] {
            let arguments = json!({"amount": 51});
            let reply = if modern { stateless.call(tool, arguments).await } else { session.legacy_call(tool, arguments).await };
            reply.refused(200, code);
            let (result, record) = (&reply.body["result"], world.last().await);
            assert_eq!(result["isError"], true, "{result}");
            assert_eq!(result.get("resultType").is_some(), modern, "{result}");
            assert_eq!(result["_meta"]["remit/record"], record["record_id"], "{result}");
            let text = result["content"][0]["text"].as_str().unwrap();
            let reason = result["_meta"]["remit/reason"].as_str().unwrap().trim_end_matches('.');
            assert!(text.contains(reason) && text.contains(code), "{text}");
            assert_ne!(record["outcome"]["status"], "success", "{record}");
        }
    }
}

#[tokio::test]
async fn a_refused_tool_call_is_a_json_rpc_error_where_the_server_is_set_so() {
    let world = denying(Denials::Error).build().await;
    let client = world.planner(denied(&world));
    client.call("prose", json!({})).await.result();
    for (tool, code) in DENIALS {
        let reply = client.call(tool, json!({"amount": 51})).await;
        reply.refused(200, code);
        let rpc = reply.body["error"]["code"].as_i64().unwrap();
        assert!(!(-32768..=-32000).contains(&rpc), "MG-07: {rpc}");
    }
}

#[tokio::test]
async fn what_is_not_a_refused_tool_call_stays_an_error() {
    let world = denying(Denials::Result).build().await;
    let client = world.planner(denied(&world));
    for (method, params) in [("prompts/get", json!({"name": "p"})), ("made/up", json!({}))] {
        let reply = client.modern(method, params).await;
        assert_eq!(reply.body["error"]["data"]["code"], "tool_not_granted", "{method}: {}", reply.body);
    }
    let reply = client.call("error", json!({})).await;
    assert_eq!(reply.body["error"]["code"], -32602, "the upstream's own error passes as it came: {}", reply.body);
    let reply = client.modern("tools/call", json!({"name": "refund", "task": {}})).await;
    assert_eq!((reply.status.as_u16(), &reply.body["error"]["code"]), (400, &json!(-32600)));
    world.quarantine("planner").await;
    let reply = client.call("refund", json!({"amount": 1})).await;
    assert_eq!((reply.status.as_u16(), &reply.body["error"]["data"]["code"]), (401, &json!("agent_quarantined")));
}

#[tokio::test]
async fn arguments_outside_the_grant_are_denied() {
    let world = World::new(true).await;
    let client = world.planner(world.grant(json!({"actions": ["refund"], "arguments": {"/amount": {"max": 50}}})));
    client.call("refund", json!({"amount": 51})).await.refused(200, "argument_not_granted");
    client.call("refund", json!({"amount": "50"})).await.refused(200, "argument_not_granted");
    client.call("refund", json!({})).await.refused(200, "argument_not_granted");
    assert_eq!(world.fake.calls(), 0);
    client.call("refund", json!({"amount": 50})).await.result();
}

#[tokio::test]
async fn a_grant_that_ended_is_denied_though_the_token_lives() {
    let world = World::new(true).await;
    let client = world.planner(world.grant(json!({"actions": ["refund"], "not_after": crate::world::NOW + 10})));
    client.call("refund", json!({})).await.result();
    world.clock.advance(std::time::Duration::from_secs(11));
    client.call("refund", json!({})).await.refused(200, "grant_expired");
}

#[tokio::test]
async fn a_limit_on_calls_and_on_what_is_spent_is_kept() {
    let world = World::new(true).await;
    let client = world.planner(world.grants(&[
        json!({"actions": ["ticket_read"], "limits": {"calls": 2}}),
        json!({"actions": ["refund"], "limits": {"spend": {"/amount": 100}}}),
    ]));
    client.call("ticket_read", json!({})).await.result();
    client.call("ticket_read", json!({})).await.result();
    client.call("ticket_read", json!({})).await.refused(200, "limit_exhausted");
    client.call("refund", json!({"amount": 60})).await.result();
    client.call("refund", json!({"amount": 40.5})).await.refused(200, "limit_exhausted");
    client.call("refund", json!({"amount": 40})).await.result();
    client.call("refund", json!({"amount": -1})).await.refused(200, "argument_not_granted");
    assert_eq!(world.fake.calls(), 4);
}

#[tokio::test]
async fn the_ceiling_of_every_agent_and_the_entitlements_of_the_human_narrow_a_call() {
    let world = World::new(true).await;
    let ceiling = world.grant(json!({"actions": ["ticket_read"]}));
    let change = remit_store::Change::PutAgent(crate::world::agent("planner", ceiling));
    world.store.apply(remit_store::Batch::new(remit_model::TenantId::main()).change(change)).await.unwrap();
    let all = world.grant(json!({"actions": ["*"]}));
    world.planner(all.clone()).call("refund", json!({})).await.refused(200, "tool_not_granted");
    world.helper(all).call("refund", json!({})).await.refused(200, "tool_not_granted");
    world.all().call("ticket_read", json!({})).await.result();
}

#[tokio::test]
async fn policy_denies_what_authority_covers_and_an_empty_policy_denies_everything() {
    let forbid = "@id(\"all\")\npermit (principal, action, resource);\n@id(\"no-refunds\")\n@reason(\"No refunds today.\")\nforbid (principal, action == Action::\"call\", resource == Tool::\"helpdesk/refund\");";
    let world = Wish { policy: vec![("p.cedar".into(), forbid.into())], ..Wish::new(true) }.build().await;
    let client = world.all();
    let reply = client.call("refund", json!({})).await;
    reply.refused(200, "policy_denied");
    assert!(reply.body["result"]["content"][0]["text"].as_str().unwrap().contains("No refunds today."));
    client.call("ticket_read", json!({})).await.result();
    let empty = Wish { policy: vec![], ..Wish::new(true) }.build().await;
    empty.all().call("ticket_read", json!({})).await.refused(200, "policy_denied");
    assert_eq!(empty.fake.calls(), 0);
}

#[tokio::test]
async fn a_session_survives_denials() {
    let world = World::new(false).await;
    let mut client = world.planner(world.grant(json!({"actions": ["ticket_read"]})));
    client.initialize().await.result();
    client.legacy_call("refund", json!({})).await.refused(200, "tool_not_granted");
    client.legacy_call("nothing", json!({})).await.refused(200, "tool_not_granted");
    client.legacy_call("ticket_read", json!({})).await.result();
}

#[tokio::test]
async fn mg_01_denials_can_be_http_403_with_the_scope_that_would_do() {
    let world = Wish { denials: Denials::StepUp, ..Wish::new(true) }.build().await;
    let client = world.planner(world.grant(json!({"actions": ["ticket_read"]})));
    let reply = client.call("refund", json!({})).await;
    reply.refused(403, "tool_not_granted");
    let challenge = reply.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"helpdesk:refund\""), "{challenge}");
}

#[tokio::test]
async fn other_methods_need_a_grant_of_their_own() {
    let world = World::new(true).await;
    let client = world.planner(
        world.grant(json!({"actions": ["ticket_read", "mcp:resources/read"], "arguments": {"/uri": {"prefix": "doc://"}}})),
    );
    client.modern("resources/read", json!({"uri": "doc://a"})).await.result();
    client.modern("resources/read", json!({"uri": "file:///etc/passwd"})).await.refused(200, "argument_not_granted");
    client.modern("prompts/get", json!({"name": "p"})).await.refused(200, "tool_not_granted");
    client.modern("tasks/result", json!({"taskId": "1", "name": "1"})).await.refused(200, "tool_not_granted");
    client.modern("tasks/get", json!({"taskId": "1", "name": "2"})).await.refused(400, "header_body_mismatch");
    client.modern("tools/call", json!({"name": "ticket_read", "task": {"ttl": 1}})).await.refused(400, "request_malformed");
    client.modern("made/up", json!({})).await.refused(200, "tool_not_granted");
}

#[tokio::test]
async fn what_the_upstream_needs_from_the_client_is_bound_to_caller_and_arguments() {
    let world = World::new(true).await;
    let client = world.all();
    let first = client.call("ask", json!({"a": 1})).await;
    let result = first.result();
    assert_eq!(result["resultType"], "input_required");
    assert!(result["inputRequests"].get("form").is_some());
    assert!(result["inputRequests"].get("sample").is_none(), "MG-11: not declared");
    let state = result["requestState"].as_str().unwrap();
    assert_ne!(state, "upstream-state");
    let retry = |tool: &str, state: &str, a: i64| json!({"name": tool, "arguments": {"a": a}, "requestState": state, "inputResponses": {"form": {"action": "accept"}}});
    let tampered: String =
        state.chars().enumerate().map(|(at, c)| if at == 4 { if c == 'A' { 'B' } else { 'A' } } else { c }).collect();
    client.modern("tools/call", retry("ask", &tampered, 1)).await.refused(400, "request_malformed");
    client.modern("tools/call", retry("ask", "upstream-state", 1)).await.refused(400, "request_malformed");
    client.modern("tools/call", retry("ask", state, 2)).await.refused(400, "request_malformed");
    client.modern("tools/call", retry("refund", state, 1)).await.refused(400, "request_malformed");
    let other = world.helper(world.grant(json!({"actions": ["*"]})));
    other.modern("tools/call", retry("ask", state, 1)).await.refused(400, "request_malformed");
    let no_state = json!({"name": "ask", "arguments": {"a": 1}, "inputResponses": {}});
    client.modern("tools/call", no_state).await.refused(400, "request_malformed");
    let done = client.modern("tools/call", retry("ask", state, 1)).await;
    assert_eq!(done.result()["content"][0]["text"], "state was \"upstream-state\"", "N-MG-08");
    client.modern("tools/call", retry("ask", state, 1)).await.refused(400, "request_malformed");
    let again = client.call("ask", json!({"a": 1})).await;
    let late = again.result()["requestState"].as_str().unwrap().to_owned();
    world.clock.advance(std::time::Duration::from_secs(599));
    let client = world.client(crate::world::key(7), &fresh(&world));
    client.call("ticket_read", json!({})).await.result();
    world.clock.advance(std::time::Duration::from_secs(2));
    client.modern("tools/call", retry("ask", &late, 1)).await.refused(400, "request_malformed");
}

fn fresh(world: &World) -> remit_token::access::Claims {
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), crate::world::key(7).public().thumbprint());
    claims.iat = remit_model::UnixTime(crate::world::NOW + 599);
    claims.exp = remit_model::UnixTime(crate::world::NOW + 1100);
    claims
}

#[tokio::test]
async fn handing_on_does_not_multiply_a_limit() {
    let world = World::new(true).await;
    let limited = world.grant(json!({"actions": ["ticket_read"], "limits": {"calls": 3}}));
    world.issued("parent-jti", &limited).await;
    let mut parent = world.claims(limited.clone(), crate::world::key(7).public().thumbprint());
    parent.jti = "parent-jti".into();
    let (planner, helper) = (world.client(crate::world::key(7), &parent), world.helper(limited.clone()));
    helper.call("ticket_read", json!({})).await.result();
    planner.call("ticket_read", json!({})).await.result();
    world.helper(limited).call("ticket_read", json!({})).await.result();
    helper.call("ticket_read", json!({})).await.refused(200, "limit_exhausted");
    planner.call("ticket_read", json!({})).await.refused(200, "limit_exhausted");
    assert_eq!(world.fake.calls(), 3);
    let unknown = world.grant(json!({"actions": ["refund"], "limits": {"calls": 3}}));
    let mut claims = world.claims(unknown, crate::world::key(7).public().thumbprint());
    claims.ancestors = vec!["never-issued".into()];
    world.client(crate::world::key(7), &claims).call("refund", json!({})).await.refused(200, "ledger_unavailable");
}

#[tokio::test]
async fn only_what_the_protocol_needs_of_the_metadata_reaches_the_upstream() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let client = world.all();
        let (headers, mut body) = client.modern_request("tools/call", json!({"name": "refund", "arguments": {"amount": 1}}));
        let meta = body["params"]["_meta"].as_object_mut().unwrap();
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (name, value) in [("traceparent", trace), ("tracestate", "a=b"), ("baggage", "user=ann"), ("x.example/as", "root")] {
            meta.insert(name.to_owned(), json!(value));
        }
        meta.insert("remit/record".to_owned(), json!("forged"));
        client.send(headers, &body).await.result();
        let received = world.fake.received("tools/call")[0].body["params"]["_meta"].clone();
        assert_eq!((&received["traceparent"], &received["tracestate"]), (&json!(trace), &json!("a=b")));
        assert_ne!(received["remit/record"], "forged");
        for dropped in ["baggage", "x.example/as"] {
            assert!(received.get(dropped).is_none(), "{received}");
        }
        assert_eq!(world.last().await["ext"]["meta_dropped"], 3);
    }
}

#[tokio::test]
async fn arguments_that_the_server_would_read_otherwise_are_refused() {
    let world = World::new(true).await;
    let client = world.planner(world.grant(json!({"actions": ["*"], "arguments": {"/cc/0": {"absent": true}}})));
    let schema =
        json!({"type": "object", "properties": {"cc": {"type": "array", "items": {"type": "string"}}, "n": {"type": "integer"}}});
    *world.fake.listed.lock().unwrap() = Some(json!({"tools": [{"name": "refund", "inputSchema": schema}]}));
    client.modern("tools/list", json!({})).await.result();
    for bad in [json!({"cc": "[\"eve@evil\"]"}), json!({"n": "5"}), json!({"cc": {}})] {
        client.call("refund", bad.clone()).await.refused(200, "argument_malformed");
        let record = world.last().await;
        assert_eq!(record["decision"]["reason_code"], "argument_malformed", "{bad}");
        assert!(!record.to_string().contains("evil"), "{record}");
    }
    assert_eq!(world.fake.calls(), 0);
    client.call("refund", json!({"cc": [], "n": 5})).await.result();
}

#[tokio::test]
async fn what_peers_accept_is_accepted() {
    let world = World::new(false).await;
    let client = world.all();
    for name in ["a tool", "ns:tool", "Übersicht"] {
        let (mut headers, body) = client.modern_request("tools/call", json!({"name": name, "arguments": null}));
        headers.retain(|(header, _)| header != "mcp-name");
        let encoded = if name.is_ascii() { name.to_owned() } else { "=?base64?w5xiZXJzaWNodA==?=".to_owned() };
        headers.push(("mcp-name".to_owned(), encoded));
        let reply = client.send(headers, &body).await;
        assert_eq!(reply.result()["content"][0]["text"], format!("called {name}"));
    }
    assert_eq!(world.fake.received("tools/call")[0].body["params"]["arguments"], json!({}));
    let mut session = world.all();
    session.initialize().await.result();
    let text = "\u{feff}{\"jsonrpc\": \"2.0\", \"id\": 3, \"method\": \"tools/list\", \"params\": null}";
    let reply = crate::world::whole(session.raw(hyper::Method::POST, session.headers(&hyper::Method::POST), text).await).await;
    assert!(reply.result()["tools"].is_array());
}

#[tokio::test]
async fn an_upstream_that_is_busy_says_so_to_the_client() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let reply = world.all().call("busy", json!({})).await;
        reply.refused(429, "rate_limited");
        assert_eq!(reply.headers["retry-after"], "7");
        assert_eq!(world.last().await["outcome"]["error_type"], "upstream_busy");
    }
}
