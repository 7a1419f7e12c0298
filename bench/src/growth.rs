//! What grows with the log, with the registry and with the chain, and what must not: appends, opening and erasing beside ten
//! thousand and ten million records; starting, memory, decisions and every road with 10 to 100,000 agents, and calls by
//! thousands of them in turn; 1 to 8 hops.

mod agents;
mod crowd;
mod erase;
mod hops;
mod roads;
mod server;
mod turn;

use crate::{
    Scale, append,
    rounds::{self, Figures},
    table::{Goal, Table},
};
use anyhow::{Context as _, Result};
use remit_store::Store;
use rusqlite::{Connection, params};
use std::{path::Path, time::Duration};

const SMALL: u64 = 10_000;
const WRITERS: usize = 8;

/// Bytes of a filled-in record. Real ones are longer; what counts here is the depth of the tables and of the tree.
const FILLER: usize = 200;

pub(crate) fn run(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    let runtime = append::runtime()?;
    let (small, _) = open(&runtime, &folder.join("small"), SMALL)?;
    let (large, ready) = open(&runtime, &folder.join("large"), scale.large)?;
    let (mut few, mut many) = (Figures::default(), Figures::default());
    for round in 0..scale.rounds {
        let measure = |store: &Store, figures: &mut Figures| -> Result<()> {
            let (_, waits) = runtime.block_on(append::load(store, WRITERS, scale.round))?;
            figures.push(waits.median());
            Ok(())
        };
        // Neither always comes first.
        if round % 2 == 0 {
            measure(&small, &mut few)?;
            measure(&large, &mut many)?;
        } else {
            measure(&large, &mut many)?;
            measure(&small, &mut few)?;
        }
    }
    let name = format!("append, {WRITERS} writers: {} against {SMALL} records", scale.large);
    table.against(&name, "µs", &many, &few, Some(Goal::AtMost(1.10)));
    let mut start = Figures::default();
    start.push(ready.as_secs_f64());
    table.alone(&format!("open a store of {} records", scale.large), "s", &start, Some(Goal::AtMost(3.0)));
    for (store, size) in [(&small, SMALL), (&large, scale.large)] {
        runtime.block_on(erase::run(store, size, table))?;
    }
    drop((small, large));
    agents::run(scale, table)?;
    server::run(&folder.join("servers"), scale, table)?;
    hops::run(&folder.join("hops"), scale, table)
}

/// A store whose log is filled up to `size` records, and how long it took to open. Its publisher rests: what it would
/// publish is filler.
fn open(runtime: &tokio::runtime::Runtime, folder: &Path, size: u64) -> Result<(Store, Duration)> {
    let config = || {
        let mut config = append::config(folder);
        config.publish_every = Duration::from_hours(24);
        config
    };
    let store = Store::open(config())?;
    runtime.block_on(async {
        store.apply(append::batch()).await?;
        anyhow::Ok(store.close().await?)
    })?;
    let count = store.len();
    drop(store);
    fill(&folder.join("data").join("remit.db"), count, size)?;
    let start = rounds::now();
    let store = Store::open(config())?;
    Ok((store, start.elapsed()))
}

/// Puts filler between the records that are there and the last of them, which moves to the end: a store continues from
/// its last record alone.
pub(crate) fn fill(database: &Path, count: u64, size: u64) -> Result<()> {
    let mut conn = Connection::open(database)?;
    conn.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -400000;",
    )?;
    let last = i64::try_from(count.checked_sub(1).context("an empty log")?)?;
    let end = i64::try_from(size.max(count + 1))?;
    let tx = conn.transaction()?;
    tx.execute("UPDATE records SET place = ?1 WHERE place = ?2", params![end, last])?;
    tx.execute("UPDATE sides SET place = ?1 WHERE place = ?2", params![end, last])?;
    // Real records would have moved this mark along.
    tx.execute("UPDATE meta SET value = ?1 WHERE name = 'sessions_upto'", [(end + 1).to_string()])?;
    {
        let mut insert =
            tx.prepare("INSERT INTO records (tenant, place, record_id, leaf_hash, bytes) VALUES ('main', ?1, ?2, ?3, ?4)")?;
        let (mut leaf, filler) = ([0_u8; 32], vec![0x5a_u8; FILLER]);
        for index in last..end {
            let (head, _) = leaf.split_at_mut(8);
            head.copy_from_slice(&index.to_be_bytes());
            insert.execute(params![index, format!("00000000-0000-7000-8000-{index:012x}"), leaf, filler])?;
        }
    }
    tx.commit()?;
    // Otherwise the next opener waits until gigabytes are written.
    conn.pragma_update(None, "journal_mode", "WAL")?;
    drop(conn);
    Ok(std::fs::File::open(database)?.sync_all()?)
}
