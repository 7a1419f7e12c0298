//! `remit audit …`: reads a ledger folder. Needs neither the server nor its database. One file a command.

mod bundle;
mod explain;
mod export;
mod field;
mod forget;
mod keys;
mod reconcile;
mod replay;
mod retention;
mod search;
mod show;
mod verify;
mod view;
mod what_if;

pub(crate) use verify::{Proof, prove};

use crate::{cli::ConfigArg, config};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use remit_clock::Ambient;
use remit_insight::plain;
use remit_ledger::{Reader, Record};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show one record, or the latest ones
    Show(OneRecord),
    /// Say in plain words who, what, why, how and when
    Explain(OneRecord),
    /// Verify a ledger folder; needs neither the server nor its database
    Verify(verify::Verify),
    /// Prove one field of one record and show nothing else, or check such a proof
    Prove(field::Prove),
    /// Forget a person or a thing: destroy the keys of what was recorded about them
    Erase(forget::Erase),
    /// Legal holds: whose values nobody may destroy
    #[command(subcommand)]
    Hold(forget::Hold),
    /// Write the keys of sealed values to a file for an auditor; recorded
    Disclose(forget::Disclose),
    /// Show by class how far back values can still be read
    Retention(retention::Retention),
    /// Re-evaluate every recorded decision from its pinned policies and inputs
    Replay(replay::Replay),
    /// Say which past decisions other policies would have made differently
    WhatIf(what_if::WhatIf),
    /// Pair token service, gateway and an upstream's own log, and show what stands alone
    Reconcile(reconcile::Reconcile),
    /// Write records in the formats of other systems, proofs, or a bundle for an auditor
    Export(export::Export),
    /// Find records by who, what, which and when
    Search(search::Search),
    /// Print the JSON Schema of a record
    Schema,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct OneRecord {
    /// Record id or index; without it, the latest records
    pub(crate) record: Option<String>,
    #[command(flatten)]
    pub(crate) source: Source,
}

/// Which ledger to read.
#[derive(Clone, Debug, Args)]
pub(crate) struct Source {
    /// The ledger folder (default: from the configuration)
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Read sealed values with the keys of this disclosure file (default: the configuration's own, for its own ledger)
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

impl Source {
    /// Opens the ledger as far as its checkpoint reaches.
    pub(crate) fn open(&self) -> Result<Reader> {
        open_with(&self.folder()?, self.keys.as_deref(), &self.config.config)
    }

    /// Where the ledger is.
    fn folder(&self) -> Result<PathBuf> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        let loaded = config::load(&self.config.config).map_err(|problems| config::report(&problems))?;
        Ok(loaded.at(&loaded.config.ledger.dir))
    }
}

/// Runs the command; `false` when a check failed.
pub(crate) async fn run(command: &AuditCommand, ambient: &Ambient) -> Result<bool> {
    match command {
        AuditCommand::Reconcile(args) => return reconcile::run(args.clone(), ambient.clone()).await,
        AuditCommand::Erase(args) => return forget::erase(args).await.map(|()| true),
        AuditCommand::Hold(args) => return forget::hold(args).await.map(|()| true),
        AuditCommand::Disclose(args) => return forget::disclose(args).await.map(|()| true),
        _ => {}
    }
    let (command, ambient) = (command.clone(), ambient.clone());
    tokio::task::spawn_blocking(move || match &command {
        AuditCommand::Show(args) => show::run(args).map(|()| true),
        AuditCommand::Explain(args) => explain::run(args).map(|()| true),
        AuditCommand::Verify(args) => verify::run(args, &ambient),
        AuditCommand::Replay(args) => replay::run(args, &ambient),
        AuditCommand::Prove(args) => field::run(args),
        AuditCommand::Retention(args) => retention::run(args).map(|()| true),
        // Answered above: they need the server, not the folder.
        AuditCommand::Erase(_) | AuditCommand::Hold(_) | AuditCommand::Disclose(_) => Ok(false),
        AuditCommand::WhatIf(args) => what_if::run(args, &ambient),
        AuditCommand::Reconcile(_) => Ok(true),
        AuditCommand::Export(args) => export::run(args, &ambient).map(|()| true),
        AuditCommand::Search(args) => search::run(args, &ambient).map(|()| true),
        AuditCommand::Schema => {
            out!("{}", remit_ledger::record::JSON_SCHEMA);
            Ok(true)
        }
    })
    .await?
}

/// Each on a line of its own, whatever values it holds.
fn say(lines: &[String]) {
    for line in lines {
        outln!("{}", plain(line));
    }
}

/// Opens a ledger folder with the keys at hand: a disclosure file's, or the server's own when the ledger is its.
fn open_with(dir: &Path, keys: Option<&Path>, config: &Path) -> Result<Reader> {
    let reader = Reader::open(dir).with_context(|| format!("{} is not a ledger folder", dir.display()))?;
    Ok(match keys::at_hand(dir, keys, config)? {
        Some(keys) => {
            if let Some(origin) = keys.origin().filter(|origin| *origin != reader.checkpoint().origin) {
                bail!("the keys are for the log `{origin}`, and this is `{}`", reader.checkpoint().origin);
            }
            reader.with_keys(keys)
        }
        None => reader,
    })
}

/// A record by its number or its id; the latest first, because that is what people ask for.
fn find(reader: &Reader, wanted: &str) -> Result<(u64, Record)> {
    if let Ok(index) = wanted.parse::<u64>() {
        return Ok((index, reader.record(index)?));
    }
    for index in (0..reader.len()).rev() {
        let record = reader.record(index)?;
        if record.record_id() == wanted {
            return Ok((index, record));
        }
    }
    bail!("no published record has the id `{wanted}`; a record is published within a second")
}
