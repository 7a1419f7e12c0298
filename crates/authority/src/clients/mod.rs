//! Who is asking: how clients are registered, client authentication and proof of possession.

pub(crate) mod admission;
pub(crate) mod authenticate;
pub(crate) mod binding;
pub(crate) mod candidate;
pub(crate) mod client;
pub(crate) mod credential;
pub(crate) mod identifier;
pub(crate) mod key_cache;
pub(crate) mod key_sets;
pub(crate) mod long_assertions;
pub(crate) mod metadata;
pub(crate) mod proof;
pub(crate) mod register;
pub(crate) mod rules;
pub(crate) mod workload;
