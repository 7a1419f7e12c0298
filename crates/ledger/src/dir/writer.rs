//! Publishing: entries, tiles, side bundles and pinned objects become files, then the checkpoint that covers them.

use super::{CHECKPOINT, OBJECT_LIMIT, Reader, object_path, reader::ReadError, side_path};
use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    hash::Hash,
    note::{NoteError, Signature, SigningKey},
    record::{Side, SideError},
    tile::{self, Level, Tile, TileError, WIDTH},
    tree::{self, Frontier, Range},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The only signer of a log: holds the directory's lock and only ever moves its head forward.
#[derive(Debug)]
pub struct Writer {
    root: PathBuf,
    key: SigningKey,
    head: Head,
    /// The checkpoint note as it must still be on disk; `None` before the first.
    note: Option<Vec<u8>>,
    /// Held until the writer is dropped: a second writer would fork the log.
    _lock: File,
}

/// An entry to publish: its canonical bytes, and its openings as [`Side::to_bytes`] wrote them.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    pub entry: &'a [u8],
    pub side: Option<&'a [u8]>,
}

/// Shows a signed head to others before it is published, and gives back their cosignatures.
///
/// It is handed the log as it will be, so that it can prove consistency from whatever each of them has seen.
pub type Cosign<'a> = dyn FnMut(Reader) -> Vec<Signature> + 'a;

