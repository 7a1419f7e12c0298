//! One thread that seals records, writes whatever waits with one write, makes it durable with one fdatasync, and tells
//! everybody at once.

use super::record::{Facts, Seal};
use anyhow::{Context as _, Result};
use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::mpsc,
    thread,
};
use tokio::sync::oneshot;

/// The file is made at its full length first, so that no metadata is left to write, and written over and over.
const LENGTH: usize = 128 << 20;
/// Most records in a group.
const GROUP: usize = 256;

/// Where records go.
#[derive(Clone, Debug)]
pub(super) struct Ledger(mpsc::Sender<Waiting>);

/// What is to be appended, and who waits for it.
#[derive(Debug)]
struct Waiting {
    facts: Facts,
    /// Whether it is a record, or state alone.
    record: bool,
    durable: oneshot::Sender<()>,
}

impl Ledger {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let mut file = File::create(folder.join("floor-ledger"))?;
        for _ in 0..LENGTH >> 20 {
            file.write_all(&vec![0; 1 << 20])?;
        }
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
        let (sender, receiver) = mpsc::channel();
        let seal = Seal::new()?;
        thread::spawn(move || {
            if let Err(fault) = write(&mut file, seal, &receiver) {
                eprintln!("the floor's ledger ended: {fault:#}");
            }
        });
        Ok(Self(sender))
    }

    /// Appends one record; returns when it is durable.
    pub(super) async fn append(&self, facts: Facts) -> Result<()> {
        self.send(facts, true).await
    }

    /// Makes bytes durable that are no record.
    pub(super) async fn state(&self, state: Vec<u8>) -> Result<()> {
        self.send(Facts { state, ..Facts::default() }, false).await
    }

    async fn send(&self, facts: Facts, record: bool) -> Result<()> {
        let (durable, waiting) = oneshot::channel();
        self.0.send(Waiting { facts, record, durable }).ok().context("the ledger has ended")?;
        waiting.await.context("the ledger has ended")
    }
}

fn write(file: &mut File, mut seal: Seal, receiver: &mpsc::Receiver<Waiting>) -> Result<()> {
    let (mut bytes, mut waiting, mut at) = (Vec::new(), Vec::new(), 0);
    while let Ok(first) = receiver.recv() {
        bytes.clear();
        for one in std::iter::once(first).chain(receiver.try_iter().take(GROUP - 1)) {
            if one.record {
                seal.append(&one.facts, &mut bytes)?;
            } else {
                bytes.extend_from_slice(&one.facts.state);
            }
            waiting.push(one.durable);
        }
        if at + bytes.len() > LENGTH {
            file.seek(SeekFrom::Start(0))?;
            at = 0;
        }
        at += bytes.len();
        file.write_all(&bytes)?;
        file.sync_data()?;
        for sender in waiting.drain(..) {
            let _ = sender.send(());
        }
    }
    Ok(())
}
