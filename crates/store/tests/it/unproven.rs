//! Refusals of callers that proved nothing: few records, exact counts. SPEC: X-10, TK-11.

use crate::fixture::{NOW, batch, config, draft};
use remit_clock::Clock;
use remit_ledger::{Record, Trust, verify};
use remit_model::{Code, bounds, time::Moment};
use remit_store::{Config, Store};
use serde_json::Value;
use std::{net::IpAddr, path::Path, time::Duration};

const ADDRESS: [u8; 4] = [192, 0, 2, 7];

/// The store, on the clock that goes on when it is opened again.
fn opened(dir: &Path, clock: &Clock) -> Store {
    Store::open(Config { clock: clock.clone(), ..config(dir) }).unwrap()
}

fn clock() -> Clock {
    Clock::manual(Moment::at(NOW))
}

/// What a part of the server does with such a refusal; how many had records of their own.
async fn refuse(store: &Store, action: &str, code: Code, times: u64) -> u64 {
    let mut alone = 0;
    for _ in 0..times {
        if store.records_refusal(action, code, Some(IpAddr::from(ADDRESS))) {
            store.apply(batch().note().record(draft(action))).await.unwrap();
            alone += 1;
        }
    }
    alone
}

async fn summaries(store: &Store) -> Vec<Value> {
    let records = store.records(0, 1_000).await.unwrap();
    let parsed = records.iter().map(|stored| Record::parse(&stored.bytes).unwrap());
    parsed
        .filter(|record| record.action() == "refusals.summarised")
        .map(|record| record.ext("refusals").unwrap().clone())
        .collect()
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_hour_of_a_flood_leaves_few_records_and_exact_counts() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = opened(dir.path(), &clock);
    let (mut sent, mut alone) = (0, 0);
    for second in 0..3_600 {
        for (action, code) in [("authority.token", Code::ClientUnauthenticated), ("mcp:request", Code::TokenMalformed)] {
            alone += refuse(&store, action, code, 10).await;
            sent += 10;
        }
        clock.advance(Duration::from_secs(1));
        if second % 2 == 0 {
            store.tend().await;
        }
    }
    let most = bounds::UNPROVEN_RECORDS.value() + 3_600 / bounds::UNPROVEN_EVERY.value();
    assert!(alone <= most, "{alone} of at most {most}");
    store.close().await.unwrap();
    let store = opened(dir.path(), &clock);
    let summaries = summaries(&store).await;
    assert!(summaries.len() <= 61, "{}", summaries.len());
    let counted: u64 = summaries.iter().map(|summary| number(&summary["count"])).sum();
    assert_eq!(alone + counted, sent, "each refusal is in the ledger once; the last ones by the stop");
    for summary in &summaries {
        let (first, last) = (number(&summary["first_ns"]), number(&summary["last_ns"]));
        assert!(first <= last && first >= NOW as u64 * 1_000_000_000, "{summary}");
        let kinds = summary["kinds"].as_array().unwrap();
        assert_eq!(kinds.iter().map(|kind| number(&kind["count"])).sum::<u64>(), number(&summary["count"]));
        assert!(kinds.iter().all(|kind| number(&kind["first_ns"]) >= first && number(&kind["last_ns"]) <= last));
    }
    store.close().await.unwrap();
    let report = verify(&dir.path().join("ledger"), &Trust::default());
    assert!(report.ok(), "{report}");
    assert!(
        !report.notes.iter().any(|note| note.contains("set back")),
        "no summary has an earlier time than what precedes it: {report}"
    );
}

#[tokio::test]
async fn a_stop_records_what_was_only_counted_before_the_stop_record() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = opened(dir.path(), &clock);
    let alone = refuse(&store, "authority.token", Code::ClientUnauthenticated, 1_000).await;
    assert!(summaries(&store).await.is_empty());
    store.close().await.unwrap();
    let store = opened(dir.path(), &clock);
    let summaries = summaries(&store).await;
    assert_eq!(summaries.iter().map(|summary| number(&summary["count"])).collect::<Vec<_>>(), [1_000 - alone]);
    let records = store.records(0, 1_000).await.unwrap();
    let names: Vec<_> = records.iter().map(|stored| Record::parse(&stored.bytes).unwrap().action().to_owned()).collect();
    let at = |name: &str| names.iter().position(|known| known == name).unwrap();
    assert!(at("refusals.summarised") < at("stop"), "{names:?}");
    let text = String::from_utf8(records[at("refusals.summarised")].bytes.clone()).unwrap();
    assert!(!text.contains("192.0.2.7"), "addresses are committed to, not written in plain");
    let side = records[at("refusals.summarised")].side.as_ref().unwrap();
    assert!(format!("{:?}", side.value("/refusals/samples")).contains("192.0.2.7"));
    store.close().await.unwrap();
}
