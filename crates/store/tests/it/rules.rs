//! Single use, budgets, rotation: what two racing callers must never both get.

use crate::fixture::{NOW, agent, batch, config, draft, open};
use futures_util::future::join_all;
use remit_model::{
    AgentStatus, Human, HumanStatus,
    authority::Authority,
    chain::Chain,
    id::{AgentId, Principal},
    time::UnixTime,
};
use remit_store::{
    ApplyError, Budget, Change, JtiKind, Party, Precondition, Revocation, Store, StoredCode, StoredRefresh, StoredToken,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

fn code(store: &Store) -> StoredCode {
    StoredCode {
        hash: store.keyed_hash("code", b"secret"),
        client: "agent:planner".to_owned(),
        subject: Principal::human("https://remit.test", "alice"),
        payload: json!({ "challenge": "c" }),
        expires: UnixTime(NOW + 60),
        used: None,
        failures: 0,
    }
}

fn refresh(store: &Store, secret: &str) -> StoredRefresh {
    StoredRefresh {
        hash: store.keyed_hash("refresh", secret.as_bytes()),
        family: "f1".to_owned(),
        client: "agent:planner".to_owned(),
        subject: Principal::human("https://remit.test", "alice"),
        jkt: Some("thumb".to_owned()),
        payload: json!({ "scope": "helpdesk:*" }),
        expires: UnixTime(NOW + 3_600),
        generation: 0,
        current: true,
    }
}

#[tokio::test]
async fn n_ac_01_of_many_redeemers_of_one_code_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let code = code(&store);
    store.apply(batch().change(Change::PutCode(code.clone()))).await.unwrap();
    let redeem = |n: u32| store.apply(batch().use_code(code.hash, format!("txn-{n}")).record(draft("redeemed")));
    let answers = join_all((0..32).map(redeem)).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.iter().all(|answer| answer.is_ok() || *answer == Err(ApplyError::Conflict(Precondition::Unused(code.hash)))));
    assert_eq!(store.len(), 2, "one record for one success");
    let winner = answers.iter().position(Result::is_ok).unwrap();
    let stored = store.code(code.hash).await.unwrap().unwrap();
    assert_eq!(stored.used, Some(format!("txn-{winner}")), "N-AC-04: a replay knows what to revoke");
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_expired_or_unknown_code_is_refused_and_failures_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let clock = config.clock.clone();
    let store = Store::open(config).unwrap();
    let code = code(&store);
    assert!(store.apply(batch().use_code(code.hash, "t")).await.is_err());
    assert!(matches!(store.apply(batch().change(Change::FailCode(code.hash))).await, Err(ApplyError::Invalid(_))));
    store.apply(batch().change(Change::PutCode(code.clone()))).await.unwrap();
    for _ in 0..3 {
        store.apply(batch().change(Change::FailCode(code.hash))).await.unwrap();
    }
    assert_eq!(store.code(code.hash).await.unwrap().unwrap(), StoredCode { failures: 3, ..code.clone() });
    clock.advance(Duration::from_mins(1));
    assert!(matches!(store.apply(batch().use_code(code.hash, "t")).await, Err(ApplyError::Conflict(_))));
    store.close().await.unwrap();
}

#[tokio::test]
async fn j_09_a_jti_is_accepted_once_per_kind() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let once = |kind| store.apply(batch().once(kind, "agent:planner/j1", UnixTime(NOW + 60)));
    let answers = join_all((0..16).map(|_| once(JtiKind::ClientAssertion))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(once(JtiKind::Statement).await.is_ok(), "kinds are separate spaces");
    store.close().await.unwrap();
    let again = open(dir.path());
    let late = again.apply(batch().once(JtiKind::ClientAssertion, "agent:planner/j1", UnixTime(NOW + 60))).await;
    assert!(matches!(late, Err(ApplyError::Conflict(Precondition::Once { .. }))), "also after a restart");
    again.close().await.unwrap();
}

