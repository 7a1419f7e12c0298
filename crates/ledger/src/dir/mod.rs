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

mod paths;
mod reader;
mod writer;

pub use paths::{CHECKPOINT, OBJECT_LIMIT, SIDE_BUNDLE_LIMIT, object_path, side_path};
pub use reader::{ReadError, Reader, read_file};
pub use writer::{Cosign, Published, WriteError, Writer};
