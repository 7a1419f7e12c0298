//! The bodies of the fuzz targets: every parser that meets hostile bytes, with the property it must keep.
//!
//! A target is `fuzz_target!(|data: &[u8]| remit_ledger::fuzz::note(data))`; the committed corpus is replayed by the
//! tests. A body panics only when a property is broken.

use crate::{checkpoint::Checkpoint, note::Note, record::Record, record::Side, tile};

/// Signed notes: whatever parses is made of its own text.
///
/// # Panics
/// When the property is broken.
pub fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert!(data.starts_with(note.text.as_bytes()), "the text is not a prefix of the note");
    }
}

/// Checkpoints: one checkpoint has one spelling.
///
/// # Panics
/// When the property is broken.
pub fn checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_text(), text, "a second spelling");
    }
}

/// Tile paths: one tile has one path.
///
/// # Panics
/// When the property is broken.
pub fn tile_path(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    if let Ok(tile) = tile::Tile::parse(path) {
        assert_eq!(tile.path(), path, "a second spelling");
    }
}

/// Entry bundles: what parses encodes to the same bytes.
///
/// # Panics
/// When the property is broken.
pub fn bundle(data: &[u8]) {
    let Some((&width, bytes)) = data.split_first() else { return };
    if let Ok(entries) = tile::parse_bundle(bytes, u16::from(width) + 1) {
        assert_eq!(tile::encode_bundle(entries).ok().as_deref(), Some(bytes), "a second spelling");
    }
}

/// Records: whatever parses is canonical, so its bytes are those of its value.
///
/// # Panics
/// When the property is broken.
pub fn record(data: &[u8]) {
    if let Ok(record) = Record::parse(data) {
        assert_eq!(remit_model::json::canonical(record.value()), data, "a second spelling");
        let _ = record.recomputed_hash();
    }
}

/// Side values: reading, hashing and writing never fail once parsed.
///
/// # Panics
/// When the property is broken.
pub fn side(data: &[u8]) {
    if let Ok(side) = Side::parse(data) {
        assert_eq!(Side::parse(&side.to_bytes()).ok(), Some(side), "written otherwise than read");
    }
}
