//! A caller sees what it could use. SPEC: MG-08, MG-09.

use crate::world::{Wish, World};
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn n_mg_07_lists_are_filtered_for_each_caller_and_marked_private() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let narrow = world.planner(world.grant(json!({"actions": ["ticket_read", "not.offered"]})));
        let reply = narrow.modern("tools/list", json!({})).await;
        assert_eq!(names(&reply.result()["tools"]), ["ticket_read"]);
        assert_eq!(reply.result()["cacheScope"], "private");
        assert!(reply.result()["ttlMs"].is_u64());
        let wide = world.all().modern("tools/list", json!({})).await;
        assert_eq!(names(&wide.result()["tools"]).len(), 10);
        assert_eq!(wide.result()["cacheScope"], "private");
        let again = narrow.modern("tools/list", json!({})).await;
        assert_eq!(names(&again.result()["tools"]), ["ticket_read"]);
    }
}

#[tokio::test]
async fn resources_and_prompts_are_listed_only_to_those_who_may_read_them() {
    let world = World::new(true).await;
    let narrow = world.planner(world.grant(json!({"actions": ["ticket_read", "mcp:resources/read"]})));
    let resources = narrow.modern("resources/list", json!({})).await;
    assert_eq!(resources.result()["resources"].as_array().unwrap().len(), 1);
    let prompts = narrow.modern("prompts/list", json!({})).await;
    assert_eq!(prompts.result()["prompts"], json!([]));
}

#[tokio::test]
async fn without_any_grant_there_is_no_list() {
    let world = World::new(true).await;
    let nothing = world.planner(remit_model::Authority::none());
    nothing.modern("tools/list", json!({})).await.refused(200, "tool_not_granted");
    assert!(world.fake.received("tools/list").is_empty());
}

#[tokio::test]
async fn a_policy_can_hide_a_server() {
    let text = "@id(\"calls\")\npermit (principal, action == Action::\"call\", resource);";
    let world = Wish { policy: vec![("p.cedar".into(), text.into())], ..Wish::new(true) }.build().await;
    world.all().modern("tools/list", json!({})).await.refused(200, "policy_denied");
    world.all().call("ticket_read", json!({})).await.result();
}

/// The upstream lists these tools and answers with these results.
fn upstream(world: &World, tools: &Value, results: &[(&str, Value)]) {
    *world.fake.listed.lock().unwrap() = Some(json!({"tools": tools}));
    world.fake.results.lock().unwrap().extend(results.iter().map(|(name, result)| ((*name).to_owned(), result.clone())));
}

fn listed(reply: &crate::world::Reply, name: &str) -> Value {
    let tools = reply.result()["tools"].as_array().unwrap();
    tools.iter().find(|tool| tool["name"] == name).unwrap_or_else(|| panic!("{name} is not listed")).clone()
}

#[tokio::test]
async fn the_listed_output_schema_accepts_what_each_caller_is_shown() {
    let world = World::new(true).await;
    let customer = json!({"type": "object", "required": ["name", "email"], "additionalProperties": false,
        "properties": {"name": {"type": "string"}, "email": {"type": "string"}}});
    let schema = json!({"type": "object", "required": ["id", "customer", "items"], "properties": {"id": {"type": "string"},
        "customer": {"$ref": "#/$defs/customer"}, "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/customer"}}},
        "$defs": {"customer": customer}});
    let ann = json!({"name": "Ann", "email": "ann@example.com"});
    let value = json!({"id": "T-1", "customer": ann, "items": [ann, ann]});
    let result = json!({"content": [{"type": "text", "text": value.to_string()}], "structuredContent": value});
    let tool = json!({"name": "ticket_read", "inputSchema": {"type": "object"}, "outputSchema": schema});
    upstream(&world, &json!([tool]), &[("ticket_read", result)]);
    for grants in [
        vec![json!({"actions": ["*"]})],
        vec![json!({"actions": ["*"], "fields": ["/id", "/customer/name"]})],
        vec![json!({"actions": ["*"], "fields": ["/items/*/name"]})],
        vec![json!({"actions": ["*"], "fields": ["/customer"]})],
        vec![json!({"actions": ["*"], "fields": ["/nothing"]})],
        vec![
            json!({"actions": ["*"], "fields": ["/id"], "arguments": {"/id": {"eq": "T-1"}}}),
            json!({"actions": ["*"], "fields": ["/customer", "/items"], "arguments": {"/id": {"eq": "T-2"}}}),
        ],
    ] {
        let client = world.planner(world.grants(&grants));
        let listed = listed(&client.modern("tools/list", json!({})).await, "ticket_read");
        let validator = jsonschema::validator_for(&listed["outputSchema"]).unwrap();
        for id in ["T-1", "T-2"] {
            let reply = client.call("ticket_read", json!({"id": id})).await;
            let shown = &reply.result()["structuredContent"];
            let verdict = validator.validate(shown).map_err(|error| error.to_string());
            assert!(verdict.is_ok(), "{verdict:?} {grants:?}: {shown} {listed}");
            let text: Value = serde_json::from_str(reply.result()["content"][0]["text"].as_str().unwrap()).unwrap();
            assert_eq!(&text, shown, "text and structured content");
        }
    }
}

