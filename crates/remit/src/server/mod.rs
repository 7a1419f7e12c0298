//! The server process: opens the parts, listens, reloads policies.

mod changed;
mod client_certificate;
mod config_reload;
mod header_files;
pub(crate) mod listener;
mod policy_cache;
mod proxies;
pub(crate) mod reload;
pub(crate) mod serve;
mod tls_reload;
pub(crate) mod wire;
