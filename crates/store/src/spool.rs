//! The spool: a file of fixed size, reserved beforehand, that takes sealed records while the database cannot.
//!
//! Only the one writer appends to it, in the order of the log, and every append is on disk before it is acknowledged.
//! When the database works again the rows go there first, in one transaction, before anything else.
//!
//! A frame is the length of its payload (32 bits, little-endian), the SHA-256 of the payload, and the payload: the index
//! (64 bits), when the side values are to be destroyed (64 bits), the length of the record (32 bits), the record, the side
//! values. A length of zero ends the file. CRASH: a
//! torn frame fails its hash, and a frame left over from an earlier use has an index that does not follow.

use crate::config::StoreError;
use remit_ledger::{Hash, Record, tree};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

const HEAD: usize = 4 + 32;
/// Index, time and length of the record, before it.
const PAYLOAD_HEAD: usize = 8 + 8 + 4;

/// A sealed record as it goes into the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) index: u64,
    pub(crate) record_id: String,
    pub(crate) leaf_hash: Hash,
    /// When the side values are to be destroyed, in Unix seconds.
    pub(crate) until: i64,
    pub(crate) bytes: Vec<u8>,
    /// Empty when the record commits to nothing.
    pub(crate) side: Vec<u8>,
}

/// Rows that are durable here and not yet in the database.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    path: PathBuf,
    size: u64,
    end: u64,
    rows: Vec<Row>,
    /// Set when the file itself failed; nothing is appended any more.
    broken: bool,
}

impl Spool {
    /// Opens the file and reads what a process left in it. The whole size is written once, so that it is really reserved.
    pub(crate) fn open(path: &Path, size: u64) -> Result<Self, StoreError> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(StoreError::io(path))?;
        let length = file.metadata().map_err(StoreError::io(path))?.len();
        reserve(&file, length, size).map_err(StoreError::io(path))?;
        let mut spool = Self { file, path: path.to_owned(), size: size.max(length), end: 0, rows: Vec::new(), broken: false };
        spool.read().map_err(StoreError::io(path))?;
        Ok(spool)
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Bytes that are still free, of which the last quarter is for what must not be missing: effects and what the log says
    /// of itself.
    pub(crate) fn room(&self, reserved: bool) -> u64 {
        let size = if reserved { self.size } else { self.size / 4 * 3 };
        if self.broken { 0 } else { size.saturating_sub(self.end).saturating_sub(HEAD as u64) }
    }

    /// Appends rows; they are on disk when this returns.
    pub(crate) fn append(&mut self, rows: Vec<Row>) -> io::Result<()> {
        let mut frames = Vec::new();
        for row in &rows {
            frame(&mut frames, row)?;
        }
        let grown = frames.len() as u64;
        // The next head is zero before anything of an earlier use could be read as if it followed.
        frames.extend_from_slice(&[0; HEAD]);
        let written = self.file.write_all_at(&frames, self.end).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            tracing::error!(%error, path = %self.path.display(), "the spool cannot be written");
            self.broken = true;
            // What reached the file was not acknowledged and must not be read back.
            let _ = self.file.write_all_at(&[0; HEAD], self.end).and_then(|()| self.file.sync_data());
            return Err(error);
        }
        self.end = self.end.saturating_add(grown);
        self.rows.extend(rows);
        Ok(())
    }

    /// Forgets all rows, once the database has them, and overwrites them: sealed values that retention destroys
    /// elsewhere must not live on here.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        let used = usize::try_from(std::mem::take(&mut self.end)).unwrap_or(0);
        // CRASH: the head goes first, so that what is still there is never read back.
        let cleared = self
            .file
            .write_all_at(&[0; HEAD], 0)
            .and_then(|()| self.file.sync_data())
            .and_then(|()| self.file.write_all_at(&vec![0; used], 0))
            .and_then(|()| self.file.sync_data());
        self.broken = cleared.is_err();
        if let Err(error) = cleared {
            // CRASH: rows that are in both places are recognised by their index at the next start.
            tracing::error!(%error, path = %self.path.display(), "the spool cannot be cleared");
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut at = 0_u64;
        while let Some((row, next)) = self.frame_at(at)? {
            if self.rows.last().is_some_and(|last| last.index.checked_add(1) != Some(row.index)) {
                break;
            }
            self.rows.push(row);
            at = next;
        }
        self.end = at;
        Ok(())
    }

    fn frame_at(&self, at: u64) -> io::Result<Option<(Row, u64)>> {
        let body = at.saturating_add(HEAD as u64);
        if body > self.size {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        self.file.read_exact_at(&mut head, at)?;
        let (length, hash) = head.split_at(4);
        let length = u64::from(u32::from_le_bytes(length.try_into().unwrap_or_default()));
        let next = body.saturating_add(length);
        if length == 0 || next > self.size {
            return Ok(None);
        }
        let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact_at(&mut payload, body)?;
        if remit_model::json::sha256(&payload).as_slice() != hash {
            return Ok(None);
        }
        Ok(row(&payload).map(|row| (row, next)))
    }
}

