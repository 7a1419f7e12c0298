//! The model's public face: laws, an independent oracle, and what must be refused.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod algebra;
mod custody;
mod documents;
mod doors;
mod grants;
mod masking;
mod oracle;
mod shown_schema;
mod support;
mod vectors;
mod words;
