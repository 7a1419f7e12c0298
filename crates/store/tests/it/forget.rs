//! Forgetting a subject: what is gone, where it is gone from, and what still holds.

use crate::fixture::{NOW, agent, batch, config, open};
use remit_clock::Clock;
use remit_ledger::{
    Draft, Reader, Trust,
    field_proof::FieldProof,
    record::{Classification, Party, PartyKind, ProducerKind, RecordType, Resource},
    vault::Subject,
    verify::verify_log,
};
use remit_model::{
    Human, HumanStatus, Moment, ToolClass,
    authority::Authority,
    chain::Chain,
    id::{Principal, TenantId},
    time::UnixTime,
};
use remit_store::{Change, EraseError, Erased, Precondition, Secret, Store, StoreError, StoredToken};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const ISSUER: &str = "https://remit.test";

fn alice() -> Subject {
    Subject::Principal { iss: ISSUER.to_owned(), sub: "user:alice".to_owned() }
}

fn carol() -> Subject {
    Subject::Data { kind: "customer".to_owned(), id: "c-carol-17".to_owned() }
}

fn account(name: &str) -> Change {
    Change::PutHuman(Human {
        name: name.to_owned(),
        display_name: format!("Display of {name}"),
        status: HumanStatus::Active,
        password_hash: None,
        entitlements: Authority::none(),
        identity: None,
        ended_before: None,
        passkeys: remit_model::Passkeys::default(),
        managed: remit_model::Managed::default(),
    })
}

/// A call by an agent for a person about a customer.
fn call(human: &str) -> Draft {
    let mut customer = Resource::new("customer", Some("c-carol-17".to_owned()));
    customer.classification = Classification::Pii;
    let chain = vec![
        Party::new(PartyKind::Human, ISSUER, format!("user:{human}")),
        Party::new(PartyKind::Agent, ISSUER, "agent:planner"),
    ];
    Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision)
        .action("customers_read", ToolClass::Read)
        .chain(chain)
        .resource(customer)
        .request(json!({"customer": "c-carol-17", "note": format!("asked by {human}")}))
}

fn token(human: &str) -> StoredToken {
    let root = Principal::local(ISSUER, format!("user:{human}"));
    StoredToken {
        jti: format!("jti-of-{}", human.len()),
        chain: Chain { id: format!("txn-{}", human.len()), root, hops: Vec::new() },
        authority: Authority::none(),
        parent: None,
        client: "agent:planner".to_owned(),
        jkt: Some("thumb".to_owned()),
        audience: "https://remit.test/mcp/helpdesk".to_owned(),
        issued: UnixTime(NOW),
        expires: UnixTime(NOW + 300),
        family: None,
        keys: Vec::new(),
    }
}

async fn populated(dir: &Path) -> Store {
    let store = open(dir);
    let mut planner = agent("planner");
    "user:alice".clone_into(&mut planner.owner);
    store.apply(batch().change(account("alice")).change(account("bob")).change(Change::PutAgent(planner))).await.unwrap();
    for human in ["alice", "bob"] {
        store.apply(batch().change(Change::IssueToken(Arc::new(token(human)))).record(call(human))).await.unwrap();
        store.apply(batch().record(call(human))).await.unwrap();
    }
    store.publish().await.unwrap();
    store
}

fn asks() -> Draft {
    Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .action("ledger.erase", ToolClass::Admin)
        .chain(vec![Party::new(PartyKind::Service, ISSUER, "admin:bootstrap")])
        .ext("redaction", json!({"legal_basis": "GDPR Art. 17"}))
}

async fn erase(store: &Store, subject: &Subject) -> Result<Erased, EraseError> {
    store.erase(subject, asks()).await
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The files below `dir` that hold these bytes.
fn holding(dir: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let holds = |file: &PathBuf| fs::read(file).unwrap().windows(bytes.len()).any(|window| window == bytes);
    files(dir).into_iter().filter(holds).collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, &target).unwrap();
    }
}

