//! What an operator types: reload, agents that change, accounts, policies, the chain of delegation, the audit trail.

use crate::harness::{Player, Remit, Setup, desk, node, play, python, remit, root, succeed, text};
use remit_testkit::wait_until;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

/// What it says to do wrong, when a command fails with status 1.
fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
    said
}

/// The records of this action, as the published ledger has them.
fn records(server: &Remit, action: &str) -> Vec<Value> {
    server.published();
    // Straight from the folder: the configuration may be broken.
    let told = succeed(remit(&["audit", "export", "--format", "jsonl", "--dir", text(&server.ledger())]));
    let told = String::from_utf8(told.stdout).unwrap();
    let all = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.map(|line| line.get("record").cloned().unwrap_or(line)).filter(|record| record["action"]["name"] == action).collect()
}

fn edit(server: &Remit, old: &str, new: &str) {
    let yaml = fs::read_to_string(server.config()).unwrap();
    assert!(yaml.contains(old), "{yaml}");
    fs::write(server.config(), yaml.replacen(old, new, 1)).unwrap();
}

fn exchange<'a>(agent: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["token", "exchange", "--agent", agent, "--server", "helpdesk"], more].concat()
}

/// A sign-in that prints a link on standard error; a person at a browser consents.
fn signed_in(server: &Remit, arguments: &[&str]) -> Output {
    let mut command = server.command(arguments);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.trim().starts_with("http").then(|| line.trim().to_owned())).unwrap();
    node("consent.mjs", &json!({ "url": url, "user": "alice", "password": server.password }));
    thread::spawn(move || lines.for_each(drop));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    output
}

#[test]
fn sighup_applies_accounts_and_says_what_needs_a_restart() {
    let mut server = Setup::new().start();
    server.agent("planner", &["helpdesk:*"]);
    server.run(&["agent", "add", "own", "--owner", "user:alice", "--scope", "helpdesk:*"]);
    edit(&server, "      - name: alice\n", "      - name: alice\n        disabled: true\n");
    edit(&server, "server:\n", "server:\n  allowed_hosts: [other.example]\n");
    server.hangup();
    wait_until("the reload", || records(&server, "config.load").len() > 1);
    let loaded = records(&server, "config.load").pop().unwrap();
    assert_eq!(loaded["outcome"]["status"], "success", "{loaded}");
    assert_eq!(loaded["ext"]["config"]["applied"], json!(["identity_providers"]), "{loaded}");
    assert_eq!(loaded["ext"]["config"]["restart"], json!(["server.allowed_hosts"]), "{loaded}");
    assert!(server.run(&["account", "list"]).contains("disabled"));
    // A broken file changes nothing, and the server goes on.
    edit(&server, "        disabled: true\n", "        disabld: true\n");
    server.hangup();
    wait_until("the refusal", || records(&server, "config.load").len() > 2);
    let refused = records(&server, "config.load").pop().unwrap();
    assert_eq!(
        (refused["outcome"]["status"].as_str(), refused["decision"]["reason_code"].as_str()),
        (Some("denied"), Some("config_invalid")),
        "{refused}"
    );
    edit(&server, "        disabld: true\n", "");
    server.hangup();
    wait_until("the account's return", || records(&server, "accounts.load").len() > 2);
    server.token("planner", "helpdesk");
    server.stop();
    server.restart();
    server.run(&["audit", "verify", text(&server.ledger())]);
}

