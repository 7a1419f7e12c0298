//! The realm of a test: Alice of the support group, Bob of none of ours, and the clients.

use super::super::{PASSWORD, Registered};
use serde_json::{Value, json};

/// A realm with Remit as a relying party that signs its assertions.
pub(super) fn realm(name: &str, relying_party: &Value) -> Value {
    json!({
        "realm": name, "enabled": true, "sslRequired": "none", "defaultSignatureAlgorithm": "ES256",
        "groups": [{ "name": "staff", "subGroups": [{ "name": "support" }] }],
        "users": [user("alice", &["/staff/support"]), user("bob", &["/staff"])],
        "clients": [relying_party],
        "components": { "org.keycloak.keys.KeyProvider": [
            es256("first", 200),
            { "name": "rsa", "providerId": "rsa-generated", "config": { "priority": ["100"] } },
            { "name": "aes", "providerId": "aes-generated", "config": { "priority": ["100"] } },
            { "name": "hmac", "providerId": "hmac-generated", "config": { "priority": ["100"], "algorithm": ["HS512"] } },
        ] },
    })
}

/// A key: the active one with the highest priority signs.
pub(super) fn es256(name: &str, priority: u32) -> Value {
    json!({
        "name": name, "providerId": "ecdsa-generated",
        "config": { "priority": [priority.to_string()], "ecdsaEllipticCurveKey": ["P-256"], "ecGenerateCertificate": ["false"] },
    })
}

fn user(name: &str, groups: &[&str]) -> Value {
    json!({
        "username": name, "enabled": true, "email": format!("{name}@example.test"), "emailVerified": true,
        "firstName": name, "lastName": "Example", "groups": groups,
        "credentials": [{ "type": "password", "value": PASSWORD, "temporary": false }],
    })
}

/// A client with `private_key_jwt`.
pub(super) fn client(id: &str, jwk: &Value) -> Value {
    json!({
        "clientId": id, "protocol": "openid-connect", "enabled": true, "publicClient": false,
        "clientAuthenticatorType": "client-jwt", "standardFlowEnabled": false, "directAccessGrantsEnabled": false,
        "attributes": {
            "use.jwks.string": "true", "jwks.string": json!({ "keys": [jwk] }).to_string(),
            "token.endpoint.auth.signing.alg": "ES256", "access.token.signed.response.alg": "ES256",
            "id.token.signed.response.alg": "ES256",
        },
    })
}

/// Remit: the code flow with PKCE, `groups` and `amr` in its ID tokens.
pub(super) fn relying_party(registered: &Registered) -> Value {
    let mut client = client("remit", &registered.jwk);
    client["standardFlowEnabled"] = json!(true);
    client["redirectUris"] = json!([registered.redirect_uri]);
    client["attributes"]["pkce.code.challenge.method"] = json!("S256");
    let logout = registered.redirect_uri.replace("/oauth/callback/", "/oauth/backchannel-logout/");
    client["attributes"]["backchannel.logout.url"] = json!(logout);
    client["attributes"]["backchannel.logout.session.required"] = json!("true");
    let groups = json!({ "claim.name": "groups", "full.path": "true", "id.token.claim": "true" });
    client["protocolMappers"] = json!([
        mapper("groups", "oidc-group-membership-mapper", &groups),
        mapper("amr", "oidc-amr-mapper", &json!({ "id.token.claim": "true" })),
    ]);
    client
}

pub(super) fn mapper(name: &str, kind: &str, config: &Value) -> Value {
    json!({ "name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config })
}
