//! Revoking by person, agent, owner, client, chain, resource and key. SPEC: RV-05

use super::*;
use remit_model::{AgentId, UnixTime, criterion};
use remit_store::Revocation;

impl World {
    async fn revoke(&self, by: Value) -> (StatusCode, Value) {
        self.admin("POST", "/admin/v1/revocations", &by).await
    }

    async fn agents(&self, names: &[&str]) {
        for name in names {
            let (status, answer) = self.admin("POST", "/admin/v1/agents", &registration(name)).await;
            assert_eq!(status, StatusCode::CREATED, "{answer}");
        }
    }

    /// Whether what fits this criterion and was issued now counts no more.
    fn ends(&self, criterion: &str) -> bool {
        let now = self.clock.unix();
        let snapshot = self.store.snapshot();
        let later = snapshot.revoked_before(&[criterion.to_owned()], now.plus(1));
        assert!(later.is_none(), "what is issued from the next second on counts");
        snapshot.revoked_before(&[criterion.to_owned()], now).is_some()
    }

    async fn last(&self) -> (Value, String) {
        let record = self.store.record(self.store.len() - 1).await.unwrap().unwrap();
        let text = String::from_utf8(record.bytes).unwrap();
        (serde_json::from_str(&text).unwrap(), text)
    }
}

fn agent(name: &str) -> String {
    criterion::agent(&AgentId::parse(name).unwrap())
}

#[tokio::test]
async fn rv_05_whatever_is_named_ends_in_one_batch_with_its_record() {
    let world = World::new().await;
    world.agents(&["planner", "scribe"]).await;
    let thumbprint = "k".repeat(43);
    let helpdesk = format!("{ISSUER}/mcp/helpdesk");
    for (by, value, criteria) in [
        ("agent", "planner", vec![agent("planner")]),
        ("client", "agent:scribe", vec![agent("scribe")]),
        ("resource", "helpdesk", vec![criterion::resource(&helpdesk), criterion::any_resource()]),
        ("resource", &helpdesk, vec![criterion::resource(&helpdesk)]),
        ("key", &thumbprint, vec![criterion::key(&thumbprint)]),
    ] {
        let records = world.store.len();
        let (status, answer) = world.revoke(json!({by: value})).await;
        assert_eq!(status, StatusCode::OK, "{by}: {answer}");
        for criterion in criteria {
            assert!(world.ends(&criterion), "{by} {value}: {criterion}");
        }
        assert_eq!(world.store.len(), records + 1, "{by}");
        let (record, _) = world.last().await;
        assert_eq!(
            (record["record_type"].as_str(), record["action"]["name"].as_str()),
            (Some("config_change"), Some("tokens.revoke"))
        );
        assert_eq!((&record["ext"]["revocation"]["by"], &record["record_id"]), (&json!(by), &answer["record"]), "{record}");
    }
    assert!(!world.ends(&criterion::key(&"x".repeat(43))));
}

#[tokio::test]
async fn rv_05_a_person_ends_with_their_sign_ins_and_no_text_that_stays_names_them() {
    let world = World::new().await;
    let now = world.clock.unix();
    assert_eq!(world.revoke(json!({"user": "alice"})).await.0, StatusCode::OK);
    let alice = world.store.snapshot().human("alice").unwrap().clone();
    assert_eq!((alice.status, alice.ended_before), (remit_model::HumanStatus::Active, Some(now.plus(1))));
    let (record, text) = world.last().await;
    assert_eq!(record["ext"]["revocation"]["by"], "user");
    assert_eq!(record["ext"]["sign_in"]["ended_before"], json!(now.plus(1)), "where verifiers look: {record}");
    assert!(!text.contains("alice"), "{text}");
}

#[tokio::test]
async fn rv_05_a_chain_ends_for_tokens_and_refresh_tokens_and_the_ledger_says_so_where_verifiers_look() {
    let world = World::new().await;
    assert_eq!(world.revoke(json!({"chain": "t-1"})).await.0, StatusCode::OK);
    let snapshot = world.store.snapshot();
    assert!(snapshot.is_revoked("any", [], "t-1") && snapshot.has_revocation(&Revocation::Family("t-1".to_owned())));
    assert!(!snapshot.is_revoked("any", [], "t-2"));
    assert_eq!(world.last().await.0["ext"]["token"]["revoked_txn"], "t-1");
}

#[tokio::test]
async fn rv_05_an_owners_agents_end_and_nobody_elses() {
    let world = World::new().await;
    world.agents(&["planner", "scribe"]).await;
    let bob = Human { display_name: "Bob".into(), ..remit_testkit::human("bob", Authority::none()) };
    remit_testkit::change(&world.store, Change::PutHuman(bob)).await;
    let mut other = registration("other");
    other["owner"] = json!("user:bob");
    assert_eq!(world.admin("POST", "/admin/v1/agents", &other).await.0, StatusCode::CREATED);
    let (status, answer) = world.revoke(json!({"owner": "user:alice"})).await;
    assert_eq!((status, answer["revoked"]["agents"].as_array().unwrap().len()), (StatusCode::OK, 2), "{answer}");
    assert!(world.ends(&agent("planner")) && world.ends(&agent("scribe")) && !world.ends(&agent("other")));
    assert!(!world.last().await.1.contains("user:alice"), "the plain record names no person");
    // The agents can be used on: it is not a quarantine.
    let planner = world.store.snapshot().agent_named("planner").unwrap().clone();
    assert_eq!(planner.status, remit_model::AgentStatus::Active);
}

