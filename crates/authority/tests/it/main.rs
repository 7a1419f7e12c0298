//! The authorization server through its router: every rule with its name, refusals first.

mod code;
mod credentials;
mod exchange;
mod flow;
mod world;
