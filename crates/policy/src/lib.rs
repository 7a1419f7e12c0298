//! Policy: Cedar decisions that can be replayed and explained.
//!
//! Implements the mapping of the delegation chain to Cedar (CE-01 … CE-05): the acting party is the principal, the
//! human it acts for and the chain are context, and the call's arguments are typed, schema-checked tags. A
//! [`Bundle`] is parsed and strictly validated once; [`Bundle::decide`] is a pure function of the bundle and one
//! [`Question`], so the same question gives the same [`Decision`] byte for byte, today and in an audit.
//!
//! Policies can only take away: whatever Cedar permits still has to be covered by the caller's authority, which is
//! not looked at here. There is no clock, no network and no text written by a model: words in an explanation come
//! from `@title`, `@reason` and `@advice` annotations.
//!
//! ```
//! use remit_policy::Bundle;
//!
//! let file = |text: &str| [("refunds.cedar".to_owned(), text.to_owned())];
//! let bundle = Bundle::parse(&file(r#"@id("no-refunds") forbid (principal, action == Action::"call", resource);"#)).unwrap();
//! assert_eq!(bundle.len(), 1);
//!
//! // Validation is strict: an action that the schema does not know is an error, not a policy that never applies.
//! assert!(Bundle::parse(&file(r#"permit (principal, action == Action::"cal", resource);"#)).is_err());
//! ```

mod bundle;
mod decide;
mod decision;
mod error;
mod index;
mod known;
mod live;
mod question;
mod rules;
mod slice;
mod source;
mod starter;
mod unanswerable;

pub use bundle::{Bundle, SCHEMA};
pub use decision::{Decision, Determining, Effect, PolicyFailure, RuleEffect};
pub use error::PolicyError;
pub use known::Known;
pub use live::{Live, Status};
pub use question::{Action, Party, Question, QuestionError, ToolFacts, VERSION as QUESTION_VERSION};
