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
    /// The first entry under a place where entries and tiles disagree, and the level it was seen at.
    parted: Option<(u8, u64)>,
}

impl<'a> Tiles<'a> {
    pub(super) fn new(reader: &'a Reader) -> Self {
        Self { reader, levels: Vec::new(), parted: None }
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
            let tile = Tile { level: Level::Hashes(level), number: *number, width: 256 };
            let parted = compare(self.reader, level, tile, hashes, report);
            hash = tile::parent(hashes);
            hashes.clear();
            *number += 1;
            self.note(level, parted);
        }
    }

    /// Keeps the finest disagreement, and of those the first: what a level above says is its consequence.
    fn note(&mut self, level: u8, parted: Option<u64>) {
        let found = parted.map(|index| (level, index));
        self.parted = self.parted.into_iter().chain(found).min();
    }

    /// Compares what is left: one partial tile for each level. Gives back the first entry that is not what the tiles say.
    pub(super) fn finish(mut self, report: &mut Report) -> Option<u64> {
        for (level, (number, hashes)) in (0_u8..).zip(std::mem::take(&mut self.levels)) {
            let Ok(width) = u16::try_from(hashes.len()) else { continue };
            if width > 0 {
                let tile = Tile { level: Level::Hashes(level), number, width };
                let parted = compare(self.reader, level, tile, &hashes, report);
                self.note(level, parted);
            }
        }
        report.pass("tiles");
        self.parted.map(|(_, index)| index)
    }
}

/// Compares a stored tile with what the entries make; the first entry under the first place that differs.
fn compare(reader: &Reader, level: u8, tile: Tile, hashes: &[Hash], report: &mut Report) -> Option<u64> {
    let stored = match reader.hashes(tile) {
        Ok(stored) => stored,
        Err(error) => {
            report.fail("tiles", None, error);
            return None;
        }
    };
    let place = stored.iter().zip(hashes).position(|(stored, made)| stored != made)?;
    let place = tile.number.saturating_mul(WIDTH).saturating_add(place as u64);
    let index = place.saturating_mul(WIDTH.saturating_pow(u32::from(level)));
    let detail = match level {
        0 => format!("the entry is not the one whose hash {tile} holds"),
        _ => format!("{tile} does not hold the hashes of the entries from here on"),
    };
    report.fail("tiles", Some(index), detail);
    Some(index)
}