/// An erased person stays erased while the file lists them, and others can be added.
#[test]
fn sighup_does_not_bring_an_erased_account_back() {
    let server = Setup::new().start();
    server.run(&["audit", "erase", "--subject", "user:alice", "--basis", "GDPR Art. 17(1)(a)"]);
    let reloads = || -> Vec<Value> {
        records(&server, "config.load").into_iter().filter(|record| record["ext"]["config"]["applied"].is_array()).collect()
    };
    let reload = |count: usize| {
        server.hangup();
        wait_until("the reload", || reloads().len() == count);
        reloads().pop().unwrap()
    };
    // Again and again: what was skipped once is not new the next time.
    for count in 1..3 {
        let record = reload(count);
        assert_eq!(record["ext"]["config"]["accounts_erased"], 1, "{record}");
    }
    assert_eq!(records(&server, "accounts.load").len(), 1, "an account was written");
    // A new account is created beside it.
    let yaml = fs::read_to_string(server.config()).unwrap();
    let hash = yaml.lines().find(|line| line.trim().starts_with("password_hash_file:")).unwrap();
    edit(&server, "      - name: alice\n", &format!("      - name: berta\n{hash}\n      - name: alice\n"));
    let record = reload(3);
    assert_eq!(record["ext"]["config"]["accounts_erased"], 1, "{record}");
    let loaded = records(&server, "accounts.load");
    assert_eq!((loaded.len(), &loaded[1]["ext"]["config"]["accounts_changed"]), (2, &json!(1)), "{loaded:?}");
    server.run(&["audit", "verify", text(&server.ledger())]);
}

/// A person who is disabled cannot sign in, and what they handed out stops, without a restart.
#[test]
fn sighup_disables_a_person_at_once() {
    let server = Setup::new().start();
    server.agent("planner", &["helpdesk:*"]);
    let token = signed_in(&server, &exchange("planner", &["--login"]));
    let file = server.folder().join("planner.token");
    fs::write(&file, token.stdout).unwrap();
    let connect = || {
        let mut connect = server.through_connect("planner", "helpdesk");
        connect["args"].as_array_mut().unwrap().extend([json!("--token-file"), json!(file)]);
        play(Player::TypeScriptLegacy, &connect, &json!([{ "name": "tickets_read", "arguments": { "id": "T-1001" } }]))
    };
    assert!(connect().to_string().contains("T-1001"));
    edit(&server, "      - name: alice\n", "      - name: alice\n        disabled: true\n");
    server.hangup();
    wait_until("the reload", || records(&server, "config.load").len() > 1);
    let mut command = server.command(&exchange("planner", &["--subject-token", "--scope", "helpdesk:tickets_read"]));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(&file).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("human_disabled"), "{said}");
}

#[test]
fn a_rotated_header_file_is_taken_over_without_a_restart_and_a_mounted_secret_is_read() {
    let (_desk, url) = desk();
    let setup = Setup::new();
    let secret = setup.folder().join("crm.header");
    fs::write(&secret, "Bearer one").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o440)).unwrap();
    let server = setup.upstream("crm", &[&format!("url: {url}"), "header_files: { Authorization: crm.header }"]).start();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&secret, "Bearer two").unwrap();
    wait_until("the rotation", || !records(&server, "header_files.load").is_empty());
    let record = records(&server, "header_files.load").pop().unwrap();
    assert_eq!(record["ext"]["config"], json!({"server": "crm", "headers": ["Authorization"]}), "{record}");
    assert!(!record.to_string().contains("two"));
    // One that cannot be used changes nothing; the next one that can is taken over.
    fs::write(&secret, "Bearer\u{1}three").unwrap();
    fs::write(&secret, "Bearer four").unwrap();
    wait_until("the next rotation", || records(&server, "header_files.load").len() == 2);
}

#[test]
fn the_admin_api_is_reached_where_the_server_listens_although_the_public_url_is_elsewhere() {
    let setup = Setup::new();
    let yaml = fs::read_to_string(setup.folder().join("remit.yaml")).unwrap();
    let listen = yaml.lines().find_map(|line| line.trim().strip_prefix("listen: ")).unwrap().to_owned();
    let server = setup.replace(&format!("public_url: http://{listen}"), "public_url: https://remit.example").start();
    server.run(&["agent", "add", "planner", "--scope", "helpdesk:*"]);
    server.run(&["agent", "list", "--admin-url", &format!("http://{listen}")]);
    let wrong = refused(server.command(&["agent", "list", "--admin-url", "http://127.0.0.1:1"]));
    assert!(wrong.contains("--admin-url"), "{wrong}");
    let unsafe_url = refused(server.command(&["agent", "list", "--admin-url", "http://remit.example"]));
    assert!(unsafe_url.contains("must be https"), "{unsafe_url}");
}

