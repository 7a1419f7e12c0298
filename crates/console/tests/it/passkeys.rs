//! People's passkeys at the operator's side.

use crate::{CREDENTIAL, World};
use http::StatusCode;
use remit_model::{Passkey, UnixTime};
use remit_store::Change;
use serde_json::json;

fn passkey(id: &str) -> Passkey {
    Passkey {
        id: id.to_owned(),
        key: json!({}),
        counter: 1,
        synced: true,
        label: "Laptop".to_owned(),
        added: UnixTime(1_800_000_000),
        used: None,
    }
}

#[tokio::test]
async fn an_operator_lists_and_removes_passkeys_and_the_removal_is_recorded() {
    let world = World::new().await;
    let enrolled = vec![passkey("one"), passkey("two")];
    remit_testkit::change(&world.store, Change::SetPasskeys { human: "alice".to_owned(), enrolled }).await;
    let bearer = format!("Bearer {CREDENTIAL}");
    let send = async |method: &str, path: &str, body: &str| world.send(method, path, Some(&bearer), body).await;
    let (status, listed) = send("GET", "/admin/v1/accounts/alice/passkeys", "").await;
    assert_eq!((status, listed["passkeys"].as_array().unwrap().len()), (StatusCode::OK, 2));
    assert!(!listed.to_string().contains("counter"), "{listed}");
    let (status, left) = send("DELETE", "/admin/v1/accounts/alice/passkeys/one", "").await;
    assert_eq!((status, &left["passkeys"][0]["id"]), (StatusCode::OK, &json!("two")));
    let record = world.store.record(world.store.len() - 1).await.unwrap().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record.bytes).unwrap();
    assert_eq!((&record["action"]["name"], &record["ext"]["passkey"]["event"]), (&json!("passkey.remove"), &json!("removed")));
    for (method, path, body, code) in [
        ("DELETE", "/admin/v1/accounts/alice/passkeys/one", "", "not_found"),
        ("DELETE", "/admin/v1/accounts/carol/passkeys/two", "", "not_found"),
        ("GET", "/admin/v1/accounts/carol/passkeys", "", "not_found"),
        ("POST", "/admin/v1/accounts/carol/passkey-link", r#"{"hours": 1}"#, "not_found"),
        ("POST", "/admin/v1/accounts/alice/passkey-link", r#"{"hours": 0}"#, "request_malformed"),
        ("POST", "/admin/v1/accounts/alice/passkey-link", r#"{"hours": 169}"#, "request_malformed"),
        ("POST", "/admin/v1/accounts/alice/passkey-link", r#"{"days": 1}"#, "request_malformed"),
        // The address of this server is an IP address.
        ("POST", "/admin/v1/accounts/alice/passkey-link", r#"{"hours": 1}"#, "passkey_required"),
    ] {
        let (status, answer) = send(method, path, body).await;
        assert!(status.is_client_error() && answer["error"] == code, "{method} {path} {body}: {status} {answer}");
    }
}
