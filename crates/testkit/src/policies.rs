//! Policies in force.

use crate::NOW;
use remit_policy::{Bundle, Live};
use std::sync::Arc;

/// A policy that permits everything.
pub const PERMIT_ALL: &str = "@id(\"all\")\npermit (principal, action, resource);";

/// These policies, in force since the world began.
pub fn live(files: &[(String, String)]) -> Arc<Live> {
    Arc::new(Live::new(Bundle::parse(files).unwrap(), NOW))
}

/// The starter policies as files.
pub fn starter() -> Vec<(String, String)> {
    Bundle::starter().iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}
