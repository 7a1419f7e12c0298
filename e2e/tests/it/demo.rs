//! `remit demo --once`: the whole story holds, and every refusal it promises is shown.

use crate::harness::{remit, succeed, text};
use serde_json::Value;

/// What the story must refuse, each with its own code.
const REFUSED: [&str; 11] = [
    "dpop_key_mismatch",
    "dpop_proof_replayed",
    "widens_scope",
    "authority_empty",
    "widens_argument",
    "widens_field",
    "widens_lifetime",
    "argument_not_granted",
    "token_audience_wrong",
    "tool_not_granted",
    "agent_quarantined",
];

#[test]
fn the_demo_tells_the_whole_story_and_shows_every_refusal() {
    let folder = tempfile::TempDir::new().unwrap();
    let told = succeed(remit(&["demo", "--once", "--dir", text(folder.path())]));
    let told = String::from_utf8(told.stdout).unwrap();
    for code in REFUSED {
        assert!(told.contains(code), "the demo does not show {code}:\n{told}");
    }
    assert!(folder.path().join("ledger/checkpoint").is_file());
}

#[test]
fn the_demo_as_json_is_one_object_for_each_step() {
    let folder = tempfile::TempDir::new().unwrap();
    let told = succeed(remit(&["demo", "--once", "--json", "--dir", text(folder.path())]));
    let steps: Vec<Value> =
        String::from_utf8(told.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(steps.len() > 15, "{steps:?}");
}
