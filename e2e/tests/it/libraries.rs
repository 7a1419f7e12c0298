//! The client libraries (`clients/python`, `clients/typescript`) against the real server.
//!
//! Every test does the same with each library: it speaks to a program that uses the library (`e2e/clients/libraries`), a line
//! of JSON at a time.

use crate::{
    examples::copy,
    harness::{Remit, Setup, client, interop_node, legacy_python, python, python_library, root, succeed},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_testkit::wait_until;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

/// The shortest token lifetime that the configuration accepts, in seconds.
const LIFETIME: u64 = 60;
const NONCES: &str = "\nagents:\n  access_token_lifetime: 60\n  require_dpop_nonce: true\n";
const NO_NONCES: &str = "\nagents:\n  access_token_lifetime: 60\n";

#[derive(Clone, Copy, Debug)]
enum Library {
    /// Under `httpx2`, as MCP SDK 2.x uses it.
    PythonHttpx2,
    /// Under `httpx`, as MCP SDK 1.x uses it.
    PythonHttpx,
    TypeScript,
}

const LIBRARIES: [Library; 3] = [Library::PythonHttpx2, Library::PythonHttpx, Library::TypeScript];

#[test]
fn calls_succeed_with_and_without_nonces() {
    for settings in [NONCES, NO_NONCES] {
        let remit = Setup::new().section(settings).start();
        let key = remit.agent("planner", &["helpdesk:tickets_read"]);
        for library in LIBRARIES {
            let mut driver = Driver::start(library);
            driver.agent(&remit, "planner", &key);
            for through in ["auth", "transport"] {
                let answer = driver.done(&with(read(&remit, "planner", "T-1001"), "through", through));
                assert_eq!(ticket(&answer[0]), "T-1001", "{library:?} {answer}");
            }
        }
    }
}

/// Each program starts without a token, then has one that ends: both times it sends calls in parallel.
#[test]
fn parallel_calls_share_one_new_token_before_and_after_expiry() {
    let remit = Setup::new().section(NONCES).start();
    let mut drivers = LIBRARIES.map(|library| {
        let name = format!("planner-{library:?}").to_lowercase();
        let key = remit.agent(&name, &["helpdesk:tickets_read"]);
        let mut driver = Driver::start(library);
        driver.agent(&remit, &name, &key);
        (driver, name)
    });
    let mut all_read = |issued: u64| {
        for (driver, name) in &mut drivers {
            let answers = driver.done(&with(read(&remit, name, "T-1001"), "times", 20));
            assert!(answers.as_array().unwrap().iter().all(|answer| ticket(answer) == "T-1001"), "{name}: {answers}");
            wait_until("the tokens are in the ledger", || tokens_issued(&remit, name) >= issued);
            assert_eq!(tokens_issued(&remit, name), issued, "{name}");
        }
    };
    all_read(1);
    // PAUSE: no token of now is valid when this has passed.
    thread::sleep(Duration::from_secs(LIFETIME + 1));
    all_read(2);
}

#[test]
fn five_hundred_calls_in_parallel() {
    let remit = Setup::new().section(NONCES).start();
    let key = remit.agent("planner", &["helpdesk:tickets_read"]);
    for library in LIBRARIES {
        let mut driver = Driver::start(library);
        driver.agent(&remit, "planner", &key);
        let answers = driver.done(&with(read(&remit, "planner", "T-1001"), "times", 500));
        let problems: Vec<&Value> = answers.as_array().unwrap().iter().filter(|answer| ticket(answer) != "T-1001").collect();
        assert!(problems.is_empty(), "{library:?}: {} of 500 failed: {:?}", problems.len(), problems.first());
    }
}

#[test]
fn a_revoked_token_is_replaced_and_a_quarantined_agent_learns_why() {
    let remit = Setup::new().section(NONCES).start();
    let key = remit.agent("planner", &["helpdesk:tickets_read"]);
    for library in LIBRARIES {
        let mut driver = Driver::start(library);
        driver.agent(&remit, "planner", &key);
        let token = driver.token(&remit, "planner");
        assert_eq!(ticket(&driver.done(&read(&remit, "planner", "T-1001"))[0]), "T-1001");
        revoke(&remit, "planner", &key, &token);
        assert_eq!(ticket(&driver.done(&read(&remit, "planner", "T-1002"))[0]), "T-1002", "{library:?}");
        assert_ne!(driver.token(&remit, "planner"), token);
        // The call is answered by the gateway, the token request by the token endpoint: both say why.
        remit.run(&["agent", "quarantine", "planner"]);
        let answer = driver.done(&read(&remit, "planner", "T-1001"));
        assert_eq!(answer[0]["status"], 401, "{library:?}: {answer}");
        assert_eq!(answer[0]["body"]["error"]["data"]["code"], "agent_quarantined", "{library:?}: {answer}");
        let mut fresh = Driver::start(library);
        fresh.agent(&remit, "planner", &key);
        let refused = fresh.refused(&token_request(&remit, "planner"));
        assert_eq!(
            (&refused["kind"], &refused["code"]),
            (&json!("Refused"), &json!("agent_quarantined")),
            "{library:?}: {refused}"
        );
        assert!(refused["text"].as_str().unwrap().contains("record "), "{library:?}: {refused}");
        remit.run(&["agent", "activate", "planner"]);
        wait_until("the agent acts again", || ticket(&driver.done(&read(&remit, "planner", "T-1001"))[0]) == "T-1001");
    }
}

#[test]
fn a_wrong_key_is_refused_and_an_unusable_one_is_named() {
    let remit = Setup::new().section(NONCES).start();
    remit.agent("planner", &["helpdesk:tickets_read"]);
    let other = remit.agent("other", &["helpdesk:tickets_read"]);
    let garbage = remit.folder().join("garbage.pem");
    fs::write(&garbage, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    for library in LIBRARIES {
        let mut driver = Driver::start(library);
        driver.agent(&remit, "planner", &other);
        assert_eq!(driver.refused(&token_request(&remit, "planner"))["code"], "client_unauthenticated", "{library:?}");
        let answer = driver.done(&read(&remit, "planner", "T-1001"));
        assert_eq!(answer[0]["body"]["error"]["data"]["code"], "token_missing", "{library:?}: the request goes out bare");
        for file in [garbage.clone(), remit.folder().join("missing.pem")] {
            let refused = driver.refused(&agent(&remit, "planner", &file));
            assert_eq!(refused["kind"], "KeyUnusable", "{library:?}: {refused}");
        }
    }
}

#[test]
fn a_child_gets_less_and_never_more() {
    let remit = Setup::new().section(NONCES).start();
    let (planner, summarizer) = (remit.agent_with("planner", &delegable(&remit)), summarizer(&remit));
    let stranger = remit.agent("stranger", &["helpdesk:tickets_read"]);
    for library in LIBRARIES {
        let mut driver = Driver::start(library);
        driver.agent(&remit, "planner", &planner);
        driver.agent(&remit, "summarizer", &summarizer);
        driver.agent(&remit, "stranger", &stranger);
        driver.done(&child("narrow", "summarizer", &json!({ "scope": "helpdesk:tickets_read", "purpose": "weekly report" })));
        assert_eq!(ticket(&driver.done(&read(&remit, "narrow", "T-1001"))[0]), "T-1001", "{library:?}");
        let beyond = driver.done(&call(&remit, "narrow", "tickets_list", &json!({})));
        assert_eq!(refused_code(&beyond[0]), "tool_not_granted", "{library:?}: {beyond}");
        // Revoking the parent's token revokes the child's; the child's next one comes from a new token of the parent.
        let (parent, of_child) = (driver.token(&remit, "planner"), driver.token(&remit, "narrow"));
        revoke(&remit, "planner", &planner, &parent);
        assert_eq!(ticket(&driver.done(&read(&remit, "narrow", "T-1002"))[0]), "T-1002", "{library:?}");
        assert_ne!(driver.token(&remit, "narrow"), of_child);
        for (asked, code, agent) in [
            (json!({ "scope": "helpdesk:customers_read" }), "authority_empty", "summarizer"),
            (json!({ "scope": "helpdesk:tickets_read", "requested_lifetime": 3600 }), "widens_lifetime", "summarizer"),
            (json!({ "scope": "helpdesk:tickets_read" }), "delegate_not_named", "stranger"),
        ] {
            driver.done(&child("refused", agent, &asked));
            let refused = driver.refused(&token_request(&remit, "refused"));
            assert_eq!(refused["code"], code, "{library:?}: {refused}");
        }
    }
}

/// A person signs in for the planner, and the planner delegates: the record of the call has the whole chain.
#[test]
fn a_person_signs_in_and_the_chain_grows() {
    let remit = Setup::new().section(NONCES).start();
    let (planner, summarizer) = (remit.agent_with("planner", &delegable(&remit)), summarizer(&remit));
    for library in LIBRARIES {
        let mut driver = Driver::start(library);
        driver.agent(&remit, "planner", &planner);
        driver.agent(&remit, "summarizer", &summarizer);
        driver.done(&login(&remit, "for-alice", "Allow"));
        let claims = claims(&driver.token(&remit, "for-alice"));
        assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&json!("user:alice"), &json!("agent:planner")), "{library:?}");
        driver.done(&with(child("child", "summarizer", &json!({ "scope": "helpdesk:tickets_read" })), "parent", "for-alice"));
        assert_eq!(ticket(&driver.done(&read(&remit, "child", "T-1001"))[0]), "T-1001", "{library:?}");
        wait_until("the record of the call has the whole chain", || {
            let found = remit.run(&["audit", "search", "--tool", "tickets_read", "--limit", "1"]);
            found.contains("user:alice → agent:planner → agent:summarizer")
        });
        // A sign-in is for one server.
        let elsewhere = json!({ "op": "token", "agent": "for-alice", "resource": remit.resource("elsewhere") });
        assert!(driver.refused(&elsewhere)["text"].as_str().unwrap().contains("signed in for"), "{library:?}");
        let refused = driver.refused(&login(&remit, "refused", "Refuse"));
        assert_eq!(refused["kind"], "SignInFailed", "{library:?}: {refused}");
        assert!(refused["text"].as_str().unwrap().contains("access_denied"), "{library:?}: {refused}");
    }
}

