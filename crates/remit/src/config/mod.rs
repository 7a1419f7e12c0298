//! Configuration: `remit.yaml`, its JSON Schema and its complaints.
//!
//! Unknown keys are errors, secrets stand only behind `*_file` references, and [`load`](load::load) reports every
//! problem at once with file, line and reason. Paths are relative to the file's folder.

mod capture;
mod capture_rules;
mod clients;
mod differences;
mod fields;
mod issuers;
mod load;
pub(crate) mod names;
mod network;
mod programs;
mod providers;
mod sections;
mod shape;
mod subject;
mod tree;
pub(crate) mod witnesses;
mod workload;

pub(crate) use capture_rules::captures;
pub(crate) use differences::{needs_restart, reloadable};
pub(crate) use issuers::{AssertionAudienceSection, TrustedIssuerSection};
pub(crate) use load::{Loaded, Problem, SIZE_LIMIT, entitlements, load, log_origin, public_url, report};
pub(crate) use network::Network;
pub(crate) use providers::{OidcProvider, accounts, credential, oidc, sign_in_methods};
pub(crate) use sections::{
    Account, Config, DangerBearer, ForwardedHeader, IdentityProvider, McpServer, Reads, ServerSection, TrustedProxies, schema,
};
pub(crate) use workload::trust as workload_trust;

#[cfg(test)]
mod tests;
