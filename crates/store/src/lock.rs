//! One process for one data directory: two writers would fork the log (LG-17, N-LG-12). The ledger directory has a
//! lock of its own, held by the ledger's writer.

use crate::config::StoreError;
use std::{
    fs::{DirBuilder, File, TryLockError},
    path::Path,
};

/// Held as long as the store is open; the system releases it when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: File,
}

impl Lock {
    pub(crate) fn take(dir: &Path) -> Result<Self, StoreError> {
        create_private(dir).map_err(StoreError::io(dir))?;
        let path = dir.join("lock");
        let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(StoreError::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _held: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
        }
    }
}

/// The database is for this process's user alone.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
