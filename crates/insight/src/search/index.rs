//! The index: a SQLite file beside the ledger.
//!
//! Records are taken in segments of 65,536. For each segment and term there is one roaring bitmap of the records that
//! have the term, and for each segment the records' times. A query is a conjunction of alternatives, answered segment by
//! segment, newest first. The index is bound to the log by origin and by the tree's root at the size it has reached:
//! an index of anything else is made anew. Nothing is believed of it: hits are compared with the records themselves.

use super::{
    error::SearchError,
    segment::{self, SEGMENT, Segment, signed},
    terms::terms,
};
use remit_ledger::{Reader, tree::Range};
use roaring::RoaringBitmap;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};
use std::{
    fmt,
    fs::{self, File},
    io::{ErrorKind, Read as _},
    path::Path,
    time::Duration,
};

/// What the tables mean; another number is another index, and is made anew.
const FORMAT: i64 = 2;

/// SQLite's application id of an index, so that no other database is taken for one: `RmSx`.
const APPLICATION: u32 = 0x526d_5378;

/// How long to wait for another process that is writing the index.
const WAIT: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS log (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1), origin TEXT NOT NULL, size INTEGER NOT NULL, root TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS postings (
  segment INTEGER NOT NULL, term TEXT NOT NULL, bitmap BLOB NOT NULL, PRIMARY KEY (segment, term)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS times (
  segment INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, each BLOB NOT NULL);";

/// The index of one log.
pub struct Index {
    db: Connection,
    segment: Segment,
    /// What the file said it holds when it was last read or written.
    saved: u64,
}

/// What to look for: each group is alternatives, and every group must be met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub all: Vec<Vec<String>>,
    /// Not before, in nanoseconds since 1970.
    pub since: Option<u64>,
    /// Before, in nanoseconds since 1970.
    pub until: Option<u64>,
    /// Most hits to give back.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Indexes of records, newest first.
    pub records: Vec<u64>,
    /// How many there are altogether.
    pub total: u64,
}

/// What catching up came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Records that were added.
    pub added: u64,
    /// Whether the index was of another log, or of nothing, and began anew.
    pub anew: bool,
}

impl Index {
    /// Opens the index in a file, which is made when missing.
    ///
    /// # Errors
    /// [`SearchError::SomethingElse`], and [`SearchError::Index`] when the file cannot be written or is damaged.
    pub fn open(file: &Path) -> Result<Self, SearchError> {
        if is_ours(file) { Self::over(Connection::open(file)?) } else { Err(SearchError::SomethingElse) }
    }

    /// Removes the file of a damaged index and begins anew.
    ///
    /// # Errors
    /// As for [`Index::open`], and [`SearchError::Remove`].
    pub fn anew(file: &Path) -> Result<Self, SearchError> {
        if !is_ours(file) {
            return Err(SearchError::SomethingElse);
        }
        let mut journal = file.as_os_str().to_owned();
        journal.push("-journal");
        for file in [file, Path::new(&journal)] {
            fs::remove_file(file).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        }
        Self::over(Connection::open(file)?)
    }

    /// An index that is gone when it is dropped.
    ///
    /// # Errors
    /// [`SearchError::Index`].
    pub fn in_memory() -> Result<Self, SearchError> {
        Self::over(Connection::open_in_memory()?)
    }

    fn over(db: Connection) -> Result<Self, SearchError> {
        db.busy_timeout(WAIT)?;
        // The file may have come with a foreign ledger: nothing that it defines is run.
        db.execute_batch("PRAGMA trusted_schema = OFF;")?;
        let format: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if format != FORMAT {
            db.execute_batch("DROP TABLE IF EXISTS log; DROP TABLE IF EXISTS postings; DROP TABLE IF EXISTS times;")?;
            db.pragma_update(None, "application_id", APPLICATION)?;
            db.pragma_update(None, "user_version", FORMAT)?;
        }
        // It can be made anew at any time, so a power cut may cost the last segment.
        db.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;")?;
        db.execute_batch(SCHEMA)?;
        let mut index = Self { db, segment: Segment::starting(0), saved: 0 };
        index.resume()?;
        Ok(index)
    }

