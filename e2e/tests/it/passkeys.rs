//! Passkeys as a person meets them, in headless Chromium with a virtual authenticator, and what an auditor makes of them.

use crate::{
    harness::{Remit, Setup, node, succeed, text},
    ledger::second_opinion,
};
use serde_json::{Value, json};
use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    thread,
};

/// A server whose address is a name: browsers make no passkeys for IP addresses.
fn server() -> Remit {
    Setup::new().at_localhost().start()
}

fn person(remit: &Remit, steps: &[&str], more: &Value) -> Value {
    // Screenshots for a person to look at.
    let shots = env::var("REMIT_E2E_SHOTS").ok().inspect(|folder| fs::create_dir_all(folder).unwrap());
    let mut script =
        json!({ "issuer": remit.issuer, "user": "alice", "password": remit.password, "shots": shots, "steps": steps });
    script.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let report = node("passkeys.mjs", &script);
    assert_eq!(report["foreign"], json!([]), "a page loads nothing from elsewhere");
    assert_eq!(report["console"], json!([]), "the browser has nothing to complain about");
    assert_eq!(report["overflows"], json!([]), "the pages fit a telephone");
    report
}

/// A command that waits for a person to sign in, and the link that it printed.
fn login(remit: &Remit) -> (Child, String) {
    let mut command = remit.command(&["token", "exchange", "--agent", "planner", "--server", "helpdesk", "--login"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.trim().starts_with("http").then(|| line.trim().to_owned())).unwrap();
    thread::spawn(move || lines.for_each(drop));
    (child, url)
}

#[test]
fn a_person_adds_a_passkey_signs_in_with_it_and_signs_a_consent_that_both_verifiers_check() {
    let mut remit = server();
    remit.agent("planner", &["helpdesk:*"]);
    let (child, url) = login(&remit);
    let report = person(&remit, &["add", "again", "alone", "sign"], &json!({ "url": url }));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(report["pages"]["consent"].as_str().unwrap().contains("to the letter"), "{report}");
    let listed = remit.run(&["account", "passkey", "list", "alice"]);
    assert!(listed.contains("Test laptop") && !listed.contains("never"), "{listed}");
    let token = String::from_utf8(output.stdout).unwrap();
    let shown: Value = serde_json::from_str(&remit_token(&token)).unwrap();
    assert_eq!((&shown["claims"]["acr"], &shown["claims"]["amr"][1]), (&json!("phr"), &json!("mfa")), "{shown}");
    assert!(shown["claims"]["urn:remit:signed"].is_string(), "{shown}");
    // The account asks for a passkey from now on.
    let yaml = fs::read_to_string(remit.config()).unwrap();
    fs::write(remit.config(), yaml.replacen("      - name: alice\n", "      - name: alice\n        second_factor: passkey\n", 1))
        .unwrap();
    remit.stop();
    remit.restart();
    person(&remit, &["second"], &json!({ "credentials": report["credentials"] }));
    // With its values disclosed, both verifiers check the signature of the root.
    let keys = remit.folder().join("keys.json");
    remit.run(&["audit", "disclose", "--out", text(&keys)]);
    remit.stop();
    let mut verify =
        crate::harness::remit(&["audit", "verify", text(&remit.ledger()), "--vkey", &remit.vkey, "--keys", text(&keys)]);
    let told = verify.output().unwrap();
    let said = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success() && said.contains("1 roots signed with a passkey"), "{said}");
    let second = second_opinion(&remit.ledger(), &remit.vkey, &["--keys", text(&keys)]);
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stdout));
}

/// What `remit token inspect` shows of it.
fn remit_token(token: &str) -> String {
    let output = succeed(crate::harness::remit(&["token", "inspect", token.trim(), "--json"]));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_administrators_link_adds_a_passkey_once_and_a_removed_one_signs_no_one_in() {
    let remit = server();
    let link = remit.run(&["account", "passkey", "link", "alice", "--hours", "1"]);
    let link = link.lines().next().unwrap().to_owned();
    assert!(link.starts_with(&format!("{}/account/passkeys/new?link=", remit.issuer)), "{link}");
    person(&remit, &["link", "alone", "spent"], &json!({ "link": link }));
    let listed: Value = serde_json::from_str(&remit.run(&["account", "passkey", "list", "alice", "--json"])).unwrap();
    let id = listed["passkeys"][0]["id"].as_str().unwrap();
    remit.run(&["account", "passkey", "remove", "alice", id]);
    let none: Value = serde_json::from_str(&remit.run(&["account", "passkey", "list", "alice", "--json"])).unwrap();
    assert_eq!(none["passkeys"], json!([]));
    let output = remit.command(&["account", "passkey", "link", "carol"]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no such account"));
}

#[test]
fn a_server_at_an_ip_address_makes_no_link_and_demands_no_passkey() {
    let remit = Setup::new().start();
    let output = remit.command(&["account", "passkey", "link", "alice"]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("server.public_url"));
    let yaml = fs::read_to_string(remit.config()).unwrap();
    fs::write(remit.config(), yaml.replacen("      - name: alice\n", "      - name: alice\n        second_factor: passkey\n", 1))
        .unwrap();
    let output = remit.command(&["config", "check"]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && said.contains("account alice: second_factor"), "{said}");
}
