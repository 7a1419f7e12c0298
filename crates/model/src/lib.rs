//! The words of Remit: who acts (`principal`, `agent`), what they may do (`authority`), how they came by it
//! (`chain`), what they ask (`call`), and how we say no (`refusal`).
//!
//! Implements the authority algebra (RFC 9396 authorization details as a meet-semilattice) and the delegation
//! chain of RFC 8693. It deliberately has no I/O, no clock and no randomness: every function here is a pure
//! function of its arguments, which is what makes replay exact.
//!
//! ```
//! use remit_model::{Authority, Call, Code, UnixTime};
//! use serde_json::json;
//!
//! let helpdesk = "https://remit.example/mcp/helpdesk";
//! let grant = |actions: &[&str]| json!([{"type": "tool_access", "locations": [helpdesk], "actions": actions}]);
//! let person = Authority::parse(&grant(&["tickets_read", "refund_create"]))?;
//! let asked = Authority::parse(&grant(&["tickets_read", "admin_purge"]))?;
//!
//! // An agent gets what was asked and what the person has.
//! let handed_on = person.meet(&asked);
//! assert!(handed_on.within(&person).is_ok());
//! let arguments = json!({});
//! let call = |action| Call { location: helpdesk, action, arguments: &arguments, now: UnixTime(1_800_000_000) };
//! assert!(handed_on.permits(&call("tickets_read")).is_ok());
//! assert_eq!(handed_on.permits(&call("admin_purge")).unwrap_err().code, Code::ToolNotGranted);
//! # Ok::<(), remit_model::Refusal>(())
//! ```

pub mod agent;
pub mod authentication;
pub mod authority;
pub mod bounds;
pub mod call;
pub mod chain;
pub mod confirmation;
pub mod criterion;
pub mod decimal;
pub mod display;
pub mod fields;
pub mod id;
pub mod issuer_keys;
pub mod json;
pub mod mask;
pub mod passkey;
pub mod rate_limit;
pub mod refusal;
pub mod resource;
pub mod spiffe;
pub mod time;
pub mod token_bounds;
pub mod workload;

pub use agent::{
    Acts, Agent, AgentStatus, AssertionAudience, Binding, ClientProfile, Credential, Human, HumanStatus, Identity, Managed,
    Provisioned, Registration,
};
pub use authentication::{Authentication, StepUp};
pub use authority::{ActionSet, Authority, Clauses, Grant, Part, Permit, Sentence};
pub use call::Call;
pub use chain::{Chain, EdgeProof, Hop};
pub use confirmation::Confirmation;
pub use id::{AgentId, Principal, PrincipalKind, ServerId, TenantId};
pub use issuer_keys::{IssuerKey, IssuerKeys, KeyStage};
pub use passkey::{Passkey, Passkeys};
pub use rate_limit::{OverLimit, Rate, RateLimits};
pub use refusal::{Code, Fault, Refusal};
pub use resource::{Named, Server, SubjectRule, ToolClass, ToolRule};
pub use spiffe::{SpiffeId, SpiffePattern};
pub use time::{ClockStatus, Moment, TimeSource, UnixTime};
pub use workload::{WorkloadIssuer, WorkloadKind};