#[tokio::test]
async fn a_budget_is_never_overspent_by_racing_calls() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let spend = |add| {
        let budget = Budget { key: "txn/g1/calls".to_owned(), add, limit: 100, until: None };
        store.apply(batch().require(Precondition::Budget(budget)).record(draft("spent")))
    };
    let answers = join_all((0..64).map(|_| spend(7))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 14);
    assert_eq!(store.spent("txn/g1/calls").await.unwrap(), 98);
    assert!(spend(2).await.is_ok(), "what is left can be spent");
    assert!(matches!(spend(1).await, Err(ApplyError::Conflict(_))));
    assert!(matches!(spend(-1).await, Err(ApplyError::Invalid(_))));
    assert!(spend(i64::MAX).await.is_err(), "no overflow");
    let give_back = Change::Spend { key: "txn/g1/calls".to_owned(), amount: -7, until: None };
    store.apply(batch().change(give_back)).await.unwrap();
    assert_eq!(store.spent("txn/g1/calls").await.unwrap(), 93);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_budget_without_an_end_is_counted_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let clock = config.clock.clone();
    let store = Store::open(config).unwrap();
    let spend = |key: &str, until| {
        let budget = Budget { key: key.to_owned(), add: 1, limit: 3, until };
        store.apply(batch().require(Precondition::Budget(budget)))
    };
    let (soon, never) = (Some(UnixTime(NOW + 60)), None);
    spend("kept", never).await.unwrap();
    for (key, until) in [("kept", soon), ("ends", soon), ("ends", soon), ("becomes kept", soon), ("becomes kept", never)] {
        spend(key, until).await.unwrap();
    }
    for _ in 0..3 {
        clock.advance(Duration::from_hours(24 * 4_000));
        store.apply(batch()).await.unwrap();
    }
    for (key, spent) in [("kept", 2), ("ends", 0), ("becomes kept", 2)] {
        assert_eq!(store.spent(key).await.unwrap(), spent, "{key}");
    }
    spend("kept", soon).await.unwrap();
    assert!(spend("kept", soon).await.is_err(), "exact to the last one, ten years later");
    store.close().await.unwrap();
}

/// What may end between the look at a request and its commit.
fn ends() -> Vec<(&'static str, Change)> {
    let until = UnixTime(NOW + 600);
    let revoke = |what| Change::Revoke { what, until };
    let stop = |name: &str, status| Change::SetAgentStatus { agent: AgentId::parse(name).unwrap(), status };
    vec![
        ("the caller is quarantined", stop("worker", AgentStatus::Quarantined)),
        ("the caller is retired", stop("worker", AgentStatus::Retired)),
        ("an agent of the chain is quarantined", stop("planner", AgentStatus::Quarantined)),
        ("the person is disabled", Change::PutHuman(alice(HumanStatus::Disabled))),
        ("the token is revoked", revoke(Revocation::Jti("own".to_owned()))),
        ("a token it descends from is revoked", revoke(Revocation::Jti("parent".to_owned()))),
        ("the chain is revoked", revoke(Revocation::Txn("chain".to_owned()))),
    ]
}

fn alice(status: HumanStatus) -> Human {
    let name = "alice".to_owned();
    Human {
        display_name: name.clone(),
        name,
        status,
        password_hash: None,
        entitlements: Authority::none(),
        identity: None,
        ended_before: None,
        passkeys: remit_model::Passkeys::default(),
        managed: remit_model::Managed::default(),
    }
}

fn active() -> Precondition {
    let agents = ["worker", "planner"].map(|name| Party::Agent(AgentId::parse(name).unwrap()));
    let parties = agents.into_iter().chain([Party::Human("alice".to_owned())]).collect();
    Precondition::Active {
        parties,
        tokens: vec!["own".to_owned(), "parent".to_owned()],
        txn: "chain".to_owned(),
        since: None,
        keys: Vec::new(),
        issued: Box::default(),
    }
}

async fn with_parties(store: &Store) {
    let agents = ["worker", "planner"].map(|name| Change::PutAgent(agent(name)));
    let all = agents.into_iter().fold(batch(), remit_store::Batch::change);
    store.apply(all.change(Change::PutHuman(alice(HumanStatus::Active)))).await.unwrap();
}

