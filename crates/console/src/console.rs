//! The state that all admin routes share.

use crate::gathered::Gathered;
use remit_clock::{Clock, Entropy};
use remit_model::{Server, TenantId};
use remit_policy::Live;
use remit_store::Store;
use remit_token::SigningKeys;
use std::{
    collections::HashSet,
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

/// What the console works on.
pub struct Console {
    pub tenant: TenantId,
    /// The OAuth issuer, which also names the operator in records.
    pub issuer: String,
    pub store: Store,
    pub policy: Arc<Live>,
    pub clock: Clock,
    pub entropy: Entropy,
    /// Registered resources, for scope shorthand.
    /// The issuers that vouch for workloads, which credentials refer to by name.
    pub workload_issuers: Vec<remit_model::WorkloadIssuer>,
    /// The SPIFFE trust domains that are configured.
    pub trust_domains: Vec<String>,
    pub servers: Vec<Arc<Server>>,
    /// The private halves of the issuer's keys.
    pub signing: SigningKeys,
    /// SHA-256 of the admin credential; the credential itself is not kept.
    pub admin_digest: [u8; 32],
    /// Whether agents may be registered with `binding: danger_bearer`.
    pub danger_bearer: bool,
    /// Whether certificates of clients are seen by this server, so that tokens can be bound to them.
    pub client_certificates: bool,
    /// The published ledger.
    pub ledger_dir: PathBuf,
    /// Reads of the log that are gathered before they are recorded; begins empty.
    pub gathered: Gathered,
    /// Thumbprints of the keys that agents had before the first registration of this process; begins empty.
    pub earlier_keys: OnceLock<HashSet<String>>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("tenant", &self.tenant).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Console {
    /// The digest to keep of an admin credential.
    pub fn digest(credential: &str) -> [u8; 32] {
        remit_model::json::sha256(credential.as_bytes())
    }
}
