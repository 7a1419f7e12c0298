//! A second reader of the database sees what the writer's snapshot shows.

use crate::fixture::{NOW, agent, batch, config};
use proptest::{collection::vec, prelude::*, sample::select};
use remit_clock::Clock;
use remit_ledger::{
    Draft,
    record::{Party, PartyKind, ProducerKind, RecordType},
    vault::Subject,
};
use remit_model::{
    AgentStatus, Authority, Human, HumanStatus, ToolClass,
    id::{AgentId, TenantId},
    time::{Moment, UnixTime},
};
use remit_store::{Change, Config, Followed, Follower, Revocation, Snapshot, Store};
use std::{path::Path, time::Duration};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Everything a snapshot shows, as text.
fn shown(snapshot: &Snapshot) -> Vec<String> {
    let mut lines: Vec<String> = snapshot.agents().map(|(id, agent)| format!("{id}: {agent:?}")).collect();
    lines.extend(snapshot.humans().map(|human| format!("{}: {:?}", human.name, human.status)));
    lines.extend(snapshot.holds().map(|(subject, since)| format!("hold {subject} {since:?}")));
    for name in NAMES {
        for what in [Revocation::Jti(name.into()), Revocation::Txn(name.into()), Revocation::Family(name.into())] {
            if snapshot.has_revocation(&what) {
                lines.push(format!("revoked {what:?}"));
            }
        }
        lines.extend(snapshot.is_endpoint(name).then(|| format!("endpoint {name}")));
    }
    lines.sort();
    lines.push(format!("revision {}, {} revocations", snapshot.revision(), snapshot.revocations()));
    lines
}

fn human(name: &str, status: HumanStatus) -> Change {
    let display_name = name.to_owned();
    Change::PutHuman(Human {
        name: display_name.clone(),
        display_name,
        status,
        password_hash: None,
        entitlements: Authority::none(),
        identity: None,
        ended_before: None,
        passkeys: remit_model::Passkeys::default(),
        managed: remit_model::Managed::default(),
    })
}

fn owned(name: &str, owner: &str) -> Change {
    let mut agent = agent(name);
    agent.owner = format!("user:{owner}");
    agent.labels.insert("endpoint".to_owned(), owner.to_owned());
    Change::PutAgent(agent)
}

fn subject(name: &str) -> Subject {
    Subject::Principal { iss: "https://remit.test".to_owned(), sub: format!("user:{name}") }
}

/// A record about a person, so that there is something to erase.
fn about(name: &str) -> Draft {
    let party = Party::new(PartyKind::Human, "https://remit.test", format!("user:{name}"));
    Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision)
        .action("tickets_read", ToolClass::Read)
        .chain(vec![party])
}