fn wrapped(dir: &Path, store: &Store, subject: &Subject) -> Vec<u8> {
    let conn = rusqlite::Connection::open(dir.join("data/keys.db")).unwrap();
    let reference = store.reference(subject);
    conn.query_row("SELECT wrapped FROM keys WHERE subject_ref = ?1", [reference], |row| row.get(0)).unwrap()
}

fn reader(dir: &Path) -> Reader {
    let keys = remit_store::keyring(&dir.join("data"), &[4; 32]).unwrap();
    Reader::open(&dir.join("ledger")).unwrap().with_keys(keys)
}

async fn value(store: &Store, index: u64, path: &str) -> Option<Value> {
    store.record(index).await.unwrap().unwrap().side.unwrap().value(path)
}

#[tokio::test]
async fn no_personal_value_is_in_any_file_even_before_an_erasure() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    assert_eq!(value(&store, 1, "/call/arguments").await.unwrap()["customer"], "c-carol-17", "the server reads its own");
    assert_eq!(store.token("jti-of-5").await.unwrap().unwrap().chain.root.sub, "user:alice");
    assert!(holding(dir.path(), b"c-carol-17").is_empty());
    assert!(holding(dir.path(), b"asked by").is_empty());
    // Accounts are what the operator configured; they go with the erasure.
    assert!(holding(&dir.path().join("ledger"), b"alice").is_empty());
}

#[tokio::test]
async fn after_an_erasure_no_file_holds_the_name_or_the_key_and_everything_still_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let vkey = Trust::default();
    let before = verify_log(&reader(dir.path()), &vkey);
    assert!(before.ok() && before.undisclosed == 0, "{before}");
    let proof = FieldProof::of(&reader(dir.path()), 1, "/call/arguments").unwrap();
    let key = wrapped(dir.path(), &store, &alice());
    assert_eq!(holding(dir.path(), &key).len(), 1);

    let erased = erase(&store, &alice()).await.unwrap();
    assert_eq!(erased.keys.len(), 1);
    store.publish().await.unwrap();
    assert!(holding(dir.path(), &key).is_empty(), "the wrapped key is in no file, no journal, no log");
    assert!(holding(dir.path(), b"alice").is_empty(), "{:?}", holding(dir.path(), b"alice"));
    assert_eq!(value(&store, 1, "/call/arguments").await, None);
    assert_eq!(value(&store, 1, "/chain/0/subject").await, None);
    assert_eq!(value(&store, 1, "/chain/1/subject").await.unwrap()["sub"], "agent:planner", "others keep theirs");
    assert_eq!(value(&store, 3, "/call/arguments").await.unwrap()["note"], "asked by bob");

    let after = verify_log(&reader(dir.path()), &vkey);
    assert!(after.ok() && after.undisclosed == 2, "{after}");
    let policy = remit_ledger::policy::Policy::threshold(
        remit_ledger::note::VerifyingKey::parse(&log_vkey(dir.path())).unwrap(),
        Vec::new(),
        0,
    );
    assert!(proof.verify(&policy.unwrap()).is_ok(), "a proof made before still holds");
    assert!(FieldProof::of(&reader(dir.path()), 1, "/call/arguments").is_err(), "and none can be made any more");
}

