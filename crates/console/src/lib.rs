//! The operator's side: the admin API (`/admin/v1`), the ledger over HTTP (`/log`, C2SP tlog-tiles), and the
//! process's health.
//!
//! Every admin route asks for the bearer credential that `remit init` wrote, and every change, refusals included, is a
//! record of its own. It mints no tokens and decides no calls.
//!
//! ```no_run
//! use remit_console::{Console, router};
//! use std::sync::Arc;
//!
//! # async fn example(console: Console) -> std::io::Result<()> {
//! let routes = router(Arc::new(console));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8420").await?;
//! axum::serve(listener, routes).await
//! # }
//! ```

mod access;
mod accounts;
mod admin;
mod agent_update;
mod agents;
mod console;
mod credentials;
mod endpoint;
mod error;
mod gathered;
mod health;
mod keys;
mod ledger;
mod log;
mod passkeys;
mod reconcile;
mod records;
mod revocations;

use axum::Router;
pub use console::Console;
pub use gathered::Gathered;
use std::sync::Arc;

/// Every route of this crate.
pub fn router(console: Arc<Console>) -> Router {
    Router::new()
        .merge(agents::routes())
        .merge(agent_update::routes())
        .merge(accounts::routes())
        .merge(keys::routes())
        .merge(revocations::routes())
        .merge(reconcile::routes())
        .merge(records::routes())
        .merge(ledger::routes())
        .merge(log::routes())
        .merge(passkeys::routes())
        .merge(health::routes())
        .with_state(console)
}

/// Every (method, path) of the admin API, for the test that none is left open.
pub const ADMIN_ROUTES: &[(&str, &str)] = &[
    ("GET", "/admin/v1/agents"),
    ("POST", "/admin/v1/agents"),
    ("GET", "/admin/v1/agents/{name}"),
    ("PATCH", "/admin/v1/agents/{name}"),
    ("POST", "/admin/v1/agents/{name}/rotate-key"),
    ("POST", "/admin/v1/agents/{name}/quarantine"),
    ("POST", "/admin/v1/agents/{name}/activate"),
    ("POST", "/admin/v1/agents/{name}/retire"),
    ("GET", "/admin/v1/accounts"),
    ("POST", "/admin/v1/accounts"),
    ("POST", "/admin/v1/accounts/{name}/password"),
    ("POST", "/admin/v1/accounts/{name}/disable"),
    ("POST", "/admin/v1/accounts/{name}/enable"),
    ("POST", "/admin/v1/revocations"),
    ("GET", "/admin/v1/keys"),
    ("POST", "/admin/v1/keys"),
    ("POST", "/admin/v1/keys/{kid}/revoke"),
    ("GET", "/admin/v1/accounts/{name}/passkeys"),
    ("DELETE", "/admin/v1/accounts/{name}/passkeys/{id}"),
    ("POST", "/admin/v1/accounts/{name}/passkey-link"),
    ("POST", "/admin/v1/reconcile"),
    ("GET", "/admin/v1/records"),
    ("GET", "/admin/v1/records/{id}"),
    ("POST", "/admin/v1/ledger/erasures"),
    ("GET", "/admin/v1/ledger/holds"),
    ("POST", "/admin/v1/ledger/holds"),
    ("DELETE", "/admin/v1/ledger/holds"),
    ("POST", "/admin/v1/ledger/disclosures"),
    ("GET", "/admin/v1/status"),
    ("GET", "/log/tile/entries/{path}"),
];
