//! Publishes the log from SQL into the ledger directory, off the path: entries, tiles, side values, pinned objects and
//! the signed checkpoint. SPEC: LG-06 to LG-17.
//!
//! SQL is the truth and only grows; the directory is a copy that may lag and is resumed from its own checkpoint. The
//! one thing that must never happen is a checkpoint that contradicts an earlier one, so a directory is continued only
//! after its head was found to be a prefix of what SQL holds.

use crate::{
    commit::group_commit::Group,
    commit::writer::Job,
    config::{Config, Secret, StoreError},
    db::sqlite,
    handles::Shared,
    log::witness::{Sighting, Witnesses, Witnessing},
    vault::Vault,
};
use remit_clock::Clock;
use remit_ledger::{
    Checkpoint, Hash, Reader, Writer,
    dir::{Published, WriteError},
    note::SigningKey,
    tile::{Level, Tile, WIDTH},
    tree::{Frontier, Range},
};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc as blocking},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Records handed to the ledger's writer at once; bounds memory while a long backlog is published.
const CHUNK: u32 = 2_048;

/// Remembered heads: the newest is all that is ever needed, the others are for a human who looks.
const HEADS_KEPT: u32 = 16;

/// Witnesses that were not enough are asked again for the same head after so long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How far the publisher stands back from the threads that somebody waits for, as `nice` counts: it gets a fifth of a core
/// that two of them fill, and a tenth beside four. Publishing takes less than a tenth of what requests take, so it falls
/// behind only where several servers' work is asked of one core, and catches up afterwards.
#[cfg(target_os = "linux")]
const BEHIND: i32 = 3;

/// An idle store sweeps what has expired once in so many rounds, and while there is more, so long after it did.
const SWEEP_ROUNDS: u32 = 32;
const SWEEP_AGAIN: Duration = Duration::from_millis(50);

pub(crate) enum Order {
    Now(oneshot::Sender<Result<(), StoreError>>),
    /// Destroys the values whose time has come; answers for how many records.
    Retain(oneshot::Sender<Result<usize, StoreError>>),
    Stop(oneshot::Sender<Result<(), StoreError>>),
}

/// What the publisher sees of the rest of the store.
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: mpsc::Sender<Job>,
}

pub(crate) struct Publisher {
    dir: PathBuf,
    origin: String,
    seed: Secret,
    pub(crate) tenant: String,
    pub(crate) vault: Vault,
    pub(crate) clock: Clock,
    pub(crate) conn: Connection,
    backfill: Connection,
    /// `None` after a failure: the directory is then opened and compared again, as at start.
    pub(crate) ledger: Option<Writer>,
    vkey: String,
    witnesses: Option<Arc<dyn Witnesses>>,
    /// The published head has the cosignatures it needs.
    witnessed: bool,
}

impl Publisher {
    /// Opens the ledger directory and refuses one that SQL's first `count` records do not extend, and the same of what
    /// witnesses have seen. Gives back how many records it already covers.
    pub(crate) fn open(
        path: &Path,
        config: &Config,
        vault: Vault,
        count: u64,
        witnessing: Witnessing,
    ) -> Result<(Self, u64), StoreError> {
        let mut publisher = Self {
            dir: config.ledger_dir.clone(),
            origin: config.log_origin.clone(),
            seed: config.log_key.clone(),
            tenant: config.tenant.as_str().to_owned(),
            vault,
            clock: config.clock.clone(),
            conn: sqlite::open_reader(path)?,
            backfill: sqlite::open_backfill(path)?,
            ledger: None,
            vkey: String::new(),
            witnesses: witnessing.witnesses,
            witnessed: true,
        };
        publisher.vkey = publisher.key()?.public().to_string();
        for sighting in &witnessing.seen {
            publisher.holds(sighting, count)?;
        }
        let ledger = publisher.resume(count)?;
        let published = ledger.size();
        publisher.ledger = Some(ledger);
        Ok((publisher, published))
    }

