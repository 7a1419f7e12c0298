//! Tokens: issuing, recording, describing and revoking them.

pub(crate) mod introspect;
pub(crate) mod issue;
pub(crate) mod metadata;
pub(crate) mod record;
pub(crate) mod revoke;
pub(crate) mod userinfo;
