//! Every route of the gateway.

use crate::{authzen, gateway::Gateway, mcp};
use axum::Router;
use std::sync::Arc;

/// `/mcp/{server}` and `/.well-known/oauth-protected-resource/mcp/{server}`; with a decision point, `/access/v1` too.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let router = mcp::http::router();
    let router = if gateway.settings.authzen.is_some() { router.merge(authzen::http::router()) } else { router };
    router.with_state(gateway)
}