#[tokio::test]
async fn annotations_say_what_the_operator_says_of_a_tool() {
    let world = World::new(true).await;
    let liar = json!({"readOnlyHint": true, "destructiveHint": false, "openWorldHint": false, "title": "Refund"});
    let tool =
        |name: &str, annotations: Value| json!({"name": name, "inputSchema": {"type": "object"}, "annotations": annotations});
    upstream(
        &world,
        &json!([tool("refund", liar.clone()), tool("ticket_read", json!({"readOnlyHint": false})), tool("unknown", liar.clone()),
            {"name": "slow", "inputSchema": {"type": "object"}}, tool("customer.change", json!("odd"))]),
        &[],
    );
    let reply = world.all().modern("tools/list", json!({})).await;
    let hints = |name: &str| listed(&reply, name)["annotations"].clone();
    let expected = json!({"readOnlyHint": false, "destructiveHint": true, "openWorldHint": false, "title": "Refund"});
    assert_eq!(hints("refund"), expected, "a payment");
    assert_eq!(hints("ticket_read"), json!({"readOnlyHint": true, "destructiveHint": false}));
    assert_eq!(hints("slow"), json!({"readOnlyHint": true, "destructiveHint": false}), "where the upstream says nothing");
    assert_eq!(hints("customer.change"), json!({"readOnlyHint": false}));
    assert_eq!(hints("unknown"), liar, "a tool that the operator does not describe");
}

#[tokio::test]
async fn hints_that_contradict_the_operator_are_recorded_once_for_each_definition() {
    let world = World::new(true).await;
    let tool = |description: &str| {
        json!([{"name": "refund", "description": description, "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": true}}, {"name": "ticket_read", "annotations": {"readOnlyHint": true}}])
    };
    let client = world.all();
    for (description, expected) in [("one", 1), ("one", 1), ("two", 2)] {
        upstream(&world, &tool(description), &[]);
        client.modern("tools/list", json!({})).await.result();
        // The list's own record comes first, then the finding that it caused.
        client.call("ticket_read", json!({})).await.result();
        let mut found = Vec::new();
        let recorded = async || {
            found = world.records().await;
            found.retain(|record| record["record_type"] == "reconcile");
            found.len() >= expected
        };
        remit_testkit::eventually_async("the finding is recorded", recorded).await;
        assert_eq!(found.len(), expected, "{description}");
        let last = found.last().unwrap();
        let finding = json!({"kind": "annotations", "hint": "readOnlyHint", "upstream": "true", "class": "payment"});
        assert_eq!(last["ext"]["finding"], finding);
        assert_eq!((&last["tool"]["server_id"], &last["tool"]["name"]), (&json!("helpdesk"), &json!("refund")));
        assert!(last["tool"]["descriptor_digest"].is_string());
        let cause = last["caused_by"][0].as_str().unwrap().to_owned();
        let list = world.records().await.into_iter().find(|record| record["record_id"] == cause.as_str()).unwrap();
        assert_eq!(list["action"]["name"], "mcp:tools/list");
    }
}

#[tokio::test]
async fn the_listed_input_schema_is_narrowed_where_one_grant_says_it_simply() {
    let world = World::new(true).await;
    let properties = json!({"amount": {"type": "number", "maximum": 1000, "minimum": 5}, "currency": {"type": "string"},
        "to": {"type": "string"}, "free": {"type": "string"}, "deep": {"type": "object"}});
    let tool = json!({"name": "refund", "inputSchema": {"type": "object", "properties": properties}});
    upstream(&world, &json!([tool]), &[]);
    let arguments = json!({"/amount": {"max": 50, "min": 1}, "/currency": {"in": ["EUR", "CHF"]}, "/to": {"eq": "ann"},
        "/deep/a": {"eq": 1}, "/missing": {"eq": 1}});
    let client = world.planner(world.grant(json!({"actions": ["refund"], "arguments": arguments})));
    let narrowed = listed(&client.modern("tools/list", json!({})).await, "refund")["inputSchema"]["properties"].clone();
    assert_eq!(
        narrowed,
        json!({"amount": {"type": "number", "maximum": 50, "minimum": 5}, "currency": {"type": "string", "enum": ["CHF", "EUR"]},
            "to": {"type": "string", "const": "ann"}, "free": {"type": "string"}, "deep": {"type": "object"}})
    );
    let two = world.grants(&[
        json!({"actions": ["refund"], "arguments": {"/amount": {"max": 50}}}),
        json!({"actions": ["refund"], "arguments": {"/to": {"eq": "ann"}}}),
    ]);
    let wide = listed(&world.planner(two).modern("tools/list", json!({})).await, "refund")["inputSchema"]["properties"].clone();
    assert_eq!(wide, properties, "with alternatives no keyword says what is allowed");
}

