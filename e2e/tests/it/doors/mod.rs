//! Real clients, unmodified, at the front door: with a server that binds every token to a key, and with one that lets an operator
//! register bearer clients. `docs/clients.md` is what came of it ([`page`]).

mod conformance;
mod page;

use crate::harness::{Remit, Running, Setup, client, interop_node, legacy_python_script, node, python_script, root};
use serde_json::{Value, json};
use std::process::Command;

const REDIRECT: &str = "http://127.0.0.1:9/callback";
/// What clients use that choose the port themselves.
const LOOPBACK: [&str; 4] = [
    "http://127.0.0.1/callback",
    "http://localhost/callback",
    "http://localhost/oauth/callback",
    "http://127.0.0.1/oauth/callback",
];

#[test]
fn mcp_sdks() {
    let doors = Doors::open();
    let mut rows = doors.rows(|script| python_script("doors.py", script));
    rows.extend(doors.rows(|script| legacy_python_script("doors_sdk_1.py", script)));
    rows.extend(doors.rows(|script| node("doors.mjs", script)));
    doors.says_so_in_the_records();
    page::holds("doors::mcp_sdks", &rows);
}

#[test]
fn oauth_libraries() {
    let doors = Doors::open();
    page::holds("doors::oauth_libraries", &doors.rows(|script| node("doors_oauth.mjs", script)));
}

#[test]
fn a_page_of_another_origin() {
    let doors = Doors::open();
    page::holds("doors::a_page_of_another_origin", &doors.rows(|script| node("doors_page.mjs", script)));
}

#[test]
fn mcp_remote() {
    let doors = Doors::open();
    page::holds("doors::mcp_remote", &doors.rows(|script| node("doors_mcp_remote.mjs", script)));
}

#[test]
#[ignore = "420 MB of packages: cargo xtask interop codex"]
fn codex() {
    let doors = Doors::open();
    page::holds("doors::codex", &doors.rows(|script| node("doors_codex.mjs", &with_packages(script))));
}

#[test]
#[ignore = "a second Node and 330 MB of packages: cargo xtask interop inspector"]
fn inspector() {
    let doors = Doors::open();
    page::holds("doors::inspector", &doors.rows(|script| node("doors_inspector.mjs", &with_packages(script))));
}

/// Where `cargo xtask interop` installed the packages of a suite.
fn with_packages(script: &Value) -> Value {
    let mut script = script.clone();
    script["packages"] = json!(interop_node());
    // Screenshots for a person to look at.
    script["shots"] = json!(std::env::var("REMIT_E2E_SHOTS").ok());
    script
}

/// What one client got, in one way of using it.
struct Row {
    client: String,
    mode: String,
    bound: Outcome,
    bearer: Outcome,
}

/// That it listed tools and called one, or the words that it showed.
enum Outcome {
    Works,
    Refused(String),
}

/// Two servers that differ in what they bind tokens to.
struct Doors {
    bound: Remit,
    bearer: Remit,
    document: String,
    /// The port of an application in a browser.
    page: u16,
    _documents: Running,
}

impl Doors {
    fn open() -> Self {
        let port = remit_testkit::port();
        let tls = root().join("crates/authority/tests/it/tls");
        let mut host = Command::new("node");
        host.arg(client("document-host.mjs")).arg(port.to_string()).args([tls.join("cert.pem"), tls.join("key.pem")]);
        let documents = Running::start(
            {
                host.arg("doors").args(LOOPBACK);
                host
            },
            "listening",
        );
        let page = remit_testkit::port();
        Self {
            bound: server(false, port, page),
            bearer: server(true, port, page),
            page,
            document: format!("https://localhost:{port}/doors.json"),
            _documents: documents,
        }
    }

    /// What each client of a script got at both servers, which is what its kind says.
    fn rows(&self, run: impl Fn(&Value) -> Value) -> Vec<Row> {
        let [bound, bearer] = [&self.bound, &self.bearer].map(|server| run(&self.script(server)));
        let (bound, bearer) = (bound.as_array().unwrap(), bearer.as_array().unwrap());
        assert_eq!(bound.len(), bearer.len());
        bound.iter().zip(bearer).map(|(bound, bearer)| row(bound, bearer)).collect()
    }