#[test]
fn a_new_agent_gets_nothing_for_itself_unless_it_is_registered_as_autonomous() {
    let server = Setup::new().start();
    let told = server.run(&["agent", "add", "bound", "--scope", "helpdesk:*"]);
    assert!(told.contains("only on behalf of a person"), "{told}");
    let said = refused(server.command(&exchange("bound", &[])));
    assert!(said.contains("client_not_allowed") && said.contains("person"), "{said}");
    let token = signed_in(&server, &exchange("bound", &["--login"]));
    assert!(!token.stdout.is_empty());
    // The same by a change, and back.
    server.agent("free", &["helpdesk:*"]);
    server.token("free", "helpdesk");
    server.run(&["agent", "update", "free", "--autonomous", "false"]);
    assert!(refused(server.command(&exchange("free", &[]))).contains("client_not_allowed"));
    server.run(&["agent", "update", "free", "--autonomous", "true"]);
    server.token("free", "helpdesk");
}

#[test]
fn an_agent_is_changed_its_key_rotated_and_a_public_one_has_none() {
    let server = Setup::new().start();
    let key = server.agent("planner", &["helpdesk:tickets_read"]);
    refused(server.command(&exchange("planner", &["--scope", "helpdesk:tickets_list"])));
    let told = server.run(&["agent", "update", "planner", "--scope", "helpdesk:*", "--label", "team=support"]);
    assert!(told.contains("team=support"), "{told}");
    server.run(&exchange("planner", &["--scope", "helpdesk:tickets_list"]));
    assert!(refused(server.command(&["agent", "update", "planner"])).contains("nothing would change"));

    let old = fs::read(&key).unwrap();
    server.run(&["agent", "rotate-key", "planner"]);
    assert_ne!(fs::read(&key).unwrap(), old);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    server.token("planner", "helpdesk");
    let kept = server.folder().join("old.pem");
    fs::write(&kept, old).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
    let said = refused(server.command(&exchange("planner", &["--key", text(&kept)])));
    assert!(said.contains("client_unauthenticated"), "{said}");

    // With a key, the loopback address of `connect --login` stays beside what is named; a public client has what it names.
    let uris = |told: &str| serde_json::from_str::<Value>(told).unwrap()["agent"]["redirect_uris"].clone();
    let web = ["--scope", "helpdesk:*", "--redirect-uri", "https://app.example/cb", "--json"];
    let told = server.run(&[&["agent", "add", "web"], &web[..]].concat());
    assert_eq!(uris(&told), json!(["https://app.example/cb", "http://127.0.0.1/callback"]));
    let told = server.run(&[&["agent", "add", "spa", "--public"], &web[..]].concat());
    assert_eq!(uris(&told), json!(["https://app.example/cb"]));
    assert!(!server.folder().join("agents/spa.pem").exists());
    assert!(server.run(&["agent", "show", "spa"]).contains("no key"));
    server.published();
    server.run(&["audit", "verify", text(&server.ledger())]);
}

#[test]
fn an_endpoint_of_ours_or_of_another_agent_is_refused() {
    let server = Setup::new().start();
    let ours = server.resource("helpdesk");
    let add = |name: &'static str, uri: &str| server.command(&["agent", "add", name, "--scope", "helpdesk:*", "--endpoint", uri]);
    assert!(refused(add("thief", &ours)).contains("address of this server"));
    succeed(add("desk", "https://desk.example/agent"));
    assert!(refused(add("other", "https://desk.example/agent")).contains("another agent"));
    assert!(refused(server.command(&["agent", "update", "desk", "--endpoint", &ours])).contains("address of this server"));
}

