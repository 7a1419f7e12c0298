//! `private_key_jwt` with keys that the agent publishes at its `jwks_uri`.

use crate::{
    credentials::with_assertion,
    published::{Published, jwks},
    world::*,
};
use remit_model::{Agent, ClientProfile, Credential, Registration};
use remit_store::Change;
use remit_token::{Algorithm, PrivateKey, assertion, sign_jws};
use serde_json::{Value, json};

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap()
}

/// The planner, which publishes its keys at this address and has none here.
async fn publishes_at(world: &World, uri: &str, registration: Registration) -> Agent {
    let credentials = vec![Credential::JwksUri { uri: uri.to_owned() }];
    let client = ClientProfile { credentials, registration, ..ClientProfile::default() };
    let planner = Agent { keys: Vec::new(), client, ..agent(&world.planner, false) };
    world.change(Change::PutAgent(planner.clone())).await;
    planner
}

fn signed(world: &World, kid: &str, key: &PrivateKey) -> String {
    let sub = &world.planner.sub;
    let body = json!({"iss": sub, "sub": sub, "aud": ISSUER, "jti": fresh(), "iat": world.now(), "exp": world.now().plus(60)});
    sign_jws(assertion::TYP, key, Some(json!({"kid": kid})), &body).unwrap()
}

async fn ask(world: &World, compact: &str) -> Reply {
    with_assertion(world, &world.planner, compact, &[]).await
}

#[tokio::test]
async fn tk_04_an_agent_publishes_its_keys_and_rotates_them_without_a_restart() {
    let world = World::new().await;
    let (old, new) = (key(41), key(42));
    let site = Published::new(jwks(&[("old", &old)])).await;
    publishes_at(&world, &site.url, Registration::Administrator).await;
    for _ in 0..3 {
        ask(&world, &signed(&world, "old", &old)).await.access_token();
    }
    assert_eq!(site.fetched(), 1, "a set is fetched once");
    let record = world.last_record().await;
    assert_eq!(record["ext"]["token"]["credential"]["kind"], "jwks_uri");
    let side = world.last_side().await;
    assert_eq!(side["/token/credential"]["key"]["kid"], "old", "{side}");
    // The new key is found although the old set is still fresh; the old one ends with the set that has it no more.
    site.change(jwks(&[("new", &new)]));
    ask(&world, &signed(&world, "old", &old)).await.access_token();
    world.advance(11);
    ask(&world, &signed(&world, "new", &new)).await.access_token();
    assert_eq!(site.fetched(), 2);
    let late = ask(&world, &signed(&world, "old", &old)).await;
    late.refused("invalid_client", "client_unauthenticated");
    assert_eq!(late.body["error_description"], "client authentication failed", "X-11");
}

