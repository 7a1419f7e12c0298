//! People: signing in, the pages they see, and what they consent to.

pub mod accounts;
pub(crate) mod authorize;
pub(crate) mod consent;
pub(crate) mod consent_page;
pub(crate) mod device_page;
pub(crate) mod devices;
pub(crate) mod login;
pub(crate) mod login_page;
pub(crate) mod pages;
pub(crate) mod passkeys;
pub(crate) mod password;
pub mod provider;
pub(crate) mod push;
pub(crate) mod pushed;
pub(crate) mod redirect;
pub(crate) mod request;
pub(crate) mod seal;
pub(crate) mod sessions;
pub(crate) mod throttle;
