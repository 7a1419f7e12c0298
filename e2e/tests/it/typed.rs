//! Masked results of tools with an output schema: each official client validates a result against the schema it was given.
//!
//! In the data of the servers (`e2e/clients/typed`) every string is `VISIBLE` or `SECRET`, so one rule checks all results.

use crate::harness::{Player, Remit, Setup, client, play, python, text};
use serde_json::{Value, json};

/// One tool, the fields that the grant shows, and the number of strings in them.
struct Tool(&'static str, &'static [&'static str], usize);

const MODELS: &[Tool] = &[
    Tool("customer", &["/id", "/orders/*/items/*/sku", "/referred_by/id"], 4),
    Tool("customers", &["/result/*/id", "/result/*/orders/*/items/*/sku"], 6),
    Tool("folder", &["/name", "/inside/*/name"], 3),
    Tool("party", &["/party/name"], 1),
    Tool("table", &["/a/label"], 1),
    Tool("matrix", &["/result/*/*/label"], 3),
    Tool("nothing", &["/other"], 0),
];
const SCHEMAS: &[Tool] = &[
    Tool("all_of", &["/first/shown", "/second/shown"], 2),
    Tool("any_of", &["/shown"], 1),
    Tool("one_of", &["/of/shown"], 1),
    Tool("conditional", &["/shown"], 1),
    Tool("counted", &["/shown"], 1),
    Tool("dependent", &["/shown"], 1),
    Tool("closed", &["/shown"], 1),
    Tool("open", &["/x/shown"], 1),
    Tool("patterned", &["/x/shown"], 1),
    Tool("listed", &["/rows/*/shown"], 2),
    Tool("contained", &["/rows/*/shown"], 1),
    Tool("unique", &["/rows/*/shown"], 2),
    Tool("escaped", &["/a~1b/shown", "/c~0d/shown"], 2),
    Tool("recursive", &["/shown", "/next/shown"], 2),
];

#[test]
fn typescript_sdk_1_accepts_every_masked_result() {
    accepts_every_masked_result(Player::TypeScriptLegacy);
}

#[test]
fn typescript_client_2_accepts_every_masked_result() {
    accepts_every_masked_result(Player::TypeScriptModern);
}

#[test]
fn python_sdk_accepts_every_masked_result_of_2025_11_25() {
    accepts_every_masked_result(Player::PythonLegacy);
}

#[test]
fn python_sdk_accepts_every_masked_result_of_2026_07_28() {
    accepts_every_masked_result(Player::PythonModern);
}

/// The server understands both revisions, and is asked which before it can answer.
#[test]
fn a_stdio_server_that_takes_six_seconds_to_start_is_used() {
    let slowly =
        ["sh", "-c", "sleep 6; exec \"$0\" \"$1\"", text(&python()), text(&client("typed/models.py"))].map(str::to_owned);
    let remit = Setup::new().upstream("models", &[&format!("command: {}", json!(slowly)), &classes(MODELS)]).start();
    remit.agent("reader", &["models:folder"]);
    let played = play(Player::TypeScriptModern, &remit.directly("reader", "models"), &json!([{ "name": "folder" }]));
    assert_eq!(played["calls"][0]["structured"]["name"], "VISIBLE", "{played}");
}

fn accepts_every_masked_result(player: Player) {
    let models = format!("command: {}", json!([python(), client("typed/models.py")]));
    let schemas = format!("command: {}", json!(["node", client("typed/schemas.mjs")]));
    let remit =
        Setup::new().upstream("models", &[&models, &classes(MODELS)]).upstream("schemas", &[&schemas, &classes(SCHEMAS)]).start();
    let grants = [grants(&remit, "models", MODELS), grants(&remit, "schemas", SCHEMAS)].concat();
    remit.agent_with("reader", &json!(grants));
    let problems = [problems(player, &remit, "models", MODELS), problems(player, &remit, "schemas", SCHEMAS)].concat();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn classes(tools: &[Tool]) -> String {
    let classes: Vec<String> = tools.iter().map(|Tool(name, ..)| format!("{name}: {{ class: read }}")).collect();
    format!("tools: {{ {} }}", classes.join(", "))
}

fn grants(remit: &Remit, server: &str, tools: &[Tool]) -> Vec<Value> {
    let grant = |Tool(name, fields, _): &Tool| json!({ "type": "tool_access", "locations": [remit.resource(server)], "actions": [name], "fields": fields });
    tools.iter().map(grant).collect()
}

/// Calls every tool of one server through one client and checks what the client gives to its user.
fn problems(player: Player, remit: &Remit, server: &str, tools: &[Tool]) -> Vec<String> {
    let calls: Vec<Value> = tools.iter().map(|Tool(name, ..)| json!({ "name": name })).collect();
    let played = play(player, &remit.directly("reader", server), &json!(calls));
    let results = played["calls"].as_array().unwrap();
    assert_eq!(results.len(), tools.len());
    let mut problems = Vec::new();
    for (Tool(name, fields, visible), result) in tools.iter().zip(results) {
        let mut report = |problem: &str| problems.push(format!("{server}/{name}: {problem}: {result}"));
        if result.get("error").is_some() || result["isError"] != false {
            report("the client does not accept the result");
            continue;
        }
        if result.to_string().contains("SECRET") {
            report("a withheld value is visible");
        }
        let shown = |part: &Value| part.to_string().matches("VISIBLE").count();
        if shown(&result["structured"]) != *visible {
            report("a granted value is missing from the structured content");
        }
        // The SDK puts a list into `result` in the structured content, and each of its items into a block of text.
        if !fields[0].starts_with("/result") && shown(&result["text"]) != *visible {
            report("a granted value is missing from the text");
        }
    }
    problems
}
