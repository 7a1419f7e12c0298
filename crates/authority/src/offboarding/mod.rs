//! Off-boarding: an identity provider says, or no longer says, that a person may act, and everything derived from them ends.
//!
//! `end.rs` is the one place where a person's sign-ins end. Each way in which a provider lets us know is a file of its own:
//! `backchannel_logout.rs` takes logout tokens; `asking.rs` asks a provider at an interval, because some say nothing when a person
//! is disabled. `held.rs` is what it can be asked with, `question.rs` one question, `schedule.rs` who is asked when.
//! `signals/` takes security events; `scim/` is what a provider provisions people with.

pub(crate) mod asking;
pub(crate) mod backchannel_logout;
pub(crate) mod end;
pub(crate) mod held;
pub(crate) mod question;
pub(crate) mod schedule;
pub(crate) mod scim;
pub(crate) mod signals;

/// How the keys of events of providers begin, among the identifiers that are accepted once.
pub(crate) const EVENT: &str = "provider event ";
