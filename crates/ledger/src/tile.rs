//! Tiles: how the tree and its entries are cut into files that never change.
//!
//! Implements C2SP tlog-tiles. SPEC: LG-07 to LG-10. Paths are parsed strictly: one tile has one path.

use crate::{
    hash::Hash,
    record::ENTRY_LIMIT,
    tree::{self},
};
use std::fmt;

/// Hashes in a full tile, entries in a full bundle.
pub const WIDTH: u64 = 256;
/// Most bytes of an entry bundle.
pub const BUNDLE_LIMIT: usize = 256 * (ENTRY_LIMIT + 2);
/// Highest tile level a path may name.
const LEVEL_LIMIT: u8 = 63;
/// Longest path a request may bring; `tile/63/` with seven groups and a partial is far shorter.
const PATH_LIMIT: usize = 64;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Hashes of perfect subtrees of 256^level leaves.
    Hashes(u8),
    Entries,
}

/// One tile: level, number, and how many of its 256 places are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    pub level: Level,
    pub number: u64,
    /// 1 to 256; below 256 the tile is partial.
    pub width: u16,
}

/// Why bytes are not a tile, or a path not a tile's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    #[error("not the path of a tile")]
    Path,
    #[error("a hash tile of {0} bytes")]
    Length(usize),
    #[error("the entry bundle does not hold the number of entries its width says")]
    Bundle,
    #[error("an entry of {0} bytes; the limit is {ENTRY_LIMIT}")]
    Entry(usize),
}

impl Tile {
    /// The tile at (level, number) in a tree of `size`; `None` when such a tree has nothing there. SPEC: LG-08.
    pub fn at(level: Level, number: u64, size: u64) -> Option<Self> {
        let places = places(level, size);
        let first = number.checked_mul(WIDTH)?;
        let width = places.checked_sub(first).filter(|&width| width > 0)?.min(WIDTH);
        u16::try_from(width).ok().map(|width| Self { level, number, width })
    }

    /// The tile that holds place `index` of a level in a tree of `size`.
    pub fn holding(level: Level, index: u64, size: u64) -> Option<Self> {
        Self::at(level, index / WIDTH, size)
    }

    /// Whether the tile has all of its 256 hashes or entries.
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == WIDTH
    }

    /// The same tile, full: where a pruned partial tile's hashes are found. SPEC: LG-10.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: 256, ..self }
    }

    /// `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`. SPEC: LG-07, LG-09.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads a path; anything but the one spelling of a tile is refused. SPEC: N-LG-15.
    ///
    /// # Errors
    /// [`TileError::Path`].
    pub fn parse(path: &str) -> Result<Self, TileError> {
        if path.len() > PATH_LIMIT {
            return Err(TileError::Path);
        }
        let rest = path.strip_prefix("tile/").ok_or(TileError::Path)?;
        let (level, rest) = rest.split_once('/').ok_or(TileError::Path)?;
        let level = match level {
            "entries" => Level::Entries,
            number => Level::Hashes(
                small(number, u64::from(LEVEL_LIMIT)).and_then(|level| u8::try_from(level).ok()).ok_or(TileError::Path)?,
            ),
        };
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, 256),
            Some((number, width)) => {
                let width = small(width, WIDTH - 1).filter(|&width| width > 0).ok_or(TileError::Path)?;
                (number, u16::try_from(width).map_err(|_| TileError::Path)?)
            }
        };
        let tile = Self { level, number: parse_number(number).ok_or(TileError::Path)?, width };
        // One spelling only: this also refuses superfluous leading groups.
        if tile.path() == path { Ok(tile) } else { Err(TileError::Path) }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Hashes(level) => write!(f, "tile/{level}/{}", number_path(self.number))?,
            Level::Entries => write!(f, "tile/entries/{}", number_path(self.number))?,
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// How many places of a level are filled in a tree of `size`.
pub fn places(level: Level, size: u64) -> u64 {
    match level {
        Level::Entries => size,
        Level::Hashes(level) => size.checked_shr(8 * u32::from(level)).unwrap_or(0),
    }
}

/// Every tile that grew between two sizes of a tree: what must be published for `new` once `old` is. SPEC: LG-10.
pub fn grown(old: u64, new: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let levels = std::iter::once(Level::Entries).chain((0..8).map(Level::Hashes));
    for level in levels {
        let (before, after) = (places(level, old), places(level, new));
        if after == before {
            continue;
        }
        tiles.extend((before / WIDTH..=(after - 1) / WIDTH).filter_map(|number| Tile::at(level, number, new)));
    }
    tiles
}

/// The number as a path: groups of three digits, all but the last prefixed `x`.
pub fn number_path(number: u64) -> String {
    let digits = number.to_string();
    let padded = format!("{}{digits}", "0".repeat((3 - digits.len() % 3) % 3));
    let groups: Vec<&str> = padded.as_bytes().chunks(3).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    let mut path = String::new();
    for (at, group) in groups.iter().enumerate() {
        if at + 1 < groups.len() {
            path.push('x');
            path.push_str(group);
            path.push('/');
        } else {
            path.push_str(group);
        }
    }
    path
}

fn parse_number(path: &str) -> Option<u64> {
    let mut groups = path.split('/').peekable();
    let mut number: u64 = 0;
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(number)
}

/// A decimal number without leading zeros, at most `limit`.
fn small(text: &str, limit: u64) -> Option<u64> {
    crate::record::decimal(text).filter(|&number| number <= limit)
}