fn log_vkey(dir: &Path) -> String {
    let start = Reader::open(&dir.join("ledger")).unwrap().record(0).unwrap();
    start.ext("keys").unwrap()["log"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn live_chains_end_the_account_goes_and_owned_agents_stop() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    erase(&store, &alice()).await.unwrap();
    let snapshot = store.snapshot();
    assert!(snapshot.is_revoked("jti-of-5", [], "txn-5"), "a token that is still in use is refused");
    assert!(!snapshot.is_revoked("jti-of-3", [], "txn-3"));
    assert_eq!(store.token("jti-of-5").await.unwrap(), None);
    assert!(store.token("jti-of-3").await.unwrap().is_some());
    assert!(snapshot.human("alice").is_none() && snapshot.human("bob").is_some());
    let planner = snapshot.agents().find_map(|(_, agent)| agent).unwrap();
    assert_eq!(planner.status, remit_model::AgentStatus::Quarantined);
    assert!(!planner.owner.contains("alice"));
}

#[tokio::test]
async fn an_erasure_takes_out_what_mentions_the_person_though_it_cannot_be_read_and_names_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let agents = ["broken", "foreign", "whole"].map(|name| Change::PutAgent(agent(name)));
    store.apply(agents.into_iter().fold(batch(), remit_store::Batch::change)).await.unwrap();
    store.close().await.unwrap();
    let conn = rusqlite::Connection::open(dir.path().join("data/remit.db")).unwrap();
    let broken =
        "UPDATE world SET body = replace(body, '\"status\"', '\"sta') WHERE kind = 'agent' AND key IN ('planner', 'broken')";
    assert_eq!(conn.execute(broken, []).unwrap(), 2);
    conn.execute("UPDATE world SET body = replace(body, 'foreign', 'another') WHERE kind = 'agent' AND key = 'foreign'", [])
        .unwrap();
    drop(conn);

    let store = open(dir.path());
    let named = ["broken", "foreign", "planner"].map(|name| agent(name).id);
    assert!(named.iter().all(|id| store.snapshot().agent(id).is_none()), "they may do nothing");
    assert_eq!(store.snapshot().unreadable(), named, "and are not passed over");
    let erased = erase(&store, &alice()).await.unwrap();
    assert_eq!(erased.unreadable, named);
    store.publish().await.unwrap();
    assert!(holding(dir.path(), b"alice").is_empty(), "{:?}", holding(dir.path(), b"alice"));
    let snapshot = store.snapshot();
    assert!(snapshot.has_agent(&agent("planner").id), "its name is never used again");
    assert!(snapshot.agent(&agent("whole").id).is_some());
}

#[tokio::test]
async fn the_erasure_is_two_records_without_names() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let erased = erase(&store, &carol()).await.unwrap();
    for (id, action) in [(&erased.record, "ledger.erase"), (&erased.completed, "ledger.erase.completed")] {
        let stored = store.record_by_id(id).await.unwrap().unwrap();
        let record: Value = serde_json::from_slice(&stored.bytes).unwrap();
        assert_eq!((record["record_type"].as_str(), record["action"]["name"].as_str()), (Some("redaction"), Some(action)));
        let facts = &record["ext"]["redaction"];
        assert_eq!(facts["subject_ref"], erased.subject_ref);
        assert_eq!((facts["legal_basis"].as_str(), facts["key_ids"].as_array().unwrap().len()), (Some("GDPR Art. 17"), 1));
        assert!(!record.to_string().contains("carol"));
    }
    for index in 1..5 {
        assert_eq!(value(&store, index, "/call/arguments").await, None, "what was about her is gone, for every caller");
        assert!(value(&store, index, "/chain/0/subject").await.is_some(), "who asked is not");
    }
}

