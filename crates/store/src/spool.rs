//! The spool: a file of fixed size, reserved beforehand, that takes sealed records while the database cannot.
//!
//! Only the one writer appends to it, in the order of the log, and every append is on disk before it is acknowledged.
//! When the database works again the rows go there first, in one transaction, before anything else.
//!
//! A frame is the length of its payload (32 bits, little-endian), the SHA-256 of the payload, and the payload: the index
//! (64 bits), when the side values are to be destroyed (64 bits), the length of the record (32 bits), the record, the side
//! values. A head of zeros ends the file. CRASH: a torn frame fails its hash, and a frame left over from an earlier use has
//! an index that does not follow. Rows beyond a damaged frame were acknowledged: with them the store does not start.

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
    /// Opens the file and reads what a process left in it; `next` is the first index the database does not hold. The whole
    /// size is written once, so that it is really reserved.
    pub(crate) fn open(path: &Path, size: u64, next: u64) -> Result<Self, StoreError> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(StoreError::io(path))?;
        let length = file.metadata().map_err(StoreError::io(path))?.len();
        reserve(&file, length, size).map_err(StoreError::io(path))?;
        let mut spool = Self { file, path: path.to_owned(), size: size.max(length), end: 0, rows: Vec::new(), broken: false };
        let bytes = spool.read().map_err(StoreError::io(path))?;
        let expected = spool.rows.last().map_or(next, |last| last.index.saturating_add(1));
        spool.settle(&bytes, expected)?;
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

    /// Reads the rows, in their order, and gives back the whole file.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.size).map_err(|_| io::ErrorKind::FileTooLarge)?];
        self.file.read_exact_at(&mut bytes, 0)?;
        let mut at = 0;
        while let Some((payload, next)) = frame_at(&bytes, at) {
            let follows = |row: &Row| self.rows.last().is_none_or(|last| last.index.checked_add(1) == Some(row.index));
            let Some(row) = row(payload).filter(follows) else { break };
            self.rows.push(row);
            at = next;
        }
        self.end = at as u64;
        Ok(bytes)
    }

    /// Decides what stands behind the rows: nothing, a tail that was torn before it was acknowledged, or more rows.
    fn settle(&self, bytes: &[u8], expected: u64) -> Result<(), StoreError> {
        let end = usize::try_from(self.end).unwrap_or(usize::MAX);
        let rest = bytes.get(end..).unwrap_or_default();
        if rest.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let ended = rest.iter().take(HEAD).all(|byte| *byte == 0);
        let beyond = if ended { None } else { (end..bytes.len()).find_map(|at| index_at(bytes, at, expected)) };
        if let Some(index) = beyond {
            return Err(StoreError::Corrupt(format!("the spool is damaged before record {index}, which was acknowledged")));
        }
        // What nobody was told of, or an earlier use left, is not to be met again.
        let wiped = self.file.write_all_at(&vec![0; rest.len()], self.end).and_then(|()| self.file.sync_data());
        wiped.map_err(StoreError::io(&self.path))
    }
}

/// The payload of the frame that begins at `at`, and where it ends; `None` where there is no whole frame.
fn frame_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length >= PAYLOAD_HEAD)?;
    let payload = rest.get(..length)?;
    (remit_model::json::sha256(payload) == *hash).then_some((payload, at + HEAD + length))
}