/// The sign-in outlives its access token: the refresh token is used once, and its successor after that.
#[test]
fn a_sign_in_is_refreshed() {
    let remit = Setup::new().section(NONCES).start();
    let planner = remit.agent_with("planner", &delegable(&remit));
    let mut drivers = LIBRARIES.map(|library| {
        let mut driver = Driver::start(library);
        driver.agent(&remit, "planner", &planner);
        driver.done(&login(&remit, "for-alice", "Allow"));
        driver
    });
    // PAUSE: no token of now is valid when this has passed.
    thread::sleep(Duration::from_secs(LIFETIME + 1));
    for driver in &mut drivers {
        let answers = driver.done(&with(read(&remit, "for-alice", "T-1001"), "times", 20));
        assert!(answers.as_array().unwrap().iter().all(|answer| ticket(answer) == "T-1001"), "{:?}: {answers}", driver.library);
        let refreshed = driver.token(&remit, "for-alice");
        revoke(&remit, "planner", &planner, &refreshed);
        assert_eq!(ticket(&driver.done(&read(&remit, "for-alice", "T-1002"))[0]), "T-1002", "{:?}", driver.library);
        assert_ne!(driver.token(&remit, "for-alice"), refreshed, "{:?}", driver.library);
    }
}

/// A server that is gone is not asked for a token while there is one; a session of the old protocol goes on after a restart.
#[test]
fn a_restart_in_between_is_survived() {
    let mut remit = Setup::new().section(NONCES).start();
    let key = remit.agent("planner", &["helpdesk:tickets_read"]);
    let mut drivers = LIBRARIES.map(|library| {
        let mut driver = Driver::start(library);
        driver.agent(&remit, "planner", &key);
        let opened = driver.done(&message(&remit, "planner", &initialize(), &json!({})));
        let session = opened[0]["session"].as_str().unwrap_or_else(|| panic!("{library:?}: {opened}")).to_owned();
        (driver, session)
    });
    remit.stop();
    let held = drivers.each_mut().map(|(driver, _)| driver.token(&remit, "planner"));
    remit.restart();
    for ((driver, session), held) in drivers.iter_mut().zip(held) {
        let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
        let headers = json!({ "mcp-session-id": session, "mcp-protocol-version": "2025-11-25" });
        let answers = driver.done(&with(message(&remit, "planner", &list, &headers), "times", 5));
        for answer in answers.as_array().unwrap() {
            assert_eq!(answer["body"]["result"]["tools"][0]["name"], "tickets_read", "{:?}: {answer}", driver.library);
        }
        assert_eq!(driver.token(&remit, "planner"), held);
    }
}

