//! Configuration: `remit.yaml`, its JSON Schema and its complaints.
//!
//! Unknown keys are errors, secrets stand only behind `*_file` references, and [`load`](load::load) reports every
//! problem at once with file, line and reason. Paths are relative to the file's folder.

mod capture;
mod capture_rules;
mod fields;
mod load;
pub(crate) mod names;
mod sections;
mod subject;
mod tree;
pub(crate) mod witnesses;

pub(crate) use capture_rules::captures;
pub(crate) use load::{Loaded, entitlements, load, log_origin, report};
pub(crate) use sections::{IdentityProvider, McpServer, Reads, schema};

#[cfg(test)]
mod tests;
