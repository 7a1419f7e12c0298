//! What a verifier already trusts, and what else it knows of the log.

use crate::policy::Policy;
use std::path::PathBuf;

/// What the verifier brings along.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The log's verifier key (vkey line). Without it the key inside the log is used and the report says that this
    /// proves consistency, not origin.
    pub vkey: Option<String>,
    /// A checkpoint note of this log seen before: the log must be an extension of it.
    pub earlier: Option<Vec<u8>>,
    /// Which witnesses must have cosigned the checkpoint. Its logs stand in for `vkey` when that is not given.
    pub policy: Option<Policy>,
    /// Now, in seconds since 1970: a cosignature from the future does not count. Without it none is from the future.
    pub now: Option<u64>,
    /// Another party's view of this log: of the two, one must extend the other.
    pub against: Option<Against>,
}

/// Another sight of the same log.
#[derive(Clone, Debug)]
pub enum Against {
    /// A signed head.
    Note(Vec<u8>),
    /// A whole copy, which lets the first differing record be named.
    Folder(PathBuf),
}
