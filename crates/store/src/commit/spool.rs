//! The spool: a file of fixed size, reserved beforehand, that takes sealed records while the database cannot.
//!
//! Only the one writer appends to it, in the order of the log, and every append is on disk before it is acknowledged.
//! When the database works again the rows go there first, in one transaction, before anything else.
//!
//! An append is one frame: the length of its payload (32 bits, little-endian), the SHA-256 of the payload, and the payload.
//! That is for each row its index (64 bits), when its side values are to be destroyed (64 bits), the lengths of record and
//! side values (32 bits each), the record, the side values.
//!
//! CRASH: the sectors of an append reach the disk in any order, and those of the next are written only when all of it is
//! there. So what follows the last whole frame is an append that was never acknowledged, or damage. An append lands on zeros
//! and a disk writes sectors whole: one that was torn has a sector that is still zero, and nothing whole stands behind it. It
//! is dropped, and the log says so. Anything else was acknowledged once, and the store does not start without it.

use crate::{config::StoreError, db::group::RecordRow, private};
use remit_ledger::{Record, tree};
use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

const HEAD: usize = 4 + 32;
/// Index, time, and the lengths of record and side values, before them.
const ROW_HEAD: usize = 8 + 8 + 4 + 4;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Rows that are durable here and not yet in the database.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    path: PathBuf,
    size: u64,
    /// Where the next frame begins.
    end: u64,
    /// Behind this there are only zeros.
    reach: u64,
    rows: Vec<RecordRow>,
    /// Set when the file itself failed; nothing is appended any more.
    broken: bool,
}

impl Spool {
    /// Opens the file and reads what a process left in it; `next` is the first index the database does not hold. The whole
    /// size is written once, so that it is really reserved.
    pub(crate) fn open(path: &Path, size: u64, next: u64) -> Result<Self, StoreError> {
        let file = private::options().open(path).map_err(StoreError::io(path))?;
        private::tighten(path).map_err(StoreError::io(path))?;
        let length = file.metadata().map_err(StoreError::io(path))?.len();
        reserve(&file, length, size).map_err(StoreError::io(path))?;
        let (size, path) = (size.max(length), path.to_owned());
        let mut spool = Self { file, path, size, end: 0, reach: 0, rows: Vec::new(), broken: false };
        spool.recover(next)?;
        Ok(spool)
    }

    pub(crate) fn rows(&self) -> &[RecordRow] {
        &self.rows
    }

    /// Bytes that are still free, of which the last quarter is for what must not be missing: effects and what the log says
    /// of itself.
    pub(crate) fn room(&self, reserved: bool) -> u64 {
        let size = if reserved { self.size } else { self.size / 4 * 3 };
        if self.broken { 0 } else { size.saturating_sub(self.end).saturating_sub(HEAD as u64) }
    }

    /// Appends rows; they are on disk when this returns, and none of them is there when it fails.
    pub(crate) fn append(&mut self, rows: Vec<RecordRow>) -> io::Result<()> {
        // CRASH: no frame is acknowledged before `sync_data` returns; one that is torn is dropped at the next start.
        let frame = frame(&rows)?;
        let end = self.end.saturating_add(frame.len() as u64);
        self.reach = self.reach.max(end);
        let written = self.file.write_all_at(&frame, self.end).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            tracing::error!(%error, path = %self.path.display(), "the spool cannot be written");
            self.broken = true;
            // What reached the file was not acknowledged and must not be read back.
            let _ = self.wipe(self.end);
            return Err(error);
        }
        self.end = end;
        self.rows.extend(rows);
        Ok(())
    }

    /// Forgets all rows, once the database has them, and overwrites them: sealed values that retention destroys
    /// elsewhere must not live on here.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.end = 0;
        let cleared = self.wipe(0);
        self.broken = cleared.is_err();
        if let Err(error) = cleared {
            // CRASH: rows that are in both places are recognised by their index at the next start.
            tracing::error!(%error, path = %self.path.display(), "the spool cannot be cleared");
        }
    }

    /// Overwrites everything from `from` on with zeros.
    fn wipe(&mut self, from: u64) -> io::Result<()> {
        let length = usize::try_from(self.reach.saturating_sub(from)).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.file.write_all_at(&vec![0; length], from)?;
        self.file.sync_data()?;
        self.reach = from;
        Ok(())
    }

    /// Reads what the file holds, in its order, and drops what was never acknowledged.
    fn recover(&mut self, next: u64) -> Result<(), StoreError> {
        let bytes = self.read().map_err(StoreError::io(&self.path))?;
        let mut at = 0;
        while let Some((rows, end)) = frame_at(&bytes, at) {
            let last = self.rows.last().map_or(next, |last| last.index.saturating_add(1));
            if !self.rows.is_empty() && rows.first().is_some_and(|first| first.index != last) {
                break;
            }
            self.rows.extend(rows);
            at = end;
        }
        self.end = at as u64;
        self.reach = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1).max(self.end);
        if self.reach == self.end {
            return Ok(());
        }
        let expected = self.rows.last().map_or(next, |last| last.index.saturating_add(1));
        // What the database holds already is not lost, wherever a cut left it while the spool was emptied.
        let beyond = (at..bytes.len()).find_map(|at| index_at(&bytes, at, expected.max(next)));
        if beyond.is_some() || !is_torn(&bytes, at) {
            let path = self.path.display();
            let lost = beyond.map_or_else(|| "the last rows".to_owned(), |index| format!("the rows before record {index}"));
            return Err(StoreError::Corrupt(format!(
                "{path} is damaged at byte {at}: {lost}, from record {expected} on, were acknowledged"
            )));
        }
        tracing::warn!(path = %self.path.display(), at, bytes = self.reach - self.end, "an append that was never finished is dropped");
        self.wipe(self.end).map_err(StoreError::io(&self.path))
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.size).map_err(|_| io::ErrorKind::FileTooLarge)?];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// The rows of the frame that begins at `at`, and where it ends; `None` where there is no whole frame.
fn frame_at(bytes: &[u8], at: usize) -> Option<(Vec<RecordRow>, usize)> {
    let mut payload = payload_at(bytes, at)?;
    let end = at + HEAD + payload.len();
    let mut rows: Vec<RecordRow> = Vec::new();
    while !payload.is_empty() {
        let (row, rest) = row(payload)?;
        if rows.last().is_some_and(|last| last.index.checked_add(1) != Some(row.index)) {
            return None;
        }
        rows.push(row);
        payload = rest;
    }
    Some((rows, end))
}