    /// How many records it knows.
    pub fn size(&self) -> u64 {
        self.segment.end()
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// [`SearchError::Index`].
    pub fn clear(&mut self) -> Result<(), SearchError> {
        self.db.execute_batch("BEGIN; DELETE FROM log; DELETE FROM postings; DELETE FROM times; COMMIT; VACUUM;")?;
        (self.segment, self.saved) = (Segment::starting(0), 0);
        Ok(())
    }

    /// Adds the next record: its index, its time in nanoseconds since 1970 and its terms. A full segment is written;
    /// the rest waits for [`Index::save`].
    ///
    /// # Errors
    /// [`SearchError::Order`] when it is not the next one.
    pub fn add<T: Into<String>>(
        &mut self,
        index: u64,
        time_ns: u64,
        terms: impl IntoIterator<Item = T>,
    ) -> Result<(), SearchError> {
        if index != self.size() {
            return Err(SearchError::Order { index, size: self.size() });
        }
        self.segment.add(time_ns, terms);
        if self.segment.is_full() { self.save("", "") } else { Ok(()) }
    }

    /// Writes what was added, and which log it is of.
    ///
    /// # Errors
    /// [`SearchError::Index`].
    pub fn save(&mut self, origin: &str, root: &str) -> Result<(), SearchError> {
        self.write(origin, root)?;
        if self.segment.is_full() {
            self.segment = Segment::starting(self.segment.number() + 1);
        }
        Ok(())
    }

    /// Reads what the log has beyond the index; all of it when the index is of another log.
    ///
    /// # Errors
    /// When a record cannot be read, or the index not written.
    pub fn catch_up(&mut self, reader: &Reader) -> Result<CaughtUp, SearchError> {
        let mut caught = CaughtUp::default();
        if !self.is_of(reader)? {
            self.clear()?;
            caught.anew = true;
        }
        let (from, to) = (self.size(), reader.len());
        for index in from..to {
            let record = reader.record(index)?;
            self.segment.add(record.wall_ns(), terms(&record));
            if self.segment.is_full() || index + 1 == to {
                let root = reader.subtree(Range { start: 0, end: index + 1 })?;
                self.save(&reader.checkpoint().origin, &root.to_string())?;
            }
        }
        caught.added = to - from;
        Ok(caught)
    }

    /// Whether the log begins with exactly the records that were indexed.
    fn is_of(&self, reader: &Reader) -> Result<bool, SearchError> {
        let bound = self.db.query_row("SELECT origin, size, root FROM log", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
        });
        let Some((origin, size, root)) = bound.optional()? else { return Ok(self.size() == 0 && reader.is_empty()) };
        let size = u64::try_from(size).unwrap_or(0);
        if size == 0 || size != self.size() || size > reader.len() || origin != reader.checkpoint().origin {
            return Ok(false);
        }
        Ok(reader.subtree(Range { start: 0, end: size })?.to_string() == root)
    }

    /// Which records meet the query.
    ///
    /// # Errors
    /// [`SearchError::Index`] or [`SearchError::Damaged`].
    pub fn search(&self, query: &Query) -> Result<Hits, SearchError> {
        let mut hits = Hits::default();
        let mut segments =
            self.db.prepare_cached("SELECT segment, first, last, length(each) / 8 FROM times ORDER BY segment DESC")?;
        let mut rows = segments.query([])?;
        while let Some(row) = rows.next()? {
            let (segment, first, last, length): (i64, i64, i64, u32) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let (since, until) = (query.since.map(signed), query.until.map(signed));
            if since.is_some_and(|since| last < since) || until.is_some_and(|until| first >= until) {
                continue;
            }
            let Some(mut found) = self.matching(segment, &query.all, length)? else { continue };
            if since.is_some_and(|since| first < since) || until.is_some_and(|until| last >= until) {
                self.keep_within(segment, &mut found, query)?;
            }
            hits.total += found.len();
            let start = u64::try_from(segment).unwrap_or(0) * u64::from(SEGMENT);
            let room = query.limit.saturating_sub(hits.records.len());
            hits.records.extend(found.iter().rev().take(room).map(|at| start + u64::from(at)));
        }
        Ok(hits)
    }