/// Node finds LangChain beside a library that is installed, so the library is copied to where LangChain is.
#[test]
#[ignore = "its packages are large: cargo xtask interop langchain-js"]
fn langchain_tools() {
    let folder = interop_node();
    let library = folder.join("node_modules/@remit/agent");
    fs::create_dir_all(library.join("src")).unwrap();
    copy(&root().join("clients/typescript"), &library);
    copy(&root().join("clients/typescript/src"), &library.join("src"));
    let program = folder.join("langchain.mjs");
    fs::copy(client("libraries/langchain.mjs"), &program).unwrap();
    let remit = Setup::new().section(NONCES).start();
    let helpdesk = remit.resource("helpdesk");
    let update = |status: &str| {
        let arguments = json!({ "/status": { "in": [status] } });
        json!({ "type": "tool_access", "locations": [helpdesk], "actions": ["tickets_update"], "arguments": arguments })
    };
    let reading = json!({ "type": "tool_access", "locations": [helpdesk], "actions": ["tickets_read"] });
    // With one grant, the listed schema has its values, and LangChain itself refuses the others.
    let key = remit.agent_with("planner", &json!([reading, update("open"), update("pending")]));
    let mut node = Command::new("node");
    node.arg(program).args([&remit.issuer, "planner"]).arg(key).arg(&helpdesk);
    let told: Value = serde_json::from_slice(&succeed(node).stdout).unwrap();
    assert_eq!(told["names"].as_array().unwrap().len(), 2, "{told}");
    assert!(told["read"].as_str().unwrap().contains("Charged twice for March"), "{told}");
    assert_eq!(told["refused"]["code"], "argument_not_granted", "{told}");
}

