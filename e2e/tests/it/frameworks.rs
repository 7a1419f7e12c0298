//! Unmodified agent frameworks with scripted models, over stdio (`remit connect`) and over HTTP (the hooks of the client
//! libraries, `clients/python` and `clients/typescript`).
//!
//! All programs of a test share one server, so that they wait only once for their tokens to expire. Each announces when its
//! model pauses; when all have reached the pause, the test lets the tokens expire or restarts the server, and all continue.
//! The programs over stdio share the refresh token of one sign-in.

use crate::harness::{
    Remit, Setup, client, desk, interop_python, legacy_python, node, python, python_library, remit, succeed, text,
};
use remit_helpdesk::Desk;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};
use tempfile::TempDir;

/// The shortest token lifetime that the configuration accepts, in seconds.
const LIFETIME: u64 = 60;
/// How long the slowest program may take from one pause to the next.
const PATIENCE: Duration = Duration::from_mins(2);
const FINAL_TEXT: &str = "done";

#[test]
fn python_frameworks_see_refusals_and_survive_expiry_and_a_restart() {
    let mut fleet = Fleet::new();
    fleet.start_both("pydantic-ai", || program(python(), "with_pydantic_ai.py"));
    fleet.start_both("openai-agents", || program(python(), "with_openai_agents.py"));
    fleet.start_both("langchain-mcp-adapters", || program(legacy_python(), "with_langchain.py"));
    fleet.run();
}

#[test]
fn typescript_frameworks_see_refusals_and_survive_expiry_and_a_restart() {
    let mut fleet = Fleet::new();
    fleet.start_both("@ai-sdk/mcp", || program("node".into(), "with-ai-sdk.mjs"));
    fleet.start_both("@openai/agents", || program("node".into(), "with-openai-agents.mjs"));
    let [_, (_, over_http)] = fleet.transports.clone();
    let provider = program("node".into(), "with-sdk-auth-provider.mjs");
    fleet.start("@modelcontextprotocol/client with the library's provider", provider, &over_http);
    let desktop = fleet.desktop();
    fleet.start("@modelcontextprotocol/client with its own OAuth", program("node".into(), "with-sdk-oauth.mjs"), &desktop);
    fleet.run();
}

#[test]
#[ignore = "its packages are large: cargo xtask interop google-adk"]
fn google_adk() {
    let mut fleet = Fleet::new();
    fleet.start_both("google-adk", || program(interop_python(), "with_google_adk.py"));
    fleet.run();
}

#[test]
#[ignore = "its packages are large: cargo xtask interop llama-index"]
fn llama_index() {
    let mut fleet = Fleet::new();
    fleet.start_both("llama-index-tools-mcp", || program(interop_python(), "with_llama_index.py"));
    fleet.run();
}

#[test]
#[ignore = "its packages are large: cargo xtask interop strands"]
fn strands() {
    let mut fleet = Fleet::new();
    fleet.start_both("strands-agents", || program(interop_python(), "with_strands.py"));
    fleet.run();
}

fn program(interpreter: PathBuf, file: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(client("frameworks").join(file)).env("PYTHONPATH", python_library());
    command
}

/// What the agents can do: one tool without limits, one with masked fields, one with a bounded argument.
fn ceiling(remit: &Remit) -> Value {
    let helpdesk = remit.resource("helpdesk");
    json!([
        { "type": "tool_access", "locations": [helpdesk], "actions": ["tickets_export"] },
        { "type": "tool_access", "locations": [helpdesk], "actions": ["tickets_read"], "fields": ["/id", "/subject", "/customer/name"] },
        { "type": "tool_access", "locations": [helpdesk], "actions": ["tickets_update"], "arguments": { "/status": { "in": ["pending"] } } },
    ])
}

/// `remit connect` on behalf of a person who has signed in once for all programs.
fn signed_in(remit: &Remit) -> Value {
    remit.agent_with("planner", &ceiling(remit));
    let mut connect = remit.through_connect("planner", "helpdesk");
    connect["args"].as_array_mut().unwrap().push(json!("--login"));
    let signed =
        node("login.mjs", &json!({ "connect": connect, "asks": true, "calls": [], "user": "alice", "password": remit.password }));
    assert_ne!(signed["protocol"], "nobody was asked");
    connect
}

