//! Accounts over the admin API.

use super::*;
use remit_model::{HumanStatus, Managed};

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";

fn bob() -> Value {
    json!({"name": "bob", "display_name": "Bob Example", "password_hash": HASH, "scope": "helpdesk:tickets_read"})
}

impl World {
    async fn account(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.admin("POST", &format!("/admin/v1/accounts{path}"), &body).await
    }

    async fn record_text(&self) -> (Value, String) {
        let record = self.store.record(self.store.len() - 1).await.unwrap().unwrap();
        let text = String::from_utf8(record.bytes).unwrap();
        (serde_json::from_str(&text).unwrap(), text)
    }

    fn bob(&self) -> Arc<Human> {
        self.store.snapshot().human("bob").unwrap().clone()
    }
}

#[tokio::test]
async fn an_account_is_added_and_its_password_changed_while_the_server_runs() {
    let world = World::new().await;
    let (status, answer) = world.account("", bob()).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!((answer["account"]["managed"].as_str(), answer["account"]["status"].as_str()), (Some("command"), Some("active")));
    let may_hand_on = world.bob().entitlements.to_value()[0]["delegate"].clone();
    assert_eq!(may_hand_on["to"], json!(["*"]), "as for accounts of the configuration");
    assert_eq!((world.bob().managed, world.bob().password_hash.as_deref()), (Managed::Command, Some(HASH)));
    let (record, text) = world.record_text().await;
    assert_eq!((record["record_type"].as_str(), record["action"]["name"].as_str()), (Some("config_change"), Some("account.add")));
    assert!(
        !text.contains("Bob") && !text.contains("bob") && !text.contains("argon2"),
        "the plain record names no person: {text}"
    );

    let other = HASH.replace("aGFzaGhhc2", "b3RoZXJvdGhlcg");
    let (status, answer) = world.account("/bob/password", json!({"password_hash": other})).await;
    assert_eq!((status, world.bob().password_hash.clone()), (StatusCode::OK, Some(other)), "{answer}");
    let (_, listed) = world.admin("GET", "/admin/v1/accounts", &Value::Null).await;
    let names: Vec<_> = listed["accounts"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!((names, listed.to_string().contains("argon2")), (vec!["alice", "bob"], false));
}

#[tokio::test]
async fn dc_13_a_disabled_account_ends_what_it_handed_out_for_good() {
    let world = World::new().await;
    world.account("", bob()).await;
    let mut agent = registration("planner");
    agent["owner"] = json!("user:bob");
    assert_eq!(world.admin("POST", "/admin/v1/agents", &agent).await.0, StatusCode::CREATED);
    let (status, answer) = world.account("/bob/disable", Value::Null).await;
    assert_eq!((status, &answer["account"]["owns"]), (StatusCode::OK, &json!(["planner"])), "{answer}");
    assert_eq!(world.bob().status, HumanStatus::Disabled);
    assert!(world.bob().ended_before > Some(world.clock.unix()), "what began in this second has ended, too");
    assert_eq!(world.record_text().await.0["ext"]["account"]["owned_agents"], "1");
    let ended = world.bob().ended_before;
    assert_eq!(world.account("/bob/enable", Value::Null).await.0, StatusCode::OK);
    assert_eq!((world.bob().status, world.bob().ended_before), (HumanStatus::Active, ended), "it does not come back");
    let (status, answer) = world.account("/bob/enable", Value::Null).await;
    assert!(status == StatusCode::BAD_REQUEST && answer.to_string().contains("already"), "{answer}");
}

#[tokio::test]
async fn an_account_of_the_configuration_and_the_last_one_are_left_alone() {
    let world = World::new().await;
    for (path, body) in [("/disable", Value::Null), ("/enable", Value::Null), ("/password", json!({"password_hash": HASH}))] {
        let (status, answer) = world.account(&format!("/alice{path}"), body).await;
        assert!(status == StatusCode::BAD_REQUEST && answer["reason"].as_str().unwrap().contains("configuration"), "{answer}");
    }
    world.account("", bob()).await;
    let alice = Human { status: HumanStatus::Disabled, ..remit_testkit::human("alice", Authority::none()) };
    remit_testkit::change(&world.store, Change::PutHuman(alice)).await;
    let (status, answer) = world.account("/bob/disable", Value::Null).await;
    assert!(status == StatusCode::BAD_REQUEST && answer["reason"].as_str().unwrap().contains("last account"), "{answer}");
    assert_eq!(world.bob().status, HumanStatus::Active);
    assert_eq!(world.account("/nobody/disable", Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_no_account_is_refused_and_leaves_nothing() {
    let world = World::new().await;
    world.account("", bob()).await;
    let before = world.store.len();
    let with = |changes: Value| {
        let mut asked = bob();
        asked.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        asked["name"] = changes.get("name").cloned().unwrap_or_else(|| json!("carol"));
        asked
    };
    let weak = ["", "plain", "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNo", "$2b$12$abcdefghijklmnopqrstuv"];
    let costly = ["m=4194304,t=2,p=1", "m=19456,t=4000,p=1", "m=19456,t=2,p=99", "m=0,t=2,p=1", "t=2,p=1"];
    let costly = costly.map(|parameters| HASH.replace("m=19456,t=2,p=1", parameters));
    let hashes = weak.into_iter().map(str::to_owned).chain(costly).chain([format!("{HASH}{}", "A".repeat(300))]);
    let mut wrong: Vec<Value> = hashes.map(|hash| with(json!({"password_hash": hash}))).collect();
    wrong.extend([
        with(json!({"name": "bob"})),
        with(json!({"name": "alice"})),
        with(json!({"name": "Carol Smith"})),
        with(json!({"display_name": "a\u{202e}b"})),
        with(json!({"scope": "nowhere:everything"})),
        with(json!({"authorization_details": []})),
        with(json!({"password": "in the clear"})),
    ]);
    for asked in wrong {
        let (status, answer) = world.account("", asked.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{asked}: {answer}");
        assert_eq!(world.store.len(), before, "{asked}");
    }
}
