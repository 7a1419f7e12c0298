//! The authorization server through its router: every rule with its name, refusals first.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod assertions;
mod attacks;
mod authorize;
mod bearer;
mod code;
mod consent_page;
mod credentials;
mod custody;
mod document_host;
mod documents;
mod exchange;
mod exchange_targets;
mod flow;
mod foreign;
mod key_sets;
mod keys;
mod labels;
mod limits;
mod metadata;
mod opaque;
mod passkeys;
mod property;
mod provider;
mod published;
mod pushed;
mod rate_limits;
mod registration;
mod remembered;
mod scopes;
mod stand_in;
mod standing;
mod tokens;
mod traffic;
mod userinfo;
mod world;
