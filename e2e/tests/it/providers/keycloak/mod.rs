//! Keycloak as the organisation's provider: what people, operators and auditors meet.

mod foreign_key;
mod off_boarding;
mod realm;
mod server;

use super::{Browser, Proof, Provider, claims, consents, consents_with_a_new_key, person, reads, refused};
use crate::{
    harness::{Remit, Setup},
    workload::both_verify,
};
use realm::{es256, realm, relying_party};
use remit_testkit::wait_for;
use serde_json::{Value, json};
use server::Keycloak;

/// Alice's group may do everything at the helpdesk, the rest of the staff may read.
const ENTITLEMENTS: &str = "    entitlements:
      - when: { groups: /staff/support }
        scope: [\"helpdesk:*\"]
      - when: { groups: /staff }
        scope: [\"helpdesk:tickets_read\"]
";

/// A server whose people sign in at a realm of this Keycloak. `more` are further settings of the provider.
fn server(keycloak: &Keycloak, name: &str, more: &str) -> Remit {
    let issuer = keycloak.issuer(name);
    let more = format!("{more}{ENTITLEMENTS}");
    let provider = Provider { name: "corp", title: "Corp", issuer: &issuer, client: "remit", proof: Proof::Key, more: &more };
    let (setup, registered) = Setup::new().provider(&provider);
    keycloak.import(&realm(name, &relying_party(&registered)));
    let server = setup.start();
    server.agent("planner", &["helpdesk:tickets_read", "helpdesk:refund_create"]);
    server
}

fn alice(server: &Remit) -> Browser {
    Browser::new(server.folder(), "alice")
}

#[test]
#[ignore = "needs Keycloak: cargo xtask interop keycloak"]
fn f_01_people_sign_in_consent_and_may_do_what_their_groups_say() {
    let keycloak = Keycloak::shared();
    let server = server(keycloak, "groups", "");
    let (token, read) = consents(&server, &alice(&server), "planner", &person("Corp", "alice"));
    assert!(read.contains("refund_create") && read.contains("alice Example"), "{read}");
    let of_alice = claims(&token);
    let subject = of_alice["sub"].as_str().unwrap();
    assert!(subject.starts_with("user:corp-"), "the local name is of `iss` and `sub`, not of a name: {subject}");
    assert_eq!((&of_alice["acr"], &of_alice["amr"]), (&json!("1"), &Value::Null), "what Keycloak stated, no more: {of_alice:#}");
    assert!(of_alice["auth_time"].is_i64(), "{of_alice:#}");
    assert_eq!(reads(&server, "planner", &token)["structured"]["id"], "T-1001");

    // Bob is of the staff, and not of the support group.
    let browser = Browser::new(server.folder(), "bob");
    let (token, read) = consents(&server, &browser, "planner", &person("Corp", "bob"));
    assert!(!read.contains("refund_create"), "nobody can hand over what they may not do: {read}");
    assert_ne!(claims(&token)["sub"].as_str().unwrap(), subject);
    assert_eq!(claims(&token)["scope"], "helpdesk:tickets_read");
    assert_eq!(reads(&server, "planner", &token)["structured"]["id"], "T-1001");

    // The wrong password never leaves Keycloak.
    let stranger = Browser::new(server.folder(), "stranger");
    let seen = refused(&server, &stranger, "planner", &json!({ "provider": "Corp", "user": "alice", "password": "a guess" }));
    assert_eq!(seen["end"], "provider", "{seen:#}");
    let said = server.run(&["provider", "test", "corp"]);
    println!("{said}");
    let issuer = keycloak.issuer("groups");
    for line in [
        &format!("metadata      {issuer}/.well-known/openid-configuration\n"),
        &format!("tokens        {issuer}/protocol/openid-connect/token\n"),
        "key           ES256 ",
        "names itself  in every answer (RFC 9207)\n",
        "client        remit (private key)\n",
        &format!("redirect URI  {}/oauth/callback/corp\n", server.issuer),
    ] {
        assert!(said.contains(line), "{line:?} is not in:\n{said}");
    }
    both_verify(server, 2);
}

/// Keycloak answers an essential demand for class 2 with class 1, and without an error.
#[test]
#[ignore = "needs Keycloak: cargo xtask interop keycloak"]
fn az_16_a_weaker_sign_in_than_demanded_is_refused_with_what_was_reached() {
    let keycloak = Keycloak::shared();
    for (name, demand, words) in [
        ("class", "    require: { acr: [\"2\"] }\n", ["class `2`", "states `1`"]),
        ("method", "    require: { amr: [otp] }\n", ["method `otp`", "states none"]),
    ] {
        let server = server(keycloak, name, demand);
        let seen = refused(&server, &alice(&server), "planner", &person("Corp", "alice"));
        let problem = seen["problem"].as_str().unwrap();
        assert!(problem.contains("sign_in_too_weak") && words.iter().all(|word| problem.contains(word)), "{problem}");
        println!("{name}: {problem}");
    }
}

#[test]
#[ignore = "needs Keycloak: cargo xtask interop keycloak"]
fn f_05_keys_rotate_without_a_restart() {
    let keycloak = Keycloak::shared();
    let server = server(keycloak, "rotation", "");
    let keys = || -> Vec<Value> {
        let found = keycloak.admin("GET", "/admin/realms/rotation/components?type=org.keycloak.keys.KeyProvider", &json!(null));
        found.as_array().unwrap().iter().filter(|key| key["providerId"] == "ecdsa-generated").cloned().collect()
    };
    let set = |key: &Value, name: &str, value: &str| {
        let mut key = key.clone();
        key["config"][name] = json!([value]);
        keycloak.admin("PUT", &format!("/admin/realms/rotation/components/{}", key["id"].as_str().unwrap()), &key);
    };
    let signs_in = |as_whom: &str| {
        let (token, _) = consents_with_a_new_key(&server, as_whom, "planner", &person("Corp", "alice"));
        assert_eq!(reads(&server, "planner", &token)["structured"]["id"], "T-1001");
        claims(&token)["sub"].clone()
    };
    let first = signs_in("before");
    let old = keys()[0].clone();
    let mut new = es256("second", 300);
    new["providerType"] = json!("org.keycloak.keys.KeyProvider");
    keycloak.admin("POST", "/admin/realms/rotation/components", &new);
    assert_eq!(signs_in("new-key"), first, "the same person, with a key that was not known");
    set(&old, "active", "false");
    assert_eq!(signs_in("old-key-passive"), first);
    set(&old, "enabled", "false");
    assert_eq!(signs_in("old-key-gone"), first);
    // Each key of the time is in the ledger: both verifiers check the sign-ins of before with the key of before.
    both_verify(server, 4);
}

#[test]
#[ignore = "needs Keycloak: cargo xtask interop keycloak"]
fn while_the_provider_is_down_sessions_live_and_no_one_new_is_let_in() {
    let mut keycloak = Keycloak::start();
    let server = server(&keycloak, "outage", "");
    let browser = alice(&server);
    let (token, _) = consents(&server, &browser, "planner", &person("Corp", "alice"));
    let subject = claims(&token)["sub"].clone();
    keycloak.running.kill();

    assert_eq!(reads(&server, "planner", &token)["structured"]["id"], "T-1001", "the chain lives");
    let (again, _) = consents(&server, &browser, "planner", &json!({ "provider": "Corp" }));
    assert_eq!(claims(&again)["sub"], subject, "the session lives");
    // For ten seconds after its last answer the server sends people there.
    let seen = wait_for("the server has noticed", || {
        let seen = refused(&server, &Browser::new(server.folder(), "bob"), "planner", &person("Corp", "bob"));
        (seen["end"] != "unreachable").then_some(seen)
    });
    let problem = seen["problem"].as_str().unwrap();
    assert!(problem.contains("provider_unreachable"), "{problem}");
    println!("{problem}");
    let tested = server.command(&["provider", "test", "corp"]).output().unwrap();
    assert_eq!(tested.status.code(), Some(1), "people could not sign in");
    println!("{}", String::from_utf8_lossy(&tested.stdout));

    keycloak.restart();
    let (token, _) = consents(&server, &Browser::new(server.folder(), "later"), "planner", &person("Corp", "alice"));
    assert_eq!(claims(&token)["sub"], subject, "the same person");
    consents(&server, &Browser::new(server.folder(), "bob"), "planner", &person("Corp", "bob"));
}

#[test]
#[ignore = "needs Keycloak: cargo xtask interop keycloak"]
fn a_person_who_is_disabled_there_is_let_in_no_more() {
    let keycloak = Keycloak::shared();
    let server = server(keycloak, "disabled", "");
    consents(&server, &alice(&server), "planner", &person("Corp", "alice"));
    keycloak.enable("disabled", "alice", false);
    let seen = refused(&server, &Browser::new(server.folder(), "again"), "planner", &person("Corp", "alice"));
    assert_eq!(seen["end"], "provider", "{seen:#}");
    assert!(seen["said"].as_str().unwrap().contains("disabled"), "{seen:#}");
}