/// The bytes of an entry bundle: for each entry its length (16 bits, big-endian) and itself. SPEC: LG-09.
///
/// # Errors
/// [`TileError::Entry`] for an entry whose length does not fit 16 bits.
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>) -> Result<Vec<u8>, TileError> {
    let entries = entries.into_iter();
    let mut bundle = Vec::with_capacity(entries.clone().map(|entry| entry.len().saturating_add(2)).sum());
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::Entry(entry.len()))?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The entries of a bundle of exactly `width` entries.
///
/// # Errors
/// [`TileError::Bundle`].
pub fn parse_bundle(mut bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(TileError::Bundle)?;
        entries.push(entry);
        bytes = rest;
        if entries.len() > usize::from(width) {
            return Err(TileError::Bundle);
        }
    }
    if bytes.is_empty() && entries.len() == usize::from(width) { Ok(entries) } else { Err(TileError::Bundle) }
}

/// The bytes of a hash tile.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile of exactly `width` hashes.
///
/// # Errors
/// [`TileError::Length`].
pub fn parse_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    if bytes.len() != usize::from(width) * 32 {
        return Err(TileError::Length(bytes.len()));
    }
    Ok(bytes.chunks_exact(32).filter_map(Hash::from_slice).collect())
}

/// The hash one level up that a full tile's hashes make.
pub fn parent(hashes: &[Hash]) -> Hash {
    tree::root(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(size: u64) -> Vec<(u8, u64, u16)> {
        let level = |level| (0..).map_while(move |number| Tile::at(Level::Hashes(level), number, size)).last();
        (0..8)
            .filter_map(level)
            .map(|tile| {
                let Level::Hashes(level) = tile.level else { unreachable!() };
                (level, tile.number + u64::from(tile.is_full()), if tile.is_full() { 0 } else { tile.width })
            })
            .collect()
    }

    #[test]
    fn n_lg_10_widths_of_the_check_sizes() {
        // (level, full tiles, width of the partial one)
        assert_eq!(widths(1), [(0, 0, 1)]);
        assert_eq!(widths(255), [(0, 0, 255)]);
        assert_eq!(widths(256), [(0, 1, 0), (1, 0, 1)]);
        assert_eq!(widths(257), [(0, 1, 1), (1, 0, 1)]);
        assert_eq!(widths(65_535), [(0, 255, 255), (1, 0, 255)]);
        assert_eq!(widths(65_536), [(0, 256, 0), (1, 1, 0), (2, 0, 1)]);
        assert_eq!(widths(70_000), [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
        assert_eq!(Tile::at(Level::Hashes(1), 0, 255), None, "a tile of width zero does not exist");
    }

    #[test]
    fn lg_07_paths() {
        for (tile, path) in [
            (Tile { level: Level::Hashes(0), number: 1_234_067, width: 256 }, "tile/0/x001/x234/067"),
            (Tile { level: Level::Hashes(1), number: 0, width: 17 }, "tile/1/000.p/17"),
            (Tile { level: Level::Entries, number: 273, width: 112 }, "tile/entries/273.p/112"),
            (Tile { level: Level::Entries, number: 1000, width: 256 }, "tile/entries/x001/000"),
        ] {
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse(path), Ok(tile));
        }
    }

    #[test]
    fn n_lg_15_malformed_paths_are_refused() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/1",
            "tile/0/01",
            "tile/0/0000",
            "tile/0/x001/67",
            "tile/x001/067",
            "tile/0/x001",
            "tile/0/001/067",
            "tile/0/x000/067",
            "tile/0/X001/067",
            "tile/0/x001/x067",
            "tile/00/001",
            "tile/64/001",
            "tile/-1/001",
            "tile/+1/001",
            "tile/0/+01",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/001.p/01",
            "tile/0/001.p/",
            "tile/0/001.p",
            "tile/0/001.p/1/",
            "tile/0/001/",
            "/tile/0/001",
            "tile/entries/x001/067.p/1.p/1",
            "tile/entries",
            "tile/data/001",
            "tile/0/../001",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/0/００１",
        ] {
            assert_eq!(Tile::parse(path), Err(TileError::Path), "{path}");
        }
    }

    #[test]
    fn n_lg_09_longest_entry() {
        let fits = vec![7; 65_535];
        let bundle = encode_bundle([fits.as_slice()]).unwrap();
        assert_eq!(parse_bundle(&bundle, 1).unwrap(), [fits.as_slice()]);
        assert_eq!(encode_bundle([vec![7; 65_536].as_slice()]), Err(TileError::Entry(65_536)));
        assert!(parse_bundle(&bundle, 2).is_err());
        assert!(parse_bundle(&bundle[..bundle.len() - 1], 1).is_err());
        assert!(parse_bundle(&[bundle.as_slice(), &[0]].concat(), 1).is_err());
    }

    #[test]
    fn grown_tiles_are_those_whose_width_changed() {
        for (old, new) in [(0, 1), (0, 256), (255, 256), (256, 257), (1, 70_000), (65_535, 65_537)] {
            let grown = grown(old, new);
            for level in [Level::Entries, Level::Hashes(0), Level::Hashes(1), Level::Hashes(2), Level::Hashes(3)] {
                let changed: Vec<Tile> = (0..300)
                    .filter_map(|number| Tile::at(level, number, new).filter(|tile| Tile::at(level, number, old) != Some(*tile)))
                    .collect();
                let listed: Vec<Tile> = grown.iter().copied().filter(|tile| tile.level == level).collect();
                assert_eq!(listed, changed, "{old} {new} {level:?}");
            }
        }
    }
}