/// A running program that uses one of the libraries.
struct Driver {
    library: Library,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Driver {
    fn start(library: Library) -> Self {
        let mut command = match library {
            Library::PythonHttpx2 => python_driver(python(), "httpx2"),
            Library::PythonHttpx => python_driver(legacy_python(), "httpx"),
            Library::TypeScript => {
                let mut command = Command::new("node");
                command.arg(client("libraries/drive.mjs"));
                command
            }
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { library, child, input, output }
    }

    fn agent(&mut self, remit: &Remit, name: &str, key: &Path) {
        self.done(&agent(remit, name, key));
    }

    fn token(&mut self, remit: &Remit, agent: &str) -> String {
        self.done(&token_request(remit, agent)).as_str().unwrap().to_owned()
    }

    fn done(&mut self, order: &Value) -> Value {
        let answer = self.order(order);
        answer.get("done").unwrap_or_else(|| panic!("{:?}: {order}: {answer}", self.library)).clone()
    }

    fn refused(&mut self, order: &Value) -> Value {
        let answer = self.order(order);
        answer.get("refused").unwrap_or_else(|| panic!("{:?}: {order}: {answer}", self.library)).clone()
    }

    fn order(&mut self, order: &Value) -> Value {
        writeln!(self.input, "{order}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{:?}: {order}: no answer", self.library))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python_driver(python: PathBuf, httpx: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(client("libraries/drive.py")).arg(httpx).env("PYTHONPATH", python_library());
    command
}

fn agent(remit: &Remit, name: &str, key: &Path) -> Value {
    json!({ "op": "agent", "as": name, "name": name, "issuer": remit.issuer, "key_file": key })
}

fn login(remit: &Remit, to: &str, decision: &str) -> Value {
    json!({
        "op": "login", "as": to, "agent": "planner", "resource": remit.resource("helpdesk"), "purpose": "weekly report",
        "authorization_details": delegable(remit), "user": "alice", "password": remit.password, "decision": decision,
    })
}

fn child(to: &str, agent: &str, asked: &Value) -> Value {
    let mut order = json!({ "op": "child", "as": to, "parent": "planner", "agent": agent });
    order.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
    order
}

fn token_request(remit: &Remit, agent: &str) -> Value {
    json!({ "op": "token", "agent": agent, "resource": remit.resource("helpdesk") })
}

fn read(remit: &Remit, agent: &str, ticket: &str) -> Value {
    call(remit, agent, "tickets_read", &json!({ "id": ticket }))
}

/// A tool call of the stateless protocol.
fn call(remit: &Remit, agent: &str, tool: &str, arguments: &Value) -> Value {
    let meta =
        json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": arguments, "_meta": meta },
    });
    let headers = json!({ "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": tool });
    message(remit, agent, &body, &headers)
}

fn message(remit: &Remit, agent: &str, body: &Value, headers: &Value) -> Value {
    json!({ "op": "post", "agent": agent, "url": remit.resource("helpdesk"), "body": body, "headers": headers })
}

fn initialize() -> Value {
    let client = json!({ "name": "remit-e2e", "version": "1" });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params })
}

