//! The policy decision point: others ask whether an act would be allowed, and enforce the answer themselves.
//!
//! Implements the evaluation endpoints and the metadata of the OpenID AuthZEN Authorization API 1.0; rules AU-01 … AU-09,
//! CE-01 … CE-03. The caller holds a token of ours for this very resource, with a grant of `evaluate` on it that may say
//! what it may ask about. An answer is what the subject's own authority and then the policies say; it is recorded before it
//! is given. Deliberately missing: the search endpoints, and delegated authority, which a name cannot prove.

pub(crate) mod evaluate;
pub(crate) mod http;
pub(crate) mod point;
pub(crate) mod record;
pub(crate) mod wire;
