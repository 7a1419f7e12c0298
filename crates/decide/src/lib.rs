//! The decision point: who may act now, how much, what the policies are asked, and what the record says of it.
//!
//! [`decide`] is a pure function of a [`World`] and an [`Ask`]. The token service, the gateway and the AuthZEN endpoints
//! ask it, so that a rule has one place. It reads no clock, no database and no network; budgets are counted and answers
//! are masked by the part that asked.
//!
//! ```
//! use remit_decide::{Circumstances, Ask, Presented, What, World, decide};
//! use remit_model::{Principal, Server, ServerId, UnixTime};
//! use remit_policy::Bundle;
//! # use remit_store::Snapshot;
//!
//! # fn example(snapshot: &Snapshot) {
//! let policies = Bundle::parse(&[]).expect("no policies are valid, and permit nothing");
//! let world = World::new("https://as.example", snapshot, &policies, UnixTime(1_795_321_800));
//! let planner = Principal::local("https://as.example", "agent:planner");
//! let helpdesk = Server {
//!     id: ServerId::parse("helpdesk").expect("a valid name"),
//!     title: "Helpdesk".to_owned(),
//!     location: "https://as.example/mcp/helpdesk".to_owned(),
//!     tools: Default::default(),
//! };
//! let ask = Ask {
//!     who: Presented { root: &planner, actors: &[], held: None, location: Some(&helpdesk.location), token: None, unbound: false },
//!     circumstances: Circumstances::default(),
//!     what: What::List { server: &helpdesk },
//!     known: None,
//!     unconditional: true,
//! };
//! assert!(decide(&world, &ask).result.is_err());
//! # }
//! ```

pub mod active;
pub mod bearer;
pub mod budget;
pub mod effective;
pub mod facts;
mod fields;
mod pinned;
mod principal;
mod question;
mod verdict;
mod world;

pub use effective::{Current, Effective, EffectiveCache, Presented};
pub use fields::{FieldDecision, rule_of, withheld};
pub use pinned::Pinned;
pub use principal::{Principals, Registered};
pub use question::{Circumstances, What};
pub use verdict::{Ask, Asked, Verdict, authorise, decide, question};
pub use world::World;