#[tokio::test]
async fn a_backup_of_everything_but_the_keys_is_worth_nothing() {
    let (dir, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = populated(dir.path()).await;
    store.close().await.unwrap();
    copy(dir.path(), backup.path());
    let store = open(dir.path());
    erase(&store, &alice()).await.unwrap();
    store.close().await.unwrap();
    // The old database and ledger, the keys of today.
    fs::copy(dir.path().join("data/keys.db"), backup.path().join("data/keys.db")).unwrap();
    let old = reader(backup.path());
    assert_eq!(old.side(1).unwrap().unwrap().value("/call/arguments"), None);
    assert!(verify_log(&old, &Trust::default()).ok());
    let restored = open(backup.path());
    assert_eq!(restored.token("jti-of-5").await.unwrap(), None, "a row sealed with a destroyed key is as good as gone");
}

#[tokio::test]
async fn keys_that_come_back_with_an_old_key_store_are_destroyed_again() {
    let (dir, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = populated(dir.path()).await;
    let old = backup.path().join("keys.db");
    fs::copy(dir.path().join("data/keys.db"), &old).unwrap();
    erase(&store, &alice()).await.unwrap();
    store.close().await.unwrap();
    fs::copy(&old, dir.path().join("data/keys.db")).unwrap();
    assert!(reader(dir.path()).side(1).unwrap().unwrap().value("/call/arguments").is_some(), "the key is back");
    let store = open(dir.path());
    assert_eq!(value(&store, 1, "/call/arguments").await, None, "and gone again at the next start");
}

#[tokio::test]
async fn a_crash_before_the_keys_are_destroyed_is_completed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let reference = store.reference(&alice());
    let side = store.record(1).await.unwrap().unwrap().side.unwrap();
    assert!(side.is_open());
    let key = Reader::open(&dir.path().join("ledger")).unwrap().side(1).unwrap().unwrap();
    let remit_ledger::record::Opening::Sealed { sealed, .. } = &key.fields["/chain/0/subject"] else { panic!("sealed") };
    // What `erase` commits first; the process dies before anything else.
    let erasing = remit_store::Erasing {
        id: "unfinished".to_owned(),
        subject_ref: reference.clone(),
        keys: sealed.keys.clone(),
        account: Some("alice".to_owned()),
    };
    store.apply(batch().change(Change::Erase(erasing)).record(asks())).await.unwrap();
    assert!(value(&store, 1, "/chain/0/subject").await.is_some(), "the key is still there");
    store.close().await.unwrap();

    let store = open(dir.path());
    assert_eq!(value(&store, 1, "/chain/0/subject").await, None);
    let last = store.record(store.len() - 1).await.unwrap().unwrap();
    let record: Value = serde_json::from_slice(&last.bytes).unwrap();
    assert_eq!(record["action"]["name"], "ledger.erase.completed");
    assert_eq!(record["ext"]["redaction"]["subject_ref"], reference);
    store.close().await.unwrap();
    let before = open(dir.path()).len();
    assert_eq!(before, store.len() + 1, "completed once: only a start record more");
}

#[tokio::test]
async fn a_hold_refuses_and_the_refusal_is_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let subject_ref = store.reference(&alice());
    let hold = Change::Hold { subject_ref: subject_ref.clone(), basis: "case 7".to_owned() };
    store.apply(batch().require(Precondition::NotHeld(subject_ref.clone())).change(hold)).await.unwrap();
    let error = erase(&store, &alice()).await.unwrap_err();
    let EraseError::Held { record } = error else { panic!("{error}") };
    let stored = store.record_by_id(&record).await.unwrap().unwrap();
    let refused: Value = serde_json::from_slice(&stored.bytes).unwrap();
    assert_eq!(
        (refused["record_type"].as_str(), refused["outcome"]["status"].as_str(), refused["decision"]["reason_code"].as_str()),
        (Some("redaction"), Some("denied"), Some("legal_hold"))
    );
    assert!(value(&store, 1, "/call/arguments").await.is_some(), "nothing was destroyed");
    let applied = store.apply(batch().record(call("alice"))).await.unwrap();
    let held: Value = serde_json::from_slice(&store.record(applied.receipts[0].index).await.unwrap().unwrap().bytes).unwrap();
    assert_eq!(held["retention"]["legal_hold"], true);
    let free = store.apply(batch().record(call("bob"))).await.unwrap();
    let free: Value = serde_json::from_slice(&store.record(free.receipts[0].index).await.unwrap().unwrap().bytes).unwrap();
    assert_eq!(free["retention"]["legal_hold"], false);
    store.close().await.unwrap();

    let store = open(dir.path());
    assert!(matches!(erase(&store, &alice()).await, Err(EraseError::Held { .. })), "a hold survives a restart");
    store.apply(batch().change(Change::Release { subject_ref })).await.unwrap();
    assert!(erase(&store, &alice()).await.is_ok());
}

#[tokio::test]
async fn what_is_held_does_not_go_with_someone_recorded_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let subject_ref = store.reference(&alice());
    store.apply(batch().change(Change::Hold { subject_ref: subject_ref.clone(), basis: "case 7".to_owned() })).await.unwrap();
    assert!(matches!(erase(&store, &carol()).await, Err(EraseError::Held { .. })), "carol is in alice's records");
    assert!(value(&store, 1, "/call/arguments").await.is_some(), "what is held can still be read");
    let bob = Subject::Principal { iss: ISSUER.to_owned(), sub: "user:bob".to_owned() };
    erase(&store, &bob).await.expect("bob is in no record of alice's");
    store.apply(batch().change(Change::Release { subject_ref })).await.unwrap();
    erase(&store, &carol()).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_an_erasure_half_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let before = store.len();
    {
        let subject = alice();
        let mut asked = Box::pin(store.erase(&subject, asks()));
        let left = std::future::poll_fn(|context| std::task::Poll::Ready(asked.as_mut().poll(context).is_pending())).await;
        assert!(left);
    }
    while store.len() < before + 2 {
        store.tend().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(value(&store, 1, "/call/arguments").await, None);
    assert!(matches!(erase(&store, &alice()).await, Err(EraseError::Already(_))));
}

