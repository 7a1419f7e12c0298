//! Real clients, unmodified, at the front door: with a server that binds every token to a key, and with one that lets an operator
//! register bearer clients. `docs/clients.md` is what came of it.

use crate::harness::{Remit, Setup, node, python_script, root, text};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs};

const REDIRECT: &str = "http://127.0.0.1:9/callback";
/// Ours come between these lines; people write the rest of the page.
const BEGIN: &str = "<!-- written by the test `doors` -->\n";
const END: &str = "<!-- end -->\n";

fn server(danger_bearer: bool) -> Remit {
    let setup = Setup::new();
    let setup = if danger_bearer { setup.section("\nagents:\n  danger_bearer: allowed\n") } else { setup };
    let server = setup.start();
    let binding: &[&str] = if danger_bearer { &["--binding", "danger_bearer"] } else { &[] };
    let scope = ["--scope", "helpdesk:tickets_list"];
    server.run(&[&["agent", "add", "machine", "--autonomous"], &scope[..], binding].concat());
    server.run(
        &[&["agent", "add", "editor", "--public", "--redirect-uri", "http://127.0.0.1/callback"], &scope[..], binding].concat(),
    );
    server
}

/// What every client gets, or the words it gets.
fn reports(server: &Remit) -> Vec<Value> {
    let script = json!({
        "issuer": server.issuer, "resource": server.resource("helpdesk"), "tool": "tickets_list", "client": "agent:machine",
        "key_file": text(&server.folder().join("agents/machine.pem")), "public": "agent:editor", "redirect": REDIRECT,
        "user": "alice", "password": server.password,
    });
    let python = python_script("doors.py", &script);
    let typescript = node("doors.mjs", &script);
    python.as_array().unwrap().iter().chain(typescript.as_array().unwrap()).cloned().collect()
}

fn cell(report: &Value) -> String {
    let words =
        report["result"].as_str().map_or_else(|| format!("refused: {}", report["words"].as_str().unwrap()), str::to_owned);
    // The id of a record is another one in every run.
    let words = words.split_once(",\"remit_record\"").map_or_else(|| words.clone(), |(before, _)| format!("{before}}}"));
    words.replace('|', "\\|").replace('\n', " ")
}

#[test]
fn bearer_clients_work_where_an_operator_allows_them_and_hear_what_to_do_elsewhere() {
    let (bound, open) = (server(false), server(true));
    let (refused, served) = (reports(&bound), reports(&open));
    let mut table = String::from("| Client | How | With `binding: dpop` | With `binding: danger_bearer` |\n|---|---|---|---|\n");
    for (refused, served) in refused.iter().zip(&served) {
        assert_eq!((&refused["client"], &refused["mode"]), (&served["client"], &served["mode"]));
        let secret = refused["mode"] == "`ClientCredentialsOAuthProvider`";
        let words = refused["words"].as_str().unwrap_or_else(|| panic!("a bearer client was served: {refused}"));
        let named: &[&str] = if secret { &["no client secrets", "private_key_jwt"] } else { &["remit connect", "binding"] };
        assert!(named.iter().all(|part| words.contains(part)), "{refused}");
        assert_eq!(served.get("result").is_none(), secret, "{served}");
        let (client, mode) = (refused["client"].as_str().unwrap(), refused["mode"].as_str().unwrap());
        writeln!(table, "| {client} | {mode} | {} | {} |", cell(refused), cell(served)).unwrap();
    }
    // What was served left records that say so, and both verifiers accept them.
    open.published();
    let records = open.run(&["audit", "search", "--json"]);
    assert!(records.contains("tickets_list"), "{records}");
    let page = root().join("docs/clients.md");
    let written = fs::read_to_string(&page).unwrap();
    let (head, rest) = written.split_once(BEGIN).unwrap();
    let (before, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("REMIT_WRITE_DOCS").is_some() {
        fs::write(&page, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(before, table, "docs/clients.md is not what the clients get now; run this test with REMIT_WRITE_DOCS=1");
}