fn payload_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length >= ROW_HEAD)?;
    let payload = rest.get(..length)?;
    (remit_model::json::sha256(payload) == *hash).then_some(payload)
}

/// The first index of the frame that begins at `at`, if it is one that could stand here: not before `expected`.
fn index_at(bytes: &[u8], at: usize, expected: u64) -> Option<u64> {
    let index = u64::from_le_bytes(*bytes.get(at.checked_add(HEAD)?..)?.first_chunk::<8>()?);
    // Cheap before dear: hardly any place is asked for its hash.
    let near = index >= expected && index - expected <= bytes.len() as u64;
    (near && payload_at(bytes, at).is_some()).then_some(index)
}

/// Whether a sector of the frame that begins at `at` was never written. A length that is damaged too may reach beyond the
/// frame, into zeros: then damage of the very last append is taken for this.
fn is_torn(bytes: &[u8], at: usize) -> bool {
    let Some((length, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk::<4>) else { return false };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let end = at.saturating_add(HEAD).saturating_add(length).min(bytes.len());
    let frame = bytes.get(at..end).unwrap_or_default();
    let (first, rest) = frame.split_at_checked(SECTOR - at % SECTOR).unwrap_or((frame, &[]));
    std::iter::once(first).chain(rest.chunks(SECTOR)).any(|sector| sector.iter().all(|byte| *byte == 0))
}

/// Most bytes a row takes in the file.
pub(crate) fn size_of(row: &RecordRow) -> u64 {
    (HEAD + ROW_HEAD + row.bytes.len() + row.side.len()) as u64
}

fn frame(rows: &[RecordRow]) -> io::Result<Vec<u8>> {
    let length =
        |bytes: usize| u32::try_from(bytes).map(u32::to_le_bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let mut payload = Vec::new();
    for row in rows {
        payload.extend_from_slice(&row.index.to_le_bytes());
        payload.extend_from_slice(&row.until.to_le_bytes());
        payload.extend_from_slice(&length(row.bytes.len())?);
        payload.extend_from_slice(&length(row.side.len())?);
        payload.extend_from_slice(&row.bytes);
        payload.extend_from_slice(&row.side);
    }
    Ok([&length(payload.len())?[..], &remit_model::json::sha256(&payload), &payload].concat())
}

/// The row at the beginning of `payload`, and what follows it.
fn row(payload: &[u8]) -> Option<(RecordRow, &[u8])> {
    let (index, rest) = payload.split_first_chunk::<8>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (side_length, rest) = rest.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let (side, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*side_length)).ok()?)?;
    let record = Record::parse(bytes).ok()?;
    let row = RecordRow {
        index: u64::from_le_bytes(*index),
        record_id: record.record_id().to_owned(),
        leaf_hash: tree::leaf_hash(bytes),
        until: i64::from_le_bytes(*until),
        bytes: bytes.to_owned(),
        side: side.to_owned(),
    };
    Some((row, rest))
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
        Draft, Hash, Sealer,
        record::{Environment, Identity, Pepper, ProducerKind, RecordKey, RecordType},
    };
    use remit_model::{id::TenantId, time::Moment};

    const SIZE: u64 = 16 << 10;

    /// Rows `first..first + count`, whose records are real.
    fn rows(first: u64, count: u64) -> Vec<RecordRow> {
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
            RecordRow { index, record_id: sealed.record_id, leaf_hash: sealed.leaf_hash, until: 0, bytes, side }
        };
        (first..first + count).map(&mut row).collect()
    }

    /// The bytes of a file to which these rows were appended, and where each append ended.
    fn written(appends: &[Vec<RecordRow>]) -> (Vec<u8>, Vec<usize>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let mut spool = Spool::open(&path, SIZE, 5).unwrap();
        let mut end = |rows: &Vec<RecordRow>| {
            spool.append(rows.clone()).unwrap();
            usize::try_from(spool.end).unwrap()
        };
        let ends = appends.iter().map(&mut end).collect();
        (std::fs::read(path).unwrap(), ends)
    }

    /// What a start finds in a file of these bytes, where the database holds all before `next`.
    fn found(bytes: &[u8], next: u64) -> Result<Vec<RecordRow>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        std::fs::write(&path, bytes).unwrap();
        let spool = Spool::open(&path, SIZE, next).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"))?;
        // What was dropped is gone for good.
        let rest = std::fs::read(&path).unwrap().split_off(usize::try_from(spool.end).unwrap());
        assert!(rest.iter().all(|byte| *byte == 0));
        Ok(spool.rows)
    }

    /// Every file that a power cut can leave of writing `after` over `before`: any of the sectors that differ.
    fn cuts<'a>(before: &'a [u8], after: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
        let changed: Vec<usize> =
            (0..before.len()).step_by(SECTOR).filter(|at| before[*at..at + SECTOR] != after[*at..at + SECTOR]).collect();
        assert!((5..13).contains(&changed.len()), "{} sectors", changed.len());
        (0..1_usize << changed.len()).map(move |cut| {
            let mut bytes = before.to_vec();
            for at in changed.iter().enumerate().filter(|(n, _)| cut >> n & 1 == 1).map(|(_, at)| *at) {
                bytes[at..at + SECTOR].copy_from_slice(&after[at..at + SECTOR]);
            }
            bytes
        })
    }

    #[test]
    fn an_append_of_several_rows_that_a_power_cut_tears_is_there_whole_or_not_at_all() {
        let (first, second) = (rows(5, 2), rows(7, 2));
        let (before, _) = written(std::slice::from_ref(&first));
        let (after, _) = written(&[first.clone(), second.clone()]);
        for bytes in cuts(&before, &after) {
            let expected = if bytes == after { [first.clone(), second.clone()].concat() } else { first.clone() };
            assert_eq!(found(&bytes, 5).unwrap(), expected);
        }
    }

    #[test]
    fn a_power_cut_while_the_spool_is_emptied_harms_nothing() {
        let appends = [rows(5, 1), rows(6, 1), rows(7, 1)];
        let (before, _) = written(&appends);
        for bytes in cuts(&before, &vec![0; before.len()]) {
            let rows = found(&bytes, 8).unwrap();
            assert_eq!(rows, appends.concat()[..rows.len()], "the database has them all");
        }
    }

    #[test]
    fn whatever_is_damaged_of_what_was_acknowledged_refuses_the_start_and_says_where() {
        let appends = [rows(5, 1), rows(6, 2), rows(8, 1)];
        let (whole, ends) = written(&appends);
        assert_eq!(found(&whole, 5).unwrap(), appends.concat());
        let frame_of = |at: usize| ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
        for damage in [&[0xff][..], &[0xff; 4], &[0; 36], &[0; 4]] {
            for at in (0..ends[2] - damage.len()).step_by(41) {
                let mut bytes = whole.clone();
                bytes[at..at + damage.len()].copy_from_slice(damage);
                // A length that is damaged in the very last append may look as if the rest had never been written.
                if bytes == whole || (ends[1].saturating_sub(damage.len())..ends[1] + 4).contains(&at) {
                    continue;
                }
                let why = found(&bytes, 5).unwrap_err();
                assert!(why.contains(&format!("FILE is damaged at byte {}", frame_of(at))), "{damage:?} at {at}: {why}");
            }
        }
        for (n, start) in [0, ends[0]].into_iter().enumerate() {
            let mut bytes = whole.clone();
            bytes[start..ends[n]].fill(0);
            let why = found(&bytes, 5).unwrap_err();
            assert!(why.contains(&format!("FILE is damaged at byte {start}")), "append {n} is missing: {why}");
        }
    }

    #[test]
    fn an_append_that_failed_leaves_nothing_that_a_later_one_could_be_taken_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool");
        let mut spool = Spool::open(&path, SIZE, 5).unwrap();
        spool.append(rows(5, 2)).unwrap();
        let end = spool.end;
        // As if writing had failed after all of it had reached the file, and wiping as well.
        let failed = frame(&rows(7, 3)).unwrap();
        spool.file.write_all_at(&failed, end).unwrap();
        (spool.reach, spool.broken) = (end + failed.len() as u64, true);
        assert_eq!(spool.room(true), 0);
        spool.clear();
        assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
        let again = rows(7, 1);
        spool.append(again.clone()).unwrap();
        drop(spool);
        assert_eq!(Spool::open(&path, SIZE, 7).unwrap().rows(), again);
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
