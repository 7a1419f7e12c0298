//! Reading a log: a copied directory, or any other source of the same files.

use super::{CHECKPOINT, OBJECT_LIMIT, SIDE_BUNDLE_LIMIT, object_path, side_path};
use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    hash::Hash,
    note::NOTE_LIMIT,
    record::{Record, RecordError, Side, SideError},
    tile::{self, BUNDLE_LIMIT, Level, Tile, TileError, WIDTH},
    tree::{self, ProofError, Range},
    vault::Keyring,
};
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Reads the file at a relative path, at most so many bytes: `None` when there is none, an error when it is longer.
type Fetch = Box<dyn Fn(&str, usize) -> io::Result<Option<Vec<u8>>> + Send + Sync>;
type Bundle = Arc<Vec<Vec<u8>>>;
type SideBundle = Arc<BTreeMap<u64, Side>>;

/// A log as far as its checkpoint reaches. Nothing read is trusted: see [`crate::verify()`].
pub struct Reader {
    fetch: Fetch,
    note: Vec<u8>,
    checkpoint: Checkpoint,
    /// The bundles read last: reading in order touches every file once.
    entries: Mutex<Option<(u64, Bundle)>>,
    sides: Mutex<Option<(u64, SideBundle)>>,
    keys: Option<Keyring>,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("{0}: missing")]
    Missing(String),
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("{path}: {error}")]
    Tile { path: String, error: TileError },
    #[error("record {index}: {error}")]
    Record { index: u64, error: RecordError },
    #[error("{path}: {error}")]
    Side { path: String, error: SideError },
    #[error("{path}: the values of record {index} do not belong there, or are there twice")]
    Misplaced { path: String, index: u64 },
    #[error("{0}: the content is not what its name says")]
    Object(String),
    #[error("there is no record {index}: the log has {size}, counted from 0")]
    OutOfRange { index: u64, size: u64 },
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl Reader {
    /// Opens a directory; reads only its checkpoint.
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Io`], [`ReadError::Checkpoint`].
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        let root: PathBuf = dir.to_owned();
        Self::from_fetch(move |path, limit| read_file(&root.join(path), limit))
    }

    /// Opens a directory as it will be once `note` is its checkpoint: tiles first, checkpoint last.
    pub(crate) fn under(dir: &Path, note: Vec<u8>) -> Result<Self, ReadError> {
        let root: PathBuf = dir.to_owned();
        let checkpoint = Checkpoint::danger_open_unverified(&note)?;
        let fetch: Fetch = Box::new(move |path, limit| read_file(&root.join(path), limit));
        Ok(Self { fetch, note, checkpoint, entries: Mutex::default(), sides: Mutex::default(), keys: None })
    }

    /// Opens a log behind any other source of its files, for instance HTTP. `fetch(path, limit)` returns `None` for a
    /// file that does not exist and an error for one longer than `limit`.
    ///
    /// # Errors
    /// As for [`Reader::open`].
    pub fn from_fetch(
        fetch: impl Fn(&str, usize) -> io::Result<Option<Vec<u8>>> + Send + Sync + 'static,
    ) -> Result<Self, ReadError> {
        let fetch: Fetch = Box::new(fetch);
        let note = required(&fetch, CHECKPOINT, NOTE_LIMIT)?;
        let checkpoint = Checkpoint::danger_open_unverified(&note)?;
        Ok(Self { fetch, note, checkpoint, entries: Mutex::default(), sides: Mutex::default(), keys: None })
    }

    /// Reads with these keys: side values they open are open from now on.
    #[must_use]
    pub fn with_keys(mut self, keys: Keyring) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The keys it reads with.
    pub fn keys(&self) -> Option<&Keyring> {
        self.keys.as_ref()
    }

    /// Number of entries the checkpoint covers.
    pub fn len(&self) -> u64 {
        self.checkpoint.size
    }

    /// Whether the log has no entry.
    pub fn is_empty(&self) -> bool {
        self.checkpoint.size == 0
    }

    /// What the checkpoint says; its signature is not checked here.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signed note as read.
    pub fn checkpoint_note(&self) -> &[u8] {
        &self.note
    }

    /// The canonical bytes of entry `index`.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`]; [`ReadError::Missing`], [`ReadError::Io`] or [`ReadError::Tile`] for its bundle.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, ReadError> {
        let outside = ReadError::OutOfRange { index, size: self.len() };
        if index >= self.len() {
            return Err(outside);
        }
        let bundle = self.bundle(index / WIDTH)?;
        usize::try_from(index % WIDTH).ok().and_then(|at| bundle.get(at)).cloned().ok_or(outside)
    }

    /// Entry `index`, parsed.
    ///
    /// # Errors
    /// As for [`Reader::entry`]; [`ReadError::Record`] for bytes that are no record.
    pub fn record(&self, index: u64) -> Result<Record, ReadError> {
        Record::parse(&self.entry(index)?).map_err(|error| ReadError::Record { index, error })
    }

    /// The openings of record `index`, opened as far as the keys at hand go; `None` when they are not with this copy.
    /// They are not checked against `commit.root` here: compare [`Side::root`] with [`Record::commit_root`].
    ///
    /// # Errors
    /// [`ReadError::Io`], [`ReadError::Side`], [`ReadError::Misplaced`]; as for [`Reader::record`] when keys are at hand.
    pub fn side(&self, index: u64) -> Result<Option<Side>, ReadError> {
        let side = self.side_as_stored(index)?;
        if self.keys.is_none() || side.as_ref().is_none_or(|side| side.key_ids().is_empty()) {
            return Ok(side);
        }
        self.opened(index, side, &self.record(index)?)
    }

    /// The same when the record is at hand, which saves parsing it again.
    ///
    /// # Errors
    /// As for [`Reader::side`].
    pub fn side_of(&self, index: u64, record: &Record) -> Result<Option<Side>, ReadError> {
        let side = self.side_as_stored(index)?;
        self.opened(index, side, record)
    }

    /// The openings as they are in the file, whatever keys are at hand.
    ///
    /// # Errors
    /// [`ReadError::Io`], [`ReadError::Side`], [`ReadError::Misplaced`].
    pub fn side_as_stored(&self, index: u64) -> Result<Option<Side>, ReadError> {
        Ok(self.side_bundle(index)?.get(&index).cloned())
    }

    fn opened(&self, index: u64, side: Option<Side>, record: &Record) -> Result<Option<Side>, ReadError> {
        let (Some(mut side), Some(keys)) = (side.clone(), &self.keys) else { return Ok(side) };
        side.open(record.record_id(), keys).map_err(|error| ReadError::Side { path: format!("record {index}"), error })?;
        Ok(Some(side))
    }

    /// A pinned object (a policy set, a schema), checked against its name; `None` when it is not with this copy.
    ///
    /// # Errors
    /// [`ReadError::Object`] for content of another digest; [`ReadError::Io`].
    pub fn object(&self, digest: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        let path = object_path(digest);
        match self.optional(&path, OBJECT_LIMIT)? {
            Some(bytes) if Hash::of(&[&bytes]) != *digest => Err(ReadError::Object(path)),
            found => Ok(found),
        }
    }

    /// All entries of bundle `number`, as far as the checkpoint covers it.
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Io`], [`ReadError::Tile`].
    pub fn bundle(&self, number: u64) -> Result<Bundle, ReadError> {
        let mut last = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, bundle)) = last.as_ref().filter(|(cached, _)| *cached == number) {
            return Ok(Arc::clone(bundle));
        }
        let bundle: Bundle = Arc::new(self.read_bundle(number)?);
        *last = Some((number, Arc::clone(&bundle)));
        Ok(bundle)
    }

    fn read_bundle(&self, number: u64) -> Result<Vec<Vec<u8>>, ReadError> {
        let size = self.len();
        let outside = ReadError::OutOfRange { index: number.saturating_mul(WIDTH), size };
        let tile = Tile::at(Level::Entries, number, size).ok_or(outside)?;
        let (found, bytes) = self.tile_bytes(tile, BUNDLE_LIMIT)?;
        let entries = tile::parse_bundle(&bytes, found.width);
        let entries = entries.map_err(|error| ReadError::Tile { path: found.path(), error })?;
        Ok(entries.into_iter().take(usize::from(tile.width)).map(<[u8]>::to_vec).collect())
    }

    /// The stored hashes of a tile, as many as its width says.
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Io`], [`ReadError::Tile`].
    pub fn hashes(&self, tile: Tile) -> Result<Vec<Hash>, ReadError> {
        let (found, bytes) = self.tile_bytes(tile, 8192)?;
        let mut hashes =
            tile::parse_hashes(&bytes, found.width).map_err(|error| ReadError::Tile { path: found.path(), error })?;
        hashes.truncate(usize::from(tile.width));
        Ok(hashes)
    }

    /// The tile's file, or that of the full tile it has become. SPEC: LG-10.
    fn tile_bytes(&self, tile: Tile, limit: usize) -> Result<(Tile, Vec<u8>), ReadError> {
        for candidate in [tile, tile.full()] {
            if let Some(bytes) = self.optional(&candidate.path(), limit)? {
                return Ok((candidate, bytes));
            }
        }
        Err(ReadError::Missing(tile.path()))
    }

    fn side_bundle(&self, index: u64) -> Result<SideBundle, ReadError> {
        let number = index / WIDTH;
        let mut last = self.sides.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, bundle)) = last.as_ref().filter(|(cached, _)| *cached == number) {
            return Ok(Arc::clone(bundle));
        }
        let path = side_path(index);
        let bytes = self.optional(&path, SIDE_BUNDLE_LIMIT)?.unwrap_or_default();
        let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let mut sides = BTreeMap::new();
        for line in lines {
            let (at, side) = Side::parse_line(line).map_err(|error| ReadError::Side { path: path.clone(), error })?;
            if at / WIDTH != number || sides.insert(at, side).is_some() {
                return Err(ReadError::Misplaced { path, index: at });
            }
        }
        let sides: SideBundle = Arc::new(sides);
        *last = Some((number, Arc::clone(&sides)));
        Ok(sides)
    }

    /// The proof that entry `index` is in this log, from the tiles. SPEC: RFC 6962 §2.1.1.
    ///
    /// # Errors
    /// [`ReadError::Proof`] for an index outside the log; as for [`Reader::hashes`].
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, ReadError> {
        tree::inclusion_ranges(index, self.len())?.into_iter().map(|range| self.subtree(range)).collect()
    }

    /// The proof that the log of `old` entries is a prefix of this one, from the tiles. SPEC: RFC 6962 §2.1.2.
    ///
    /// # Errors
    /// [`ReadError::Proof`] for a size of 0 or above the log's; as for [`Reader::hashes`].
    pub fn consistency(&self, old: u64) -> Result<Vec<Hash>, ReadError> {
        tree::consistency_ranges(old, self.len())?.into_iter().map(|range| self.subtree(range)).collect()
    }

    /// The hash of the subtree over a range that starts where one of its size may start.
    ///
    /// # Errors
    /// As for [`Reader::hashes`].
    pub fn subtree(&self, range: Range) -> Result<Hash, ReadError> {
        let parts = tree::perfect_parts(range).into_iter().map(|part| self.perfect(part));
        Ok(tree::fold(&parts.collect::<Result<Vec<_>, _>>()?))
    }

    /// A perfect subtree: one hash of a tile, or the root over up to 128 neighbours in one tile.
    fn perfect(&self, range: Range) -> Result<Hash, ReadError> {
        let height = (range.end - range.start).ilog2();
        let (level, within) = (height / 8, height % 8);
        let first = range.start.checked_shr(8 * level).unwrap_or(0);
        let outside = || ReadError::OutOfRange { index: range.start, size: self.len() };
        let level = Level::Hashes(u8::try_from(level).map_err(|_| outside())?);
        let tile = Tile::holding(level, first, self.len()).ok_or_else(outside)?;
        let hashes = self.hashes(tile)?;
        let at = usize::try_from(first % WIDTH).map_err(|_| outside())?;
        hashes.get(at..at + (1 << within)).map(tree::root).ok_or_else(outside)
    }

    fn optional(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, ReadError> {
        (self.fetch)(path, limit).map_err(|error| ReadError::Io { path: path.to_owned(), error })
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("checkpoint", &self.checkpoint).finish_non_exhaustive()
    }
}

fn required(fetch: &Fetch, path: &str, limit: usize) -> Result<Vec<u8>, ReadError> {
    let found = fetch(path, limit).map_err(|error| ReadError::Io { path: path.to_owned(), error })?;
    found.ok_or_else(|| ReadError::Missing(path.to_owned()))
}

/// Reads a file that may be anything at all, but not more of it than `limit` bytes; `None` when there is none.
///
/// # Errors
/// The file is longer, is no regular file, or cannot be read.
pub fn read_file(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let about = match path.metadata() {
        Ok(about) => about,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error),
    };
    // A copy handed to us may hold pipes and devices: opening or reading one would never end.
    if !about.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!("longer than {limit} bytes")));
    }
    Ok(Some(bytes))
}
