//! The commands: one file each. The server, the bridge, the demo and the witness have rooms of their own.

pub(crate) mod account;
pub(crate) mod agent;
pub(crate) mod agent_credentials;
pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod passkey;
pub(crate) mod policy;
pub(crate) mod provider;
pub(crate) mod reference;
pub(crate) mod revoke;
pub(crate) mod server;
pub(crate) mod token;
