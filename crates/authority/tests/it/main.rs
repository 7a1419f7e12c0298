//! The authorization server through its router: every rule with its name, refusals first.

mod credentials;
mod world;
