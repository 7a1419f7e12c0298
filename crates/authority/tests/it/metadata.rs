//! Metadata and keys: what is advertised works, and what does not work is not advertised.

use crate::world::*;
use axum::{body::Body, http::Request};
use serde_json::Value;

async fn document(world: &World) -> Value {
    let reply = world.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.headers["access-control-allow-origin"], "*");
    reply.body
}

/// SPEC: C-01
#[tokio::test]
async fn md_01_md_02_the_document_says_who_and_where() {
    let world = World::new().await;
    let document = document(&world).await;
    assert_eq!(document["issuer"], ISSUER);
    assert_eq!(document["token_endpoint"], TOKEN);
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    assert_eq!(document["response_types_supported"], serde_json::json!(["code"]));
    assert_eq!(document["introspection_signing_alg_values_supported"], serde_json::json!(["ES256"]), "RFC 9701 §7");
    assert_eq!(document["protected_resources"], serde_json::json!([HELPDESK, FILES]));
    assert_eq!(world.get("/.well-known/openid-configuration").await.body, document);
}

#[tokio::test]
async fn n_md_01_other_paths_are_not_reflected() {
    let world = World::new().await;
    for path in ["/.well-known/oauth-authorization-server/t/evil", "/t/evil/.well-known/openid-configuration"] {
        assert_eq!(world.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn n_md_02_no_header_alters_a_url() {
    let world = World::new().await;
    let request = Request::get("/.well-known/oauth-authorization-server")
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example")
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(request).await.body, document(&world).await);
}

#[tokio::test]
async fn n_md_03_only_s256() {
    let world = World::new().await;
    assert_eq!(document(&world).await["code_challenge_methods_supported"], serde_json::json!(["S256"]));
}

/// SPEC: MD-06, MD-08
#[tokio::test]
async fn n_md_04_every_advertised_endpoint_answers_and_no_other_is_named() {
    let world = World::new().await;
    let document = document(&world).await;
    let endpoints: Vec<&str> = document
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri")
        .map(|(_, url)| url.as_str().unwrap().strip_prefix(ISSUER).unwrap())
        .collect();
    assert_eq!(endpoints.len(), 7);
    for path in endpoints {
        assert_ne!(world.get(path).await.status, 404, "{path}");
    }
    for absent in ["registration_endpoint", "device_authorization_endpoint"] {
        assert!(document.get(absent).is_none(), "MD-06: {absent}");
    }
}

#[tokio::test]
async fn n_md_04_every_advertised_grant_is_known() {
    let world = World::new().await;
    for grant in document(&world).await["grant_types_supported"].as_array().unwrap() {
        let reply = world.token(&world.planner, &[("grant_type", grant.as_str().unwrap())]).await;
        assert_ne!(reply.body["error"], "unsupported_grant_type", "{grant}");
    }
}

/// SPEC: RT-07, CC-02
#[tokio::test]
async fn agents_authenticate_by_a_key_and_no_scope_promises_offline_access() {
    let world = World::new().await;
    let document = document(&world).await;
    assert_eq!(document["token_endpoint_auth_methods_supported"][0], "private_key_jwt");
    assert!(!document["scopes_supported"].to_string().contains("offline_access"));
    for method in ["client_secret_basic", "client_secret_post", "client_secret_jwt"] {
        assert!(!document.to_string().contains(method), "{method}");
    }
}

/// SPEC: MD-08, JW-04
#[tokio::test]
async fn caches_keep_the_keys_for_a_quarter_of_an_hour_at_most_and_the_metadata_for_an_hour() {
    let world = World::new().await;
    for (path, most) in [("/.well-known/jwks.json", 900), ("/.well-known/oauth-authorization-server", 3_600)] {
        let reply = world.get(path).await;
        let stated = reply.headers["cache-control"].to_str().unwrap().rsplit_once("max-age=").unwrap().1.to_owned();
        assert!((1..=most).contains(&stated.parse::<i64>().unwrap()), "{path}: {stated}");
    }
}

/// SPEC: JW-01
#[tokio::test]
async fn n_jw_01_only_public_members_are_published() {
    let world = World::new().await;
    let reply = world.get("/.well-known/jwks.json").await;
    let keys = reply.body["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    for key in keys {
        assert_eq!((key["use"].as_str(), key["kid"].as_str()), (Some("sig"), Some(world.signing.public().thumbprint())));
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none());
        }
    }
}