#[tokio::test]
async fn an_account_goes_even_if_nothing_recorded_is_left_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let dora = Subject::Principal { iss: ISSUER.to_owned(), sub: "user:dora".to_owned() };
    for again in [false, true] {
        // The second time as after a start with a configuration that still names her.
        store.apply(batch().change(account("dora"))).await.unwrap();
        if again {
            store.apply(batch().record(call("dora"))).await.unwrap();
            erase(&store, &dora).await.unwrap();
            store.apply(batch().change(account("dora"))).await.unwrap();
        }
        erase(&store, &dora).await.unwrap();
        assert!(store.snapshot().human("dora").is_none());
    }
    assert!(erase(&store, &dora).await.is_err(), "and then there is nothing left to forget");
    store.close().await.unwrap();
    assert!(holding(dir.path(), b"Display of dora").is_empty());
    open(dir.path()).close().await.unwrap();
}

#[tokio::test]
async fn a_hold_that_is_recorded_first_keeps_values_from_retention() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Moment::at(NOW));
    let mut settings = config(dir.path());
    settings.clock = clock.clone();
    let store = Store::open(settings).unwrap();
    store.apply(batch().change(account("alice"))).await.unwrap();
    let subject_ref = store.reference(&alice());
    let holds = || batch().change(Change::Hold { subject_ref: subject_ref.clone(), basis: "case 7".to_owned() });
    for round in 0..20 {
        let applied = store.apply(batch().record(call("alice"))).await.unwrap();
        clock.advance(Duration::from_hours(24 * 401));
        let (held, retained) = tokio::join!(store.apply(holds().record(asks())), store.retain());
        let (held, gone) = (held.unwrap().receipts[0].index, retained.unwrap());
        let is_open = value(&store, applied.receipts[0].index, "/call/arguments").await.is_some();
        let destroyed = (applied.receipts[0].index + 1..store.len()).find(|index| *index != held && gone > 0);
        assert!(is_open || destroyed.is_some_and(|destroyed| destroyed < held), "round {round}");
        store.apply(batch().change(Change::Release { subject_ref: subject_ref.clone() })).await.unwrap();
    }
}

#[tokio::test]
async fn a_second_erasure_is_refused_and_strangers_are_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let before = store.len();
    let stranger = Subject::Data { kind: "customer".to_owned(), id: "nobody".to_owned() };
    assert!(matches!(erase(&store, &stranger).await, Err(EraseError::Unknown)));
    let mallory = Subject::Principal { iss: ISSUER.to_owned(), sub: "user:mallory".to_owned() };
    store.apply(batch().record(call("mallory"))).await.unwrap();
    assert!(matches!(erase(&store, &mallory).await, Err(EraseError::Unknown)), "an unverified name has no key");
    assert_eq!(store.len(), before + 1);
    erase(&store, &carol()).await.unwrap();
    assert!(matches!(erase(&store, &carol()).await, Err(EraseError::Already(UnixTime(NOW)))));
    let applied = store.apply(batch().record(call("bob"))).await.unwrap();
    let index = applied.receipts[0].index;
    assert!(value(&store, index, "/call/arguments").await.is_some(), "a person who comes back gets a new key");
    erase(&store, &carol()).await.unwrap();
    assert_eq!(value(&store, index, "/call/arguments").await, None);
}