/// What each scripted model does, turn by turn.
fn turns() -> Value {
    let read = |id: &str| json!({ "name": "tickets_read", "arguments": { "id": id } });
    let update = |status: &str| json!({ "name": "tickets_update", "arguments": { "id": "T-1005", "status": status } });
    json!([
        { "calls": [{ "name": "tickets_export", "arguments": { "pause_ms": 0 } }] },
        { "calls": [update("closed")] },
        { "calls": [read("T-1001")] },
        { "pause": "expired", "calls": [read("T-1001"), read("T-1002"), read("T-1003"), read("T-1004")] },
        { "pause": "restarted", "calls": [read("T-1002")] },
        { "calls": [update("pending")] },
    ])
}

/// Checks what the model of one framework saw; returns the problems.
fn problems_in(report: &Value) -> Vec<String> {
    let seen = |turn: usize, call: usize| report["seen"][turn][call].as_str().unwrap_or_default().to_owned();
    let mut problems = Vec::new();
    let mut expect = |what: &str, turn: usize, words: &[&str]| {
        let result = seen(turn, 0);
        if let Some(missing) = words.iter().find(|word| !result.contains(**word)) {
            problems.push(format!("{what}: the model does not see {missing:?}: {result}"));
        }
    };
    expect("a permitted call", 0, &["by_status"]);
    expect("a refused call", 1, &["`status`", "not granted", "`pending`"]);
    expect("a masked result", 2, &["T-1001", "Charged twice for March", "Maria Keller"]);
    expect("a call after a restart", 4, &["T-1002", "subject"]);
    expect("a change after a restart", 5, &["T-1005", "pending"]);
    // Some frameworks show parallel results in the order in which they arrive.
    let parallel: Vec<String> = (0..4).map(|call| seen(3, call)).collect();
    for id in ["T-1001", "T-1002", "T-1003", "T-1004"] {
        if !parallel.iter().any(|result| result.contains(id) && result.contains("subject")) {
            problems.push(format!("four calls with an expired token: the model does not see {id}: {parallel:?}"));
        }
    }
    for result in (2..=4).flat_map(|turn| report["seen"][turn].as_array().into_iter().flatten()) {
        let result = result.as_str().unwrap_or_default();
        if result.contains("@example.com") || result.contains("messages") {
            problems.push(format!("a masked result shows a withheld field: {result}"));
        }
    }
    if report["final_text"] != FINAL_TEXT {
        problems.push(format!("the run ends with {}", report["final_text"]));
    }
    problems
}