#[tokio::test]
async fn tools_that_could_be_granted_are_listed_only_where_the_server_is_set_so() {
    for list_requestable in [true, false] {
        let world = Wish { list_requestable, ..Wish::new(true) }.build().await;
        let ceiling = world.grant(json!({"actions": ["ticket_read", "refund"]}));
        let change = remit_store::Change::PutAgent(crate::world::agent("planner", ceiling));
        world.store.apply(remit_store::Batch::new(remit_model::TenantId::main()).change(change)).await.unwrap();
        let client = world.planner(world.grant(json!({"actions": ["ticket_read"]})));
        let reply = client.modern("tools/list", json!({})).await;
        let expected: &[&str] = if list_requestable { &["ticket_read", "refund"] } else { &["ticket_read"] };
        assert_eq!(names(&reply.result()["tools"]), expected);
        if list_requestable {
            let refund = listed(&reply, "refund");
            assert_eq!(refund["_meta"]["remit/requestable"], true, "{refund}");
            assert!(refund["description"].as_str().unwrap().contains("Not granted"), "{refund}");
            assert!(listed(&reply, "ticket_read").get("_meta").is_none());
        }
        client.call("refund", json!({})).await.refused(200, "tool_not_granted");
    }
}

#[tokio::test]
async fn a_tool_is_listed_exactly_when_it_can_be_called() {
    let long = "x".repeat(129);
    let fits = "y".repeat(128);
    let names =
        ["a b", "a:b", "\u{dc}bersicht", "\u{1f600}", "x.y/z-1", "'\"\\", &fits, &long, "mcp:tools/list", " x", "x ", "a\nb", ""];
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let tools: Vec<_> = names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
        upstream(&world, &json!(tools), &[]);
        let reply = world.all().modern("tools/list", json!({})).await;
        let listed = crate::lists::names(&reply.result()["tools"]);
        for name in names {
            let client = world.all();
            let (mut headers, body) = client.modern_request("tools/call", json!({"name": name, "arguments": {}}));
            headers.retain(|(header, _)| header != "mcp-name");
            let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, name);
            headers.push(("mcp-name".into(), format!("=?base64?{encoded}?=")));
            let reply = client.send(headers, &body).await;
            let called = reply.body["result"]["content"][0]["text"] == format!("called {name}");
            assert_eq!(called, listed.contains(&name), "{name:?}: {}", reply.body);
            // Names that no grant can name are for those who hold every action.
            let by_name = json!([{"type": "tool_access", "locations": [world.location], "actions": [name]}]);
            if called && let Ok(by_name) = remit_model::Authority::parse(&by_name) {
                let client = world.planner(by_name);
                assert_eq!(crate::lists::names(&client.modern("tools/list", json!({})).await.result()["tools"]), [name]);
            }
        }
    }
}

#[tokio::test]
async fn a_client_knows_a_tool_by_its_alias_and_everything_else_by_its_name() {
    let mut wish = Wish::new(true);
    let rule = wish.tools.get_mut("customer.change").unwrap();
    rule.alias = Some("customer_change".into());
    let world = wish.build().await;
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    // Another tool of the upstream has the alias for its name: the operator's word counts.
    upstream(&world, &json!([tool("customer.change"), tool("customer_change"), tool("refund")]), &[]);
    let client = world.planner(world.grant(json!({"actions": ["customer.change"]})));
    let reply = client.modern("tools/list", json!({})).await;
    assert_eq!(names(&reply.result()["tools"]), ["customer_change"]);
    assert_eq!(listed(&reply, "customer_change")["annotations"]["readOnlyHint"], false, "the tool's own class");
    for name in ["customer_change", "customer.change"] {
        let reply = client.call(name, json!({"customer": "C-1"})).await;
        assert_eq!(reply.result()["content"][0]["text"], "called customer.change");
        let record = world.last().await;
        assert_eq!((&record["action"]["name"], &record["tool"]["name"]), (&json!("customer.change"), &json!("customer.change")));
    }
    let seen = world.fake.received("tools/call");
    assert_eq!(seen.last().unwrap().headers["mcp-name"], "customer.change");
    let stranger = world.planner(world.grant(json!({"actions": ["refund"]})));
    let refused = stranger.call("customer_change", json!({})).await;
    refused.refused(200, "tool_not_granted");
    assert!(refused.body.to_string().contains("helpdesk:customer.change"), "{}", refused.body);
}
