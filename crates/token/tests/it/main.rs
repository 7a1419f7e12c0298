//! The public face of remit-token, from the outside.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

mod access;
mod assertion;
mod dpop;
mod id_token;
mod introspection;
mod jose;
mod keys;
mod matrix;
mod properties;
mod statement;
mod support;
mod svid;
mod webauthn;
