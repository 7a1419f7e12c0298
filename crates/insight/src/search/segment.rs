//! One run of records in memory: which have which term, and when each was written.

use super::error::SearchError;
use roaring::RoaringBitmap;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// Records in one segment.
pub const SEGMENT: u32 = 65_536;

#[derive(Debug, Default)]
pub(super) struct Segment {
    number: u64,
    times: Vec<u64>,
    postings: BTreeMap<String, RoaringBitmap>,
    /// Terms that differ from what is on disk.
    touched: BTreeSet<String>,
    /// Nothing of it is on disk yet, so all of it is written.
    fresh: bool,
}

impl Segment {
    pub(super) fn starting(number: u64) -> Self {
        Self { number, fresh: true, ..Self::default() }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    fn length(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap_or(SEGMENT)
    }

    /// The index after its last record.
    pub(super) fn end(&self) -> u64 {
        self.number * u64::from(SEGMENT) + u64::from(self.length())
    }

    pub(super) fn is_full(&self) -> bool {
        self.length() >= SEGMENT
    }

    pub(super) fn add<T: Into<String>>(&mut self, time_ns: u64, terms: impl IntoIterator<Item = T>) {
        let at = self.length();
        for term in terms {
            let term = term.into();
            if !self.fresh && !self.touched.contains(&term) {
                self.touched.insert(term.clone());
            }
            self.postings.entry(term).or_default().insert(at);
        }
        self.times.push(time_ns);
    }

    pub(super) fn write(&mut self, db: &Connection) -> Result<(), SearchError> {
        if self.times.is_empty() {
            return Ok(());
        }
        let segment = signed(self.number);
        let mut insert = db.prepare_cached("INSERT OR REPLACE INTO postings VALUES (?1, ?2, ?3)")?;
        for (term, bitmap) in self.postings.iter().filter(|(term, _)| self.fresh || self.touched.contains(*term)) {
            let mut bytes = Vec::with_capacity(bitmap.serialized_size());
            bitmap.serialize_into(&mut bytes).map_err(|_| SearchError::Damaged("a bitmap cannot be written"))?;
            insert.execute(params![segment, term, bytes])?;
        }
        let each: Vec<u8> = self.times.iter().flat_map(|time| time.to_le_bytes()).collect();
        let first = self.times.iter().min().copied().unwrap_or_default();
        let last = self.times.iter().max().copied().unwrap_or_default();
        let mut times = db.prepare_cached("INSERT OR REPLACE INTO times VALUES (?1, ?2, ?3, ?4)")?;
        times.execute(params![segment, signed(first), signed(last), each])?;
        self.touched.clear();
        self.fresh = false;
        Ok(())
    }

    pub(super) fn read(db: &Connection, number: i64) -> Result<Self, SearchError> {
        let each: Vec<u8> = db.query_row("SELECT each FROM times WHERE segment = ?1", [number], |row| row.get(0))?;
        let mut postings = BTreeMap::new();
        let mut rows = db.prepare("SELECT term, bitmap FROM postings WHERE segment = ?1")?;
        let mut rows = rows.query([number])?;
        while let Some(row) = rows.next()? {
            postings.insert(row.get(0)?, bitmap(&row.get::<_, Vec<u8>>(1)?)?);
        }
        let number = u64::try_from(number).map_err(|_| SearchError::Damaged("a segment has a negative number"))?;
        Ok(Self { number, times: times(&each), postings, touched: BTreeSet::new(), fresh: false })
    }
}

pub(super) fn bitmap(bytes: &[u8]) -> Result<RoaringBitmap, SearchError> {
    RoaringBitmap::deserialize_from(bytes).map_err(|_| SearchError::Damaged("a bitmap cannot be read"))
}

pub(super) fn times(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect()
}

/// SQLite's integers are signed; no time or size of ours comes near the difference.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
