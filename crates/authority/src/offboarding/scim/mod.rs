//! People whom an identity provider provisions: a SCIM 2.0 service provider. SPEC: RFC 7643, RFC 7644
//!
//! A SCIM user is the account of a person of that provider: the one whose `sub` is the attribute that the configuration names. The
//! provider may make it before the first sign-in. When it deactivates or deletes it, the person is refused at the sign-in, and
//! everything that they handed out ends; activated again, they may sign in, and what had ended stays so.
//!
//! `endpoint.rs` is the wire, `user.rs` a user as it is sent and shown, `patch.rs` and `filter.rs` the two small languages,
//! `directory.rs` finds people, `change.rs` writes them, `schema.rs` says what there is. Groups, bulk requests, sorting and passwords
//! are deliberately not there.

mod change;
mod directory;
pub(crate) mod endpoint;
mod error;
mod filter;
mod patch;
mod schema;
mod user;
