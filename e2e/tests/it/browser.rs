//! Sign-in and consent as a person meets them, in headless Chromium.

use crate::harness::{Setup, node};
use serde_json::json;
use std::{env, fs};

#[test]
fn a_person_signs_in_reads_and_refuses() {
    let remit = Setup::new().start();
    remit.agent("planner", &["helpdesk:*"]);
    let query = [
        ("response_type", "code"),
        ("client_id", "agent:planner"),
        ("resource", &remit.resource("helpdesk")),
        ("scope", "helpdesk:tickets_read helpdesk:refund_create"),
        ("state", "s-1"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    // Screenshots for a person to look at.
    let shots = env::var("REMIT_E2E_SHOTS").ok().inspect(|folder| fs::create_dir_all(folder).unwrap());
    let authorize = format!("{}/oauth/authorize?{}", remit.issuer, query.join("&"));
    let report =
        node("browser.mjs", &json!({ "authorize": authorize, "user": "alice", "password": remit.password, "shots": shots }));
    assert_eq!(report["foreign"], json!([]), "a page loads nothing from elsewhere");
    assert_eq!(report["console"], json!([]), "the browser has nothing to complain about");
    let header = |name: &str| report["headers"][name].as_str().unwrap_or_default();
    assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{report}");
    assert!(header("cache-control").contains("no-store"), "{report}");
    assert_eq!(report["cookie"]["httpOnly"], true);
    assert_ne!(report["wrong_password"], "");
    let consent = report["consent"].as_str().unwrap();
    for word in ["planner", "Helpdesk", "tickets_read", "refund_create", "127.0.0.1"] {
        assert!(consent.to_lowercase().contains(&word.to_lowercase()), "the consent page does not say {word:?}:\n{consent}");
    }
    assert_eq!(report["overflows"], false, "the page fits a telephone");
    assert_eq!((&report["refused"]["error"], &report["refused"]["state"]), (&json!("access_denied"), &json!("s-1")));
    assert_eq!(report["refused"]["iss"], remit.issuer);
    assert_eq!((&report["misled"]["status"], &report["misled"]["url"]), (&json!(400), &json!(true)), "{report}");
}

fn escaped(value: &str) -> String {
    value
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