#[tokio::test]
async fn x_09_browser_clients_may_call_the_token_endpoint() {
    let world = World::new().await;
    let request = Request::options("/oauth/token").header("origin", "https://app.example").body(Body::empty()).unwrap();
    let reply = world.send(request).await;
    assert_eq!(reply.status, 204);
    assert!(reply.headers["access-control-allow-headers"].to_str().unwrap().contains("dpop"));
    let reply = world.get("/oauth/authorize").await;
    assert!(reply.headers.get("access-control-allow-origin").is_none(), "never on the pages");
}

/// The metadata names the actors that exchange takes: a type that is not listed is refused. SPEC: MD-05
#[tokio::test]
async fn md_05_the_actor_profile_is_what_exchange_does_and_what_is_off_is_absent() {
    let world = World::new().await;
    let document = document(&world).await;
    let profile = &document["actor_profile_token_exchange"];
    assert_eq!(profile["subject_token_types_supported"], serde_json::json!([ACCESS_TOKEN, JWT]));
    assert_eq!(profile["actor_token_types_supported"], serde_json::json!([ACCESS_TOKEN]));
    assert_eq!(profile["requested_token_types_supported"], serde_json::json!([ACCESS_TOKEN]));
    let profiles = serde_json::json!({"client": ["ai_agent"], "subject": ["user", "ai_agent"], "actor": ["ai_agent"]});
    assert_eq!(document["entity_profiles_supported"], profiles);
    let token = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    let child = world.identity(&world.summarizer).await;
    let exchange = async |subject_type: &str, actor_type: &str, requested: &str| {
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", token.as_str()),
            ("subject_token_type", subject_type),
            ("actor_token", child.as_str()),
            ("actor_token_type", actor_type),
            ("requested_token_type", requested),
        ];
        world.token(&world.planner, &form).await
    };
    exchange(ACCESS_TOKEN, ACCESS_TOKEN, ACCESS_TOKEN).await.access_token();
    let other = "urn:ietf:params:oauth:token-type:saml2";
    for (subject, actor, requested) in
        [(other, ACCESS_TOKEN, ACCESS_TOKEN), (ACCESS_TOKEN, JWT, ACCESS_TOKEN), (ACCESS_TOKEN, ACCESS_TOKEN, other)]
    {
        let reply = exchange(subject, actor, requested).await;
        assert_eq!(reply.body["error"], "invalid_request", "{subject} {actor} {requested}: {}", reply.text);
    }
    for off in [
        "challenge_endpoint",
        "client_attestation_signing_alg_values_supported",
        "client_attestation_pop_signing_alg_values_supported",
        "client_attestation_pop_methods_supported",
        "identity_chaining_requested_token_types_supported",
        "authorization_grant_profiles_supported",
    ] {
        assert!(document.get(off).is_none(), "{off}");
    }
}

/// SPEC: OpenID Connect Discovery 1.0 §3
#[tokio::test]
async fn what_is_said_of_id_tokens_is_in_them() {
    let world = World::at("http://localhost:8420", remit_authority::Settings::default()).await;
    let document = document(&world).await;
    assert_eq!(document["acr_values_supported"], serde_json::json!(["phr"]), "a passkey");
    assert_eq!(document["subject_types_supported"], serde_json::json!(["public"]));
    let world = World::new().await;
    let document = self::document(&world).await;
    assert!(document.get("acr_values_supported").is_none(), "no passkeys at an IP address");
    let body = world.delegated_with("alice", &[("scope", "openid helpdesk:tickets_read"), ("nonce", "n-1")]).await;
    let said = claims(crate::flow::text(&body, "id_token"));
    let listed: Vec<&str> = document["claims_supported"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in said.as_object().unwrap().keys() {
        assert!(listed.contains(&name.as_str()), "{name} is not listed");
    }
}
