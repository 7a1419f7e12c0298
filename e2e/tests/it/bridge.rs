//! `remit connect` over time: servers that restart, sessions that end, sign-ins that processes share, lines that are not
//! JSON. The client is the official TypeScript SDK, unless it is the client that misbehaves.

use crate::harness::{Remit, Setup, client, node, remit, text};
use remit_testkit::{PATIENCE, wait_until};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

/// An SDK client over `remit connect`, told what to do line by line.
pub(crate) struct Session {
    child: Child,
    input: Option<ChildStdin>,
    said: Receiver<String>,
    /// Process id of the bridge.
    bridge: u64,
    _script: tempfile::NamedTempFile,
}

impl Session {
    pub(crate) fn start(connect: &Value) -> Self {
        let script = tempfile::NamedTempFile::new().unwrap();
        serde_json::to_writer(script.as_file(), &json!({ "connect": connect })).unwrap();
        let mut command = Command::new("node");
        command.arg(client("bridge.mjs")).arg(script.path());
        let (child, input, said) = piped(command);
        let mut session = Self { child, input: Some(input), said, bridge: 0, _script: script };
        session.bridge = session.next("connected")["pid"].as_u64().unwrap();
        session
    }

    fn ask(&mut self, command: &Value, answer: &str) -> Value {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
        self.next(answer)
    }

    pub(crate) fn call(&mut self, name: &str, arguments: &Value) -> Value {
        self.ask(&json!({ "call": { "name": name, "arguments": arguments } }), "result")["result"].clone()
    }

    /// The next line with this member.
    fn next(&mut self, member: &str) -> Value {
        loop {
            let line = self.said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the client never said {member}"));
            let line: Value = serde_json::from_str(&line).unwrap();
            assert!(line.get("error").is_none(), "instead of {member}: {line}");
            if line.get(member).is_some() {
                return line;
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn piped(mut command: Command) -> (Child, ChildStdin, Receiver<String>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (output, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let (tell, said) = channel();
    thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))));
    (child, input, said)
}

pub(crate) fn read(id: &str) -> Value {
    json!({ "id": id })
}

/// How many sessions have been closed, as the published ledger tells.
fn closed_sessions(remit: &Remit) -> usize {
    remit.published();
    remit.run(&["audit", "export", "--format", "jsonl"]).lines().filter(|line| line.contains("\"session.close\"")).count()
}

#[test]
fn a_session_goes_on_after_the_server_restarted() {
    let mut remit = Setup::new().start();
    remit.agent("planner", &["helpdesk:*"]);
    let mut session = Session::start(&remit.through_connect("planner", "helpdesk"));
    let before = session.call("tickets_read", &read("T-1001"));
    assert_ne!(before["isError"], true, "{before}");
    for _ in 0..2 {
        remit.stop();
        remit.restart();
        // The first call finds the session gone, and is answered in a new one; so are calls after it.
        for _ in 0..2 {
            let after = session.call("tickets_read", &read("T-1001"));
            assert_eq!(after["structuredContent"]["id"], "T-1001", "{after}");
        }
    }
}

#[test]
fn calls_at_the_same_time_after_a_restart_begin_one_session() {
    let mut remit = Setup::new().start();
    remit.agent("planner", &["helpdesk:*"]);
    let mut session = Session::start(&remit.through_connect("planner", "helpdesk"));
    session.call("tickets_read", &read("T-1001"));
    remit.stop();
    remit.restart();
    let (mut bridge, mut input, said) = raw(&remit, "planner");
    drop(session);
    let mut id = 0;
    let mut send = |message: Value| writeln!(input, "{message}").unwrap();
    send(
        json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}),
    );
    answer(&said, &json!(0));
    send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    remit.stop();
    remit.restart();
    for _ in 0..6 {
        id += 1;
        send(
            json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "tickets_read", "arguments": read("T-1001")}}),
        );
    }
    let mut answered: Vec<u64> = (0..6)
        .map(|_| {
            let answer = next_answer(&said);
            assert_eq!(answer["result"]["structuredContent"]["id"], "T-1001", "{answer}");
            answer["id"].as_u64().unwrap()
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, [1, 2, 3, 4, 5, 6], "each request has one answer, and the bridge's own requests have none");
    drop(input);
    assert!(bridge.wait().unwrap().success());
}

#[test]
fn a_terminated_bridge_ends_its_session_first() {
    for signal in ["-TERM", "-INT"] {
        let remit = Setup::new().start();
        remit.agent("planner", &["helpdesk:*"]);
        let mut session = Session::start(&remit.through_connect("planner", "helpdesk"));
        session.call("tickets_read", &read("T-1001"));
        assert_eq!(closed_sessions(&remit), 0);
        assert!(Command::new("kill").args([signal, &session.bridge.to_string()]).status().unwrap().success());
        wait_until(&format!("{signal} ends the session"), || closed_sessions(&remit) > 0);
    }
}