#[tokio::test]
async fn a_party_that_was_disabled_meanwhile_is_refused_at_the_commit() {
    for (what, end) in ends() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let unregistered = store.apply(batch().require(active()).record(draft("early"))).await;
        assert_eq!(unregistered, Err(ApplyError::Conflict(active())), "who was never registered may do nothing");
        with_parties(&store).await;
        let other = Change::Revoke { what: Revocation::Jti("another".to_owned()), until: UnixTime(NOW + 600) };
        store.apply(batch().change(other)).await.unwrap();
        store.apply(batch().require(active()).record(draft("before"))).await.unwrap();
        let before = store.len();
        // In one group: the second is decided after the first, whatever snapshot its caller had looked at.
        let (ended, refused) = tokio::join!(
            store.apply(batch().change(end)),
            store.apply(batch().require(active()).once(JtiKind::Other, "j", UnixTime(NOW + 60)).record(draft("after")))
        );
        ended.unwrap();
        assert_eq!(refused, Err(ApplyError::Conflict(active())), "{what}");
        assert_eq!(store.len(), before, "{what}");
        assert!(store.apply(batch().once(JtiKind::Other, "j", UnixTime(NOW + 60))).await.is_ok(), "nothing was used up");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_family_revocation_or_the_end_of_another_party_stops_no_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    with_parties(&store).await;
    let stranger = Change::PutAgent(remit_model::Agent { status: AgentStatus::Retired, ..agent("stranger") });
    let family = Change::Revoke { what: Revocation::Family("chain".to_owned()), until: UnixTime(NOW + 600) };
    store.apply(batch().change(stranger).change(family)).await.unwrap();
    assert!(store.apply(batch().require(active())).await.is_ok());
    let no_party = Precondition::Active {
        parties: Vec::new(),
        tokens: Vec::new(),
        txn: "chain".to_owned(),
        since: None,
        keys: Vec::new(),
        issued: Box::default(),
    };
    assert!(store.apply(batch().require(no_party)).await.is_ok());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_failed_batch_counts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let budget = Budget { key: "k".to_owned(), add: 1, limit: 10, until: None };
    let mixed = batch().require(Precondition::Budget(budget)).require(Precondition::Revision(77));
    assert!(store.apply(mixed).await.is_err());
    assert_eq!(store.spent("k").await.unwrap(), 0);
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_refused_after_it_wrote_leaves_its_neighbours_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let before = store.len();
    // Every third batch takes an identifier and a budget and is then refused.
    let one = |n: u32| {
        let until = UnixTime(NOW + 60);
        let budget = Budget { key: "shared".to_owned(), add: 1, limit: 1_000, until: None };
        let whole = batch().once(JtiKind::ClientAssertion, format!("j{n}"), until).require(Precondition::Budget(budget));
        let whole = if n.is_multiple_of(3) { whole.require(Precondition::Revision(77)) } else { whole };
        store.apply(whole.record(draft(&format!("call-{n}"))))
    };
    let answers = join_all((0..60).map(one)).await;
    for (n, answer) in (0_u32..).zip(&answers) {
        assert_eq!(answer.is_err(), n.is_multiple_of(3), "{n}: {answer:?}");
    }
    assert_eq!(store.spent("shared").await.unwrap(), 40);
    assert_eq!(store.len(), before + 40);
    let indices: Vec<u64> = answers.iter().flatten().map(|applied| applied.receipts[0].index).collect();
    assert_eq!(indices, (before..before + 40).collect::<Vec<_>>(), "no gap, and in order");
    for n in (0..60).step_by(3) {
        let again = batch().once(JtiKind::ClientAssertion, format!("j{n}"), UnixTime(NOW + 60));
        assert!(store.apply(again).await.is_ok(), "the identifier of a refused batch is still free");
    }
    store.close().await.unwrap();
    let ledger = remit_ledger::Reader::open(&dir.path().join("ledger")).unwrap();
    assert!(ledger.len() > before + 40);
}

