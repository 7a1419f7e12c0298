//! How a request reached us, for its record.

use axum::http::Method;
use remit_ledger::record::Protocol;
use remit_model::ToolClass;
use std::net::IpAddr;

/// The connection a request came over, and the endpoint it came to.
#[derive(Clone, Debug)]
pub(crate) struct RequestOrigin {
    /// The other end of the connection.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) method: Method,
    pub(crate) endpoint: Endpoint,
}

/// An endpoint, and what a record says of a request to it before the request is understood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    /// The route as a template: `/mcp/{server}`.
    pub(crate) route: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) action: &'static str,
    pub(crate) class: ToolClass,
    /// Kind of the resource that the endpoint is.
    pub(crate) resource: &'static str,
}
