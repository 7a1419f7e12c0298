//! The codes of JSON-RPC errors.
//!
//! SPEC: MG-07: ours stay clear of the ranges that JSON-RPC and MCP reserve; `data.code` is the stable, finer one.

pub(crate) const UNAUTHENTICATED: i64 = -31401;
pub(crate) const DENIED: i64 = -31403;
pub(crate) const NOT_FOUND: i64 = -31404;
pub(crate) const LIMITED: i64 = -31429;
pub(crate) const UPSTREAM: i64 = -31502;
pub(crate) const UNAVAILABLE: i64 = -31503;

pub(crate) const PARSE: i64 = -32700;
pub(crate) const INVALID_REQUEST: i64 = -32600;
pub(crate) const METHOD_UNKNOWN: i64 = -32601;
pub(crate) const INVALID_PARAMS: i64 = -32602;
pub(crate) const INTERNAL: i64 = -32603;
pub(crate) const HEADER_MISMATCH: i64 = -32020;
/// The client did not declare a capability that the server needs.
pub(crate) const CAPABILITY_MISSING: i64 = -32021;
pub(crate) const VERSION_UNSUPPORTED: i64 = -32022;
