//! `spiffe_jwt`: JWT-SVIDs of trust domains, each with its own bundle.

use crate::{
    published::Published,
    workload::{JWT_BEARER, accept, because, present, uniform},
    world::*,
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_authority::{BundleSource, TrustDomain, WorkloadTrust};
use remit_model::Credential;
use remit_token::{Algorithm, PrivateKey, sign_jws};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ID: &str = "spiffe://example.org/ns/bots/planner";

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap()
}

/// A trust bundle with these keys for this use.
fn bundle(sequence: u64, keys: &[(&str, &PrivateKey, &str)]) -> Value {
    let one = |(kid, key, usage): &(&str, &PrivateKey, &str)| {
        let mut jwk = key.public().to_jwk();
        jwk["kid"] = json!(kid);
        jwk["use"] = json!(usage);
        jwk
    };
    json!({"keys": keys.iter().map(one).collect::<Vec<_>>(), "spiffe_sequence": sequence, "spiffe_refresh_hint": 60})
}

fn domain(name: &str, site: &Published) -> TrustDomain {
    TrustDomain { name: name.to_owned(), bundle: BundleSource::Url(site.url.clone()), max_lifetime: 300, max_stale: 3_600 }
}

struct Fixture {
    world: World,
    signer: PrivateKey,
    foreign: PrivateKey,
    site: Published,
}

impl Fixture {
    async fn new() -> Self {
        let (signer, foreign) = (key(71), key(72));
        let site = Published::new(bundle(1, &[("k", &signer, "jwt-svid"), ("x", &key(73), "x509-svid")])).await;
        let other = Published::new(bundle(1, &[("k", &foreign, "jwt-svid")])).await;
        let domains = vec![domain("example.org", &site), domain("other.example", &other)];
        let world = World::trusting(WorkloadTrust { issuers: Vec::new(), domains }).await;
        accept(
            &world,
            &[Credential::Spiffe { id: ID.to_owned() }, Credential::Spiffe { id: "spiffe://example.org/ns/a/*".to_owned() }],
        )
        .await;
        Self { world, signer, foreign, site }
    }

    fn claims(&self, sub: &str) -> Value {
        let now = self.world.now();
        json!({"sub": sub, "aud": [ISSUER], "iat": now, "exp": now.plus(300)})
    }

    fn svid(&self, sub: &str) -> String {
        sign_jws("JWT", &self.signer, Some(json!({"kid": "k"})), &self.claims(sub)).unwrap()
    }

    async fn shown(&self, compact: &str) -> Reply {
        present(&self.world, JWT_SPIFFE, compact, &[]).await
    }
}

/// A JWS with any header, signed by this key.
fn forged(header: &Value, body: &Value, key: &PrivateKey) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(body.to_string()));
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap()))
}

#[tokio::test]
async fn sp_04_an_svid_proves_the_agent_until_it_ends() {
    let it = Fixture::new().await;
    let svid = it.svid(ID);
    for _ in 0..2 {
        let reply = it.shown(&svid).await;
        assert_eq!(claims(&reply.access_token())["cnf"]["jkt"], it.world.planner.jkt());
        assert_eq!(reply.body["expires_in"], 300, "no longer than the SVID");
    }
    let record = it.world.last_record().await;
    let named = &record["ext"]["token"]["credential"];
    assert_eq!((&named["kind"], &named["trusted_as"]), (&json!("spiffe_jwt"), &json!("example.org")));
    assert_eq!(record["chain"][0]["auth"]["method"], "spiffe_svid");
    it.shown(&it.svid("spiffe://example.org/ns/a/b/c")).await.access_token();
    it.world.advance(400);
    because(&it.shown(&svid).await, "expired");
    let report = remit_insight::custody(&it.world.audited().await);
    assert!(report.ok() && report.roots == 3, "{report:?}");
    let metadata = it.world.get("/.well-known/oauth-authorization-server").await;
    assert!(metadata.body["token_endpoint_auth_methods_supported"].as_array().unwrap().contains(&json!("spiffe_jwt")));
}

