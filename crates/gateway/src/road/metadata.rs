//! Protected resource metadata, one document for each server: RFC 9728.
//!
//! SPEC: PR-01, PR-02, PR-04, PR-05.

use crate::settings::Settings;
use remit_model::resource::Server;
use remit_token::Algorithm;
use serde_json::{Value, json};

pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Most scopes that the document suggests, and most bytes of them together: clients ask for all of them, and have small limits
/// for headers.
const SCOPES: usize = 16;
const SCOPE_BYTES: usize = 1024;

/// The document for one server. `resource` is the registered identifier, whatever host the request named (N-PR-02).
pub(crate) fn document(settings: &Settings, server: &Server) -> Value {
    let mut document = json!({
        "resource": server.location,
        "resource_name": server.title,
        "authorization_servers": [settings.issuer],
        "dpop_signing_alg_values_supported": Algorithm::ACCEPTED,
        "dpop_bound_access_tokens_required": !settings.takes_bearer_scheme(),
        "authorization_details_types_supported": ["tool_access"],
    });
    let scopes = scopes(server);
    if let Value::Object(members) = &mut document {
        if settings.client_certificates {
            members.insert("tls_client_certificate_bound_access_tokens".to_owned(), json!(true));
        }
        if settings.takes_bearer_scheme() {
            members.insert("bearer_methods_supported".to_owned(), json!(["header"]));
        }
        if !scopes.is_empty() {
            members.insert("scopes_supported".to_owned(), json!(scopes));
        }
    }
    document
}

/// Scope shorthand for the tools that only read. Clients take what is listed for what they need, so a tool that changes
/// something is asked for when a call needs it; where even the reading tools are many, none is suggested.
fn scopes(server: &Server) -> Vec<String> {
    let reading = server.tools.iter().filter(|(_, rule)| !rule.class.mutates());
    let scopes: Vec<String> = reading.map(|(tool, _)| format!("{}:{tool}", server.id)).collect();
    let bytes: usize = scopes.iter().map(|scope| scope.len() + 1).sum();
    if scopes.len() > SCOPES || bytes > SCOPE_BYTES { Vec::new() } else { scopes }
}
