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
mod provider_rules;
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
pub(crate) use load::{Loaded, Problem, SIZE_LIMIT, load, log_origin, public_url, report};
pub(crate) use network::Network;
pub(crate) use provider_rules::{accounts, credential, entitlements, oidc, sign_in_methods};
pub(crate) use providers::OidcProvider;
pub(crate) use sections::{
    Account, Config, DangerBearer, ForwardedHeader, McpServer, Reads, ServerSection, TrustedProxies, schema,
};
pub(crate) use workload::trust as workload_trust;

#[cfg(test)]
mod tests;
