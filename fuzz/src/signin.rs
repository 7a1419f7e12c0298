//! What `clients::metadata` imports.

#[path = "../../crates/authority/src/signin/redirect.rs"]
pub(crate) mod redirect;