#[tokio::test]
async fn invented_names_make_no_keys() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let count = || -> i64 {
        let conn = rusqlite::Connection::open(dir.path().join("data/keys.db")).unwrap();
        conn.query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).unwrap()
    };
    store.apply(batch().record(call("mallory-0"))).await.unwrap();
    let before = count();
    for n in 1..20 {
        store.apply(batch().record(call(&format!("mallory-{n}")))).await.unwrap();
    }
    assert_eq!(count(), before);
}

#[tokio::test]
async fn another_seed_another_key_store_and_a_missing_one_are_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    populated(dir.path()).await.close().await.unwrap();
    let mut wrong = config(dir.path());
    wrong.vault = Secret::new([5; 32]);
    let error = Store::open(wrong).unwrap_err();
    assert!(matches!(error, StoreError::VaultSeed { .. }) && error.to_string().contains("vault.seed"), "{error}");
    assert!(remit_store::keyring(&dir.path().join("data"), &[5; 32]).is_err());

    let (keys, aside) = (dir.path().join("data/keys.db"), dir.path().join("aside"));
    fs::rename(&keys, &aside).unwrap();
    assert!(matches!(Store::open(config(dir.path())), Err(StoreError::KeysMissing { .. })));
    assert!(!keys.exists(), "nothing was made in its place");
    let other = tempfile::tempdir().unwrap();
    populated(other.path()).await.close().await.unwrap();
    fs::copy(other.path().join("data/keys.db"), &keys).unwrap();
    assert!(matches!(Store::open(config(dir.path())), Err(StoreError::KeysForeign { .. })));
    fs::rename(&aside, &keys).unwrap();
    assert!(value(&open(dir.path()), 1, "/call/arguments").await.is_some());
}

#[tokio::test]
async fn a_key_store_that_vanishes_is_an_outage_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = populated(dir.path()).await;
    let (keys, aside) = (dir.path().join("data/keys.db"), dir.path().join("aside"));
    fs::rename(&keys, &aside).unwrap();
    let refused = store.apply(batch().record(call("bob"))).await.unwrap_err();
    assert!(refused.to_string().contains("keys"), "{refused}");
    assert_eq!(store.outage().map(|outage| outage.code()), Some(remit_model::Code::SideStoreUnavailable));
    fs::rename(&aside, &keys).unwrap();
    assert!(store.apply(batch().record(call("bob"))).await.is_ok());
    assert!(store.outage().is_none());
}

#[tokio::test]
async fn values_go_when_their_time_has_come_but_not_while_on_hold_and_every_proof_holds() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Moment::at(NOW));
    let mut settings = config(dir.path());
    settings.clock = clock.clone();
    let store = Store::open(settings).unwrap();
    store.apply(batch().change(account("alice")).change(account("bob"))).await.unwrap();
    for human in ["alice", "bob"] {
        store.apply(batch().record(call(human))).await.unwrap();
    }
    store.publish().await.unwrap();
    let subject_ref = store.reference(&alice());
    store.apply(batch().change(Change::Hold { subject_ref: subject_ref.clone(), basis: "case 7".to_owned() })).await.unwrap();
    assert_eq!(store.retain().await.unwrap(), 0, "nothing is due");
    clock.advance(Duration::from_hours(24 * 401));
    let count = store.retain().await.unwrap();
    assert!(count >= 2, "the start record's values and bob's: {count}");
    assert!(value(&store, 1, "/call/arguments").await.is_some(), "on hold");
    assert_eq!(value(&store, 2, "/call/arguments").await, None);
    let reader = reader(dir.path());
    assert!(reader.side(2).unwrap().unwrap().is_closed(), "in the published file too");
    assert_eq!(reader.side(1).unwrap().unwrap().value("/chain/0/subject").unwrap()["sub"], "user:alice");
    store.apply(batch().change(Change::Release { subject_ref })).await.unwrap();
    clock.advance(Duration::from_hours(48));
    store.retain().await.unwrap();
    assert_eq!(value(&store, 1, "/call/arguments").await, None);
    store.close().await.unwrap();
    let report = verify_log(&Reader::open(&dir.path().join("ledger")).unwrap(), &Trust::default());
    assert!(report.ok(), "{report}");
    assert!(open(dir.path()).close().await.is_ok(), "and the log goes on");
}
