//! Why a request was not served, before any protocol words it.

use remit_model::refusal::{Code, Fault, Refusal};
use serde_json::Value;

/// Why a request was not served.
#[derive(Debug)]
pub(crate) enum Rejection {
    Refusal(Refusal),
    Fault(Fault),
    /// The upstream refused or failed; its words, as far as the caller may see them.
    Upstream(UpstreamError),
    /// The upstream did not answer in time.
    Timeout,
    /// The upstream has too much to do; when it says so, after how many seconds to try again.
    Busy(Option<u32>),
    /// The client disconnected or cancelled.
    Gone,
}

/// An error in the upstream's own words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UpstreamError {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Rejection {
    /// The refusal the caller is told about. A fault keeps its reason to itself.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Refusal(refusal) => refusal.clone(),
            Self::Fault(_) => Refusal::new(Code::Internal, "something went wrong on our side"),
            Self::Upstream(error) => {
                Refusal::new(Code::UpstreamUnavailable, format!("the upstream answered with error {}", error.code))
            }
            Self::Timeout => Refusal::new(Code::UpstreamUnavailable, "the upstream did not answer in time"),
            Self::Busy(after) => {
                let when = after.map_or_else(|| "later".to_owned(), |seconds| format!("in {seconds} s"));
                let refusal = Refusal::new(Code::RateLimited, format!("the upstream server is busy; try again {when}"));
                Refusal { retry_after_s: *after, ..refusal }
            }
            Self::Gone => Refusal::new(Code::UpstreamUnavailable, "the request was cancelled"),
        }
    }
}
