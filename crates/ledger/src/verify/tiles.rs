//! Every stored tile must hold the hashes that the entries make.

use super::Report;
use crate::{
    dir::Reader,
    hash::Hash,
    tile::{self, Level, Tile, WIDTH},
};

/// Rebuilds the tiles while the leaves go by and compares each with its file.
pub(super) struct Tiles<'a> {
    reader: &'a Reader,
    /// The unfinished tile of each level: its number and hashes.
    levels: Vec<(u64, Vec<Hash>)>,
}

impl<'a> Tiles<'a> {
    pub(super) fn new(reader: &'a Reader) -> Self {
        Self { reader, levels: Vec::new() }
    }

    pub(super) fn push(&mut self, leaf: Hash, report: &mut Report) {
        let mut hash = leaf;
        for level in 0_u8..8 {
            if self.levels.len() <= usize::from(level) {
                self.levels.push((0, Vec::new()));
            }
            let Some((number, hashes)) = self.levels.get_mut(usize::from(level)) else { return };
            hashes.push(hash);
            if (hashes.len() as u64) < WIDTH {
                return;
            }
            compare(self.reader, Tile { level: Level::Hashes(level), number: *number, width: 256 }, hashes, report);
            hash = tile::parent(hashes);
            hashes.clear();
            *number += 1;
        }
    }

    /// Compares what is left: one partial tile for each level.
    pub(super) fn finish(self, report: &mut Report) {
        for (level, (number, hashes)) in (0_u8..).zip(&self.levels) {
            let Ok(width) = u16::try_from(hashes.len()) else { continue };
            if width > 0 {
                compare(self.reader, Tile { level: Level::Hashes(level), number: *number, width }, hashes, report);
            }
        }
        report.pass("tiles");
    }
}

fn compare(reader: &Reader, tile: Tile, hashes: &[Hash], report: &mut Report) {
    match reader.hashes(tile) {
        Ok(stored) if stored == hashes => {}
        Ok(_) => report.fail("tiles", None, format!("{tile} does not hold the hashes of the entries")),
        Err(error) => report.fail("tiles", None, error),
    }
}
