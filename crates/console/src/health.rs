//! Health: whether the process is alive, whether it accepts requests, and its state.

use crate::{Console, admin::Admin, error::No};
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/admin/v1/status", get(status))
}

async fn alive() -> &'static str {
    "ok\n"
}

/// Ready means that a request could be recorded: the store answers.
async fn ready(State(console): State<Arc<Console>>) -> Response {
    match console.store.record(0).await {
        Ok(_) => match console.store.outage() {
            None => "ready\n".into_response(),
            // Changes are refused, whatever becomes of reads: a load balancer should know.
            Some(outage) => (StatusCode::SERVICE_UNAVAILABLE, format!("degraded: {}\n", outage.code())).into_response(),
        },
        Err(error) => {
            tracing::error!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store is unavailable\n").into_response()
        }
    }
}

/// The policy's digest and age, the log's size, the registry's.
async fn status(_admin: Admin, State(console): State<Arc<Console>>) -> Result<Json<Value>, No> {
    let policy = console.policy.status();
    let snapshot = console.store.snapshot();
    Ok(Json(json!({
        "policy": {"digest": policy.digest, "loaded_at": policy.loaded_at, "last_error": policy.last_error},
        "ledger": {"records": console.store.len(), "outage": console.store.outage().map(|outage| outage.code())},
        "agents": snapshot.agent_count(),
        "revocations": snapshot.revocations(),
        "revision": snapshot.revision(),
    })))
}