#[tokio::test]
async fn rv_05_the_key_that_an_agent_is_registered_with_ends_the_agents_tokens_whatever_they_are_bound_to() {
    let world = World::new().await;
    world.agents(&["planner", "scribe"]).await;
    let planner = world.store.snapshot().agent_named("planner").unwrap().clone();
    let key = remit_token::PublicKey::from_jwk(&planner.keys[0]).unwrap().thumbprint().to_owned();
    let (_, answer) = world.revoke(json!({"key": key})).await;
    assert_eq!(answer["revoked"]["agents"], json!(["agent:planner"]), "{answer}");
    assert!(world.ends(&agent("planner")) && world.ends(&criterion::key(&key)) && !world.ends(&agent("scribe")));
}

#[tokio::test]
async fn rv_05_what_is_not_there_or_not_one_thing_ends_nothing() {
    let world = World::new().await;
    let (records, revision) = (world.store.len(), world.store.snapshot().revision());
    for (by, expected) in [
        (json!({"user": "no-one"}), StatusCode::NOT_FOUND),
        (json!({"agent": "no-one"}), StatusCode::NOT_FOUND),
        (json!({"client": "https://no-client.example/client.json"}), StatusCode::NOT_FOUND),
        (json!({"owner": "user:alice"}), StatusCode::NOT_FOUND),
        (json!({"owner": "alice"}), StatusCode::BAD_REQUEST),
        (json!({"resource": "nowhere"}), StatusCode::NOT_FOUND),
        (json!({"resource": "*"}), StatusCode::NOT_FOUND),
        (json!({"key": "short"}), StatusCode::BAD_REQUEST),
        (json!({"chain": ""}), StatusCode::BAD_REQUEST),
        (json!({"chain": "a b"}), StatusCode::BAD_REQUEST),
        (json!({"everything": "yes"}), StatusCode::BAD_REQUEST),
        (json!({"user": "alice", "agent": "planner"}), StatusCode::BAD_REQUEST),
        (json!({}), StatusCode::BAD_REQUEST),
    ] {
        let (status, answer) = world.revoke(by.clone()).await;
        assert_eq!(status, expected, "{by}: {answer}");
    }
    assert_eq!((world.store.len(), world.store.snapshot().revision()), (records, revision));
}

#[tokio::test]
async fn rv_05_a_revocation_outlives_a_restart_and_never_moves_back() {
    let world = World::new().await;
    world.agents(&["planner"]).await;
    world.clock.advance(std::time::Duration::from_secs(100));
    assert_eq!(world.revoke(json!({"agent": "planner"})).await.0, StatusCode::OK);
    let now = world.clock.unix();
    let earlier = Change::RevokeIssued { criterion: agent("planner"), before: UnixTime(7), until: UnixTime(8) };
    remit_testkit::change(&world.store, earlier).await;
    let World { router, store, dir, .. } = world;
    store.close().await.unwrap();
    drop((router, store));
    let world = World::at(dir).await;
    let snapshot = world.store.snapshot();
    let (_, before) = snapshot.revoked_before(&[agent("planner")], now).unwrap();
    assert_eq!(before, now.plus(1));
}

#[tokio::test]
async fn rv_05_what_is_issued_while_a_revocation_waits_for_its_commit_does_not_escape() {
    let (clock, store_clock) = (remit_testkit::clock(), remit_testkit::clock());
    let world = World::with_clocks(TempDir::new().unwrap(), false, clock, store_clock.clone()).await;
    world.agents(&["planner"]).await;
    store_clock.advance(std::time::Duration::from_secs(5));
    // A token of this second was committed before the revocation was.
    let meanwhile = store_clock.unix();
    let (status, answer) = world.revoke(json!({"agent": "planner"})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (_, before) = world.store.snapshot().revoked_before(&[agent("planner")], meanwhile).unwrap();
    assert_eq!(answer["before"], json!(before));
    assert_eq!(world.last().await.0["ext"]["revocation"]["before"], json!(before.utc()), "the record says what was done");

    store_clock.advance(std::time::Duration::from_secs(100));
    let (records, revision) = (world.store.len(), world.store.snapshot().revision());
    let (status, answer) = world.revoke(json!({"user": "alice"})).await;
    assert_eq!((status, answer["error"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("ledger_unavailable")), "{answer}");
    assert_eq!((world.store.len(), world.store.snapshot().revision()), (records, revision), "nothing is done by half");
}

#[tokio::test]
async fn rv_05_a_certificate_ends_the_agent_that_is_registered_with_it_and_whatever_is_bound_to_it() {
    let world = World::new().await;
    world.agents(&["planner", "scribe"]).await;
    let thumbprint = "c".repeat(43);
    let mut planner = remit_model::Agent::clone(world.store.snapshot().agent_named("planner").unwrap());
    planner.client.credentials.push(remit_model::Credential::Certificate { thumbprint: thumbprint.clone() });
    remit_testkit::change(&world.store, Change::PutAgent(planner)).await;
    let (status, answer) = world.revoke(json!({"key": thumbprint})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((&answer["revoked"]["matched"], &answer["revoked"]["agents"]), (&json!({"agents": 1}), &json!(["agent:planner"])));
    let bound = remit_model::Confirmation::Certificate(thumbprint).to_string();
    assert!(world.ends(&agent("planner")) && world.ends(&criterion::key(&bound)) && !world.ends(&agent("scribe")));
    assert!(!world.ends(&criterion::key(&format!("x5t#S256:{}", "d".repeat(43)))));
    // A thumbprint that is of no one is not taken in silence.
    let (_, answer) = world.revoke(json!({"key": "d".repeat(43)})).await;
    assert_eq!(answer["revoked"]["matched"], json!({"agents": 0}), "{answer}");
}
