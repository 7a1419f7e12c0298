//! Names and size limits of the files of a log directory.

/// Path of the signed head.
pub const CHECKPOINT: &str = "checkpoint";
/// Most bytes of a pinned object.
pub const OBJECT_LIMIT: usize = 16 << 20;
/// Most bytes of a side bundle file.
pub const SIDE_BUNDLE_LIMIT: usize = 1 << 30;

/// Path of the side bundle that holds entry `index`.
pub fn side_path(index: u64) -> String {
    format!("side/{}", crate::tile::number_path(index / crate::tile::WIDTH))
}

/// Path of the pinned object with this SHA-256.
pub fn object_path(digest: &crate::Hash) -> String {
    format!("objects/{}", digest.hex())
}
