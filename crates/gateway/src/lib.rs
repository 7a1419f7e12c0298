//! The enforcement point in front of MCP servers.
//!
//! An edge reads each request into an act: `mcp` for calls, `authzen` for questions. Every act takes one road (`road`):
//! identify the caller, check authority, policy and budget, make the intent durable, let the edge forward exactly the value
//! that was authorised, mask the answer, record the outcome, reply. A refusal takes the same road and leaves the same record.
//!
//! Speaks MCP 2026-07-28 and 2025-11-25/2025-06-18 on both sides. It does not issue tokens, hold policy rules or
//! keep state beyond bounded, disposable sessions.
//!
//! ```no_run
//! use remit_gateway::{Gateway, Parts, router};
//!
//! # async fn example(parts: Parts) -> std::io::Result<()> {
//! let routes = router(Gateway::new(parts));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8420").await?;
//! axum::serve(listener, routes).await
//! # }
//! ```

mod authzen;
mod gateway;
mod mcp;
mod mount;
mod road;
mod router;
mod settings;

pub use authzen::point::{Authzen, NAME as AUTHZEN};
pub use gateway::{Gateway, Parts};
pub use mcp::{offer::tools, upstream::guard::run as guard};
pub use router::router;
pub use settings::{
    BeforeAfter, CAPTURE_LIMIT, Capture, CaptureLevel, Captures, Denials, Route, Settings, Upstream, UpstreamHeaders,
};
