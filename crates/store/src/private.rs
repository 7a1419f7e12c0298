//! Files for this process's user alone, and the lock that keeps a data directory to one process.

use crate::config::StoreError;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// What SQLite writes beside a database, with the permissions of the database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Held as long as the store is open; the system releases it when the process dies, however it dies. Two writers would fork
/// the log (LG-17, N-LG-12). The ledger directory has a lock of its own, held by the ledger's writer.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: File,
}

impl Lock {
    /// Creates the data directory when it is missing and takes its lock.
    pub(crate) fn take(dir: &Path) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io(dir))?;
        let path = dir.join("lock");
        let file = options().open(&path).map_err(StoreError::io(&path))?;
        tighten(&path).map_err(StoreError::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _held: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
        }
    }
}

/// Opens a file for reading and writing; a new one belongs to its owner alone.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// Makes sure that a database's file exists and is its owner's alone, and what SQLite keeps beside it as well.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    options().open(path)?;
    tighten(path)?;
    for suffix in COMPANIONS {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match tighten(&PathBuf::from(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Takes from a file what an older version gave to its group and to others.
pub(crate) fn tighten(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    let owner = mode & 0o700;
    if mode & 0o777 == owner { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(owner)) }
}