/// Why nothing was published. The head stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("another writer holds the log's lock")]
    Locked,
    #[error("the log on disk cannot be continued: {0}")]
    Read(#[from] ReadError),
    #[error("the checkpoint on disk is not ours: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the tiles on disk do not add up to the checkpoint's root")]
    Damaged,
    #[error("the checkpoint on disk is no longer the one this writer left there")]
    Overtaken,
    #[error("entry {index} differs from the one already published: the log would fork")]
    Fork { index: u64 },
    #[error("the new side values of record {index} are not those it commits to")]
    Leaves { index: u64 },
    #[error("entry {start} cannot follow a log of {size} entries")]
    Gap { start: u64, size: u64 },
    #[error(transparent)]
    Tile(#[from] TileError),
    #[error(transparent)]
    Side(#[from] SideError),
    #[error(transparent)]
    Sign(#[from] NoteError),
    #[error("an object of {0} bytes; the limit is {OBJECT_LIMIT}")]
    Object(usize),
}

/// The right edge of the published tree: what the next entries complete.
#[derive(Clone, Debug, Default)]
struct Head {
    frontier: Frontier,
    /// The hashes of each level's unfinished tile.
    levels: Vec<Vec<Hash>>,
    /// The entries of the unfinished bundle, and the side lines of the same range; shared, because every publication begins
    /// with a copy.
    entries: Vec<Arc<[u8]>>,
    sides: BTreeMap<u64, Arc<[u8]>>,
}

impl Writer {
    /// Opens or begins the log in `dir`. The key's name is the log's origin.
    ///
    /// Whatever a crash left beyond the checkpoint is overwritten by the next publish; the tiles the checkpoint covers
    /// must add up to its root, or the log is not continued.
    ///
    /// # Errors
    /// [`WriteError::Locked`] while another process writes; [`WriteError::Checkpoint`], [`WriteError::Read`] and
    /// [`WriteError::Damaged`] for a directory that cannot be continued; [`WriteError::Io`].
    pub fn open(dir: &Path, key: SigningKey) -> Result<Self, WriteError> {
        fs::create_dir_all(dir).map_err(io_error(dir))?;
        let lock = lock(dir)?;
        let (head, note) = if dir.join(CHECKPOINT).exists() {
            let reader = Reader::open(dir)?;
            Checkpoint::open(reader.checkpoint_note(), key.public())?;
            (Head::load(&reader)?, Some(reader.checkpoint_note().to_vec()))
        } else {
            (Head::default(), None)
        };
        Ok(Self { root: dir.to_owned(), key, head, note, _lock: lock })
    }

    /// Number of entries the checkpoint on disk covers.
    pub fn size(&self) -> u64 {
        self.head.frontier.size()
    }

    /// The head as it stands on disk, or would be signed for an empty log.
    pub fn checkpoint(&self) -> Checkpoint {
        self.head.checkpoint(&self.key)
    }

    /// Appends entries, the first of which has index `start`, and signs the new head.
    ///
    /// Entries that are already published are compared, not written: handing over the last published entry again makes
    /// a restored old database visible as [`WriteError::Fork`] instead of a forked log. SPEC: LG-17, N-LG-04.
    ///
    /// # Errors
    /// [`WriteError::Gap`], [`WriteError::Fork`], [`WriteError::Overtaken`]; [`WriteError::Tile`] for an entry that is too long;
    /// [`WriteError::Io`]. The published head is then the old one.
    pub fn publish(&mut self, start: u64, entries: &[Published<'_>]) -> Result<Checkpoint, WriteError> {
        self.publish_witnessed(start, entries, &mut |_| Vec::new())
    }

    /// The same, with the cosignatures of others on the new checkpoint.
    ///
    /// # Errors
    /// As for [`Writer::publish`].
    pub fn publish_witnessed(
        &mut self,
        start: u64,
        entries: &[Published<'_>],
        cosign: &mut Cosign<'_>,
    ) -> Result<Checkpoint, WriteError> {
        let size = self.size();
        if start > size {
            return Err(WriteError::Gap { start, size });
        }
        let known = usize::try_from(size - start).unwrap_or(usize::MAX).min(entries.len());
        let (old, new) = entries.split_at(known);
        // INVARIANT: an entry that was published is compared and never written again, so the log cannot fork here. SPEC: LG-17
        for (index, published) in (start..).zip(old) {
            if tree::leaf_hash(published.entry) != self.leaf(index)? {
                return Err(WriteError::Fork { index });
            }
        }
        if new.is_empty() && self.note.is_some() {
            return Ok(self.checkpoint());
        }
        let mut head = self.head.clone();
        let mut stage = Stage::new(&self.root);
        for published in new {
            head.append(published, &mut stage)?;
        }
        head.write_partials(size, &mut stage)?;
        // CRASH: before this line the old checkpoint stands and the files beyond it are rewritten, byte for byte, on resume.
        stage.sync()?;
        // CRASH: from here others may know a head that is not on disk. Its entries are in the database that filled this
        // log, so the next start publishes them again and comes to the same root.
        let note = self.sign(&head, cosign)?;
        // CRASH: from here the new checkpoint counts. Superseded partial tiles may be left over; readers ignore them.
        stage.remove_superseded();
        self.head = head;
        self.note = Some(note);
        Ok(self.checkpoint())
    }

    /// Asks for cosignatures on the head that is published already, when too few were had at the time.
    ///
    /// # Errors
    /// [`WriteError::Overtaken`], [`WriteError::Io`].
    pub fn witness_again(&mut self, cosign: &mut Cosign<'_>) -> Result<(), WriteError> {
        if self.note.is_some() {
            self.note = Some(self.sign(&self.head, cosign)?);
        }
        Ok(())
    }

    /// Stores bytes under their own SHA-256 (a policy set, a schema) and returns it.
    ///
    /// # Errors
    /// [`WriteError::Object`] for more than the limit; [`WriteError::Io`].
    pub fn put_object(&self, bytes: &[u8]) -> Result<Hash, WriteError> {
        if bytes.len() > OBJECT_LIMIT {
            return Err(WriteError::Object(bytes.len()));
        }
        let digest = Hash::of(&[bytes]);
        let path = object_path(&digest);
        if !self.root.join(&path).exists() {
            // CRASH: an object that no record names yet is harmless; the next call finds it under its digest.
            let mut stage = Stage::new(&self.root);
            stage.write(&path, bytes, Audience::Auditor)?;
            stage.sync()?;
        }
        Ok(digest)
    }

    /// Replaces side values that are already published, each by its index, as [`Side::to_bytes`] wrote them: their leaves
    /// must be the same, so every proof holds.
    ///
    /// # Errors
    /// [`WriteError::Leaves`] for values that are not those the record commits to; [`WriteError::Read`], [`WriteError::Side`],
    /// [`WriteError::Io`].
    pub fn replace_sides(&mut self, sides: &BTreeMap<u64, Vec<u8>>) -> Result<(), WriteError> {
        let reader = Reader::open(&self.root)?;
        let size = self.size();
        let mut stage = Stage::new(&self.root);
        let bundles: BTreeSet<u64> = sides.keys().map(|index| index / WIDTH).collect();
        for number in bundles {
            let mut lines = Vec::new();
            for index in number * WIDTH..((number + 1) * WIDTH).min(size) {
                let Some(old) = reader.side_as_stored(index)? else { continue };
                let Some(bytes) = sides.get(&index) else {
                    lines.extend(old.to_line(index));
                    continue;
                };
                // INVARIANT: values come and go, their leaves stay, so every proof made before still holds. SPEC: LG-11
                if Side::parse(bytes)?.leaves() != old.leaves() {
                    return Err(WriteError::Leaves { index });
                }
                let line = Side::line_from_bytes(bytes, index)?;
                if let Some(held) = self.head.sides.get_mut(&index) {
                    *held = line.as_slice().into();
                }
                lines.extend(line);
            }
            // CRASH: a file is replaced whole. Files whose turn did not come keep their old values until the caller asks again.
            stage.write(&side_path(number * WIDTH), &lines, Audience::Operator)?;
        }
        stage.sync()
    }

    /// The published leaf hash at `index`.
    fn leaf(&self, index: u64) -> Result<Hash, WriteError> {
        let reader = Reader::open(&self.root)?;
        Ok(reader.subtree(Range { start: index, end: index + 1 })?)
    }

    /// Signs `head`, which extends the one on disk by construction, has it cosigned and replaces the checkpoint.
    /// SPEC: LG-17.
    fn sign(&self, head: &Head, cosign: &mut Cosign<'_>) -> Result<Vec<u8>, WriteError> {
        self.is_ours()?;
        let mut note = head.checkpoint(&self.key).sign(&self.key)?;
        for line in cosign(Reader::under(&self.root, note.clone())?) {
            note.extend_from_slice(line.to_string().as_bytes());
        }
        // INVARIANT: a note that cannot be read back never replaces one that can, nor one that another writer left meanwhile.
        Checkpoint::open(&note, self.key.public())?;
        self.is_ours()?;
        let mut stage = Stage::new(&self.root);
        stage.write(CHECKPOINT, &note, Audience::Auditor)?;
        stage.sync()?;
        Ok(note)
    }

    /// The checkpoint on disk is still the one this writer left there.
    fn is_ours(&self) -> Result<(), WriteError> {
        let path = self.root.join(CHECKPOINT);
        let on_disk = match fs::read(&path) {
            Ok(note) => Some(note),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error(&path)(error)),
        };
        if on_disk == self.note { Ok(()) } else { Err(WriteError::Overtaken) }
    }
}

impl Head {
    fn checkpoint(&self, key: &SigningKey) -> Checkpoint {
        let origin = key.public().name().to_owned();
        Checkpoint { origin, size: self.frontier.size(), root: self.frontier.root() }
    }

    /// Rebuilds the right edge from the files and proves that it is the checkpoint's.
    fn load(reader: &Reader) -> Result<Self, WriteError> {
        let size = reader.len();
        let parts = tree::perfect_parts(Range { start: 0, end: size });
        let peaks = parts.into_iter().map(|part| reader.subtree(part)).collect::<Result<_, _>>()?;
        let frontier = Frontier::from_peaks(size, peaks).ok_or(WriteError::Damaged)?;
        // INVARIANT: no head is signed over tiles that do not add up to the head before it.
        if frontier.root() != reader.checkpoint().root {
            return Err(WriteError::Damaged);
        }
        let mut head = Self { frontier, ..Self::default() };
        for level in 0..8 {
            let level = Level::Hashes(level);
            let places = tile::places(level, size);
            let unfinished = Tile::at(level, places / WIDTH, size);
            head.levels.push(unfinished.map_or(Ok(Vec::new()), |tile| reader.hashes(tile))?);
        }
        if !size.is_multiple_of(WIDTH) {
            head.entries = reader.bundle(size / WIDTH)?.iter().map(|entry| Arc::from(entry.as_slice())).collect();
            for index in size - size % WIDTH..size {
                if let Some(side) = reader.side_as_stored(index)? {
                    head.sides.insert(index, side.to_line(index).into());
                }
            }
        }
        let leaves: Vec<Hash> = head.entries.iter().map(|entry| tree::leaf_hash(entry)).collect();
        if head.levels.first() == Some(&leaves) { Ok(head) } else { Err(WriteError::Damaged) }
    }

    /// Adds one entry; whatever it completes is written at once.
    fn append(&mut self, published: &Published<'_>, stage: &mut Stage<'_>) -> Result<(), WriteError> {
        if published.entry.len() > crate::record::ENTRY_LIMIT {
            return Err(TileError::Entry(published.entry.len()).into());
        }
        let index = self.frontier.size();
        let leaf = tree::leaf_hash(published.entry);
        self.frontier.push(leaf);
        self.entries.push(published.entry.into());
        if let Some(side) = published.side {
            self.sides.insert(index, Side::line_from_bytes(side, index)?.into());
        }
        self.push_hash(0, leaf, stage)?;
        if self.entries.len() as u64 == WIDTH {
            self.write_entries(stage)?;
            self.entries.clear();
            self.sides.clear();
        }
        Ok(())
    }

    /// Adds a hash to a level; a full tile is written and its root goes one level up.
    fn push_hash(&mut self, level: u8, hash: Hash, stage: &mut Stage<'_>) -> Result<(), WriteError> {
        if self.levels.len() <= usize::from(level) {
            self.levels.push(Vec::new());
        }
        let Some(hashes) = self.levels.get_mut(usize::from(level)) else { return Ok(()) };
        hashes.push(hash);
        if (hashes.len() as u64) < WIDTH {
            return Ok(());
        }
        let hashes = std::mem::take(hashes);
        let number = (tile::places(Level::Hashes(level), self.frontier.size()) - 1) / WIDTH;
        let tile = Tile { level: Level::Hashes(level), number, width: 256 };
        stage.write_tile(tile, &tile::encode_hashes(&hashes))?;
        self.push_hash(level + 1, tile::parent(&hashes), stage)
    }

    /// Writes the unfinished tiles that grew since the log had `old` entries. SPEC: LG-10.
    fn write_partials(&self, old: u64, stage: &mut Stage<'_>) -> Result<(), WriteError> {
        let partial = tile::grown(old, self.frontier.size()).into_iter().filter(|tile| !tile.is_full());
        for tile in partial {
            match tile.level {
                Level::Entries => self.write_entries(stage)?,
                Level::Hashes(level) => {
                    let hashes = self.levels.get(usize::from(level)).map_or(&[][..], Vec::as_slice);
                    stage.write_tile(tile, &tile::encode_hashes(hashes))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the current entry bundle, full or not, and the side bundle of the same range.
    fn write_entries(&self, stage: &mut Stage<'_>) -> Result<(), WriteError> {
        let last = self.frontier.size().saturating_sub(1);
        let Some(tile) = Tile::holding(Level::Entries, last, self.frontier.size()) else { return Ok(()) };
        stage.write_tile(tile, &tile::encode_bundle(self.entries.iter().map(|entry| &**entry))?)?;
        if self.sides.is_empty() {
            return Ok(());
        }
        let lines: Vec<&[u8]> = self.sides.values().map(|line| &**line).collect();
        stage.write(&side_path(last), &lines.concat(), Audience::Operator)
    }
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Nothing personal in it.
    Auditor,
    /// Personal values: only the account that writes it.
    Operator,
}

/// Files being made durable: each complete under its name or absent, and all of them before anyone is told.
struct Stage<'a> {
    root: &'a Path,
    touched: BTreeSet<PathBuf>,
    superseded: Vec<PathBuf>,
}

impl<'a> Stage<'a> {
    fn new(root: &'a Path) -> Self {
        Self { root, touched: BTreeSet::new(), superseded: Vec::new() }
    }

    fn write_tile(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), WriteError> {
        if tile.is_full() {
            self.superseded.push(self.root.join(format!("{tile}.p")));
        }
        self.write(&tile.path(), bytes, Audience::Auditor)
    }

    fn write(&mut self, path: &str, bytes: &[u8], audience: Audience) -> Result<(), WriteError> {
        let target = self.root.join(path);
        let folder = target.parent().unwrap_or(self.root);
        create_folder(folder, audience).map_err(io_error(folder))?;
        let temporary = self.root.join(format!("{path}.tmp"));
        write_durably(&temporary, bytes, audience).map_err(io_error(&temporary))?;
        fs::rename(&temporary, &target).map_err(io_error(&target))?;
        // A folder that was just made is itself an entry of its parent.
        self.touched.extend(folder.ancestors().take_while(|folder| folder.starts_with(self.root)).map(Path::to_owned));
        Ok(())
    }

    /// Makes the renames durable.
    fn sync(&self) -> Result<(), WriteError> {
        for folder in &self.touched {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))?;
        }
        Ok(())
    }

    /// Partial tiles may go once the full one exists. SPEC: LG-10.
    fn remove_superseded(&self) {
        for folder in &self.superseded {
            // A folder that stays costs a few kilobytes and nothing else.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn create_folder(folder: &Path, audience: Audience) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    if audience == Audience::Operator {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    }
    builder.create(folder)
}

fn write_durably(path: &Path, bytes: &[u8], audience: Audience) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if audience == Audience::Operator {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn lock(dir: &Path) -> Result<File, WriteError> {
    let path = dir.join(".lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WriteError::Locked),
        Err(TryLockError::Error(error)) => Err(io_error(&path)(error)),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> WriteError + use<> {
    let path = path.display().to_string();
    move |error| WriteError::Io { path, error }
}
