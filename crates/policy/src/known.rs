//! Remembers which policy files were found valid, for a later start or reload of the same program.

use crate::source::Checked;
use remit_model::json;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Files that are known to be valid under one schema, by name and by the digest of their text: whatever else is asked
/// about is not known.
///
/// Decisions rely on it. A caller that keeps it outside the process makes sure that it comes back as this program wrote it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    schema: String,
    files: BTreeMap<String, Arc<Checked>>,
}

impl Known {
    pub(crate) fn new(schema: &str, files: impl Iterator<Item = (String, Arc<Checked>)>) -> Self {
        Self { schema: schema.to_owned(), files: files.collect() }
    }

    /// The form at rest, for [`Known::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// `None` for anything [`Known::to_bytes`] did not write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(crate) fn of_file(&self, schema: &str, name: &str, text: &str) -> Option<Arc<Checked>> {
        let checked = self.files.get(name).filter(|_| self.schema == schema)?;
        (checked.text == json::sha256(text.as_bytes())).then(|| Arc::clone(checked))
    }
}
