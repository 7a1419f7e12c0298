//! The authorization server through its router: every rule with its name, refusals first.

mod authorize;
mod code;
mod credentials;
mod exchange;
mod flow;
mod metadata;
mod tokens;
mod world;