/// The index of the frame that begins at `at`, if it is one that could stand here: not before `expected`.
fn index_at(bytes: &[u8], at: usize, expected: u64) -> Option<u64> {
    let index = u64::from_le_bytes(*bytes.get(at.checked_add(HEAD)?..)?.first_chunk::<8>()?);
    // Cheap before dear: hardly any place is asked for its hash.
    let near = index >= expected && index - expected <= bytes.len() as u64;
    (near && frame_at(bytes, at).is_some()).then_some(index)
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
    use remit_ledger::{
        Draft, Sealer,
        record::{Environment, Identity, Pepper, ProducerKind, RecordKey, RecordType},
    };
    use remit_model::{id::TenantId, time::Moment};

    const SIZE: u64 = 64 << 10;

    /// Rows `first..first + count`, whose records are real.
    fn rows(first: u64, count: u64) -> Vec<Row> {
        let identity = Identity {
            producer_id: "spiffe://remit.test/main/store".to_owned(),
            version: "0".to_owned(),
            build_digest: Hash::ZERO.to_string(),
            env: Environment::Sandbox,
        };
        let mut sealer = Sealer::new(identity, RecordKey::from_seed(&[1; 32]).unwrap(), Pepper::new(b"p"), None);
        let start = Draft::start(TenantId::main(), ProducerKind::Gateway, &serde_json::json!({}), "", &serde_json::json!({}));
        sealer.seal(start, &Moment::at(1), |_| {}).unwrap();
        let mut row = |index| {
            let draft = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Token);
            let sealed = sealer.seal(draft, &Moment::at(1), |_| {}).unwrap();
            let (bytes, side) = (sealed.bytes, b"sealed values of a person".to_vec());
            Row { index, record_id: sealed.record_id, leaf_hash: sealed.leaf_hash, until: 0, bytes, side }
        };
        (first..first + count).map(&mut row).collect()
    }

    /// A file with these rows in it, changed; opened where the database holds all before `next`.
    fn reopened(rows: Vec<Row>, next: u64, change: impl FnOnce(&File, &[u64])) -> Result<Spool, StoreError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let mut spool = Spool::open(&path, SIZE, next).unwrap();
        let mut starts = vec![0];
        for row in rows {
            spool.append(vec![row]).unwrap();
            starts.push(spool.end);
        }
        change(&spool.file, &starts);
        drop(spool);
        let reopened = Spool::open(&path, SIZE, next)?;
        // What was dropped is gone for good.
        let rest = std::fs::read(&path).unwrap().split_off(usize::try_from(reopened.end).unwrap());
        assert!(rest.iter().all(|byte| *byte == 0));
        Ok(reopened)
    }

    #[test]
    fn rows_are_read_back_and_a_torn_tail_is_dropped() {
        let whole = rows(5, 4);
        assert_eq!(reopened(whole.clone(), 5, |_, _| {}).unwrap().rows(), whole);
        // The last frame: cut short, changed in its body, its hash or its length.
        for at in [40, 0, 4, 100] {
            let torn = reopened(whole.clone(), 5, |file, starts| file.write_all_at(&[0xff; 4], starts[3] + at).unwrap());
            assert_eq!(torn.unwrap().rows(), &whole[..3], "torn at {at}");
        }
        let torn = reopened(rows(5, 1), 5, |file, _| file.write_all_at(&[0xff], 99).unwrap()).unwrap();
        assert_eq!((torn.rows().len(), torn.end), (0, 0), "nothing but a torn tail");
    }

    #[test]
    fn a_damaged_frame_before_rows_that_were_acknowledged_is_no_torn_tail() {
        for damaged in [0, 1, 2] {
            // In the body, the hash, the length; the length may also become one that leads nowhere, or to the next frame but one.
            for (at, bytes) in [(60, &[0xff_u8; 8][..]), (8, &[0; 8]), (0, &[1, 0, 0, 0]), (0, &[0; 4]), (2, &[0xff; 2])] {
                let refused =
                    reopened(rows(5, 4), 5, |file, starts| file.write_all_at(bytes, starts[damaged] + at).unwrap()).unwrap_err();
                assert!(
                    matches!(&refused, StoreError::Corrupt(why) if why.contains("damaged")),
                    "frame {damaged} at {at}: {refused}"
                );
            }
        }
    }

    #[test]
    fn what_an_earlier_use_left_is_not_read_as_if_it_followed() {
        let mut left = rows(5, 6);
        // The rows of the earlier use are in the database, which holds all before 20.
        let new = rows(20, 2);
        left.splice(0..2, new.clone());
        let spool = reopened(left.clone(), 20, |_, _| {}).unwrap();
        assert_eq!(spool.rows(), new);
        // CRASH: the new rows were being written over them.
        let spool = reopened(left, 20, |file, starts| file.write_all_at(&[0xff], starts[1] + 80).unwrap()).unwrap();
        assert_eq!(spool.rows(), &new[..1]);
        // CRASH: the head was cleared and the rest was not yet.
        let spool = reopened(rows(5, 3), 8, |file, _| file.write_all_at(&[0; HEAD], 0).unwrap()).unwrap();
        assert!(spool.rows().is_empty());
    }

    #[test]
    fn what_was_spooled_is_not_left_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let mut spool = Spool::open(&path, SIZE, 1).unwrap();
        let mut rows = rows(1, 3);
        let sealed = rows[0].side.clone();
        let last = rows.split_off(2);
        spool.append(rows).unwrap();
        spool.append(last).unwrap();
        let holds = || std::fs::read(&path).unwrap().windows(sealed.len()).any(|window| window == sealed);
        assert!(holds());
        spool.clear();
        assert!(!holds(), "retention must not find its values alive in an old spool");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), SIZE, "the place stays reserved");
    }
}