#[tokio::test]
async fn n_sp_01_the_key_of_another_trust_domain_signs_nothing_for_this_one() {
    let it = Fixture::new().await;
    let crossed = sign_jws("JWT", &it.foreign, Some(json!({"kid": "k"})), &it.claims(ID)).unwrap();
    uniform(&it.shown(&crossed).await);
    // A trust domain that is not configured, whatever `iss` says.
    let mut body = it.claims("spiffe://unknown.example/ns/bots/planner");
    body["iss"] = json!("https://example.org");
    uniform(&it.shown(&sign_jws("JWT", &it.signer, Some(json!({"kid": "k"})), &body).unwrap()).await);
    // The other domain's own SVID is good, and the agent does not accept it.
    let own = it.claims("spiffe://other.example/ns/bots/planner");
    because(&it.shown(&sign_jws("JWT", &it.foreign, Some(json!({"kid": "k"})), &own).unwrap()).await, "SPIFFE ID is another");
}

/// SPEC: SP-02
#[tokio::test]
async fn n_sp_02_a_header_with_more_than_its_three_members_is_refused() {
    let it = Fixture::new().await;
    for (name, value) in [
        ("jwk", it.signer.public().to_jwk()),
        ("x5c", json!(["AAAA"])),
        ("jku", json!("https://evil.example")),
        ("crit", json!(["b64"])),
        ("cty", json!("JWT")),
    ] {
        let mut header = json!({"alg": "ES256", "kid": "k", "typ": "JWT"});
        header[name] = value;
        it.shown(&forged(&header, &it.claims(ID), &it.signer)).await.refused("invalid_client", "client_unauthenticated");
    }
    it.shown(&forged(&json!({"alg": "ES256", "kid": "k", "typ": "JOSE"}), &it.claims(ID), &it.signer)).await.access_token();
    it.shown(&forged(&json!({"alg": "ES256", "kid": "k"}), &it.claims(ID), &it.signer)).await.access_token();
    let typ = forged(&json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"}), &it.claims(ID), &it.signer);
    it.shown(&typ).await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn n_sp_04_n_sp_05_other_spellings_of_an_id_are_refused() {
    let it = Fixture::new().await;
    for sub in [
        "spiffe://EXAMPLE.org/ns/bots/planner",
        "SPIFFE://example.org/ns/bots/planner",
        "spiffe://example.org/ns/../ns/bots/planner",
        "spiffe://example.org/ns/bots/planner/",
        "spiffe://example.org:443/ns/bots/planner",
        "spiffe://example.org/ns/bots/%70lanner",
        "spiffe://example.org",
        "agent:planner",
    ] {
        it.shown(&it.svid(sub)).await.refused("invalid_client", "client_unauthenticated");
    }
}

#[tokio::test]
async fn n_sp_06_a_sibling_of_a_prefix_is_refused() {
    let it = Fixture::new().await;
    for sub in [
        "spiffe://example.org/ns/ab/c",
        "spiffe://example.org/ns/a",
        "spiffe://example.org/ns/bots/planner2",
        "spiffe://example.org/ns/bots/planner/x",
    ] {
        because(&it.shown(&it.svid(sub)).await, "SPIFFE ID is another");
    }
}

/// SPEC: SP-02
#[tokio::test]
async fn n_sp_07_a_symmetric_or_absent_algorithm_is_refused() {
    let it = Fixture::new().await;
    for alg in ["HS256", "none", "None", "EdDSA"] {
        let forged = forged(&json!({"alg": alg, "kid": "k"}), &it.claims(ID), &it.signer);
        it.shown(&forged).await.refused("invalid_client", "client_unauthenticated");
    }
}

#[tokio::test]
async fn n_sp_08_a_key_for_x509_svids_verifies_no_jwt() {
    let it = Fixture::new().await;
    uniform(&it.shown(&sign_jws("JWT", &key(73), Some(json!({"kid": "x"})), &it.claims(ID)).unwrap()).await);
}

/// SPEC: SP-06
#[tokio::test]
async fn n_sp_09_an_svid_for_another_server_too_is_refused() {
    let it = Fixture::new().await;
    for aud in [json!([ISSUER, "https://other.example"]), json!(["https://other.example"]), json!([]), json!(TOKEN)] {
        let mut body = it.claims(ID);
        body["aud"] = aud;
        because(&it.shown(&sign_jws("JWT", &it.signer, Some(json!({"kid": "k"})), &body).unwrap()).await, "audience");
    }
    let mut body = it.claims(ID);
    body["exp"] = json!(it.world.now().plus(331));
    because(&it.shown(&sign_jws("JWT", &it.signer, Some(json!({"kid": "k"})), &body).unwrap()).await, "lives longer than 300");
}

#[tokio::test]
async fn n_sp_10_an_svid_opens_no_api() {
    let it = Fixture::new().await;
    for scheme in ["Bearer", "DPoP"] {
        let request = Request::get("/oauth/userinfo").header("authorization", format!("{scheme} {}", it.svid(ID)));
        let reply = it.world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{}", reply.text);
    }
    // Nor is it the assertion of another kind.
    present(&it.world, JWT_BEARER, &it.svid(ID), &[]).await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn sp_05_bundles_are_refreshed_and_never_go_back() {
    let it = Fixture::new().await;
    it.shown(&it.svid(ID)).await.access_token();
    it.shown(&it.svid(ID)).await.access_token();
    assert_eq!(it.site.fetched(), 1);
    // A new key is found although the hint has not passed; the old one ends with its bundle.
    let new = key(74);
    it.site.change(bundle(2, &[("n", &new, "jwt-svid")]));
    it.world.advance(11);
    let signed = |key: &PrivateKey, kid: &str| sign_jws("JWT", key, Some(json!({"kid": kid})), &it.claims(ID)).unwrap();
    it.shown(&signed(&new, "n")).await.access_token();
    uniform(&it.shown(&it.svid(ID)).await);
    // An older bundle, and no bundle at all, change nothing until the last good one is too old.
    it.site.change(bundle(1, &[("k", &it.signer, "jwt-svid")]));
    it.world.advance(61);
    it.shown(&signed(&new, "n")).await.access_token();
    uniform(&it.shown(&it.svid(ID)).await);
    it.site.change(None::<Value>);
    it.world.advance(3_000);
    it.shown(&signed(&new, "n")).await.access_token();
    it.world.advance(700);
    uniform(&it.shown(&signed(&new, "n")).await);
    it.site.change(bundle(3, &[("n", &new, "jwt-svid")]));
    it.world.advance(11);
    it.shown(&signed(&new, "n")).await.access_token();
}

#[tokio::test]
async fn sp_05_a_flood_of_unknown_keys_fetches_once_a_window() {
    let it = Fixture::new().await;
    it.shown(&it.svid(ID)).await.access_token();
    it.world.advance(11);
    let before = it.site.fetched();
    for n in 0..200 {
        let made_up = sign_jws("JWT", &key(75), Some(json!({"kid": format!("m{n}")})), &it.claims(ID)).unwrap();
        uniform(&it.shown(&made_up).await);
    }
    assert!(it.site.fetched() - before <= 1);
}

#[tokio::test]
async fn sp_05_a_bundle_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.json");
    let (old, new) = (key(81), key(82));
    std::fs::write(&file, bundle(1, &[("o", &old, "jwt-svid")]).to_string()).unwrap();
    let domain = TrustDomain {
        name: "example.org".to_owned(),
        bundle: BundleSource::File(file.clone()),
        max_lifetime: 300,
        max_stale: 3_600,
    };
    let world = World::trusting(WorkloadTrust { issuers: Vec::new(), domains: vec![domain] }).await;
    accept(&world, &[Credential::Spiffe { id: ID.to_owned() }]).await;
    let svid = |key: &PrivateKey, kid: &str| {
        let body = json!({"sub": ID, "aud": ISSUER, "exp": world.now().plus(60)});
        sign_jws("JWT", key, Some(json!({"kid": kid})), &body).unwrap()
    };
    present(&world, JWT_SPIFFE, &svid(&old, "o"), &[]).await.access_token();
    std::fs::write(&file, bundle(2, &[("n", &new, "jwt-svid")]).to_string()).unwrap();
    world.advance(61);
    present(&world, JWT_SPIFFE, &svid(&new, "n"), &[]).await.access_token();
    uniform(&present(&world, JWT_SPIFFE, &svid(&old, "o"), &[]).await);
}

#[tokio::test]
async fn jb_05_an_svid_needs_no_name_beside_it() {
    let it = Fixture::new().await;
    for id in [ID, "spiffe://example.org/ns/a/b/c"] {
        let token = present(&it.world, JWT_SPIFFE, &it.svid(id), &[("client_id", "")]).await.access_token();
        assert_eq!(claims(&token)["sub"], "agent:planner");
        let form = fields(&[("grant_type", GRANT), ("assertion", &it.svid(id)), ("scope", "files:read")]);
        let proof = it.world.proof(&it.world.planner.dpop);
        let token = it.world.post("/oauth/token", &form, &[("dpop", proof)]).await.access_token();
        assert_eq!(claims(&token)["sub"], "agent:planner");
    }
    let other = present(&it.world, JWT_SPIFFE, &it.svid("spiffe://example.org/ns/a"), &[("client_id", "")]).await;
    because(&other, "no agent accepts this token");
    // N-SP-01, whether the agent is named or not.
    let crossed = sign_jws("JWT", &it.foreign, Some(json!({"kid": "k"})), &it.claims(ID)).unwrap();
    uniform(&present(&it.world, JWT_SPIFFE, &crossed, &[("client_id", "")]).await);
}

/// SPEC: SP-02
#[tokio::test]
async fn n_sp_07_the_algorithms_of_svids_open_nothing_else() {
    let it = Fixture::new().await;
    let metadata = it.world.get("/.well-known/oauth-authorization-server").await.body;
    for member in ["token_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported"] {
        let listed = metadata[member].as_array().unwrap();
        assert!(
            !listed.is_empty()
                && !listed.iter().any(|alg| ["RS384", "RS512", "PS384", "PS512", "ES512"].contains(&alg.as_str().unwrap()))
        );
    }
}

/// SPEC: SP-05
#[tokio::test]
async fn while_a_bundle_is_fetched_for_a_stranger_others_are_served_with_the_present_one() {
    let it = Fixture::new().await;
    it.shown(&it.svid(ID)).await.access_token();
    it.world.advance(11);
    let (held_back, fetched) = (it.site.held_back().await, it.site.fetched());
    let forged = sign_jws("JWT", &key(99), Some(json!({"kid": "nowhere"})), &it.claims(ID)).unwrap();
    let answered = AtomicBool::new(false);
    let stranger = async {
        let reply = it.shown(&forged).await;
        answered.store(true, Ordering::SeqCst);
        uniform(&reply);
    };
    let others = async {
        while it.site.fetched() == fetched {
            tokio::task::yield_now().await;
        }
        it.shown(&it.svid(ID)).await.access_token();
        assert!(!answered.load(Ordering::SeqCst), "they did not wait for the stranger's fetch");
        drop(held_back);
    };
    tokio::join!(stranger, others);
    // The key of a stranger is asked for once in a while, and not for each of its tokens.
    uniform(&it.shown(&forged).await);
    assert_eq!(it.site.fetched(), fetched + 1);
}