/// Bytes a row takes in the file.
pub(crate) fn size_of(row: &Row) -> u64 {
    (HEAD + PAYLOAD_HEAD + row.bytes.len() + row.side.len()) as u64
}

fn frame(to: &mut Vec<u8>, row: &Row) -> io::Result<()> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut payload = Vec::with_capacity(PAYLOAD_HEAD + row.bytes.len() + row.side.len());
    payload.extend_from_slice(&row.index.to_le_bytes());
    payload.extend_from_slice(&row.until.to_le_bytes());
    payload.extend_from_slice(&u32::try_from(row.bytes.len()).map_err(too_long)?.to_le_bytes());
    payload.extend_from_slice(&row.bytes);
    payload.extend_from_slice(&row.side);
    to.extend_from_slice(&u32::try_from(payload.len()).map_err(too_long)?.to_le_bytes());
    to.extend_from_slice(&remit_model::json::sha256(&payload));
    to.extend_from_slice(&payload);
    Ok(())
}

fn row(payload: &[u8]) -> Option<Row> {
    let (index, rest) = payload.split_first_chunk::<8>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (bytes, side) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let record = Record::parse(bytes).ok()?;
    Some(Row {
        index: u64::from_le_bytes(*index),
        record_id: record.record_id().to_owned(),
        leaf_hash: tree::leaf_hash(bytes),
        until: i64::from_le_bytes(*until),
        bytes: bytes.to_owned(),
        side: side.to_owned(),
    })
}

/// Writes zeros up to `size`, so that the blocks exist before the disk is full.
fn reserve(mut file: &File, length: u64, size: u64) -> io::Result<()> {
    if length >= size {
        return Ok(());
    }
    io::Seek::seek(&mut file, io::SeekFrom::Start(length))?;
    let zeros = vec![0; 64 << 10];
    let mut left = size.saturating_sub(length);
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(zeros.get(..step).unwrap_or_default())?;
        left = left.saturating_sub(step as u64);
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spooled_is_not_left_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let mut spool = Spool::open(&path, 16 << 10).unwrap();
        let sealed = b"sealed values of a person".to_vec();
        let row = |index| Row {
            index,
            record_id: String::new(),
            leaf_hash: Hash::ZERO,
            until: 0,
            bytes: b"{}".to_vec(),
            side: sealed.clone(),
        };
        spool.append(vec![row(1), row(2)]).unwrap();
        spool.append(vec![row(3)]).unwrap();
        let holds = || std::fs::read(&path).unwrap().windows(sealed.len()).any(|window| window == sealed);
        assert!(holds());
        spool.clear();
        assert!(!holds(), "retention must not find its values alive in an old spool");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 16 << 10, "the place stays reserved");
    }
}
