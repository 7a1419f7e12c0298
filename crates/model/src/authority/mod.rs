//! The authority algebra.
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};

/// A finite set of grants in canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    grants: Vec<Grant>,
}
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {}
/// What a permitted call may see, and which grants allowed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Digests of the grants that cover the call, first in canonical order first.
    pub grants: Vec<String>,
    /// Response fields the caller may see: `None` means all of them.
    pub fields: Option<Vec<String>>,
}
impl Authority {
    pub fn within(&self, _parent: &Self) -> Result<(), Refusal> {
        Ok(())
    }
}
