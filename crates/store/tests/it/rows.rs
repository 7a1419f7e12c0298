//! Rows of the world as other versions of this program leave them.

use crate::fixture::{agent, batch, config, open};
use proptest::{collection::btree_map, prelude::*};
use remit_model::{
    AgentStatus, Authority, Human, HumanStatus,
    id::{AgentId, TenantId},
};
use remit_store::{ApplyError, Change, Follower, Party, Precondition, Store};
use serde_json::{Map, Value};
use std::path::Path;

fn alice() -> Human {
    Human {
        name: "alice".to_owned(),
        display_name: "Alice".to_owned(),
        status: HumanStatus::Active,
        password_hash: None,
        entitlements: Authority::none(),
        identity: None,
        ended_before: None,
        passkeys: remit_model::Passkeys::default(),
        managed: remit_model::Managed::default(),
    }
}

fn id(name: &str) -> AgentId {
    AgentId::parse(name).unwrap()
}

fn body(dir: &Path, kind: &str, key: &str) -> Map<String, Value> {
    let conn = rusqlite::Connection::open(dir.join("data/remit.db")).unwrap();
    let select = "SELECT body FROM world WHERE tenant = 'main' AND kind = ?1 AND key = ?2";
    let body: String = conn.query_row(select, [kind, key], |row| row.get(0)).unwrap();
    serde_json::from_str(&body).unwrap()
}

/// Changes a row as another version of the program would.
fn rewrite(dir: &Path, kind: &str, key: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut members = body(dir, kind, key);
    change(&mut members);
    let conn = rusqlite::Connection::open(dir.join("data/remit.db")).unwrap();
    let body = serde_json::to_string(&members).unwrap();
    let update = "UPDATE world SET body = ?3 WHERE tenant = 'main' AND kind = ?1 AND key = ?2";
    assert_eq!(conn.execute(update, [kind, key, &body]).unwrap(), 1);
}

async fn populated(dir: &Path) {
    let store = open(dir);
    let agents = ["planner", "reader"].map(|name| Change::PutAgent(agent(name)));
    let all = agents.into_iter().fold(batch().change(Change::PutHuman(alice())), remit_store::Batch::change);
    store.apply(all).await.unwrap();
    store.close().await.unwrap();
}

async fn change_everything(store: &Store) {
    let stopped = Change::SetAgentStatus { agent: id("planner"), status: AgentStatus::Quarantined };
    let mut renamed = agent("reader");
    "Another name".clone_into(&mut renamed.display_name);
    let disabled = Human { status: HumanStatus::Disabled, ..alice() };
    store.apply(batch().change(stopped).change(Change::PutAgent(renamed)).change(Change::PutHuman(disabled))).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn members_that_only_a_newer_version_knows_outlive_an_older_one(
        unknown in btree_map("new_[a-z]{1,6}", prop_oneof![any::<i64>().prop_map(Value::from), ".{0,9}".prop_map(Value::from)], 1..4)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let rows = [("agent", "planner"), ("agent", "reader"), ("human", "alice")];
        runtime.block_on(async {
            populated(dir.path()).await;
            for (kind, key) in rows {
                rewrite(dir.path(), kind, key, |members| members.extend(unknown.clone()));
            }
            let store = open(dir.path());
            assert!(store.snapshot().unreadable().is_empty(), "no row is lost");
            assert!(store.snapshot().agent(&id("planner")).is_some() && store.snapshot().human("alice").is_some());
            change_everything(&store).await;
            store.close().await.unwrap();
        });
        for (kind, key) in rows {
            let members = body(dir.path(), kind, key);
            prop_assert_eq!(members.get("v"), Some(&Value::from(1)));
            for (name, value) in &unknown {
                prop_assert_eq!(members.get(name), Some(value), "{} of {}", name, key);
            }
        }
        prop_assert_eq!(&body(dir.path(), "agent", "planner")["status"], "quarantined");
        prop_assert_eq!(&body(dir.path(), "agent", "reader")["display_name"], "Another name");
        prop_assert_eq!(&body(dir.path(), "human", "alice")["status"], "disabled");
    }
}

#[tokio::test]
async fn a_row_of_a_newer_form_stops_its_agent_alone_and_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    populated(dir.path()).await;
    for (kind, key) in [("agent", "planner"), ("human", "alice")] {
        rewrite(dir.path(), kind, key, |members| drop(members.insert("v".to_owned(), 2.into())));
    }
    let store = open(dir.path());
    let snapshot = store.snapshot();
    assert!(snapshot.agent(&id("planner")).is_none() && snapshot.has_agent(&id("planner")), "it may do nothing");
    assert!(snapshot.human("alice").is_none() && snapshot.has_human("alice"));
    assert_eq!(snapshot.unreadable(), [id("planner")]);
    assert!(snapshot.agent(&id("reader")).is_some(), "others are not touched");
    for party in [Party::Agent(id("planner")), Party::Human("alice".to_owned())] {
        let need = Precondition::Active {
            parties: vec![party],
            tokens: Vec::new(),
            txn: "t".to_owned(),
            since: None,
            keys: Vec::new(),
            issued: Box::default(),
        };
        assert!(matches!(store.apply(batch().require(need)).await, Err(ApplyError::Conflict(_))));
    }
    let stop = Change::SetAgentStatus { agent: id("planner"), status: AgentStatus::Quarantined };
    for change in [stop, Change::PutAgent(agent("planner")), Change::PutHuman(alice())] {
        let refused = store.apply(batch().change(change)).await;
        assert!(matches!(refused, Err(ApplyError::Invalid(_))), "{refused:?}");
    }
    store.close().await.unwrap();
    assert_eq!(body(dir.path(), "agent", "planner")["v"], 2, "it is as the newer version left it");
    // The newer version is back.
    rewrite(dir.path(), "agent", "planner", |members| drop(members.insert("v".to_owned(), 1.into())));
    let store = open(dir.path());
    assert!(store.snapshot().agent(&id("planner")).is_some());
    store.close().await.unwrap();
}

#[tokio::test]
async fn kinds_that_only_a_newer_version_knows_are_left_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    populated(dir.path()).await;
    let conn = rusqlite::Connection::open(dir.path().join("data/remit.db")).unwrap();
    conn.execute("INSERT INTO world VALUES ('main', 'approval', 'x', '{\"v\":1}', 1, NULL)", []).unwrap();
    let store = open(dir.path());
    change_everything(&store).await;
    store.close().await.unwrap();
    assert!(Follower::open(&dir.path().join("data"), TenantId::main()).is_ok());
    let count: i64 = conn.query_row("SELECT count(*) FROM world WHERE kind = 'approval'", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn what_a_store_writes_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    store.apply(batch().change(Change::PutHuman(alice())).record(crate::fixture::draft("one"))).await.unwrap();
    store.publish().await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("data")), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir.path().join("data")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert!(["remit.db", "keys.db", "spool", "lock"].iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    let mut folders = vec![dir.path().join("ledger/side")];
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    store.close().await.unwrap();
}