    /// The verifier key of the checkpoints.
    pub(crate) fn vkey(&self) -> &str {
        &self.vkey
    }

    pub(crate) fn run(mut self, desk: &Desk, inbox: &blocking::Receiver<Order>, every: Duration) {
        stand_back();
        let mut rounds = 0_u32;
        let patience = u32::try_from(ASK_AGAIN.as_millis().div_ceil(every.as_millis().max(1))).unwrap_or(u32::MAX).max(1);
        let mut waited = Duration::ZERO;
        loop {
            let rest = every.saturating_sub(waited);
            let pause = if desk.shared.behind.load(Ordering::Relaxed) { rest.min(SWEEP_AGAIN) } else { rest };
            match inbox.recv_timeout(pause) {
                Ok(Order::Now(answer)) => {
                    let _ = answer.send(self.publish(desk));
                }
                Ok(Order::Retain(answer)) => {
                    let _ = answer.send(self.publish(desk).and_then(|()| self.retain_all(desk)));
                }
                Ok(Order::Stop(answer)) => {
                    let result = self.publish(desk);
                    // The directory's lock is free before the caller hears of it.
                    drop(self);
                    let _ = answer.send(result);
                    return;
                }
                Err(blocking::RecvTimeoutError::Timeout) if pause < rest => {
                    waited += pause;
                    let _ = desk.writer.try_send(Job::Aside(Box::new(|group: &mut Group| group.tend(false))));
                }
                Err(blocking::RecvTimeoutError::Timeout) => {
                    waited = Duration::ZERO;
                    if let Err(error) = self.publish(desk) {
                        tracing::error!(%error, "the ledger directory could not be brought up to date; will try again");
                    }
                    self.backfill(desk);
                    rounds = rounds.wrapping_add(1);
                    if !self.witnessed && rounds.is_multiple_of(patience) {
                        self.ask_again();
                    }
                    if rounds.is_multiple_of(SWEEP_ROUNDS)
                        && let Err(error) = self.retain(desk)
                    {
                        tracing::error!(%error, "values whose time has come could not be destroyed; will try again");
                    }
                    let sweep = rounds.is_multiple_of(SWEEP_ROUNDS);
                    let _ = desk.writer.try_send(Job::Aside(Box::new(move |group: &mut Group| group.tend(sweep))));
                }
                Err(blocking::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Moves the write-ahead log into the database, so that the writer need not while callers wait for it.
    fn backfill(&self, desk: &Desk) {
        let _alone = desk.shared.backfilling();
        if let Err(error) = self.backfill.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::debug!(%error, "the write-ahead log could not be emptied; the writer will do it");
        }
    }

    fn retain_all(&mut self, desk: &Desk) -> Result<usize, StoreError> {
        let mut count = 0;
        loop {
            match self.retain(desk)? {
                0 => return Ok(count),
                more => count += more,
            }
        }
    }

    fn publish(&mut self, desk: &Desk) -> Result<(), StoreError> {
        let committed = desk.shared.committed.load(Ordering::Acquire);
        let mut ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => self.resume(committed)?,
        };
        self.objects(&ledger, desk)?;
        while ledger.size() < committed {
            // CRASH: inside, the old checkpoint stands; after, the directory is ahead of `checkpoints` and of nothing else.
            let head = self.chunk(&mut ledger)?;
            desk.shared.published.store(head.size, Ordering::Release);
            desk.shared.counts.checkpoints.fetch_add(1, Ordering::Relaxed);
            self.remember(&head, desk)?;
        }
        self.ledger = Some(ledger);
        Ok(())
    }

    /// Publishes the next records and signs the head that covers them.
    fn chunk(&mut self, ledger: &mut Writer) -> Result<Checkpoint, StoreError> {
        let start = ledger.size();
        let (witnesses, mut enough) = (self.witnesses.clone(), true);
        let mut select = self.conn.prepare_cached(
            "SELECT r.bytes, s.body FROM records AS r LEFT JOIN sides AS s ON s.tenant = r.tenant AND s.idx = r.idx
             WHERE r.tenant = ?1 AND r.idx >= ?2 ORDER BY r.idx LIMIT ?3",
        )?;
        let rows = select
            .query_map(params![self.tenant, signed(start), CHUNK], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<Vec<u8>>>(1)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() {
            return Err(StoreError::Corrupt(format!("record {start} is missing")));
        }
        let entries: Vec<Published<'_>> = rows.iter().map(|(entry, side)| Published { entry, side: side.as_deref() }).collect();
        let head = ledger.publish_witnessed(start, &entries, &mut |log| {
            let said = witnesses.as_ref().map(|witnesses| witnesses.cosign(log)).unwrap_or_default();
            enough = said.enough || witnesses.is_none();
            said.lines
        });
        let head = head.map_err(|error| self.refused(error))?;
        drop(select);
        self.witnessed = enough;
        Ok(head)
    }

    /// Asks the witnesses once more about the head that stands: without new records nothing else would.
    fn ask_again(&mut self) {
        let (Some(witnesses), Some(mut ledger)) = (self.witnesses.clone(), self.ledger.take()) else { return };
        let mut enough = false;
        let asked = ledger.witness_again(&mut |log| {
            let said = witnesses.cosign(log);
            enough = said.enough;
            said.lines
        });
        match asked {
            Ok(()) => {
                self.ledger = Some(ledger);
                self.witnessed = enough;
            }
            Err(error) => tracing::error!(%error, "the checkpoint could not be witnessed; will try again"),
        }
    }

    /// Pins objects before the records that name them.
    fn objects(&self, ledger: &Writer, desk: &Desk) -> Result<(), StoreError> {
        let mut select = self.conn.prepare_cached("SELECT sha256, bytes FROM objects WHERE tenant = ?1 AND published = 0")?;
        let rows = select
            .query_map([&self.tenant], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        for (name, bytes) in rows {
            ledger.put_object(&bytes).map_err(|error| self.refused(error))?;
            let tenant = self.tenant.clone();
            aside(desk, move |conn| {
                conn.execute("UPDATE objects SET published = 1 WHERE tenant = ?1 AND sha256 = ?2", params![tenant, name])
                    .map(drop)
            })?;
        }
        Ok(())
    }

    /// Notes in SQL what was signed, so that the next start need not walk the whole log to compare.
    fn remember(&self, head: &Checkpoint, desk: &Desk) -> Result<(), StoreError> {
        let (tenant, size, root) = (self.tenant.clone(), signed(head.size), head.root);
        aside(desk, move |conn| {
            conn.prepare_cached("INSERT OR REPLACE INTO checkpoints (tenant, size, root) VALUES (?1, ?2, ?3)")?
                .execute(params![tenant, size, root.as_bytes()])?;
            conn.prepare_cached(
                "DELETE FROM checkpoints WHERE tenant = ?1 AND size NOT IN
                 (SELECT size FROM checkpoints WHERE tenant = ?1 ORDER BY size DESC LIMIT ?2)",
            )?
            .execute(params![tenant, HEADS_KEPT])
            .map(drop)
        })
    }

    /// Opens the directory and proves that its head is a prefix of SQL's log. SPEC: LG-17, N-LG-04.
    fn resume(&self, count: u64) -> Result<Writer, StoreError> {
        let ledger = Writer::open(&self.dir, self.key()?).map_err(|error| self.refused(error))?;
        let head = ledger.checkpoint();
        if head.size > count {
            return Err(StoreError::LedgerAhead { directory: head.size, database: count });
        }
        if self.root(head.size)? != head.root {
            let reason = match self.first_difference(head.size)? {
                Some(index) => format!("record {index} is the first that differs"),
                None => format!("the first {} records have another root than its checkpoint says", head.size),
            };
            return Err(StoreError::LedgerInconsistent(reason));
        }
        Ok(ledger)
    }

    /// SQL's log holds what a witness saw of it. SPEC: LG-17, N-LG-04.
    fn holds(&self, seen: &Sighting, count: u64) -> Result<(), StoreError> {
        let (witness, size) = (seen.witness.clone(), seen.size);
        if size > count {
            return Err(StoreError::WitnessAhead { witness, size, database: count });
        }
        let Some(root) = seen.root else { return Ok(()) };
        if self.root(size)? == root {
            return Ok(());
        }
        // The directory may still hold the history that the witness saw.
        let reader = Reader::open(&self.dir).ok().filter(|reader| reader.len() >= size);
        let held = reader.and_then(|reader| reader.subtree(Range { start: 0, end: size }).ok());
        let first = if held == Some(root) { self.first_difference(size)? } else { None };
        Err(StoreError::WitnessFork { witness, size, first })
    }

    /// The first of `size` records that is not in SQL what the directory's tiles say; `None` when these do not say.
    fn first_difference(&self, size: u64) -> Result<Option<u64>, StoreError> {
        let Ok(reader) = Reader::open(&self.dir) else { return Ok(None) };
        let mut select = self.conn.prepare("SELECT leaf_hash FROM records WHERE tenant = ?1 AND idx < ?2 ORDER BY idx")?;
        let rows = select.query_map(params![self.tenant, signed(size)], |row| row.get(0).map(Hash))?;
        let mut tile: Vec<Hash> = Vec::new();
        for (index, leaf) in (0_u64..).zip(rows) {
            if index.is_multiple_of(WIDTH) {
                let Some(at) = Tile::holding(Level::Hashes(0), index, reader.len()) else { return Ok(None) };
                let Ok(hashes) = reader.hashes(at) else { return Ok(None) };
                tile = hashes;
            }
            let published = usize::try_from(index % WIDTH).ok().and_then(|at| tile.get(at));
            if published != Some(&leaf?) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The root over SQL's first `size` records: remembered, or else computed from every leaf.
    fn root(&self, size: u64) -> Result<Hash, StoreError> {
        let known: Option<[u8; 32]> = self
            .conn
            .query_row(
                "SELECT root FROM checkpoints WHERE tenant = ?1 AND size = ?2",
                params![self.tenant, signed(size)],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(root) = known {
            return Ok(Hash(root));
        }
        let mut frontier = Frontier::default();
        let mut select = self.conn.prepare("SELECT leaf_hash FROM records WHERE tenant = ?1 AND idx < ?2 ORDER BY idx")?;
        for leaf in select.query_map(params![self.tenant, signed(size)], |row| row.get(0))? {
            frontier.push(Hash(leaf?));
        }
        Ok(frontier.root())
    }

    fn key(&self) -> Result<SigningKey, StoreError> {
        SigningKey::from_seed(&self.origin, self.seed.expose()).map_err(|error| StoreError::Ledger(error.to_string()))
    }

    fn refused(&self, error: WriteError) -> StoreError {
        match error {
            WriteError::Locked => StoreError::Locked(self.dir.clone()),
            WriteError::Checkpoint(_) | WriteError::Damaged | WriteError::Overtaken | WriteError::Fork { .. } => {
                StoreError::LedgerInconsistent(error.to_string())
            }
            error => StoreError::Ledger(error.to_string()),
        }
    }
}

/// Lets this thread run after those that answer requests: publishing comes in bursts, and would hold them up.
fn stand_back() {
    // Elsewhere than on Linux it would be the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(BEHIND) {
        tracing::debug!(%error, "publishing runs at the priority of requests");
    }
}

/// Runs a statement on the writer's connection, between groups: SQLite has one writer, and it stays one.
pub(crate) fn aside(
    desk: &Desk,
    work: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
) -> Result<(), StoreError> {
    crate::log::retention::on_writer(desk, move |group| group.aside(work))
}

pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
