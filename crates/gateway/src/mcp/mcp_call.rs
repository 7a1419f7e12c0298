//! One identified request of MCP, on its way through the gateway.

use crate::{
    mcp::{
        envelope::Request,
        revision::{ClientProfile, Revision},
        session::Session,
    },
    mount::Mount,
    road::{identify::Caller, request_origin::RequestOrigin},
};
use axum::http::HeaderMap;
use std::sync::Arc;

/// One identified request.
#[derive(Debug)]
pub(crate) struct McpCall {
    pub(crate) mount: Arc<Mount>,
    pub(crate) caller: Caller,
    pub(crate) request: Request,
    pub(crate) revision: Revision,
    /// What the client declared about itself.
    pub(crate) client: ClientProfile,
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) headers: HeaderMap,
    pub(crate) origin: RequestOrigin,
}