#[test]
fn a_line_that_is_not_json_is_answered_by_its_id_and_the_session_goes_on() {
    let remit = Setup::new().start();
    remit.agent("planner", &["helpdesk:*"]);
    let (mut bridge, mut input, said) = raw(&remit, "planner");
    let call = |id: u32, ticket: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"tickets_read","arguments":{{"id":"{ticket}"}}}}}}"#
        )
    };
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    for line in
        [initialize, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, &call(1, r"T-1001 \ud83d"), &call(2, "T-1001")]
    {
        writeln!(input, "{line}").unwrap();
    }
    let broken = answer(&said, &json!(1));
    assert_eq!(broken["error"]["code"], -32_700, "{broken}");
    assert_eq!(answer(&said, &json!(2))["result"]["structuredContent"]["id"], "T-1001");
    drop(input);
    assert!(bridge.wait().unwrap().success());
}

/// Without a sign-in `initialize` and `tools/list` are answered at once and a call says where to sign in; with one, the same
/// session reaches the server.
#[test]
fn a_call_before_the_sign_in_says_where_to_sign_in_and_one_after_it_runs() {
    let remit = Setup::new().start();
    remit.agent("planner", &["helpdesk:*"]);
    let mut connect = remit.through_connect("planner", "helpdesk");
    connect["args"].as_array_mut().unwrap().extend([json!("--login"), json!("--purpose"), json!("weekly report")]);
    let mut session = Session::start(&connect);
    assert_eq!(session.ask(&json!({ "list": true }), "tools")["tools"], json!(["sign_in"]));
    let told = session.call("tickets_read", &read("T-1001"));
    assert_eq!((&told["isError"], &told["_meta"]["remit/code"]), (&json!(true), &json!("login_required")), "{told}");
    let url = told["content"][0]["text"].as_str().unwrap().split(' ').find(|word| word.starts_with("http")).unwrap();
    let seen = node("consent.mjs", &json!({ "url": url, "user": "alice", "password": remit.password }));
    assert!(seen["page"].as_str().unwrap().contains("Done"), "{seen}");
    assert!(seen["read"].as_str().unwrap().contains("weekly report"), "the purpose is shown: {seen}");
    let done = session.call("tickets_read", &read("T-1001"));
    assert_eq!(done["structuredContent"]["id"], "T-1001", "{done}");
    let tools = session.ask(&json!({ "list": true }), "tools");
    assert!(tools["tools"].as_array().unwrap().contains(&json!("tickets_read")), "{tools}");
}

/// A process starts without an access token, so each of these refreshes the one sign-in, all at the same time.
#[test]
fn processes_of_one_agent_share_a_sign_in() {
    let remit = Setup::new().start();
    remit.agent("planner", &["helpdesk:*"]);
    sign_in(&remit);
    let mut connect = remit.through_connect("planner", "helpdesk");
    connect["args"].as_array_mut().unwrap().push(json!("--login"));
    let sessions: Vec<_> = (0..6)
        .map(|_| {
            let connect = connect.clone();
            thread::spawn(move || {
                let done = Session::start(&connect).call("tickets_read", &read("T-1001"));
                assert_eq!(done["structuredContent"]["id"], "T-1001", "{done}");
            })
        })
        .collect();
    for session in sessions {
        session.join().unwrap();
    }
    // Each process has refreshed the one sign-in; none was taken for a thief.
    remit.published();
    let records = remit.run(&["audit", "export", "--format", "jsonl"]);
    let denied: Vec<&str> = records.lines().filter(|line| line.contains("\"denied\"")).collect();
    assert!(denied.is_empty(), "{denied:?}");
}

/// `remit login` as a person at a terminal uses it.
pub(crate) fn sign_in(remit: &Remit) {
    let mut command = remit.command(&["login", "helpdesk", "--agent", "planner"]);
    let mut login = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(login.stderr.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.trim().starts_with("http").then(|| line.trim().to_owned())).unwrap();
    node("consent.mjs", &json!({ "url": url, "user": "alice", "password": remit.password }));
    assert!(login.wait().unwrap().success());
}

fn raw(server: &Remit, agent: &str) -> (Child, ChildStdin, Receiver<String>) {
    piped(remit(&["connect", "helpdesk", "--agent", agent, "-c", text(&server.config())]))
}

fn answer(said: &Receiver<String>, id: &Value) -> Value {
    loop {
        let answer = next_answer(said);
        if answer["id"] == *id {
            return answer;
        }
    }
}

fn next_answer(said: &Receiver<String>) -> Value {
    loop {
        let line: Value = serde_json::from_str(&said.recv_timeout(PATIENCE).unwrap()).unwrap();
        if line.get("id").is_some() && line.get("method").is_none() {
            return line;
        }
    }
}