    fn script(&self, server: &Remit) -> Value {
        let machine =
            |name: &str| json!({ "id": format!("agent:{name}"), "key_file": server.folder().join(format!("agents/{name}.pem")) });
        json!({
            "issuer": server.issuer, "resource": server.resource("helpdesk"), "tool": "tickets_list", "redirect": REDIRECT,
            "machine": machine("machine"), "editor": "agent:editor",
            "signing_machine": machine("signing-machine"), "signing_editor": "agent:signing-editor",
            "document": self.document, "page": self.page, "token": server.token("machine", "helpdesk"),
            "connect": server.through_connect("signing-machine", "helpdesk"), "user": "alice", "password": server.password,
        })
    }

    /// What bearer clients did is in the ledger, which says how they did it.
    fn says_so_in_the_records(&self) {
        self.bearer.published();
        let records = self.bearer.run(&["audit", "export", "--format", "jsonl"]);
        let calls =
            records.lines().filter(|line| line.contains("tickets_list") && line.contains("\"binding\":\"danger_bearer\""));
        assert!(calls.count() > 0, "{records}");
    }
}

/// `machine` has a key and `editor` has none, bound as the server's operator allows; the `signing` ones are bound to a key on both.
fn server(danger_bearer: bool, documents: u16, page: u16) -> Remit {
    let (allowed, binding) = if danger_bearer { ("allowed", "danger_bearer") } else { ("refused", "dpop") };
    let ca = root().join("crates/authority/tests/it/tls/ca.pem");
    let server = Setup::new()
        .replace("server:\n", &format!("server:\n  allowed_origins: [\"http://localhost:{page}\"]\n"))
        .section(&format!("\nagents:\n  danger_bearer: {allowed}\n  device_flow: true\n"))
        .section(&format!(
            "clients:\n  metadata_documents: admit\n  registration: admit\n  owner: user:alice\n  binding: {binding}\n  \
             scope: [helpdesk:tickets_list]\n  hosts: {{ allow: [localhost] }}\n\
             outbound:\n  allow: [\"localhost:{documents}\"]\n  ca_file: {}\n",
            json!(ca)
        ))
        .start();
    let redirects: Vec<&str> = LOOPBACK.iter().flat_map(|uri| ["--redirect-uri", uri]).collect();
    // For a library whose assertions are for the token endpoint.
    let machine = ["--autonomous", "--assertion-audience", "token-endpoint"];
    let public = [&["--public"], redirects.as_slice()].concat();
    for (name, kind) in [("machine", machine.as_slice()), ("editor", &public)] {
        for (prefix, binding) in [("", binding), ("signing-", "dpop")] {
            let name = format!("{prefix}{name}");
            let agent = ["agent", "add", &name, "--scope", "helpdesk:tickets_list", "--binding", binding];
            server.run(&[agent.as_slice(), kind].concat());
        }
    }
    server
}

/// Checks what a client got against its kind: `bearer` and `secret` clients cannot sign proofs, `dpop` ones can, and `bound` ones
/// leave that to something of ours or only look at tokens.
fn row(bound: &Value, bearer: &Value) -> Row {
    let word = |name: &str| bound[name].as_str().unwrap().to_owned();
    for name in ["client", "mode", "kind"] {
        assert_eq!(bound[name], bearer[name]);
    }
    let row = Row { client: word("client"), mode: word("mode"), bound: Outcome::of(bound), bearer: Outcome::of(bearer) };
    let both = [(&row.bound, bound), (&row.bearer, bearer)];
    let kind = word("kind");
    let words: &[&str] = match kind.as_str() {
        "bearer" => {
            row.bound.names(&["remit connect", "binding: danger_bearer", "agents.danger_bearer: allowed"], bound);
            row.bearer.works(bearer);
            return row;
        }
        "dpop" | "bound" => {
            for (outcome, report) in both {
                outcome.works(report);
            }
            return row;
        }
        "secret" => &["no client secrets", "private_key_jwt"],
        // Its document lies at a host that this server was not told to trust.
        "stranger" => &["the page says", "clients.hosts"],
        other => panic!("there is no kind of door {other:?}"),
    };
    for (outcome, report) in both {
        outcome.names(words, report);
    }
    row
}

impl Outcome {
    fn of(report: &Value) -> Self {
        report["words"].as_str().map_or(Self::Works, |words| Self::Refused(page::without_names(words)))
    }

    fn works(&self, report: &Value) {
        assert!(matches!(self, Self::Works), "{report}");
    }

    /// It was refused with words that name what can be done.
    fn names(&self, parts: &[&str], report: &Value) {
        let Self::Refused(words) = self else { panic!("it was served: {report}") };
        assert!(parts.iter().all(|part| words.contains(part)), "{words} does not name {parts:?}");
    }
}
