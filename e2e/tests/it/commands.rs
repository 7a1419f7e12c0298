//! What the commands promise everybody: help, exit statuses, and JSON where it is asked for.

use crate::harness::{Setup, remit, text};
use serde_json::Value;

#[test]
fn exit_statuses_tell_wrong_use_from_a_failed_check() {
    let folder = tempfile::TempDir::new().unwrap();
    let status = |arguments: &[&str]| remit(arguments).output().unwrap().status.code();
    assert_eq!(status(&["--help"]), Some(0));
    assert_eq!(status(&["no-such-command"]), Some(2));
    assert_eq!(status(&["audit", "verify"]), Some(2));
    assert_eq!(status(&["audit", "verify", text(folder.path())]), Some(1));
    std::fs::write(folder.path().join("remit.yaml"), "server:\n  lisen: typo\n").unwrap();
    assert_eq!(status(&["config", "check", "-c", text(&folder.path().join("remit.yaml"))]), Some(1));
}

#[test]
fn what_the_registry_shows_is_json_when_asked() {
    let server = Setup::new().start();
    server.agent("planner", &["helpdesk:tickets_read"]);
    server.published();
    for arguments in [&["agent", "list", "--json"][..], &["agent", "show", "planner", "--json"], &["audit", "show", "--json"]] {
        let told = server.run(arguments);
        serde_json::from_str::<Value>(&told).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{told}"));
    }
}

#[test]
fn a_quarantined_agent_is_refused_at_once() {
    let server = Setup::new().start();
    server.agent("planner", &["helpdesk:tickets_read"]);
    server.run(&["agent", "quarantine", "planner"]);
    let refused = server.command(&["token", "exchange", "--agent", "planner", "--server", "helpdesk"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("agent_quarantined"),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    server.run(&["agent", "activate", "planner"]);
    server.token("planner", "helpdesk");
}

/// A reader of the ready line may stop the server at once, and the ledger is closed cleanly all the same.
#[test]
fn sigterm_right_after_the_ready_line_is_a_clean_stop() {
    let mut server = Setup::new().start();
    for _ in 0..8 {
        server.stop();
        server.restart();
    }
    server.stop();
}
