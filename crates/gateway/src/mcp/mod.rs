//! The Model Context Protocol as it crosses the gateway: messages, headers, revisions, sessions, upstreams.
//!
//! Implements MCP 2026-07-28 and 2025-11-25/2025-06-18. Messages are read into plain JSON values, never into an SDK's
//! types, so that a method we do not know is neither misread nor changed on its way.

pub(crate) mod act;
pub(crate) mod arguments;
pub(crate) mod before_after;
pub(crate) mod call;
pub(crate) mod denial;
pub(crate) mod envelope;
pub(crate) mod error;
pub(crate) mod forward;
pub(crate) mod handshake;
pub(crate) mod headers;
pub(crate) mod http;
pub(crate) mod list;
pub(crate) mod list_view;
pub(crate) mod lists;
pub(crate) mod mcp_call;
pub(crate) mod offer;
pub(crate) mod owner;
pub(crate) mod passing;
pub(crate) mod question;
pub(crate) mod record;
pub(crate) mod relay;
pub(crate) mod request_state;
pub(crate) mod revision;
pub(crate) mod rpc_code;
pub(crate) mod session;
pub(crate) mod show;
pub(crate) mod stream;
pub(crate) mod suspended;
pub(crate) mod tool_listing;
pub(crate) mod upstream;
