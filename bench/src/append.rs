//! Durable appends: records acknowledged in a second, and how long each waited, with 1, 8 and 64 writers at once.

use crate::{Scale, floor::Floor, rounds, rounds::Figures, table::Table};
use anyhow::Result;
use remit_clock::Clock;
use remit_ledger::record::{DecisionFacts, DecisionResult, Party, PartyKind, ProducerKind, RecordType};
use remit_model::{id::TenantId, resource::ToolClass};
use remit_store::{Batch, Config, Draft, Store};
use serde_json::json;
use std::{path::Path, time::Duration};
use tokio::runtime::Runtime;

const WRITERS: [usize; 3] = [1, 8, 64];

pub(crate) fn run(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    let runtime = runtime()?;
    let store = Store::open(config(folder))?;
    let length = runtime.block_on(async {
        let applied = store.apply(batch()).await?;
        let index = applied.receipts.first().map_or(0, |receipt| receipt.index);
        let stored = store.record(index).await?;
        anyhow::Ok(stored.map_or(2_048, |record| record.bytes.len()))
    })?;
    let mut floor = Floor::new(folder, length)?;
    let mut disk = Figures::default();
    let mut floors: [Figures; 3] = Default::default();
    let mut products: [Figures; 3] = Default::default();
    let mut waits: [Figures; 3] = Default::default();
    let mut groups: [Figures; 3] = Default::default();
    for _ in 0..scale.rounds {
        disk.push(rounds::rate(scale.round, || floor.sync())?);
        for (at, writers) in WRITERS.into_iter().enumerate() {
            let (Some(ours), Some(best), Some(wait), Some(group)) =
                (products.get_mut(at), floors.get_mut(at), waits.get_mut(at), groups.get_mut(at))
            else {
                continue;
            };
            #[expect(clippy::cast_precision_loss, reason = "small")]
            best.push(rounds::rate(scale.round, || floor.group(writers))? * writers as f64);
            let before = store.stats();
            let (rate, waited) = runtime.block_on(load(&store, writers, scale.round))?;
            let after = store.stats();
            ours.push(rate);
            wait.extend(waited);
            #[expect(clippy::cast_precision_loss, reason = "small")]
            group.push((after.records - before.records) as f64 / (after.transactions - before.transactions).max(1) as f64);
        }
    }
    table.alone("fdatasync of the disk", "per s", &disk, None);
    for (at, writers) in WRITERS.into_iter().enumerate() {
        let (Some(ours), Some(best), Some(wait), Some(group)) = (products.get(at), floors.get(at), waits.get(at), groups.get(at))
        else {
            continue;
        };
        let name = format!("durable appends, {writers} writer{}", if writers == 1 { "" } else { "s" });
        table.against(&name, "records/s", ours, best, None);
        for (word, q) in [("p50", 0.5), ("p99", 0.99)] {
            let mut figure = Figures::default();
            figure.push(wait.quantile(q));
            table.alone(&format!("append to acknowledgement, {writers} writers, {word}"), "µs", &figure, None);
        }
        table.alone(&format!("records per fsync, {writers} writers"), "records", group, None);
    }
    runtime.block_on(store.close())?;
    Ok(())
}

/// So many writers, each waiting for its acknowledgement before it appends again.
pub(crate) async fn load(store: &Store, writers: usize, span: Duration) -> Result<(f64, Figures)> {
    let start = rounds::now();
    let tasks = (0..writers).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut waits = Figures::default();
            let mut count = 0_u32;
            while start.elapsed() < span {
                let asked = rounds::now();
                store.apply(batch()).await?;
                waits.push(asked.elapsed().as_secs_f64() * 1e6);
                count += 1;
            }
            anyhow::Ok((count, waits))
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let (mut total, mut all) = (0_u32, Figures::default());
    for task in tasks {
        let (count, waits) = task.await??;
        total += count;
        all.extend(waits);
    }
    Ok((f64::from(total) / start.elapsed().as_secs_f64(), all))
}

pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// A store of the defaults of `remit serve`.
pub(crate) fn config(folder: &Path) -> Config {
    Config { spool_bytes: Config::SPOOL_BYTES, ..remit_testkit::store_config(folder, Clock::system()) }
}

/// One decision about a call by an agent for a person, with its arguments and a question committed.
pub(crate) fn batch() -> Batch {
    let issuer = "https://remit.bench";
    let mut facts = DecisionFacts::new(DecisionResult::Allow);
    facts.input = Some(json!({ "action": "tickets_read", "id": "T-1001", "chain": ["user:alice", "agent:planner"] }));
    let draft = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision)
        .action("tickets_read", ToolClass::Read)
        .chain(vec![Party::new(PartyKind::Human, issuer, "user:alice"), Party::new(PartyKind::Agent, issuer, "agent:planner")])
        .decision(facts)
        .request(json!({ "id": "T-1001" }))
        .response(json!({ "id": "T-1001", "subject": "Printer on fire", "status": "open" }));
    Batch::new(TenantId::main()).record(draft)
}
