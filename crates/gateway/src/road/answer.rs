//! What a caller was answered, as far as its record is concerned.

use remit_model::mask::Shown;

/// What the caller was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) shown: Shown,
    pub(crate) end: End,
    /// Size of the result on the wire, where there is one.
    pub(crate) bytes: Option<usize>,
}

/// How far the act came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    /// The upstream did it and says that it failed.
    Failed,
    /// The upstream needs something from the caller before it goes on.
    InputRequired,
}