#[test]
fn an_account_is_added_and_a_password_changed_without_a_restart() {
    let server = Setup::new().start();
    let hash = |password: &str| piped(remit(&["account", "hash"]), password);
    assert!(String::from_utf8(hash("a password of some length").stdout).unwrap().starts_with("$argon2id$"));
    assert_eq!(hash("short").status.code(), Some(1));
    let told: Value = serde_json::from_str(&server.run(&["account", "add", "bob", "--yaml", "--json"])).unwrap();
    edit(&server, "    accounts:\n", &format!("    accounts:\n{}", told["yaml"].as_str().unwrap()));
    assert!(server.run(&["config", "check"]).contains("fine"));
    server.hangup();
    wait_until("the account", || records(&server, "accounts.load").len() > 1);
    server.run(&["agent", "add", "planner", "--owner", "user:bob", "--scope", "helpdesk:*"]);
    let changed = server.run(&["account", "passwd", "bob"]);
    assert!(changed.contains("shown this once"), "{changed}");
    assert!(refused(server.command(&["account", "passwd", "nobody"])).contains("no account `nobody`"));
}

fn piped(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A folder as `remit init` writes it, and a command in it.
fn pilot(folder: &Path, arguments: &[&str]) -> Command {
    let config = folder.join("remit.yaml");
    if !config.exists() {
        succeed(remit(&["init", "--dir", text(folder)]));
    }
    let mut command = remit(arguments);
    command.args(["-c", text(&config)]);
    command
}

#[test]
fn config_check_and_policy_check_report_mistakes_of_policies_with_file_and_line() {
    let folder = tempfile::TempDir::new().unwrap();
    succeed(pilot(folder.path(), &["config", "check"]));
    succeed(pilot(folder.path(), &["policy", "check"]));
    fs::write(folder.path().join("policies/mine.cedar"), "permit (principal, action, resource);\nforbid (principal\n").unwrap();
    for command in ["config", "policy"] {
        let said = refused(pilot(folder.path(), &[command, "check"]));
        assert!(said.contains("policies/mine.cedar:2") || said.contains("policies/mine.cedar:3"), "{command}: {said}");
        let told = pilot(folder.path(), &[command, "check", "--json"]).output().unwrap();
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(told["ok"], false, "{told}");
        assert!(told["problems"][0]["line"].is_u64(), "{told}");
    }
}

#[test]
fn config_check_misses_a_program_that_is_not_there_and_the_server_starts_all_the_same() {
    let setup = Setup::new().upstream("gone", &["command: [no-such-program-here]"]);
    let server = setup.start();
    let said = refused(server.command(&["config", "check"]));
    assert!(said.contains("no-such-program-here") && said.contains("remit.yaml:"), "{said}");
}

#[test]
fn policy_test_answers_one_question_and_names_the_policy() {
    let folder = tempfile::TempDir::new().unwrap();
    pilot(folder.path(), &["config", "check"]).output().unwrap();
    let policy = r#"
@id("office-hours")
@reason("Refunds are made in office hours.")
@advice("a call between 08:00 and 17:00 UTC")
forbid (principal, action == Action::"call", resource)
when { resource.class == "payment" }
unless {
  context.now.toTime() >= duration("8h") && context.now.toTime() < duration("17h") ||
  context has purpose && context.purpose == "emergency"
};
"#;
    fs::write(folder.path().join("policies/hours.cedar"), policy).unwrap();
    let ask = |more: &[&str]| {
        let question =
            [&["policy", "test", "--agent", "planner", "--human", "alice", "--offline", "--server", "helpdesk"], more].concat();
        pilot(folder.path(), &question).output().unwrap()
    };
    let refund = ["--tool", "refund_create", "--args", r#"{"ticket": "T-1001", "amount": 5}"#, "--at"];
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let day = ask(&[&refund[..], &["2026-11-30T09:00:00Z"]].concat());
    assert!(day.status.success() && said(&day).starts_with("allow"), "{}", said(&day));
    let night = ask(&[&refund[..], &["2026-11-30T20:00:00Z"]].concat());
    assert_eq!(night.status.code(), Some(1));
    for word in ["deny", "office-hours", "hours.cedar:", "office hours", "between 08:00"] {
        assert!(said(&night).contains(word), "{word}: {}", said(&night));
    }
    let urgent = ask(&[&refund[..], &["2026-11-30T20:00:00Z", "--purpose", "emergency"]].concat());
    assert!(urgent.status.success(), "{}", said(&urgent));
    let unknown = ask(&["--tool", "refund_crate"]);
    assert!(!unknown.status.success() && said(&unknown).contains("refund_create"), "{}", said(&unknown));
    let told = ask(&["--tool", "tickets_read", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&told.stdout).unwrap()["effect"], "permit");
}

#[test]
fn search_takes_short_names_and_says_when_a_name_is_unknown() {
    let server = Setup::new().start();
    server.agent("planner", &["helpdesk:*"]);
    server.token("planner", "helpdesk");
    wait_until("its publication", || !records(&server, "authority.client_credentials").is_empty());
    for name in ["planner", "agent:planner"] {
        let told = server.run(&["audit", "search", "--agent", name]);
        assert!(told.contains("agent:planner") && !told.contains("0 of 0"), "{told}");
    }
    for (flag, name, full) in [("--agent", "planner2", "agent:planner2"), ("--human", "alise", "user:alise")] {
        let output = succeed(server.command(&["audit", "search", flag, name]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(full) && said.contains("list"), "{said}");
    }
}

#[test]
fn the_audit_tables_say_who_where_and_why_without_rules() {
    let server = Setup::new().start();
    server.agent("planner", &["helpdesk:tickets_read"]);
    let connect = server.through_connect("planner", "helpdesk");
    let calls =
        json!([{ "name": "tickets_read", "arguments": { "id": "T-1001" } }, { "name": "refund_create", "arguments": {} }]);
    play(Player::TypeScriptLegacy, &connect, &calls);
    server.published();
    wait_until("its publication", || server.run(&["audit", "search", "--tool", "refund_create"]).contains("tool_not_granted"));
    for command in [&["audit", "show"][..], &["audit", "search", "--tool", "refund_create"], &["audit", "explain"]] {
        let told = server.run(command);
        let header = told.lines().next().unwrap();
        for column in ["WHO", "SERVER/TOOL", "OUTCOME", "WHY"] {
            assert!(header.contains(column), "{command:?}: {told}");
        }
        assert!(told.contains("agent:planner") && told.contains("helpdesk/refund_create"), "{told}");
        assert!(told.contains("tool_not_granted"), "{told}");
        assert!(!told.contains('─') && !told.contains("---"), "{told}");
    }
    let told: Value = serde_json::from_str(&server.run(&["audit", "search", "--tool", "refund_create", "--json"])).unwrap();
    let row = &told["records"][0];
    assert_eq!((&row["at"], &row["who"]), (&json!("helpdesk/refund_create"), &json!("agent:planner")), "{row}");
    assert!(server.run(&["audit", "explain"]).contains("explain NUMBER"));
}

/// The flagship chain with commands alone: a person, an agent, its sub-agent, a call.
#[test]
fn a_person_an_agent_and_its_sub_agent_are_chained_with_commands_alone() {
    let server = Setup::new().start();
    let details = json!([{
        "type": "tool_access", "locations": [server.resource("helpdesk")], "actions": ["tickets_list", "tickets_read"],
        "delegate": {"to": ["agent:summarizer"], "depth": 1},
    }]);
    let file = server.folder().join("planner.json");
    fs::write(&file, details.to_string()).unwrap();
    server.run(&["agent", "add", "planner", "--authorization-details", text(&file)]);
    server.run(&["agent", "add", "summarizer", "--scope", "helpdesk:tickets_read"]);
    let asked = ["--login", "--authorization-details", text(&file), "--purpose", "weekly report"];
    let planner = signed_in(&server, &exchange("planner", &asked));
    let key = server.folder().join("agents/summarizer.pem");
    let hand = exchange(
        "planner",
        &["--scope", "helpdesk:tickets_read", "--subject-token", "--child", "summarizer", "--child-key", text(&key)],
    );
    let handed = piped(server.command(&hand), std::str::from_utf8(&planner.stdout).unwrap());
    assert!(handed.status.success(), "{}", String::from_utf8_lossy(&handed.stderr));
    let token = server.folder().join("summarizer.token");
    fs::write(&token, &handed.stdout).unwrap();
    let mut connect = server.through_connect("summarizer", "helpdesk");
    connect["args"].as_array_mut().unwrap().extend([json!("--token-file"), json!(token)]);
    let calls = json!([{ "name": "tickets_read", "arguments": { "id": "T-1001" } }, { "name": "tickets_list", "arguments": {} }]);
    let said = play(Player::TypeScriptLegacy, &connect, &calls).to_string();
    assert!(said.contains("T-1001") && said.contains("tool_not_granted"), "{said}");
    let chain = "user:alice → agent:planner → agent:summarizer";
    wait_until("its publication", || server.run(&["audit", "search", "--tool", "helpdesk/tickets_read"]).contains(chain));
    server.run(&["audit", "verify", text(&server.ledger())]);
}

#[test]
fn the_demo_suggests_the_command_that_shows_the_most_and_reads_the_consent_page_whole() {
    let folder = tempfile::TempDir::new().unwrap();
    let told = String::from_utf8(succeed(remit(&["demo", "--once", "--dir", text(folder.path())])).stdout).unwrap();
    let page: Vec<&str> = told.lines().filter_map(|line| line.trim().strip_prefix("the page says: ")).collect();
    assert!(page.len() >= 3, "{told}");
    for line in page {
        assert!(line.starts_with(char::is_alphanumeric) && !line.contains("  "), "a fragment: {line:?}");
    }
    let suggested = told.lines().find(|line| line.contains("audit explain")).unwrap();
    let mut words = suggested.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let mut output = String::new();
    let mut child = command.args(words).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{suggested}");
    assert!(output.contains("user:alice") && output.contains("agent:"), "{output}");
    for hidden in ["withheld", "cannot be said"] {
        assert!(!output.contains(hidden), "{suggested}: {output}");
    }
}

/// A token of the planner, acting on its own account, in a file; and what becomes of a call with it.
fn called_with(server: &Remit, token: &Path) -> String {
    let mut connect = server.through_connect("planner", "helpdesk");
    connect["args"].as_array_mut().unwrap().extend([json!("--token-file"), json!(token)]);
    play(Player::TypeScriptLegacy, &connect, &json!([{ "name": "tickets_read", "arguments": { "id": "T-1001" } }])).to_string()
}

/// Whether a token is refused where it is exchanged, and why: the same standing counts at the gateway.
fn dead(server: &Remit, token: &Path) -> String {
    let command = server.command(&exchange("planner", &["--subject-token", "--scope", "helpdesk:tickets_read"]));
    let output = piped(command, &fs::read_to_string(token).unwrap());
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let mut connect = server.command(&["connect", "helpdesk", "--agent", "planner", "--token-file", text(token)]);
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    }});
    let mut child = connect.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{initialize}").unwrap();
    let mut answer = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answer.contains("\"error\""), "the gateway: {answer}");
    String::from_utf8(output.stderr).unwrap()
}

