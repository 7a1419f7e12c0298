//! The operator's side: the admin API (`/admin/v1`), the ledger over HTTP (`/log`, C2SP tlog-tiles), and the
//! process's health.
//!
//! Every admin route asks for the bearer credential that `remit init` wrote, and every change, refusals included, is a
//! record of its own. It mints no tokens and decides no calls.

mod access;
mod admin;
mod agents;
mod error;
mod health;
mod ledger;
mod log;
mod reconcile;
mod records;

pub use access::Gathered;
use axum::Router;
use remit_clock::Clock;
use remit_model::{Server, TenantId};
use remit_policy::Live;
use remit_store::{Quota, Store};
use std::{fmt, path::PathBuf, sync::Arc};

/// Refusals per second of callers without the credential that are recorded; the rest is only counted.
pub const ANONYMOUS_RECORDS: u32 = 20;

/// What the console works on.
pub struct Console {
    pub tenant: TenantId,
    /// The OAuth issuer, which also names the operator in records.
    pub issuer: String,
    pub store: Store,
    pub policy: Arc<Live>,
    pub clock: Clock,
    /// Registered resources, for scope shorthand.
    pub servers: Vec<Arc<Server>>,
    /// SHA-256 of the admin credential; the credential itself is not kept.
    pub admin_digest: [u8; 32],
    /// The published ledger.
    pub ledger_dir: PathBuf,
    /// Refused admin requests that are recorded; [`ANONYMOUS_RECORDS`] a second is plenty.
    pub anonymous: Quota,
    /// Reads of the log that are gathered before they are recorded; begins empty.
    pub gathered: Gathered,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("tenant", &self.tenant).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Console {
    /// Records the reads of the log that are gathered and not yet recorded; for a clean stop, before the store closes.
    pub async fn close(&self) {
        if access::flush(self).await.is_err() {
            tracing::error!("the last reads of the log could not be recorded");
        }
    }

    /// The digest to keep of an admin credential.
    pub fn digest(credential: &str) -> [u8; 32] {
        remit_model::json::sha256(credential.as_bytes())
    }
}

/// Every route of this crate.
pub fn router(console: Arc<Console>) -> Router {
    Router::new()
        .merge(agents::routes())
        .merge(reconcile::routes())
        .merge(records::routes())
        .merge(ledger::routes())
        .merge(log::routes())
        .merge(health::routes())
        .with_state(console)
}

/// Every (method, path) of the admin API, for the test that none is left open.
pub const ADMIN_ROUTES: &[(&str, &str)] = &[
    ("GET", "/admin/v1/agents"),
    ("POST", "/admin/v1/agents"),
    ("GET", "/admin/v1/agents/{name}"),
    ("POST", "/admin/v1/agents/{name}/quarantine"),
    ("POST", "/admin/v1/agents/{name}/activate"),
    ("POST", "/admin/v1/agents/{name}/retire"),
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
