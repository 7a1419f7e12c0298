//! The official reference servers behind the gateway, used by the official SDKs: each once through `remit connect` and
//! once directly with a DPoP-bound token.

use crate::harness::{Player, Remit, Running, Setup, client, play, text};
use serde_json::{Value, json};
use std::{fs, process::Command};

#[test]
fn typescript_sdk_1_speaks_2025_11_25() {
    both_servers(Player::TypeScriptLegacy);
}

#[test]
fn typescript_client_2_speaks_2026_07_28() {
    both_servers(Player::TypeScriptModern);
}

#[test]
fn python_sdk_speaks_2025_11_25() {
    both_servers(Player::PythonLegacy);
}

#[test]
fn python_sdk_speaks_2026_07_28() {
    both_servers(Player::PythonModern);
}

fn both_servers(player: Player) {
    let port = remit_testkit::port();
    let mut command = Command::new("node");
    command.arg(client("node_modules/@modelcontextprotocol/server-everything/dist/index.js")).arg("streamableHttp");
    command.env("PORT", port.to_string());
    let _everything = Running::start(command, "listening on port");
    let files = tempfile::TempDir::new().unwrap();
    fs::write(files.path().join("hello.txt"), "hello from a file\n").unwrap();
    let filesystem = client("node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    let remit = Setup::new()
        .upstream(
            "everything",
            &[
                &format!("url: http://127.0.0.1:{port}/mcp"),
                "tools: { echo: { class: read }, get-sum: { class: read }, trigger-long-running-operation: { class: execute } }",
            ],
        )
        .upstream(
            "files",
            &[&format!("command: {}", json!(["node", filesystem, files.path()])), "tools: { read_text_file: { class: read } }"],
        )
        .start();
    remit.agent(
        "worker",
        &["everything:echo", "everything:get-sum", "everything:trigger-long-running-operation", "files:read_text_file"],
    );
    for way in [Remit::through_connect, Remit::directly] {
        everything(player, &way(&remit, "worker", "everything"));
        filesystem_is_read_and_not_written(player, &way(&remit, "worker", "files"), text(files.path()));
    }
}

/// List, call, a streamed progress notification, a refused call, and the same session still works.
fn everything(player: Player, connect: &Value) {
    let calls = json!([
        { "name": "echo", "arguments": { "message": "over the gateway" } },
        { "name": "trigger-long-running-operation", "arguments": { "duration": 1, "steps": 4 }, "progress": true },
        { "name": "get-env" },
        { "name": "get-sum", "arguments": { "a": 20, "b": 22 } },
    ]);
    let played = play(player, connect, &calls);
    assert_eq!(played["protocol"], player.protocol());
    let mut tools: Vec<&str> = played["tools"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    tools.sort_unstable();
    assert_eq!(tools, ["echo", "get-sum", "trigger-long-running-operation"], "the list shows what this agent could call");
    assert_eq!(played["calls"][0]["text"], "Echo: over the gateway", "{played}");
    assert_eq!(played["calls"][1]["progress"], 4, "{played}");
    assert_eq!(refusal(&played["calls"][2]), Some("tool_not_granted"), "{played}");
    assert_eq!(played["calls"][3]["text"], "The sum of 20 and 22 is 42.", "{played}");
}

fn filesystem_is_read_and_not_written(player: Player, connect: &Value, folder: &str) {
    let calls = json!([
        { "name": "read_text_file", "arguments": { "path": format!("{folder}/hello.txt") } },
        { "name": "write_file", "arguments": { "path": format!("{folder}/written.txt"), "content": "no" } },
        { "name": "read_text_file", "arguments": { "path": format!("{folder}/hello.txt") } },
    ]);
    let played = play(player, connect, &calls);
    assert_eq!(played["tools"], json!(["read_text_file"]));
    assert_eq!(played["calls"][0]["text"], "hello from a file\n", "{played}");
    assert_eq!(refusal(&played["calls"][1]), Some("tool_not_granted"), "{played}");
    assert_eq!(played["calls"][2]["text"], "hello from a file\n", "{played}");
    assert!(!std::path::Path::new(folder).join("written.txt").exists());
}

/// The stable code of a refusal, wherever the protocol let it travel.
pub(crate) fn refusal(call: &Value) -> Option<&str> {
    call.pointer("/error/data/code").or_else(|| call.pointer("/refused")).and_then(Value::as_str)
}