fn kept(server: &Remit, name: &str, token: &str) -> PathBuf {
    let file = server.folder().join(name);
    fs::write(&file, token).unwrap();
    file
}

#[test]
fn jw_02_signing_keys_are_rotated_and_revoked_without_a_restart() {
    let mut server = Setup::new().start();
    server.agent("planner", &["helpdesk:tickets_read"]);
    let keys = |server: &Remit| -> Value { serde_json::from_str(&server.run(&["keys", "list", "--json"])).unwrap() };
    let kid = |keys: &Value, stage: &str| {
        let found = keys["keys"].as_array().unwrap().iter().find(|key| key["stage"] == stage);
        found.unwrap_or_else(|| panic!("no {stage} key in {keys}"))["kid"].as_str().unwrap().to_owned()
    };
    let first = kid(&keys(&server), "signing");
    let old = kept(&server, "old.token", &server.token("planner", "helpdesk"));
    assert!(server.run(&["keys", "rotate"]).contains("next"));
    assert!(refused(server.command(&["keys", "rotate"])).contains("published already"));
    server.run(&["keys", "rotate", "--now"]);
    let second = kid(&keys(&server), "signing");
    assert_eq!((kid(&keys(&server), "retiring"), first == second), (first.clone(), false));
    let new = kept(&server, "new.token", &server.token("planner", "helpdesk"));
    for token in [&old, &new] {
        assert!(called_with(&server, token).contains("T-1001"));
    }
    // The server goes on with what lies in its folder, and reads it only when no other can.
    server.stop();
    server.restart();
    let folder = server.folder().join("keys");
    let file = folder.join(format!("issuer-{second}.pem"));
    assert!(file.exists(), "{:?}", fs::read_dir(&folder).unwrap().collect::<Vec<_>>());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(called_with(&server, &old).contains("T-1001"));

    server.run(&["keys", "revoke", &first]);
    assert!(!folder.join("issuer.pem").exists(), "the private key of a revoked key is removed");
    let said = dead(&server, &old);
    assert!(said.contains("token_signature_invalid"), "{said}");
    assert!(called_with(&server, &new).contains("T-1001"));
    // The key that signs, without a next one: another takes over at once.
    server.run(&["keys", "revoke", &second]);
    assert!(dead(&server, &new).contains("token_signature_invalid"));
    let newest = kept(&server, "newest.token", &server.token("planner", "helpdesk"));
    assert!(called_with(&server, &newest).contains("T-1001"));
    assert!(refused(server.command(&["keys", "revoke", &second])).contains("already"));
    assert!(refused(server.command(&["keys", "revoke", "nothing"])).contains("no key"));
    server.stop();
    succeed(remit(&["audit", "verify", text(&server.ledger())]));
    let mut second_verifier = Command::new(python());
    second_verifier.arg("-B").arg(root().join("verify.py")).arg(server.ledger());
    succeed(second_verifier);
}

