//! The wire: routes, forms, errors, and where a request came from.

pub(crate) mod bearer;
pub(crate) mod error;
pub(crate) mod form;
pub(crate) mod origin;
pub(crate) mod router;
