//! The words of Remit: who acts (`principal`, `agent`), what they may do (`authority`), how they came by it
//! (`chain`), what they ask (`call`), and how we say no (`refusal`).
//!
//! Implements the authority algebra (RFC 9396 authorization details as a meet-semilattice) and the delegation
//! chain of RFC 8693. It deliberately has no I/O, no clock and no randomness: every function here is a pure
//! function of its arguments, which is what makes replay exact.

pub mod agent;
pub mod authority;
pub mod bounds;
pub mod call;
pub mod chain;
pub mod display;
pub mod fields;
pub mod id;
pub mod json;
pub mod mask;
pub mod memory;
pub mod refusal;
pub mod resource;
pub mod time;

pub use agent::{Agent, AgentStatus, Human, HumanStatus};
pub use authority::{ActionSet, Authority, Clauses, Grant, Part, Permit, Sentence};
pub use call::Call;
pub use chain::{Chain, EdgeProof, Hop};
pub use id::{AgentId, Principal, PrincipalKind, ServerId, TenantId};
pub use memory::Memory;
pub use refusal::{Code, Fault, Refusal};
pub use resource::{Named, Server, SubjectRule, ToolClass, ToolRule};
pub use time::{ClockStatus, Moment, TimeSource, UnixTime};
