//! What we say we can do, and nothing else.
//!
//! Implements RFC 8414, OpenID Connect Discovery 1.0, RFC 9207, RFC 9396 §10, RFC 9449 §5.1, RFC 9701 §7,
//! RFC 9728 §4; rules MD-01 to MD-08. Everything is built from configuration; no request header has a say (N-MD-02).

use crate::{Server, clients::rules::Admission, grants, signin::passkeys::used};
use remit_token::{Algorithm, id_jag::TOKEN_TYPE};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// SPEC: draft-ietf-oauth-identity-assertion-authz-grant-04 §7.2
const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// The claims of ID tokens, and of userinfo.
const CLAIMS: [&str; 12] =
    ["iss", "sub", "aud", "exp", "iat", "jti", "auth_time", "acr", "amr", "nonce", "name", "urn:remit:consent"];

pub(crate) fn document(server: &Server) -> Value {
    let scopes = scopes(server);
    let resources: Vec<&str> = server.servers.iter().map(|resource| resource.location.as_str()).collect();
    let keys = server.published_keys(server.now());
    let signing: BTreeSet<&str> = keys.iter().map(|(_, key)| key.algorithm().name()).collect();
    let mut document = json!({
        "issuer": server.issuer,
        "authorization_endpoint": server.url("/oauth/authorize"),
        "token_endpoint": server.url("/oauth/token"),
        "jwks_uri": server.url("/.well-known/jwks.json"),
        "introspection_endpoint": server.url("/oauth/introspect"),
        "revocation_endpoint": server.url("/oauth/revoke"),
        "userinfo_endpoint": server.url("/oauth/userinfo"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": grants::offered(server),
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": scopes,
        "token_endpoint_auth_methods_supported": methods(server, true),
        "token_endpoint_auth_signing_alg_values_supported": Algorithm::ACCEPTED,
        "introspection_endpoint_auth_methods_supported": methods(server, false),
        "introspection_endpoint_auth_signing_alg_values_supported": Algorithm::ACCEPTED,
        "introspection_signing_alg_values_supported": signing,
        "revocation_endpoint_auth_methods_supported": methods(server, true),
        "revocation_endpoint_auth_signing_alg_values_supported": Algorithm::ACCEPTED,
        "dpop_signing_alg_values_supported": Algorithm::ACCEPTED,
        "authorization_response_iss_parameter_supported": true,
        "authorization_details_types_supported": ["tool_access"],
        "pushed_authorization_request_endpoint": server.url("/oauth/par"),
        "require_pushed_authorization_requests": server.settings.require_pushed_requests,
        "client_id_metadata_document_supported": server.settings.clients.documents != Admission::Off,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "tls_client_certificate_bound_access_tokens": server.settings.client_certificates,
        "protected_resources": resources,
    });
    if let Some(members) = document.as_object_mut() {
        members.extend(openid(server, &signing));
        members.extend(actor_profile());
        add_what_is_on(server, members);
    }
    document
}

/// What only some configurations offer.
fn add_what_is_on(server: &Server, members: &mut Map<String, Value>) {
    if server.settings.client_certificates {
        members.insert("mtls_endpoint_aliases".to_owned(), mtls_aliases(members));
    }
    // SPEC: MD-06
    if server.settings.clients.registration != Admission::Off {
        members.insert("registration_endpoint".to_owned(), json!(server.url("/oauth/register")));
    }
    if server.settings.device_flow {
        members.insert("device_authorization_endpoint".to_owned(), json!(server.url("/oauth/device_authorization")));
    }
    // SPEC: MD-04, MD-07: which issuers are trusted is not said.
    if grants::redeems_id_jag(server) {
        members.insert("authorization_grant_profiles_supported".to_owned(), json!([ID_JAG_PROFILE]));
    }
    if !server.settings.assertion_audiences.is_empty() {
        members.insert("identity_chaining_requested_token_types_supported".to_owned(), json!([TOKEN_TYPE]));
    }
}

/// The addresses of the endpoints once more, for clients that look for others over TLS with a certificate. SPEC: RFC 8705 §5
fn mtls_aliases(members: &Map<String, Value>) -> Value {
    let names = ["token", "revocation", "introspection", "pushed_authorization_request", "userinfo"];
    let aliases = names.into_iter().map(|name| format!("{name}_endpoint"));
    aliases.filter_map(|name| Some((name.clone(), members.get(&name)?.clone()))).collect::<Map<_, _>>().into()
}

/// The authentication context classes that a sign-in can reach here: that of a passkey, and those that are demanded of identity
/// providers. Others that a provider states are passed on, too. SPEC: MD-03
fn acr_values(server: &Server) -> BTreeSet<String> {
    let methods = server.sign_in_methods();
    let demanded = methods.providers.iter().flat_map(|provider| provider.demand.acr.iter().cloned());
    demanded.chain(server.passkeys.is_some().then(|| used::ACR.to_owned())).collect()
}

/// What OpenID Connect Discovery adds. SPEC: MD-03
fn openid(server: &Server, signing: &BTreeSet<&str>) -> Map<String, Value> {
    let classes = acr_values(server);
    let members = [
        ("subject_types_supported", json!(["public"])),
        ("id_token_signing_alg_values_supported", json!(signing)),
        ("claims_supported", json!(CLAIMS)),
        ("claims_parameter_supported", json!(false)),
        ("prompt_values_supported", json!(["none", "login", "consent", "select_account"])),
    ];
    let classes = (!classes.is_empty()).then(|| ("acr_values_supported", json!(classes)));
    members.into_iter().chain(classes).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// How our token exchange treats actors, and the `sub_profile` values of `act`: a person never acts for another party. SPEC: MD-05
fn actor_profile() -> Map<String, Value> {
    let members = [
        (
            "actor_profile_token_exchange",
            json!({
                "subject_token_types_supported": [
                    "urn:ietf:params:oauth:token-type:access_token",
                    "urn:ietf:params:oauth:token-type:jwt",
                ],
                "actor_token_types_supported": ["urn:ietf:params:oauth:token-type:access_token"],
                "requested_token_types_supported": ["urn:ietf:params:oauth:token-type:access_token"],
            }),
        ),
        ("entity_profiles_supported", json!({"client": ["ai_agent"], "subject": ["user", "ai_agent"], "actor": ["ai_agent"]})),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Most bytes of the scopes that the document lists: clients ask for all of them, and have small limits for what they send.
const SCOPE_BYTES: usize = 1024;

/// The scopes of tools that only read. Clients take what is listed for what they need, and ask for all of it; where these are
/// many, only `openid` is listed. SPEC: MD-02
fn scopes(server: &Server) -> Vec<String> {
    let reading = server.servers.iter().flat_map(|resource| {
        let tools = resource.tools.iter().filter(|(_, rule)| !rule.class.mutates());
        tools.map(|(tool, _)| format!("{}:{tool}", resource.id))
    });
    let scopes: Vec<String> = reading.collect();
    let fits = scopes.iter().map(|scope| scope.len() + 1).sum::<usize>() <= SCOPE_BYTES;
    std::iter::once("openid".to_owned()).chain(scopes.into_iter().filter(|_| fits)).collect()
}

/// How clients authenticate. Tokens of workload issuers come as assertions of `private_key_jwt`. SPEC: TK-02, MD-04
fn methods(server: &Server, none: bool) -> Vec<&'static str> {
    let spiffe = (!server.bundles.is_empty()).then_some("spiffe_jwt");
    let certificates = server.settings.client_certificates;
    let own = certificates.then_some("self_signed_tls_client_auth");
    let svid = (certificates && !server.bundles.is_empty()).then_some("spiffe_x509");
    ["private_key_jwt"].into_iter().chain(own).chain(spiffe).chain(svid).chain(none.then_some("none")).collect()
}