#[derive(Clone, Debug)]
enum Step {
    Change(Box<Change>),
    Erase(&'static str),
    Advance(u64),
    Follow,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || select(NAMES.to_vec());
    let until = select(vec![NOW + 60, NOW + 4_000, NOW + 900_000]).prop_map(UnixTime);
    let what = prop_oneof![
        name().prop_map(|name| Revocation::Jti(name.to_owned())),
        name().prop_map(|name| Revocation::Txn(name.to_owned())),
        name().prop_map(|name| Revocation::Family(name.to_owned())),
    ];
    let status = select(vec![AgentStatus::Active, AgentStatus::Quarantined, AgentStatus::Retired]);
    let change = prop_oneof![
        (name(), name()).prop_map(|(name, owner)| owned(name, owner)),
        (name(), status).prop_map(|(name, status)| Change::SetAgentStatus { agent: AgentId::parse(name).unwrap(), status }),
        (name(), select(vec![HumanStatus::Active, HumanStatus::Disabled])).prop_map(|(name, status)| human(name, status)),
        (what, until).prop_map(|(what, until)| Change::Revoke { what, until }),
        name().prop_map(|name| Change::Hold { subject_ref: name.to_owned(), basis: "case".to_owned() }),
        name().prop_map(|name| Change::Release { subject_ref: name.to_owned() }),
    ];
    prop_oneof![
        8 => change.prop_map(|change| Step::Change(Box::new(change))),
        1 => name().prop_map(Step::Erase),
        // Past the end of revocations; past the end of tombstones as well.
        2 => select(vec![30, 5_000, 200_000]).prop_map(Step::Advance),
        3 => Just(Step::Follow),
    ]
}

async fn run(dir: &Path, steps: Vec<Step>) {
    let clock = Clock::manual(Moment::at(NOW));
    let store = Store::open(Config { clock: clock.clone(), ..config(dir) }).unwrap();
    let follower = Follower::open(&dir.join("data"), TenantId::main()).unwrap();
    for step in steps {
        match step {
            // What is refused changes nothing.
            Step::Change(change) => drop(store.apply(batch().change(*change)).await),
            Step::Erase(name) => {
                store.apply(batch().record(about(name))).await.unwrap();
                drop(store.erase(&subject(name), about(name)).await);
            }
            Step::Advance(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                store.apply(batch()).await.unwrap();
            }
            Step::Follow => {
                follower.follow(clock.unix()).unwrap();
            }
        }
    }
    clock.advance(Duration::from_secs(1));
    store.apply(batch()).await.unwrap();
    follower.follow(clock.unix()).unwrap();
    let expected = shown(&store.snapshot());
    assert_eq!(shown(&follower.snapshot()), expected, "who followed sees what the writer shows");
    let fresh = Follower::open(&dir.join("data"), TenantId::main()).unwrap();
    assert_eq!(shown(&fresh.snapshot()), expected, "and so does who loads everything");
    store.close().await.unwrap();
    let again = Store::open(Config { clock, ..config(dir) }).unwrap();
    assert_eq!(shown(&again.snapshot()), expected, "and a restart");
    again.close().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_follower_sees_what_a_fresh_load_sees(steps in vec(step(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(dir.path(), steps));
    }
}

#[tokio::test]
async fn a_follower_folds_what_is_new_and_reloads_when_it_missed_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Moment::at(NOW));
    let store = Store::open(Config { clock: clock.clone(), ..config(dir.path()) }).unwrap();
    let data = dir.path().join("data");
    let hold = || Change::Hold { subject_ref: "ref".to_owned(), basis: "case".to_owned() };
    let release = || Change::Release { subject_ref: "ref".to_owned() };
    store.apply(batch().change(hold())).await.unwrap();
    let (prompt, late) = [(); 2].map(|()| Follower::open(&data, TenantId::main()).unwrap()).into();
    assert!(late.snapshot().is_held("ref"));
    assert_eq!(prompt.follow(clock.unix()).unwrap(), Followed::UpToDate);

    store.apply(batch().change(release())).await.unwrap();
    assert_eq!(prompt.follow(clock.unix()).unwrap(), Followed::Folded(1), "a tombstone");
    assert!(!prompt.snapshot().is_held("ref"));
    // Until the tombstone is swept.
    clock.advance(Duration::from_hours(48));
    store.apply(batch()).await.unwrap();
    assert_eq!(prompt.follow(clock.unix()).unwrap(), Followed::UpToDate, "it saw the tombstone in time");
    assert!(late.snapshot().is_held("ref"), "this one did not");
    assert_eq!(late.follow(clock.unix()).unwrap(), Followed::Reloaded);
    assert!(!late.snapshot().is_held("ref"));
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_erasure_leaves_no_name_behind_and_every_follower_loads_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    store.apply(batch().change(human("alice", HumanStatus::Active)).change(owned("planner", "alice"))).await.unwrap();
    store.apply(batch().record(about("alice"))).await.unwrap();
    let follower = Follower::open(&dir.path().join("data"), TenantId::main()).unwrap();
    assert!(follower.snapshot().human("alice").is_some());
    store.erase(&subject("alice"), about("bob")).await.unwrap();
    assert_eq!(follower.follow(UnixTime(NOW)).unwrap(), Followed::Reloaded, "there is no tombstone that would name her");
    assert!(!follower.snapshot().has_human("alice"));
    assert_eq!(shown(&follower.snapshot()), shown(&store.snapshot()));
    store.close().await.unwrap();
}

#[test]
fn a_directory_without_a_store_or_of_another_tenant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Follower::open(dir.path(), TenantId::main()).is_err());
    drop(Store::open(config(dir.path())).unwrap());
    assert!(Follower::open(&dir.path().join("data"), TenantId::parse("other").unwrap()).is_err());
    assert!(Follower::open(&dir.path().join("data"), TenantId::main()).is_ok());
}
