//! Protected resource metadata, one document for each server: RFC 9728.
//!
//! SPEC: PR-01, PR-02, PR-04, PR-05.

use crate::settings::Settings;
use remit_model::resource::Server;
use serde_json::{Value, json};

pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// Algorithms a DPoP proof may be signed with.
pub(crate) const PROOF_ALGS: [&str; 3] = ["ES256", "Ed25519", "EdDSA"];

/// The document for one server. `resource` is the registered identifier, whatever host the request named (N-PR-02).
pub(crate) fn document(settings: &Settings, server: &Server) -> Value {
    json!({
        "resource": server.location,
        "resource_name": server.title,
        "authorization_servers": [settings.issuer],
        "scopes_supported": scopes(server),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": PROOF_ALGS,
        "dpop_bound_access_tokens_required": true,
        "authorization_details_types_supported": ["tool_access"],
    })
}

/// Scope shorthand for each tool the operator registered.
fn scopes(server: &Server) -> Vec<String> {
    server.tools.keys().map(|tool| format!("{}:{tool}", server.id)).collect()
}

/// What a challenge asks for: everything the server has, since an unauthenticated request names nothing.
pub(crate) fn challenge_scope(server: &Server) -> String {
    if server.tools.is_empty() { format!("{}:*", server.id) } else { scopes(server).join(" ") }
}
