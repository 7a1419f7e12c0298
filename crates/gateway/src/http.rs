//! The gateway's HTTP face.

use crate::settings::{Route, Settings};
use axum::{Router, http::StatusCode, routing::any};
use std::sync::Arc;

/// Everything the gateway works with. (Store, policy, keys, clock and entropy join as their crates land.)
#[derive(Debug)]
pub struct Parts {
    pub settings: Settings,
    pub routes: Vec<Route>,
}

/// The enforcement point; one per process, shared by all requests.
#[derive(Debug)]
pub struct Gateway {
    #[expect(dead_code, reason = "read once the road is in place")]
    parts: Parts,
}

impl Gateway {
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self { parts })
    }
}

/// `/mcp/{server}` and `/.well-known/oauth-protected-resource/mcp/{server}`.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/mcp/{server}", any(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route("/.well-known/oauth-protected-resource/mcp/{server}", any(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .with_state(gateway)
}
