//! The enforcement point in front of MCP servers.
//!
//! Every request takes one road (`call`): identify the caller, read the request strictly, check authority, policy and
//! budget, make the intent durable, forward exactly the value that was authorised, mask the answer, record the
//! outcome, reply. A refusal takes the same road and leaves the same record.
//!
//! Speaks MCP 2026-07-28 and 2025-11-25/2025-06-18 on both sides. It does not issue tokens, hold policy rules or
//! keep state beyond bounded, disposable sessions.

mod authzen;
mod call;
mod capture;
mod decide;
mod error;
mod forward;
mod gate;
mod held;
mod http;
mod identify;
mod mask;
mod mcp;
mod metadata;
mod outliving;
mod record;
mod reply;
mod seal;
mod settings;
mod upstream;

pub use authzen::{Authzen, NAME as AUTHZEN};
pub use gate::{Gateway, Parts};
pub use http::router;
pub use settings::{BeforeAfter, CAPTURE_LIMIT, Capture, CaptureLevel, Captures, Route, Settings, Upstream};
