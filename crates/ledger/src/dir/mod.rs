//! The log as a directory of files, in the layout of C2SP tlog-tiles with our side bundles and pinned objects beside it.
//!
//! | path | what | changes |
//! |---|---|---|
//! | `checkpoint` | the signed head | replaced atomically |
//! | `tile/entries/<N>[.p/<W>]` | entry bundles | never |
//! | `tile/<L>/<N>[.p/<W>]` | hash tiles | never |
//! | `side/<N>` | openings of committed values | rewritten, may be withheld |
//! | `objects/<sha256 hex>` | policy sets, schemas | never |
//!
//! `docs/ledger-format.md` is the full description.

mod reader;
mod writer;

pub use reader::{ReadError, Reader, read_file};
pub use writer::{Cosign, Published, WriteError, Writer};

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
