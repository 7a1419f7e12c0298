//! What a snapshot shows.

pub(crate) mod snapshot;
