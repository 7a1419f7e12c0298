//! What a commit promises: grouping, isolation, order, visibility, backpressure.

use crate::fixture::{NOW, agent, batch, config, draft, open};
use futures_util::future::join_all;
use remit_model::{
    agent::AgentStatus,
    id::{AgentId, TenantId},
    time::UnixTime,
};
use remit_store::{ApplyError, Batch, Change, JtiKind, Precondition, Revocation, Store, StoreError};
use std::time::Duration;

#[tokio::test]
async fn many_batches_share_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let before = store.stats();
    let applied = join_all((0..256).map(|n| store.apply(batch().record(draft(&format!("call-{n}")))))).await;
    let mut indices: Vec<u64> = applied.into_iter().map(|applied| applied.unwrap().receipts[0].index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (1..257).collect::<Vec<_>>(), "gapless after the start record");
    let after = store.stats();
    assert_eq!(after.batches - before.batches, 256);
    let transactions = after.transactions - before.transactions;
    assert!(transactions <= 32, "{transactions} transactions for 256 batches");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_failed_precondition_undoes_its_batch_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let good = |n: u32| batch().once(JtiKind::Other, format!("good-{n}"), UnixTime(NOW + 60)).record(draft("good"));
    let bad = || {
        batch()
            .change(Change::PutAgent(agent("never")))
            .require(Precondition::Revision(999))
            .once(JtiKind::Other, "bad", UnixTime(NOW + 60))
            .record(draft("bad"))
    };
    let answers = join_all((0..60).map(|n| store.apply(if n % 3 == 1 { bad() } else { good(n) }))).await;
    for (n, answer) in answers.iter().enumerate() {
        if n % 3 == 1 {
            assert_eq!(*answer, Err(ApplyError::Conflict(Precondition::Revision(999))));
        } else {
            assert!(answer.is_ok(), "{answer:?}");
        }
    }
    assert_eq!(store.len(), 41, "the start record and forty good ones");
    assert!(store.snapshot().agent(&AgentId::parse("never").unwrap()).is_none());
    assert!(store.apply(batch().once(JtiKind::Other, "bad", UnixTime(NOW + 60))).await.is_ok(), "nothing of it stayed");
    store.close().await.unwrap();
}

#[tokio::test]
async fn rv_05_a_batch_that_comes_too_late_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = remit_testkit::clock();
    let store = Store::open(remit_testkit::quiet_config(dir.path(), clock.clone())).unwrap();
    let end = |before: i64| {
        let change = Change::RevokeIssued { criterion: "agent:a".into(), before: UnixTime(before), until: UnixTime(NOW + 600) };
        batch().require(Precondition::Before(UnixTime(before))).change(change)
    };
    clock.advance(Duration::from_secs(1));
    for late in [NOW, NOW + 1] {
        assert_eq!(store.apply(end(late)).await, Err(ApplyError::Conflict(Precondition::Before(UnixTime(late)))));
    }
    assert!(store.snapshot().revoked_before(&["agent:a".to_owned()], UnixTime(NOW - 1)).is_none());
    store.apply(end(NOW + 2)).await.unwrap();
    assert!(store.snapshot().revoked_before(&["agent:a".to_owned()], UnixTime(NOW + 1)).is_some());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_batch_that_fails_late_gives_back_its_place_in_the_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let too_large = draft("large").ext("large", "x".repeat(70_000).into());
    let answer = store.apply(batch().record(draft("first")).record(too_large)).await;
    assert!(matches!(answer, Err(ApplyError::Invalid(_))), "N-LG-09: {answer:?}");
    store.apply(batch().record(draft("second"))).await.unwrap();
    store.close().await.unwrap();
    assert!(open(dir.path()).close().await.is_ok());
}

#[tokio::test]
async fn the_snapshot_shows_a_batch_before_its_answer_and_its_revision_only_grows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let planner = AgentId::parse("planner").unwrap();
    let first = store.apply(batch().change(Change::PutAgent(agent("planner")))).await.unwrap();
    assert_eq!(store.snapshot().agent(&planner).unwrap().status, AgentStatus::Active);
    let old = store.snapshot();

    let quiet = store.apply(batch().record(draft("no visible change"))).await.unwrap();
    assert_eq!(quiet.revision, first.revision, "only what a snapshot shows counts");
    let stop = Change::SetAgentStatus { agent: planner.clone(), status: AgentStatus::Quarantined };
    let second = store.apply(batch().require(Precondition::Revision(first.revision)).change(stop.clone())).await.unwrap();
    assert_eq!(second.revision, first.revision + 1);
    assert_eq!(store.snapshot().agent(&planner).unwrap().status, AgentStatus::Quarantined);
    assert_eq!(old.agent(&planner).unwrap().status, AgentStatus::Active, "a held snapshot stays what it was");
    let stale = store.apply(batch().require(Precondition::Revision(first.revision)).change(stop)).await;
    assert!(matches!(stale, Err(ApplyError::Conflict(_))));
    store.close().await.unwrap();

    let again = open(dir.path());
    assert_eq!(again.snapshot().revision(), second.revision);
    assert_eq!(again.snapshot().agent(&planner).unwrap().status, AgentStatus::Quarantined);
    again.close().await.unwrap();
}

