//! Which ledger an audit command reads, with which keys, and how it finds a record.

use super::keys;
use crate::{args::ConfigArg, config};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use remit_ledger::{Reader, Record};
use remit_model::display;
use std::path::{Path, PathBuf};

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
    pub(super) fn folder(&self) -> Result<PathBuf> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        let loaded = config::load(&self.config.config).map_err(|problems| config::report(&problems))?;
        Ok(loaded.at(&loaded.config.ledger.dir))
    }
}

/// Each on a line of its own, whatever values it holds.
pub(super) fn say(lines: &[String]) {
    for line in lines {
        outln!("{}", display::escape(line));
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
pub(super) fn find(reader: &Reader, wanted: &str) -> Result<(u64, Record)> {
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