#[tokio::test]
async fn a_refresh_token_rotates_once_and_dies_with_its_family() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (first, second, third) = (refresh(&store, "1"), refresh(&store, "2"), refresh(&store, "3"));
    store.apply(batch().change(Change::PutRefresh(first.clone()))).await.unwrap();
    let answers = join_all([
        store.apply(batch().rotate_refresh(first.hash, second.clone())),
        store.apply(batch().rotate_refresh(first.hash, third.clone())),
    ])
    .await;
    assert!(answers[0].is_ok() && matches!(answers[1], Err(ApplyError::Conflict(_))));
    assert!(!store.refresh(first.hash).await.unwrap().unwrap().current, "reuse is visible to the caller");
    let stored = store.refresh(second.hash).await.unwrap().unwrap();
    assert_eq!(stored, StoredRefresh { generation: 1, ..second.clone() });

    let revoke = Change::Revoke { what: Revocation::Family("f1".to_owned()), until: UnixTime(NOW + 3_600) };
    store.apply(batch().change(revoke)).await.unwrap();
    assert!(!store.refresh(second.hash).await.unwrap().unwrap().current);
    assert!(store.apply(batch().rotate_refresh(second.hash, third)).await.is_err());
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_issued_token_and_a_pinned_object_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let token = StoredToken {
        jti: "j1".to_owned(),
        chain: Chain::new("txn-1".to_owned(), Principal::human("https://as.test", "alice")),
        authority: Authority::none(),
        parent: None,
        client: "agent:planner".to_owned(),
        jkt: Some("thumb".to_owned()),
        audience: "https://as.test/mcp/helpdesk".to_owned(),
        issued: UnixTime(NOW),
        expires: UnixTime(NOW + 600),
        family: None,
        keys: Vec::new(),
    };
    let token = Arc::new(token);
    store.apply(batch().change(Change::IssueToken(Arc::clone(&token)))).await.unwrap();
    assert_eq!(store.token("j1").await.unwrap(), Some(Arc::clone(&token)));
    assert_eq!(store.token("j2").await.unwrap(), None);
    let again = store.apply(batch().change(Change::IssueToken(Arc::clone(&token)))).await;
    assert!(matches!(again, Err(ApplyError::Invalid(_))), "a jti is issued once");
    store.apply(batch().change(Change::PutObject(b"abc".to_vec()))).await.unwrap();
    let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(store.object(name).await.unwrap().as_deref(), Some(&b"abc"[..]));
    store.publish().await.unwrap();
    assert_eq!(std::fs::read(store.ledger_dir().join("objects").join(name)).unwrap(), b"abc");
    store.close().await.unwrap();
    let store = open(dir.path());
    for _ in 0..2 {
        assert_eq!(store.token("j1").await.unwrap(), Some(Arc::clone(&token)), "read from the row, and once it was read");
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn keyed_hashes_depend_on_purpose_and_pepper() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(one.path());
    let mut other = config(two.path());
    other.pepper = remit_store::Secret::new([9; 32]);
    let other = Store::open(other).unwrap();
    assert_eq!(store.keyed_hash("code", b"s"), store.keyed_hash("code", b"s"));
    assert_ne!(store.keyed_hash("code", b"s"), store.keyed_hash("refresh", b"s"));
    assert_ne!(store.keyed_hash("code", b"s"), other.keyed_hash("code", b"s"));
    store.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn several_tokens_are_read_at_once_and_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let token = |jti: &str| StoredToken {
        jti: jti.to_owned(),
        chain: Chain::new("t".to_owned(), Principal::local("https://remit.test", "agent:a")),
        authority: Authority::none(),
        parent: None,
        client: "agent:a".to_owned(),
        jkt: None,
        audience: String::new(),
        issued: UnixTime(NOW),
        expires: UnixTime(NOW + 600),
        family: None,
        keys: Vec::new(),
    };
    let jtis = ["c", "nobody's", "a", "b'\"]"].map(str::to_owned);
    let store = open(dir.path());
    for jti in ["a", "b'\"]", "c"] {
        store.apply(batch().change(Change::IssueToken(Arc::new(token(jti))))).await.unwrap();
    }
    store.close().await.unwrap();
    // Nothing is remembered: every one comes from the database, and the second time none.
    let store = open(dir.path());
    for _ in 0..2 {
        let found = store.tokens(&jtis).await.unwrap();
        let found: Vec<Option<&str>> = found.iter().map(|token| token.as_ref().map(|token| token.jti.as_str())).collect();
        assert_eq!(found, [Some("c"), None, Some("a"), Some("b'\"]")]);
    }
    assert!(store.tokens(&[]).await.unwrap().is_empty());
}