#[tokio::test]
async fn revocations_are_visible_at_once_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let until = UnixTime(NOW + 600);
    for what in [Revocation::Jti("parent".into()), Revocation::Txn("chain".into()), Revocation::Family("family".into())] {
        store.apply(batch().change(Change::Revoke { what, until })).await.unwrap();
    }
    let check = |store: &Store| {
        let now = store.snapshot();
        assert!(now.is_revoked("parent", [], "other"));
        assert!(now.is_revoked("child", ["root", "parent"], "other"), "a descendant dies with its ancestor");
        assert!(now.is_revoked("child", [], "chain"));
        assert!(!now.is_revoked("child", ["root"], "other"));
        assert!(now.has_revocation(&Revocation::Family("family".into())));
    };
    check(&store);
    store.close().await.unwrap();
    let again = open(dir.path());
    check(&again);
    again.close().await.unwrap();
}

/// However fast rows come: what a minute of requests left is gone soon after it expired.
#[tokio::test]
async fn what_expires_faster_than_one_step_a_second_goes_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let clock = config.clock.clone();
    let store = Store::open(config).unwrap();
    for n in 0..8 {
        let many = (0..500).fold(batch(), |batch, m| batch.once(JtiKind::Other, format!("{n} {m}"), UnixTime(NOW + 10)));
        store.apply(many).await.unwrap();
    }
    let left = || -> i64 {
        let conn = rusqlite::Connection::open(dir.path().join("data/remit.db")).unwrap();
        conn.query_row("SELECT count(*) FROM jtis", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(left(), 4_000);
    clock.advance(Duration::from_secs(1_000));
    for _ in 0..40 {
        store.apply(batch()).await.unwrap();
        clock.advance(Duration::from_millis(20));
    }
    assert_eq!(left(), 0);
    store.close().await.unwrap();
}

#[tokio::test]
async fn expired_rows_are_swept_and_live_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let clock = config.clock.clone();
    let store = Store::open(config).unwrap();
    for n in 0..600 {
        let what = Revocation::Jti(format!("t{n}"));
        store.apply(batch().change(Change::Revoke { what, until: UnixTime(NOW + 10) })).await.unwrap();
    }
    store
        .apply(batch().change(Change::Revoke { what: Revocation::Jti("late".into()), until: UnixTime(NOW + 99_999) }))
        .await
        .unwrap();
    let revision = store.snapshot().revision();
    for _ in 0..4 {
        clock.advance(Duration::from_secs(1_000));
        store.apply(batch()).await.unwrap();
        clock.advance(Duration::from_millis(20));
        store.apply(batch()).await.unwrap();
    }
    assert_eq!(store.snapshot().revocations(), 1);
    assert_eq!(store.snapshot().revision(), revision, "forgetting the expired changes no meaning");
    store.close().await.unwrap();
}

#[tokio::test]
async fn n_lg_12_two_opens_of_one_directory_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(Store::open(config(dir.path())), Err(StoreError::Locked(_))));
    let mut elsewhere = config(dir.path());
    elsewhere.data_dir = dir.path().join("copy");
    assert!(matches!(Store::open(elsewhere), Err(StoreError::Locked(_))), "nor two databases for one ledger");
    store.close().await.unwrap();
    open(dir.path()).close().await.unwrap();
}

#[tokio::test]
async fn another_tenants_batch_or_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let other = TenantId::parse("other").unwrap();
    assert!(matches!(store.apply(Batch::new(other)).await, Err(ApplyError::Invalid(_))));
    store.close().await.unwrap();
    let mut config = config(dir.path());
    config.log_origin = "remit.test/other".to_owned();
    assert!(matches!(Store::open(config), Err(StoreError::Foreign { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_pushes_back_and_then_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    (config.queue, config.queue_wait) = (1, Duration::from_millis(50));
    let store = Store::open(config).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("data/remit.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let mut waiting = Vec::new();
    for n in 0..2 {
        let store = store.clone();
        waiting.push(tokio::spawn(async move { store.apply(batch().record(draft(&format!("waits-{n}")))).await }));
        // PAUSE: one after the other, so that the writer holds the first and waits for the lock, and the second fills the queue.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let refused = store.apply(batch().record(draft("too many"))).await;
    assert!(matches!(refused, Err(ApplyError::Unavailable(_))), "{refused:?}");

    other.execute_batch("ROLLBACK").unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(store.len(), 3);
    store.close().await.unwrap();
    assert!(matches!(store.apply(batch()).await, Err(ApplyError::Unavailable(_))), "closed is closed");
}
