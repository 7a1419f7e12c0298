//! How much of a document is read.

use super::number::Numbers;

/// No limit on depth may be greater: readers of ours recurse, and the stack is finite.
pub const DEPTH_CAP: usize = 100;

/// How much of a document we are willing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    /// Nesting of arrays and objects; never more than [`DEPTH_CAP`].
    pub depth: usize,
    /// Object members and array items in the whole document.
    pub members: usize,
    /// What becomes of numbers.
    pub numbers: Numbers,
}

impl Limits {
    /// A request body.
    pub const REQUEST: Self = Self { bytes: 1 << 20, depth: 32, members: 20_000, numbers: Numbers::ExactDoubles };
    /// An upstream's answer.
    pub const RESPONSE: Self = Self { bytes: 16 << 20, depth: 64, members: 500_000, numbers: Numbers::AsWritten };
    /// A JOSE header or claims set.
    pub const TOKEN: Self = Self { bytes: 64 << 10, depth: 32, members: 16_384, numbers: Numbers::Doubles };
}

impl Default for Limits {
    fn default() -> Self {
        Self::REQUEST
    }
}
