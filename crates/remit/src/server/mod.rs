//! The server process: opens the parts, listens, reloads policies.

mod first_byte_timeout;
mod policy_cache;
pub(crate) mod reload;
pub(crate) mod serve;
pub(crate) mod wire;
