//! The processes of stdio servers: they end with the server, however it ends.

use crate::harness::{Remit, Setup, binary, text};
use remit_testkit::wait_until;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
};

/// A stdio server of a few lines that ignores the end of its standard input, as one does whose launcher holds it open.
const SERVER: &str = r#"
const say = (id, result) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result }) + "\n");
process.stdout.write("memo: listening\n");
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method } = JSON.parse(line);
  if (method === "initialize") say(id, { protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "memo", version: "1" } });
  else if (method === "tools/call") say(id, { content: [{ type: "text", text: String(process.pid) }] });
  else if (id !== undefined) process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32601, message: "unknown" } }) + "\n");
});
process.on("SIGTERM", () => {});
setInterval(() => {}, 1000);
"#;

fn launched() -> Remit {
    let setup = Setup::new();
    let file = setup.folder().join("memo.cjs");
    fs::write(&file, SERVER).unwrap();
    let command = format!("command: [sh, -c, \"exec 3<&0; node {} <&3 & wait\"]", text(&file));
    setup.upstream("memo", &[&command, "start_timeout_s: 60"]).start()
}

/// `remit connect` with a conversation under way.
struct Session {
    bridge: Child,
    _stdin: ChildStdin,
    /// The server behind the launcher.
    pid: u32,
}

fn session(remit: &Remit) -> Session {
    let mut bridge = Command::new(binary());
    bridge.args(["connect", "memo", "--agent", "planner", "-c", text(&remit.config())]);
    let mut bridge = bridge.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = bridge.stdin.take().unwrap();
    let mut lines = BufReader::new(bridge.stdout.take().unwrap()).lines();
    let mut ask = |message: Value| {
        writeln!(stdin, "{message}").unwrap();
        if message.get("id").is_none() {
            return Value::Null;
        }
        loop {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if line["id"] == message["id"] {
                return line;
            }
        }
    };
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
    ask(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}));
    ask(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    let answer = ask(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "pid", "arguments": {}}}));
    let pid = answer["result"]["content"][0]["text"].as_str().and_then(|text| text.parse().ok());
    Session { bridge, _stdin: stdin, pid: pid.unwrap_or_else(|| panic!("{answer}")) }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.bridge.kill();
        let _ = self.bridge.wait();
    }
}

fn gone(what: &str, pid: u32) {
    // A zombie has no command line.
    wait_until(what, || fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty());
}

#[test]
fn a_stdio_server_behind_a_launcher_ends_with_the_server_that_is_stopped_or_killed() {
    let mut remit = launched();
    remit.agent("planner", &["memo:*"]);
    let first = session(&remit);
    remit.kill();
    gone("kill -9 ends the stdio server", first.pid);
    remit.restart();
    let second = session(&remit);
    remit.stop();
    gone("a stop ends the stdio server", second.pid);
}