fn with(mut order: Value, name: &str, value: impl Into<Value>) -> Value {
    order[name] = value.into();
    order
}

/// What the planner may do and hand on.
pub(crate) fn delegable(remit: &Remit) -> Value {
    json!([{
        "type": "tool_access", "locations": [remit.resource("helpdesk")], "actions": ["tickets_list", "tickets_read"],
        "delegate": { "to": ["agent:summarizer"], "depth": 1 },
    }])
}

/// An agent that may do more than the planner may hand on.
fn summarizer(remit: &Remit) -> PathBuf {
    remit.agent("summarizer", &["helpdesk:tickets_list", "helpdesk:tickets_read", "helpdesk:customers_read"])
}

fn revoke(remit: &Remit, name: &str, key: &Path, token: &str) {
    let mut driver = Driver::start(Library::PythonHttpx2);
    driver.agent(remit, name, key);
    driver.done(&json!({ "op": "revoke", "agent": name, "token": token }));
}

fn tokens_issued(remit: &Remit, agent: &str) -> u64 {
    let found = remit.run(&["audit", "search", "--agent", &format!("agent:{agent}"), "--type", "token", "--json"]);
    serde_json::from_str::<Value>(&found).unwrap()["total"].as_u64().unwrap()
}

/// The ticket that a call read; what it got instead, when it did not.
fn ticket(answer: &Value) -> String {
    let id = answer.pointer("/body/result/structuredContent/id").and_then(Value::as_str);
    id.map_or_else(|| answer.to_string(), str::to_owned)
}

fn refused_code(answer: &Value) -> &Value {
    &answer["body"]["result"]["_meta"]["remit/code"]
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
