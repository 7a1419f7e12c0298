//! One world for all tests: its clock, keys, stores, policies, agents, people and servers.
//!
//! Only tests and measurements may depend on this crate (`cargo xtask layers` checks that). What it makes is well known and
//! protects nothing. A suite takes these parts and adds what is its own.
//!
//! ```
//! let clock = remit_testkit::clock();
//! assert_eq!(clock.unix(), remit_testkit::NOW);
//! ```
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a world that cannot be built fails the test that wanted it")]

mod authenticator;
pub mod corpus;
mod parties;
mod policies;
mod port;
mod stores;
mod wait;
mod words;

pub use authenticator::Authenticator;
pub use parties::{agent, human, key, key_named, server};
pub use policies::{PERMIT_ALL, live, starter};
pub use port::port;
pub use stores::{NOW, change, clock, quiet_config, store_config};
pub use wait::{PATIENCE, eventually, eventually_async, wait_for, wait_until};
pub use words::mentions;