#[test]
fn dc_13_an_account_is_added_and_disabled_without_a_restart() {
    let server = Setup::new().start();
    let made: Value = serde_json::from_str(&server.run(&["account", "add", "bob", "--json"])).unwrap();
    let password = made["password"].as_str().unwrap().to_owned();
    server.run(&["agent", "add", "planner", "--owner", "user:bob", "--scope", "helpdesk:*"]);
    let bob = |password: &str| {
        let mut command = server.command(&exchange("planner", &["--login"]));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.trim().starts_with("http").then(|| line.trim().to_owned())).unwrap();
        node("consent.mjs", &json!({ "url": url, "user": "bob", "password": password }));
        thread::spawn(move || lines.for_each(drop));
        child.wait_with_output().unwrap()
    };
    let token = kept(&server, "bob.token", &String::from_utf8(bob(&password).stdout).unwrap());
    assert!(called_with(&server, &token).contains("T-1001"));
    // What the configuration lists is changed there.
    assert!(refused(server.command(&["account", "disable", "alice"])).contains("configuration"));
    assert!(server.run(&["account", "disable", "bob"]).contains("owns planner"));
    assert!(dead(&server, &token).contains("human_disabled"));
    server.run(&["account", "enable", "bob"]);
    assert!(dead(&server, &token).contains("sign_in_ended"), "what was handed out does not come back");
    let changed = piped(server.command(&["account", "passwd", "bob", "--password-stdin"]), "a password of some length");
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    let token = kept(&server, "again.token", &String::from_utf8(bob("a password of some length").stdout).unwrap());
    assert!(called_with(&server, &token).contains("T-1001"));
    // A reload leaves the account alone.
    server.hangup();
    wait_until("the reload", || records(&server, "config.load").len() > 1);
    assert!(server.run(&["account", "list"]).contains("command"));
    assert!(called_with(&server, &token).contains("T-1001"));
    server.run(&["audit", "verify", text(&server.ledger())]);
}