    /// The records of a segment that meet every group; `None` when there are none.
    fn matching(&self, segment: i64, all: &[Vec<String>], length: u32) -> Result<Option<RoaringBitmap>, SearchError> {
        let mut found: Option<RoaringBitmap> = None;
        for group in all {
            let mut any = RoaringBitmap::new();
            for term in group {
                any |= self.posting(segment, term)?;
            }
            let narrowed = match found {
                None => any,
                Some(found) => found & any,
            };
            if narrowed.is_empty() {
                return Ok(None);
            }
            found = Some(narrowed);
        }
        Ok(Some(found.unwrap_or_else(|| (0..length).collect())))
    }

    fn posting(&self, segment: i64, term: &str) -> Result<RoaringBitmap, SearchError> {
        let mut one = self.db.prepare_cached("SELECT bitmap FROM postings WHERE segment = ?1 AND term = ?2")?;
        let bytes: Option<Vec<u8>> = one.query_row(params![segment, term], |row| row.get(0)).optional()?;
        bytes.map_or_else(|| Ok(RoaringBitmap::new()), |bytes| segment::bitmap(&bytes))
    }

    fn keep_within(&self, segment: i64, found: &mut RoaringBitmap, query: &Query) -> Result<(), SearchError> {
        let each: Vec<u8> = self.db.query_row("SELECT each FROM times WHERE segment = ?1", [segment], |row| row.get(0))?;
        let times = segment::times(&each);
        let outside = |at: &u32| {
            let time = usize::try_from(*at).ok().and_then(|at| times.get(at)).copied().unwrap_or_default();
            query.since.is_some_and(|since| time < since) || query.until.is_some_and(|until| time >= until)
        };
        let outside: RoaringBitmap = found.iter().filter(outside).collect();
        *found -= outside;
        Ok(())
    }

    fn write(&mut self, origin: &str, root: &str) -> Result<(), SearchError> {
        // CRASH: postings, times and size are one transaction; what is lost is read again from the log.
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let stands: Option<i64> = transaction.query_row("SELECT size FROM log", [], |row| row.get(0)).optional()?;
        if stands.unwrap_or(0) != signed(self.saved) {
            return Err(SearchError::Busy);
        }
        self.segment.write(&transaction)?;
        let bind = "INSERT INTO log VALUES (1, ?1, ?2, ?3)
            ON CONFLICT (only_row) DO UPDATE SET origin = ?1, size = ?2, root = ?3";
        transaction.execute(bind, params![origin, signed(self.segment.end()), root])?;
        transaction.commit()?;
        self.saved = self.segment.end();
        Ok(())
    }

    /// Takes the last, unfinished segment back into memory.
    fn resume(&mut self) -> Result<(), SearchError> {
        let last: Option<i64> = self.db.query_row("SELECT max(segment) FROM times", [], |row| row.get(0))?;
        let Some(last) = last else { return Ok(()) };
        self.segment = Segment::read(&self.db, last)?;
        self.saved = self.segment.end();
        if self.segment.is_full() {
            self.segment = Segment::starting(self.segment.number() + 1);
        }
        Ok(())
    }
}

impl SearchError {
    /// Whether the file is damaged, so that it must be made anew.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            // Whatever is not the machine's fault or another process's.
            Self::Index(error) => !matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::PermissionDenied
                        | ErrorCode::ReadOnly
                        | ErrorCode::CannotOpen
                        | ErrorCode::DiskFull
                        | ErrorCode::OutOfMemory
                        | ErrorCode::SystemIoFailure
                )
            ),
            _ => false,
        }
    }
}

/// Whether an index may be made in this file: it is missing, empty, or one already. Read without SQLite, which would call
/// any damaged file no database.
fn is_ours(file: &Path) -> bool {
    // A pipe would be waited for.
    if fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return false;
    }
    let mut head = Vec::new();
    match File::open(file).and_then(|file| file.take(HEAD).read_to_end(&mut head)) {
        Ok(_) => head.is_empty() || (head.starts_with(b"SQLite format 3\0") && head.ends_with(&APPLICATION.to_be_bytes())),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// SQLite's header up to the application id, in bytes.
const HEAD: u64 = 72;

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("size", &self.size()).finish_non_exhaustive()
    }
}
