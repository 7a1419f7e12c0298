//! The case that Keycloak refuses: a token bound to key A, exchanged by an agent that holds key B. RFC 8693, RFC 9449.

use super::{
    super::{PASSWORD, Proof, Provider, claims, reads, web::Answer},
    Keycloak,
    realm::{client, mapper, realm, relying_party},
};
use crate::{harness::Setup, workload::both_verify};
use remit_model::UnixTime;
use remit_token::{Algorithm, PrivateKey, assertion, dpop};
use serde_json::{Value, json};
use std::{fs, time::SystemTime};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

fn now() -> UnixTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixTime(i64::try_from(now.as_secs()).unwrap())
}

fn fresh() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("foreign-key-{}-{}", now().0, COUNT.fetch_add(1, Ordering::Relaxed))
}

fn public(key: &PrivateKey) -> Value {
    let mut jwk = key.public().to_jwk();
    jwk["kid"] = json!(key.public().thumbprint());
    jwk["alg"] = json!("ES256");
    jwk["use"] = json!("sig");
    jwk
}

pub(super) fn proof(key: &PrivateKey, url: &str, token: Option<&str>, nonce: Option<&str>) -> String {
    let jti = fresh();
    let request =
        dpop::ProofFor { method: "POST", url, now: now(), jti: &jti, nonce, access_token: token, ..dpop::ProofFor::default() };
    dpop::create(key, &request).unwrap()
}

/// A token request by a client that proves itself and its key.
fn ask(keycloak: &Keycloak, issuer: &str, url: &str, who: &str, key: &PrivateKey, form: &[(&str, &str)]) -> Answer {
    let assertion = assertion::create(key, who, issuer, &fresh(), now()).unwrap();
    let own = [("client_id", who), ("client_assertion_type", assertion::ASSERTION_TYPE), ("client_assertion", &assertion)];
    let form = [&own, form].concat();
    let first = keycloak.web.form(url, &[("dpop", &proof(key, url, None, None))], &form);
    // Remit asks for a nonce of its own.
    let Some(nonce) = first.nonce.clone().filter(|_| first.body["error"] == "use_dpop_nonce") else { return first };
    let assertion = assertion::create(key, who, issuer, &fresh(), now()).unwrap();
    let form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (*name, if *name == "client_assertion" { assertion.as_str() } else { *value })).collect();
    keycloak.web.form(url, &[("dpop", &proof(key, url, None, Some(&nonce)))], &form)
}

/// The person's program, which gets tokens with key A; the agent, which has key B, is among their audiences, and so is Remit.
fn clients(key_a: &PrivateKey, key_b: &PrivateKey, remit_url: &str) -> [Value; 2] {
    let audience = |name: &str, config: Value| mapper(name, "oidc-audience-mapper", &config);
    let mut program = client("program", &public(key_a));
    program["directAccessGrantsEnabled"] = json!(true);
    program["attributes"]["dpop.bound.access.tokens"] = json!("true");
    program["protocolMappers"] = json!([
        audience("agent", json!({ "included.client.audience": "agent", "access.token.claim": "true" })),
        audience("remit", json!({ "included.custom.audience": remit_url, "access.token.claim": "true" })),
    ]);
    let mut agent = client("agent", &public(key_b));
    agent["attributes"]["standard.token.exchange.enabled"] = json!("true");
    agent["attributes"]["dpop.bound.access.tokens"] = json!("true");
    [program, agent]
}

#[test]
#[ignore = "needs Keycloak: cargo xtask interop keycloak"]
fn a_token_bound_to_one_key_is_exchanged_by_the_holder_of_another_here_and_refused_by_keycloak() {
    let keycloak = Keycloak::shared();
    let issuer = keycloak.issuer("exchange");
    let [key_a, key_b] = [65, 66].map(|seed| PrivateKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap());
    let entitlements = "    entitlements:\n      - scope: [\"helpdesk:*\"]\n";
    let provider =
        Provider { name: "corp", title: "Corp", issuer: &issuer, client: "remit", proof: Proof::Key, more: entitlements };
    let (setup, registered) = Setup::new().provider(&provider);
    let remit_url = registered.redirect_uri.trim_end_matches("/oauth/callback/corp").to_owned();

    let mut whole = realm("exchange", &relying_party(&registered));
    whole["clients"].as_array_mut().unwrap().extend(clients(&key_a, &key_b, &remit_url));
    keycloak.import(&whole);

    let subject = keycloak.user("exchange", "alice")["id"].as_str().unwrap().to_owned();
    let server = setup
        .section(&format!(
            "trusted_issuers:\n  corp:\n    issuer: {issuer}\n    jwks_uri: {issuer}/protocol/openid-connect/certs\n    \
             accept: [access_token]\n    clients: {{ program: planner }}\n    people: {{ {subject}: alice }}\n    \
             scopes: {{ profile: \"helpdesk:tickets_read\" }}\n"
        ))
        .start();
    let pem = server.folder().join("agents/planner.pem");
    server.agent("planner", &["helpdesk:tickets_read"]);
    let own = PrivateKey::from_pkcs8_pem(&fs::read_to_string(&pem).unwrap()).unwrap();

    let at_keycloak = format!("{issuer}/protocol/openid-connect/token");
    let password = [("grant_type", "password"), ("username", "alice"), ("password", PASSWORD), ("scope", "openid profile")];
    let given = ask(keycloak, &issuer, &at_keycloak, "program", &key_a, &password).done();
    let token = given["access_token"].as_str().unwrap();
    assert_eq!(claims(token)["cnf"]["jkt"], key_a.public().thumbprint(), "{:#}", claims(token));

    let exchange = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    let theirs = ask(keycloak, &issuer, &at_keycloak, "agent", &key_b, &exchange);
    println!("Keycloak: {} {}", theirs.status, theirs.body);
    assert_eq!(theirs.status, 400);
    let said = theirs.body["error_description"].as_str().unwrap();
    assert!(said.starts_with("Sender-constrained token exchange rejected"), "{said}");

    // At Remit the holder of key A signs that this token goes to this exchange.
    let here = format!("{}/oauth/token", server.issuer);
    let resource = server.resource("helpdesk");
    let without = [&exchange[..], &[("resource", resource.as_str())]].concat();
    let refused = ask(keycloak, &server.issuer, &here, "agent:planner", &own, &without);
    assert_eq!((refused.status, &refused.body["remit_code"]), (400, &json!("dpop_key_mismatch")), "{:#}", refused.body);
    let handed = proof(&key_a, &here, Some(token), None);
    let with = [&without[..], &[("subject_token_proof", handed.as_str())]].concat();
    let ours = ask(keycloak, &server.issuer, &here, "agent:planner", &own, &with);
    let answer =
        json!({ "token_type": ours.body["token_type"], "scope": ours.body["scope"], "expires_in": ours.body["expires_in"] });
    println!("Remit: {} {answer}", ours.status);
    let issued = ours.done();
    let issued = issued["access_token"].as_str().unwrap();
    assert_eq!(claims(issued)["cnf"]["jkt"], own.public().thumbprint(), "bound to the agent's key");
    assert_eq!((&claims(issued)["sub"], &claims(issued)["act"]["sub"]), (&json!("user:alice"), &json!("agent:planner")));
    assert_eq!(reads(&server, "planner", issued)["structured"]["id"], "T-1001");
    // The proof of A is spent.
    assert_eq!(ask(keycloak, &server.issuer, &here, "agent:planner", &own, &with).status, 400);
    both_verify(server, 1);
}
