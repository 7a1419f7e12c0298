//! What went wrong with a fetch.

use thiserror::Error;

/// Why a document was not fetched. The texts name the address and no part of what it answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OutboundError {
    /// The address itself is not allowed.
    #[error("{url}: {reason}")]
    Refused { url: String, reason: String },
    /// There is no connection, or the answer did not come in time.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    /// The host says that nothing is there (404), or nothing any more (410).
    #[error("{url} answered what cannot be used: {reason}")]
    Gone { url: String, reason: String },
    /// The answer is not one that can be used.
    #[error("{url} answered what cannot be used: {reason}")]
    Unusable { url: String, reason: String },
}

impl OutboundError {
    pub(crate) fn refused(url: &str, reason: impl Into<String>) -> Self {
        Self::Refused { url: shown(url), reason: reason.into() }
    }

    pub(crate) fn unreachable(url: &str, reason: impl Into<String>) -> Self {
        Self::Unreachable { url: shown(url), reason: reason.into() }
    }

    pub(crate) fn gone(url: &str, status: u16) -> Self {
        Self::Gone { url: shown(url), reason: format!("its status is {status}") }
    }

    pub(crate) fn unusable(url: &str, reason: impl Into<String>) -> Self {
        Self::Unusable { url: shown(url), reason: reason.into() }
    }
}

/// The address without its query, which may hold a secret, and not longer than a line.
fn shown(url: &str) -> String {
    remit_model::display::excerpt(url.split(['?', '#']).next().unwrap_or_default(), 200)
}