/// Programs that run in step against one server.
struct Fleet {
    desk: Desk,
    remit: Remit,
    /// How a program connects, by the name of the transport.
    transports: [(&'static str, Value); 2],
    scripts: TempDir,
    programs: Vec<Program>,
    sender: mpsc::Sender<(usize, Event)>,
    receiver: mpsc::Receiver<(usize, Event)>,
}

struct Program {
    name: String,
    child: Child,
    input: ChildStdin,
    errors: JoinHandle<String>,
    outcome: Outcome,
}

enum Outcome {
    Running,
    Reported(Value),
    Failed,
}

enum Event {
    Message(Value),
    Exited,
}

impl Fleet {
    fn new() -> Self {
        let (desk, url) = desk();
        let agents = format!("\nagents:\n  access_token_lifetime: {LIFETIME}\n  require_dpop_nonce: true\n");
        let remit = Setup::new().desk(&url).section(&agents).start();
        let over_http = json!({
            "url": remit.resource("helpdesk"), "issuer": remit.issuer, "agent": "clerk",
            "key_file": remit.agent_with("clerk", &ceiling(&remit)),
        });
        let transports = [("stdio", signed_in(&remit)), ("HTTP", over_http)];
        let (sender, receiver) = mpsc::channel();
        Self { desk, remit, transports, scripts: TempDir::new().unwrap(), programs: Vec::new(), sender, receiver }
    }

    /// Registers a public client; returns how it connects.
    fn desktop(&self) -> Value {
        let remit = &self.remit;
        let agent = json!({
            "name": "desktop", "owner": "user:alice", "redirect_uris": ["http://127.0.0.1/callback"],
            "authorization_details": ceiling(remit),
        });
        let admin = remit.folder().join("keys/admin.token");
        node("register.mjs", &json!({ "issuer": remit.issuer, "admin_token_file": admin, "agent": agent }));
        json!({ "url": remit.resource("helpdesk"), "client_id": "agent:desktop", "user": "alice", "password": remit.password })
    }

    fn start_both(&mut self, framework: &str, command: impl Fn() -> Command) {
        for (transport, connect) in self.transports.clone() {
            self.start(&format!("{framework} over {transport}"), command(), &connect);
        }
    }

    fn start(&mut self, name: &str, mut command: Command, connect: &Value) {
        let index = self.programs.len();
        let script = self.scripts.path().join(index.to_string());
        fs::write(&script, json!({ "connect": connect, "turns": turns() }).to_string()).unwrap();
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, output) = (self.sender.clone(), child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(message) = serde_json::from_str(&line) {
                    let _ = sender.send((index, Event::Message(message)));
                }
            }
            let _ = sender.send((index, Event::Exited));
        });
        let mut output = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = output.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let input = child.stdin.take().unwrap();
        self.programs.push(Program { name: name.to_owned(), child, input, errors, outcome: Outcome::Running });
    }

    /// Runs all programs to the end, then checks what each model saw, what reached the helpdesk and what the ledger holds.
    fn run(mut self) {
        self.wait_for_pause("expired");
        // PAUSE: every program has a token by now. When this has passed, none of these tokens is valid.
        thread::sleep(Duration::from_secs(LIFETIME + 1));
        self.resume();
        self.wait_for_pause("restarted");
        self.remit.stop();
        self.remit.restart();
        self.resume();
        let reports = self.reports();
        let problems: Vec<String> = reports
            .iter()
            .flat_map(|(name, report)| {
                let problems = report.as_ref().map_or_else(|failure| vec![failure.clone()], problems_in);
                problems.into_iter().map(move |problem| format!("{name}: {problem}"))
            })
            .collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        let changes = self.desk.calls_of("tickets_update");
        assert_eq!(changes, reports.len() as u64, "the helpdesk gets each permitted change once, and no refused one");
        for code in ["grant_invalid", "token_revoked"] {
            let found = self.remit.run(&["audit", "search", "--code", code, "--json"]);
            let found: Value = serde_json::from_str(&found).unwrap();
            assert_eq!(found["total"], 0, "an honest client lost its tokens: {found}");
        }
        self.remit.stop();
        succeed(remit(&["audit", "verify", text(&self.remit.ledger()), "--vkey", &self.remit.vkey]));
    }

    /// Waits until every running program has reached this pause or has ended.
    fn wait_for_pause(&mut self, pause: &str) {
        let mut waiting = self.running();
        while !waiting.is_empty() {
            let (index, event) = self.next_event();
            match event {
                Event::Message(message) if message.get("pause").is_some() => assert_eq!(message["pause"], pause),
                event => self.end(index, event),
            }
            waiting.retain(|other| *other != index);
        }
    }

    fn resume(&mut self) {
        for index in self.running() {
            let _ = writeln!(self.programs[index].input);
        }
    }

    /// Waits until all programs have ended; each one's report, or its last lines on standard error.
    fn reports(&mut self) -> BTreeMap<String, Result<Value, String>> {
        while !self.running().is_empty() {
            let (index, event) = self.next_event();
            self.end(index, event);
        }
        let ended = self.programs.drain(..).map(|mut program| {
            let _ = program.child.wait();
            let errors = program.errors.join().unwrap();
            let lines: Vec<&str> = errors.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            let report = match program.outcome {
                Outcome::Reported(report) => Ok(report),
                Outcome::Running | Outcome::Failed => Err(format!("the program ends without a report\n{last}")),
            };
            (program.name, report)
        });
        ended.collect()
    }

    fn running(&self) -> Vec<usize> {
        let running = |index: &usize| matches!(self.programs[*index].outcome, Outcome::Running);
        (0..self.programs.len()).filter(running).collect()
    }

    fn next_event(&self) -> (usize, Event) {
        self.receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let names: Vec<&str> = self.running().iter().map(|index| self.programs[*index].name.as_str()).collect();
            panic!("no word from {}", names.join(", "))
        })
    }

    /// Keeps a program's report. The end of its output after a report changes nothing.
    fn end(&mut self, index: usize, event: Event) {
        let outcome = &mut self.programs[index].outcome;
        if matches!(outcome, Outcome::Running) {
            *outcome = match event {
                Event::Message(report) => Outcome::Reported(report),
                Event::Exited => Outcome::Failed,
            };
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.child.kill();
            let _ = program.child.wait();
        }
    }
}
