//! The Model Context Protocol as it crosses the gateway: messages, headers, eras, sessions.
//!
//! Implements MCP 2026-07-28 and 2025-11-25/2025-06-18. Messages are read into plain JSON values, never into an SDK's
//! types, so that a method we do not know is neither misread nor changed on its way.

pub(crate) mod envelope;
pub(crate) mod era;
pub(crate) mod handshake;
pub(crate) mod headers;
pub(crate) mod lists;
pub(crate) mod method;
pub(crate) mod session;

pub(crate) use envelope::{Incoming, Message, Notification, Request, Response, RpcError};
pub(crate) use era::Revision;
