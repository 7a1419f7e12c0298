//! Files of other parties: read to a limit, and only where reading comes to an end.

use anyhow::{Context as _, Result};
use remit_ledger::dir::read_file;
use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// It is missing, longer, no regular file (a pipe would never end), or cannot be read.
pub(crate) fn read(file: &Path, limit: usize) -> Result<Vec<u8>> {
    let found = read_file(file, limit).and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()));
    found.with_context(|| format!("cannot read {}", file.display()))
}

/// Opens a regular file, for checks of the very file that [`rest`] reads.
///
/// # Errors
/// It is missing, no regular file, or cannot be opened.
pub(crate) fn open(file: &Path) -> Result<(File, fs::Metadata)> {
    let opened = || -> io::Result<(File, fs::Metadata)> {
        // Opening a pipe waits for a writer, so the path is looked at first; what counts is what was opened.
        let regular = |meta: &fs::Metadata| if meta.is_file() { Ok(()) } else { Err(io::Error::other("not a regular file")) };
        regular(&fs::metadata(file)?)?;
        let opened = File::open(file)?;
        let meta = opened.metadata()?;
        regular(&meta)?;
        Ok((opened, meta))
    };
    opened().with_context(|| format!("cannot read {}", file.display()))
}

/// Reads what [`open`] opened, at most `limit` bytes.
///
/// # Errors
/// It is longer, or cannot be read. The error does not name the file.
pub(crate) fn rest(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(io::Error::other(format!("longer than {limit} bytes"))) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::{fs, path::Path, process::Command};

    fn refused(file: &Path, why: &str) {
        let error = format!("{:#}", read(file, 8).unwrap_err());
        assert!(error.contains(why) && error.contains(&file.display().to_string()), "{error}");
    }

    #[test]
    fn what_is_too_long_or_never_ends_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "12345678").unwrap();
        assert_eq!(read(&file, 8).unwrap(), b"12345678");
        fs::write(&file, "123456789").unwrap();
        refused(&file, "longer than 8 bytes");
        refused(dir.path(), "not a regular file");
        refused(&dir.path().join("nothing"), "not found");
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Opening a pipe waits for a writer, and there may be none.
        refused(&pipe, "not a regular file");
        refused(Path::new("/dev/zero"), "not a regular file");
    }
}
