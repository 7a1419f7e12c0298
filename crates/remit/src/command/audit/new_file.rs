//! Files that an export writes: always new, so that nothing is overwritten.

use anyhow::{Context as _, Result};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

pub(super) fn create(file: &Path) -> Result<fs::File> {
    let new = OpenOptions::new().write(true).create_new(true).open(file);
    new.with_context(|| format!("cannot write {}: it must be new", file.display()))
}

pub(super) fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    create(file)?.write_all(bytes).with_context(|| format!("cannot write {}", file.display()))
}
