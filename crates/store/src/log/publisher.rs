//! Publishes the log from SQL into the ledger directory, off the path: entries, tiles, side values, pinned objects and
//! the signed checkpoint. SPEC: LG-06 to LG-17.
//!
//! SQL is the truth and only grows; the directory is a copy that may lag and is resumed from its own checkpoint. The
//! one thing that must never happen is a checkpoint that contradicts an earlier one, so a directory is continued only
//! after its head was found to be a prefix of what SQL holds.

use super::witness::{Sighting, Witnesses, Witnessing};
use crate::{
    commit::command::Command,
    config::{Config, Secret, StoreError},
    db::{
        group::Task,
        sqlite::{Backfill, DbReader, Source},
    },
    handles::Handles,
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
use std::{
    ops::ControlFlow,
    path::PathBuf,
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

/// How far the publisher yields to the threads that requests wait for, as a `nice` value: it gets a fifth of a core
/// that two of them fill, and a tenth beside four. Publishing takes less than a tenth of what requests take, so it falls
/// behind only where several servers' work is asked of one core, and catches up afterwards.
#[cfg(target_os = "linux")]
const BEHIND: i32 = 3;

/// An idle store sweeps what has expired once in so many rounds, and while there is more, so long after it did.
const SWEEP_ROUNDS: u32 = 32;
const SWEEP_AGAIN: Duration = Duration::from_millis(50);

pub(crate) enum PublisherCommand {
    Now(oneshot::Sender<Result<(), StoreError>>),
    /// Destroys the values whose time has come; answers for how many records.
    Retain(oneshot::Sender<Result<usize, StoreError>>),
    Stop(oneshot::Sender<Result<(), StoreError>>),
}

/// What the publisher sees of the rest of the store.
pub(crate) struct WriterHandle {
    pub(crate) handles: Arc<Handles>,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl WriterHandle {
    /// Asks the writer for something and waits for its answer. Blocks.
    pub(super) fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        self.commands.blocking_send(command(answer)).map_err(|_| StoreError::Closed)?;
        result.blocking_recv().map_err(|_| StoreError::Closed)?
    }

    /// Bookkeeping on the writer's connection, between groups: there is one writer, and it stays one.
    pub(super) fn aside(&self, task: Task) -> Result<(), StoreError> {
        self.ask(|answer| Command::Aside(task, answer))
    }

    fn tend(&self, sweep: bool) {
        let _ = self.commands.try_send(Command::Tend { sweep, done: None });
    }
}

pub(crate) struct Publisher {
    dir: PathBuf,
    origin: String,
    seed: Secret,
    pub(super) vault: Vault,
    pub(super) clock: Clock,
    pub(super) reader: DbReader,
    backfill: Backfill,
    /// `None` after a failure: the directory is then opened and compared again, as at start.
    pub(super) ledger: Option<Writer>,
    vkey: String,
    witnesses: Option<Arc<dyn Witnesses>>,
    /// The published head has the cosignatures it needs.
    witnessed: bool,
}

impl Publisher {
    /// Opens the ledger directory and refuses one that SQL's first `count` records do not extend, and the same of what
    /// witnesses have seen. Gives back how many records it already covers.
    pub(crate) fn open(
        source: &Source,
        config: &Config,
        vault: Vault,
        count: u64,
        witnessing: Witnessing,
    ) -> Result<(Self, u64), StoreError> {
        let mut publisher = Self {
            dir: config.ledger_dir.clone(),
            origin: config.log_origin.clone(),
            seed: config.log_key.clone(),
            vault,
            clock: config.clock.clone(),
            reader: source.reader()?,
            backfill: source.backfill()?,
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

    pub(crate) fn run(mut self, writer: &WriterHandle, inbox: &blocking::Receiver<PublisherCommand>, every: Duration) {
        yield_to_requests();
        let mut rounds = 0_u32;
        let patience = u32::try_from(ASK_AGAIN.as_millis().div_ceil(every.as_millis().max(1))).unwrap_or(u32::MAX).max(1);
        let mut waited = Duration::ZERO;
        loop {
            let rest = every.saturating_sub(waited);
            let pause = if writer.handles.behind.load(Ordering::Relaxed) { rest.min(SWEEP_AGAIN) } else { rest };
            match inbox.recv_timeout(pause) {
                Ok(PublisherCommand::Now(answer)) => {
                    let _ = answer.send(self.publish(writer));
                }
                Ok(PublisherCommand::Retain(answer)) => {
                    let _ = answer.send(self.publish(writer).and_then(|()| self.retain_all(writer)));
                }
                Ok(PublisherCommand::Stop(answer)) => {
                    let result = self.publish(writer);
                    // The directory's lock is free before the caller hears of it.
                    drop(self);
                    let _ = answer.send(result);
                    return;
                }
                Err(blocking::RecvTimeoutError::Timeout) if pause < rest => {
                    waited += pause;
                    writer.tend(false);
                }
                Err(blocking::RecvTimeoutError::Timeout) => {
                    waited = Duration::ZERO;
                    if let Err(error) = self.publish(writer) {
                        tracing::error!(%error, "the ledger directory could not be brought up to date; will try again");
                    }
                    self.backfill(writer);
                    rounds = rounds.wrapping_add(1);
                    if !self.witnessed && rounds.is_multiple_of(patience) {
                        self.ask_again();
                    }
                    if rounds.is_multiple_of(SWEEP_ROUNDS)
                        && let Err(error) = self.retain(writer)
                    {
                        tracing::error!(%error, "values whose time has come could not be destroyed; will try again");
                    }
                    writer.tend(rounds.is_multiple_of(SWEEP_ROUNDS));
                }
                Err(blocking::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Moves the write-ahead log into the database, so that the writer need not while callers wait for it.
    fn backfill(&self, writer: &WriterHandle) {
        let _alone = writer.handles.backfilling();
        if let Err(error) = self.backfill.step() {
            tracing::debug!(%error, "the write-ahead log could not be emptied; the writer will do it");
        }
    }

    fn retain_all(&mut self, writer: &WriterHandle) -> Result<usize, StoreError> {
        let mut count = 0;
        loop {
            match self.retain(writer)? {
                0 => return Ok(count),
                more => count += more,
            }
        }
    }

    fn publish(&mut self, writer: &WriterHandle) -> Result<(), StoreError> {
        let committed = writer.handles.committed.load(Ordering::Acquire);
        let mut ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => self.resume(committed)?,
        };
        self.objects(&ledger, writer)?;
        while ledger.size() < committed {
            // CRASH: inside, the old checkpoint stands; after, the directory is ahead of `checkpoints` and of nothing else.
            let head = self.chunk(&mut ledger)?;
            writer.handles.published.store(head.size, Ordering::Release);
            writer.handles.counts.checkpoints.fetch_add(1, Ordering::Relaxed);
            // So that the next start need not walk the whole log to compare.
            writer.aside(Task::HeadSigned { size: head.size, root: head.root, keep: HEADS_KEPT })?;
        }
        self.ledger = Some(ledger);
        Ok(())
    }

    /// Publishes the next records and signs the head that covers them.
    fn chunk(&mut self, ledger: &mut Writer) -> Result<Checkpoint, StoreError> {
        let start = ledger.size();
        let (witnesses, mut enough) = (self.witnesses.clone(), true);
        let rows = self.reader.records(start, CHUNK)?;
        if rows.is_empty() {
            return Err(StoreError::Corrupt(format!("record {start} is missing")));
        }
        let entries: Vec<Published<'_>> =
            rows.iter().map(|row| Published { entry: &row.bytes, side: row.side.as_deref() }).collect();
        let head = ledger.publish_witnessed(start, &entries, &mut |log| {
            let said = witnesses.as_ref().map(|witnesses| witnesses.cosign(log)).unwrap_or_default();
            enough = said.enough || witnesses.is_none();
            said.lines
        });
        let head = head.map_err(|error| self.refused(error))?;
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
    fn objects(&self, ledger: &Writer, writer: &WriterHandle) -> Result<(), StoreError> {
        for (name, bytes) in self.reader.new_objects()? {
            ledger.put_object(&bytes).map_err(|error| self.refused(error))?;
            writer.aside(Task::ObjectPublished(name))?;
        }
        Ok(())
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
        let (mut tile, mut index, mut first): (Vec<Hash>, u64, _) = (Vec::new(), 0, None);
        let mut silent = false;
        self.reader.leaves(size, |leaf| {
            if index.is_multiple_of(WIDTH) {
                let hashes = Tile::holding(Level::Hashes(0), index, reader.len()).and_then(|at| reader.hashes(at).ok());
                silent = hashes.is_none();
                tile = hashes.unwrap_or_default();
            }
            let published = usize::try_from(index % WIDTH).ok().and_then(|at| tile.get(at));
            if published != Some(&leaf) {
                first = Some(index);
                return ControlFlow::Break(());
            }
            index += 1;
            ControlFlow::Continue(())
        })?;
        Ok(first.filter(|_| !silent))
    }

    /// The root over SQL's first `size` records: remembered, or else computed from every leaf.
    fn root(&self, size: u64) -> Result<Hash, StoreError> {
        if let Some(root) = self.reader.signed_root(size)? {
            return Ok(root);
        }
        let mut frontier = Frontier::default();
        self.reader.leaves(size, |leaf| {
            frontier.push(leaf);
            ControlFlow::Continue(())
        })?;
        Ok(frontier.root())
    }

    fn key(&self) -> Result<SigningKey, StoreError> {
        SigningKey::from_seed(&self.origin, self.seed.expose()).map_err(StoreError::ledger)
    }

    fn refused(&self, error: WriteError) -> StoreError {
        match error {
            WriteError::Locked => StoreError::Locked(self.dir.clone()),
            WriteError::Checkpoint(_) | WriteError::Damaged | WriteError::Overtaken | WriteError::Fork { .. } => {
                StoreError::LedgerInconsistent(error.to_string())
            }
            error => StoreError::ledger(error),
        }
    }
}

/// Lets this thread run after those that answer requests: publishing comes in bursts, and would hold them up.
fn yield_to_requests() {
    // Elsewhere than on Linux it would be the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(BEHIND) {
        tracing::debug!(%error, "publishing runs at the priority of requests");
    }
}
