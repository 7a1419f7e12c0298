//! Who is asking: client authentication and proof of possession.

pub(crate) mod authenticate;
pub(crate) mod key_cache;
pub(crate) mod proof;
