//! The keys that open sealed values: an auditor's disclosure file, or the server's own store, read beside it.

use crate::{bounded_read, config, keys};
use anyhow::{Context as _, Result};
use remit_ledger::{Keyring, vault::DISCLOSURE_LIMIT};
use std::{fs, path::Path};

/// The keys for the ledger in `dir`; `None` when there are none, and sealed values stay undisclosed.
pub(super) fn at_hand(dir: &Path, file: Option<&Path>, config: &Path) -> Result<Option<Keyring>> {
    if let Some(file) = file {
        let bytes = bounded_read::read(file, DISCLOSURE_LIMIT)?;
        return Keyring::from_disclosure(&bytes).map(Some).with_context(|| file.display().to_string());
    }
    // A foreign ledger, or a place without a configuration: no keys are at hand, and that is no error.
    let Ok(loaded) = config::load(config) else { return Ok(None) };
    let own = fs::canonicalize(loaded.at(&loaded.config.ledger.dir)).ok();
    let data = loaded.at(&loaded.config.storage.data_dir);
    if own.is_none() || own != fs::canonicalize(dir).ok() || !data.join("keys.db").exists() {
        return Ok(None);
    }
    let seed = keys::vault(&loaded.at(&loaded.config.server.keys_dir))?;
    Ok(Some(remit_store::keyring(&data, &seed)?))
}