#[tokio::test]
async fn n_tk_06_a_key_that_is_not_published_is_refused() {
    let world = World::new().await;
    let site = Published::new(jwks(&[("a", &key(41))])).await;
    publishes_at(&world, &site.url, Registration::Administrator).await;
    for forged in [signed(&world, "a", &key(43)), signed(&world, "b", &key(43)), signed(&world, "a", &world.planner.auth)] {
        let reply = ask(&world, &forged).await;
        reply.refused("invalid_client", "client_unauthenticated");
    }
    // Nor does the set of one agent serve another, whose own keys count.
    let other = sign_jws(assertion::TYP, &key(41), Some(json!({"kid": "a"})), &json!({"iss": "agent:summarizer", "sub": "agent:summarizer", "aud": ISSUER, "jti": fresh(), "exp": world.now().plus(60)})).unwrap();
    with_assertion(&world, &world.summarizer, &other, &[]).await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn n_f_06_a_flood_of_unknown_key_names_fetches_once_a_window() {
    let world = World::new().await;
    let site = Published::new(jwks(&[("a", &key(41))])).await;
    publishes_at(&world, &site.url, Registration::Administrator).await;
    ask(&world, &signed(&world, "a", &key(41))).await.access_token();
    world.advance(11);
    let before = site.fetched();
    for n in 0..1_000 {
        let reply = ask(&world, &signed(&world, &format!("made-up-{n}"), &key(43))).await;
        reply.refused("invalid_client", "client_unauthenticated");
    }
    assert!(site.fetched() - before <= 1, "{} fetches", site.fetched() - before);
    ask(&world, &signed(&world, "a", &key(41))).await.access_token();
}

#[tokio::test]
async fn n_f_05_a_set_with_a_private_or_symmetric_key_is_not_used() {
    let private = json!({"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "d", "kid": "b"});
    let symmetric = json!({"kty": "oct", "k": "AAAA", "kid": "b"});
    for wrong in [private, symmetric] {
        let world = World::new().await;
        let mut set = jwks(&[("a", &key(41))]);
        set["keys"].as_array_mut().unwrap().push(wrong);
        let site = Published::new(set).await;
        publishes_at(&world, &site.url, Registration::Administrator).await;
        let reply = ask(&world, &signed(&world, "a", &key(41))).await;
        reply.refused("invalid_client", "client_unauthenticated");
        assert_eq!(
            reply.body["error_description"], "client authentication failed",
            "X-11: as for a wrong key; the log has the reason"
        );
    }
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_used_for_an_hour_and_then_refused() {
    let world = World::new().await;
    let site = Published::new(jwks(&[("a", &key(41))])).await;
    publishes_at(&world, &site.url, Registration::Administrator).await;
    ask(&world, &signed(&world, "a", &key(41))).await.access_token();
    site.change(None::<Value>);
    world.advance(3_000);
    ask(&world, &signed(&world, "a", &key(41))).await.access_token();
    world.advance(700);
    ask(&world, &signed(&world, "a", &key(41))).await.refused("invalid_client", "client_unauthenticated");
    site.change(jwks(&[("a", &key(41))]));
    world.advance(11);
    ask(&world, &signed(&world, "a", &key(41))).await.access_token();
}

/// The address of an agent that registered itself is a stranger's. SPEC: F-01, N-F-01
#[tokio::test]
async fn n_f_01_keys_of_a_client_that_registered_itself_are_not_fetched_from_a_private_address() {
    let world = World::new().await;
    let site = Published::new(jwks(&[("a", &key(41))])).await;
    // The name of a client with a document is a function of its address.
    let url = "https://app.example/client.json";
    let digest = remit_model::json::sha256(url.as_bytes());
    let name: String = format!("{:016x}", u64::from_be_bytes(*digest.first_chunk().unwrap()));
    let credentials = vec![Credential::JwksUri { uri: site.url.clone() }];
    let registration = Registration::MetadataDocument { url: url.to_owned() };
    let client = ClientProfile { credentials, registration, ..ClientProfile::default() };
    let id = remit_model::AgentId::parse(&format!("app.example-{name}")).unwrap();
    let itself = Agent { id, keys: Vec::new(), client, ..agent(&world.planner, false) };
    world.change(Change::PutAgent(itself)).await;
    let body = json!({"iss": url, "sub": url, "aud": ISSUER, "jti": fresh(), "exp": world.now().plus(60)});
    let compact = sign_jws(assertion::TYP, &key(41), Some(json!({"kid": "a"})), &body).unwrap();
    let reply = ask(&world, &compact).await;
    reply.refused("invalid_client", "client_unauthenticated");
    assert_eq!(
        reply.body["error_description"], "client authentication failed",
        "X-11: as for a wrong key; the log has the reason"
    );
    assert_eq!(site.fetched(), 0);
}

/// What the auditor can check: the assertion by the key that its record states, of an agent that publishes its keys.
#[tokio::test]
async fn an_auditor_checks_the_assertion_with_the_key_in_its_record() {
    let custody_of = |with_credentials: bool| async move {
        let world = World::new().await;
        let site = Published::new(jwks(&[("a", &key(41))])).await;
        let planner = publishes_at(&world, &site.url, Registration::Administrator).await;
        let client = if with_credentials { planner.client.clone() } else { ClientProfile::default() };
        world.record_registration(&Agent { client, ..planner }).await;
        ask(&world, &signed(&world, "a", &key(41))).await.access_token();
        remit_insight::custody(&world.audited().await)
    };
    let report = custody_of(true).await;
    assert!(report.ok() && report.roots == 1, "{report:?}");
    assert!(report.notes.keys().any(|note| note.contains("publishes its keys")), "{report:?}");
    let report = custody_of(false).await;
    assert!(report.failures[0].detail.contains("not registered with the credential"), "{report:?}");
}

#[tokio::test]
async fn n_tk_08_an_agent_that_publishes_its_keys_cannot_fall_back_to_none() {
    let world = World::new().await;
    publishes_at(&world, "http://127.0.0.1:1/none", Registration::Administrator).await;
    let form = fields(&[("grant_type", "client_credentials"), ("client_id", "agent:planner")]);
    let reply = world.post("/oauth/token", &form, &[("dpop", world.proof(&world.planner.dpop))]).await;
    reply.refused("invalid_client", "client_unauthenticated");
}
