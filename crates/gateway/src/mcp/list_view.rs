//! What decides how a list looks to one caller.

use remit_model::{Authority, resource::Server, time::UnixTime};

/// What a list is filtered by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListView<'a> {
    pub(crate) server: &'a Server,
    pub(crate) authority: &'a Authority,
    /// What the caller could be granted, where tools that need a grant are listed too.
    pub(crate) requestable: Option<&'a Authority>,
    /// The caller is an agent on its own account.
    pub(crate) for_itself: bool,
    pub(crate) now: UnixTime,
}
