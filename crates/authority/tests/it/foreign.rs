//! Subject tokens and assertions of trusted issuers: identity chaining, ID-JAG, and what Keycloak refuses.

use crate::{mtls::made, published::Published, world::*};
use axum::{Json, Router, routing::get};
use remit_authority::{BundleSource, Settings, TrustDomain, TrustedIssuer, WorkloadTrust};
use remit_insight::custody;
use remit_model::{Agent, AgentId, ClientProfile, Credential, Human, HumanStatus, Identity};
use remit_store::Change;
use remit_testkit::key_named;
use remit_token::{
    Algorithm, KeySet, PeerCertificate, PrivateKey,
    dpop::{self, ProofFor},
    foreign::Kind,
    sign_jws,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

const REALM: &str = "https://idp.example/realms/staff";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// An issuer with its keys at an address.
struct Idp {
    key: PrivateKey,
    jwks: Arc<Mutex<Value>>,
    fetched: Arc<AtomicUsize>,
    jwks_uri: String,
}

impl Idp {
    async fn new() -> Self {
        let key = key_named(Algorithm::Es256, "realm 1");
        let jwks = Arc::new(Mutex::new(KeySet::of([key.public()]).to_jwks()));
        let fetched = Arc::new(AtomicUsize::new(0));
        let (served, count) = (Arc::clone(&jwks), Arc::clone(&fetched));
        let serve = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let jwks = served.lock().unwrap().clone();
            async move { Json(jwks) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let jwks_uri = format!("http://{}/certs", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/certs", get(serve))).await });
        Self { key, jwks, fetched, jwks_uri }
    }

    fn trusted(&self) -> TrustedIssuer {
        TrustedIssuer {
            issuer: REALM.to_owned(),
            jwks_uri: self.jwks_uri.clone(),
            kinds: [Kind::AccessToken, Kind::JwtGrant, Kind::IdJag].into(),
            algorithms: Vec::new(),
            audiences: vec!["remit".to_owned()],
            lifetime: 3_600,
            age: 900,
            clients: [("planner-app".to_owned(), AgentId::parse("planner").unwrap())].into(),
            people: [("f3c1".to_owned(), "alice".to_owned())].into(),
            provider: None,
            scopes: [("tickets".to_owned(), "helpdesk:tickets_read helpdesk:tickets_search".to_owned())].into(),
            single_use: false,
        }
    }

    /// A world that trusts this issuer, as `change` says.
    async fn world(&self, change: impl FnOnce(&mut TrustedIssuer)) -> World {
        let mut trusted = self.trusted();
        change(&mut trusted);
        World::with(Settings { trusted_issuers: vec![trusted], id_jag: true, ..Settings::default() }).await
    }

    fn sign(&self, typ: &str, claims: &Value) -> String {
        sign_jws(typ, &self.key, None, claims).unwrap()
    }
}

/// An access token as Keycloak writes it for a person: `azp` without `client_id`, `typ` JWT, a claim `typ`.
fn keycloak(world: &World) -> Value {
    let now = world.now().0;
    json!({
        "iss": REALM, "sub": "f3c1", "aud": ["remit", "account"], "azp": "planner-app", "typ": "Bearer", "jti": fresh(),
        "iat": now, "exp": now + 300, "auth_time": now - 60, "acr": "1", "scope": "openid tickets", "sid": "s-1",
        "preferred_username": "alice", "email": "alice@example.org", "email_verified": true,
    })
}

fn with(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

async fn exchange(world: &World, actor: &Actor, token: &str, more: &[(&str, &str)]) -> Reply {
    let mut all = vec![("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    all.extend_from_slice(more);
    world.token(actor, &all).await
}

async fn redeem(world: &World, actor: &Actor, assertion: &str, more: &[(&str, &str)]) -> Reply {
    let mut all = vec![("grant_type", JWT_BEARER), ("assertion", assertion)];
    all.extend_from_slice(more);
    world.token(actor, &all).await
}

/// A grant that the realm made for this server.
fn assertion(world: &World) -> Value {
    let now = world.now().0;
    json!({
        "iss": REALM, "sub": "f3c1", "aud": ISSUER, "client_id": "agent:planner", "jti": fresh(), "iat": now, "exp": now + 300,
        "scope": "helpdesk:tickets_read", "resource": HELPDESK,
    })
}

fn id_jag(idp: &Idp, world: &World, changes: &Value) -> String {
    idp.sign("oauth-id-jag+jwt", &with(assertion(world), changes))
}

async fn convinces_an_auditor(world: &World) {
    let report = custody(&world.audited().await);
    assert!(report.ok() && report.undisclosed == 0, "{report:?}");
    assert!(report.proofs.get("foreign_token").is_some_and(|hops| *hops > 0), "{report:?}");
}

#[tokio::test]
async fn a_person_of_another_issuer_hands_on_what_the_tokens_scopes_stand_for() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let token = idp.sign("JWT", &keycloak(&world));
    let reply = exchange(&world, &world.planner, &token, &[]).await;
    let after = claims(&reply.access_token());
    assert_eq!((after["sub"].as_str(), after["act"]["sub"].as_str()), (Some("user:alice"), Some("agent:planner")));
    assert_eq!(
        (after["aud"].as_str(), after["scope"].as_str()),
        (Some(HELPDESK), Some("helpdesk:tickets_read helpdesk:tickets_search"))
    );
    assert_eq!((after["cnf"]["jkt"].as_str(), after["acr"].as_str()), (Some(world.planner.jkt()), Some("1")));
    assert_eq!(after["auth_time"], claims(&token)["auth_time"], "DC-15");
    assert!(after["exp"].as_i64() <= claims(&token)["exp"].as_i64(), "TX-05");
    assert_eq!(reply.body["issued_token_type"], ACCESS_TOKEN);
    assert!(reply.body.get("refresh_token").is_none(), "RT-06");
    let record = world.last_record().await;
    assert_eq!(record["ext"]["token"]["proved_by"], "foreign_token");
    assert_eq!(record["ext"]["token"]["subject_issuer"], REALM);
    let side = world.last_side().await;
    assert_eq!(side["/delegation/chain"]["hops"][0]["edge"], json!({"kind": "foreign_token", "jws": token}));
    // It is a chain like any other, and the same token may begin another.
    let at_jwt = idp.sign("at+jwt", &with(keycloak(&world), &json!({"typ": null})));
    exchange(&world, &world.planner, &at_jwt, &[("scope", "helpdesk:tickets_read")]).await.access_token();
    exchange(&world, &world.planner, &token, &[("scope", "helpdesk:tickets_read")]).await.access_token();
    world.narrow(&world.planner, reply.body["access_token"].as_str().unwrap(), &[]).await.access_token();
    convinces_an_auditor(&world).await;
}

/// Keycloak answers this with 400, `Sender-constrained token exchange rejected as the token was not issued for the requesting
/// client`. Here the actor brings the holder's proof, and gets a token for its own key. SPEC: TX-06
#[tokio::test]
async fn keycloak_refuses_a_subject_bound_to_key_a_exchanged_by_an_actor_with_key_b() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let holder = key_named(Algorithm::Es256, "the person's client");
    let bound = |world: &World| {
        let cnf = json!({"cnf": {"jkt": holder.public().thumbprint(), "kc-jkt-type": "DPoP"}, "typ": "DPoP"});
        idp.sign("JWT", &with(keycloak(world), &cnf))
    };
    let prove = |key: &PrivateKey, url: &str, token: &str| {
        let jti = fresh();
        let call =
            ProofFor { method: "POST", url, now: world.now(), jti: &jti, access_token: Some(token), ..ProofFor::default() };
        dpop::create(key, &call).unwrap()
    };
    let token = bound(&world);
    // N-TX-09: without the holder's proof, and with others'.
    exchange(&world, &world.planner, &token, &[]).await.refused("invalid_dpop_proof", "dpop_key_mismatch");
    let other_token = prove(&holder, TOKEN, &bound(&world));
    for wrong in [
        prove(&world.scribe.dpop, TOKEN, &token),
        prove(&world.planner.dpop, TOKEN, &token),
        prove(&holder, "https://elsewhere.example/oauth/token", &token),
        prove(&holder, HELPDESK, &token),
        other_token,
    ] {
        let reply = exchange(&world, &world.planner, &token, &[("subject_token_proof", &wrong)]).await;
        reply.refused("invalid_request", "edge_proof_invalid");
    }
    let proof = prove(&holder, TOKEN, &token);
    let reply = exchange(&world, &world.planner, &token, &[("subject_token_proof", &proof)]).await;
    let after = claims(&reply.access_token());
    assert_eq!(after["cnf"], json!({"jkt": world.planner.jkt()}), "bound to the actor's key B");
    let side = world.last_side().await;
    assert_eq!(side["/token/subject"]["proof"], proof.as_str(), "the proof of key A is kept");
    let record = world.last_record().await;
    assert!(record["chain"][1]["cnf"]["proof_hash"].is_string(), "and so is that of key B, as a hash: {record}");
    // The holder's proof is good once.
    let again = exchange(&world, &world.planner, &token, &[("subject_token_proof", &proof)]).await;
    again.refused("invalid_request", "edge_proof_invalid");
    // The holder itself needs no second proof.
    let own = Actor { dpop: key_named(Algorithm::Es256, "the person's client"), ..Actor::new("planner") };
    assert_eq!(claims(&exchange(&world, &own, &token, &[]).await.access_token())["cnf"]["jkt"], holder.public().thumbprint());
    convinces_an_auditor(&world).await;
}

/// SPEC: JB-01
#[tokio::test]
async fn n_tx_05_what_is_wrong_with_a_foreign_token() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let now = world.now().0;
    let cases = [
        (json!({"iss": "https://idp.example/realms/staff/"}), "token_issuer_unknown"),
        (json!({"iss": "https://IDP.example/realms/staff"}), "token_issuer_unknown"),
        (json!({"aud": "account"}), "token_audience_wrong"),
        (json!({"aud": []}), "token_audience_wrong"),
        (json!({"exp": now - 31}), "token_expired"),
        (json!({"exp": null}), "token_malformed"),
        (json!({"exp": now + 3_601}), "token_malformed"),
        (json!({"iat": now - 931}), "token_expired"),
        (json!({"iat": now + 31, "exp": now + 60}), "token_not_yet_valid"),
        (json!({"azp": "other-app"}), "chain_spliced"),
        (json!({"azp": null}), "chain_spliced"),
        (json!({"azp": "agent:planner"}), "chain_spliced"),
        (json!({"sub": "f3c2"}), "human_unknown"),
        (json!({"sub": "alice"}), "human_unknown"),
        (json!({"nonce": "n-1"}), "token_type_wrong"),
        (json!({"typ": "ID"}), "token_type_wrong"),
        (json!({"act": {"sub": "service"}}), "token_malformed"),
        (json!({"may_act": {"sub": "planner-app"}}), "delegate_not_named"),
        (json!({"may_act": {"sub": "agent:scribe", "iss": ISSUER}}), "delegate_not_named"),
        (json!({"cnf": {"x5t#S256": "x"}}), "token_malformed"),
    ];
    for (change, code) in cases {
        let token = idp.sign("JWT", &with(keycloak(&world), &change));
        let reply = exchange(&world, &world.planner, &token, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.body["remit_code"].as_str()), (400, Some(code)), "{change}: {}", reply.text);
        assert_eq!(world.last_record().await["decision"]["reason_code"], code);
    }
    for (change, code) in [(json!({"scope": null}), "authority_empty"), (json!({"scope": "openid email"}), "authority_empty")] {
        let token = idp.sign("JWT", &with(keycloak(&world), &change));
        exchange(&world, &world.planner, &token, &[]).await.refused("invalid_scope", code);
    }
    let forged = sign_jws("JWT", &key_named(Algorithm::Es256, "another"), None, &keycloak(&world)).unwrap();
    exchange(&world, &world.planner, &forged, &[]).await.refused("invalid_request", "token_signature_invalid");
    for typ in ["logout+jwt", "oauth-id-jag+jwt", "dpop+jwt"] {
        let token = idp.sign(typ, &keycloak(&world));
        exchange(&world, &world.planner, &token, &[]).await.refused("invalid_request", "token_type_wrong");
    }
}

#[tokio::test]
async fn a_foreign_token_gives_no_more_than_the_person_may_hand_over() {
    let idp = Idp::new().await;
    let world = idp.world(|trusted| drop(trusted.scopes.insert("all".to_owned(), "helpdesk:*".to_owned()))).await;
    let token = idp.sign("JWT", &with(keycloak(&world), &json!({"scope": "all"})));
    let after = claims(&exchange(&world, &world.planner, &token, &[]).await.access_token());
    let scope = after["scope"].as_str().unwrap();
    assert!(!scope.contains("admin_reset") && scope.contains("refund_create"), "the entitlements are the most: {scope}");
    let fields = after["authorization_details"].to_string();
    assert!(fields.contains("/customer/name"), "with their limits: {fields}");
    let ask = [("scope", "helpdesk:admin_reset")];
    exchange(&world, &world.planner, &token, &ask).await.refused("invalid_scope", "widens_scope");
    exchange(&world, &world.planner, &token, &[("resource", FILES)]).await.refused("invalid_target", "widens_resource");
    exchange(&world, &world.planner, &token, &[("purpose", "triage")]).await.refused("invalid_request", "request_malformed");
    let actor = world.identity(&world.summarizer).await;
    let named = [("actor_token", actor.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    exchange(&world, &world.planner, &token, &named).await.refused("invalid_request", "request_malformed");
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") })).await;
    exchange(&world, &world.planner, &token, &[]).await.refused("invalid_request", "human_disabled");
}

#[tokio::test]
async fn an_account_that_a_sign_in_at_the_issuer_made_is_found_by_issuer_and_subject() {
    let idp = Idp::new().await;
    let world = idp.world(|trusted| (trusted.people, trusted.provider) = (BTreeMap::default(), Some("staff".to_owned()))).await;
    let token = idp.sign("JWT", &keycloak(&world));
    exchange(&world, &world.planner, &token, &[]).await.refused("invalid_request", "human_unknown");
    let identity = Identity { issuer: REALM.to_owned(), subject: "f3c1".to_owned(), withdrawn: false, provisioned: None };
    let name = identity.local_name("staff");
    world.change(Change::PutHuman(Human { identity: Some(identity), ..human(&name) })).await;
    let after = claims(&exchange(&world, &world.planner, &token, &[]).await.access_token());
    assert_eq!(after["sub"], format!("user:{name}"));
    let other = idp.sign("JWT", &with(keycloak(&world), &json!({"sub": "f3c2"})));
    exchange(&world, &world.planner, &other, &[]).await.refused("invalid_request", "human_unknown");
    // Off-boarded and let in again: what rests on the earlier sign-in stays dead.
    let ended = Human { ended_before: Some(world.now()), ..human(&name) };
    world.change(Change::PutHuman(ended)).await;
    exchange(&world, &world.planner, &token, &[]).await.refused("invalid_request", "sign_in_ended");
}

/// SPEC: TX-03
#[tokio::test]
async fn n_tx_12_n_ir_07_a_public_client_neither_exchanges_nor_redeems() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    for ask in [
        vec![("grant_type", EXCHANGE), ("subject_token", "x"), ("subject_token_type", ACCESS_TOKEN)],
        vec![("grant_type", JWT_BEARER), ("assertion", "x")],
    ] {
        let mut form = fields(&[("client_id", "agent:public")]);
        form.extend(fields(&ask));
        let proof = world.proof(&world.public.dpop);
        world.post("/oauth/token", &form, &[("dpop", proof)]).await.refused("unauthorized_client", "client_not_allowed");
    }
}

#[tokio::test]
async fn may_act_of_a_foreign_token_can_address_it_to_an_agent() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let named = json!({"azp": "other-app", "may_act": {"sub": "agent:planner", "iss": ISSUER}});
    let token = idp.sign("JWT", &with(keycloak(&world), &named));
    let after = claims(&exchange(&world, &world.planner, &token, &[]).await.access_token());
    assert_eq!(after.get("may_act"), None);
    exchange(&world, &world.scribe, &token, &[]).await.refused("invalid_request", "delegate_not_named");
}

#[tokio::test]
async fn a_foreign_token_for_single_use() {
    let idp = Idp::new().await;
    let world = idp.world(|trusted| trusted.single_use = true).await;
    for claims in [keycloak(&world), with(keycloak(&world), &json!({"jti": null}))] {
        let token = idp.sign("JWT", &claims);
        exchange(&world, &world.planner, &token, &[]).await.access_token();
        exchange(&world, &world.planner, &token, &[]).await.refused("invalid_request", "subject_token_used");
    }
    convinces_an_auditor(&world).await;
}

/// SPEC: F-05
#[tokio::test]
async fn n_f_06_new_keys_are_found_and_unknown_ones_cost_one_fetch() {
    let mut idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    exchange(&world, &world.planner, &idp.sign("JWT", &keycloak(&world)), &[]).await.access_token();
    assert_eq!(idp.fetched.load(Ordering::Relaxed), 1);
    world.advance(11);
    idp.key = key_named(Algorithm::Es256, "realm 2");
    *idp.jwks.lock().unwrap() = KeySet::of([idp.key.public()]).to_jwks();
    exchange(&world, &world.planner, &idp.sign("JWT", &keycloak(&world)), &[]).await.access_token();
    assert_eq!(idp.fetched.load(Ordering::Relaxed), 2);
    let old = key_named(Algorithm::Es256, "realm 1");
    for _ in 0..5 {
        let token = sign_jws("JWT", &old, None, &keycloak(&world)).unwrap();
        exchange(&world, &world.planner, &token, &[]).await.refused("invalid_request", "token_signature_invalid");
    }
    assert_eq!(idp.fetched.load(Ordering::Relaxed), 2, "within the window nothing is fetched again");
}

#[tokio::test]
async fn the_keys_out_of_reach_is_no_ones_fault_and_lets_no_one_in() {
    let idp = Idp::new().await;
    let world = idp.world(|trusted| trusted.jwks_uri = "http://127.0.0.1:9/certs".to_owned()).await;
    let reply = exchange(&world, &world.planner, &idp.sign("JWT", &keycloak(&world)), &[]).await;
    assert_eq!((reply.status.as_u16(), reply.body["remit_code"].as_str()), (503, Some("provider_unreachable")), "{}", reply.text);
    assert!(reply.headers.contains_key("retry-after"));
}

/// SPEC: IR-01 to IR-04
#[tokio::test]
async fn an_id_jag_is_redeemed_for_the_resource_that_it_names() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let reply = redeem(&world, &world.planner, &id_jag(&idp, &world, &json!({})), &[]).await;
    let after = claims(&reply.access_token());
    assert_eq!((after["sub"].as_str(), after["act"]["sub"].as_str()), (Some("user:alice"), Some("agent:planner")));
    assert_eq!((after["aud"].as_str(), after["scope"].as_str()), (Some(HELPDESK), Some("helpdesk:tickets_read")));
    assert_eq!(reply.body["token_type"], "DPoP");
    assert!(reply.body.get("refresh_token").is_none(), "IR-02");
    assert!(reply.body.get("issued_token_type").is_none(), "it is no exchange");
    let text = world.last_record().await.to_string();
    assert!(text.contains("foreign_token") && !text.contains("f3c1") && !text.contains("eyJ"), "IR-07: {text}");
    convinces_an_auditor(&world).await;
}

/// SPEC: JB-07: whatever is wrong, the answer is the same.
#[tokio::test]
async fn n_ir_01_n_ir_02_n_ir_03_n_ir_05_n_jb_01_n_jb_03_n_jb_06_what_no_assertion_may_be() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let now = world.now().0;
    let jag = |changes: Value| id_jag(&idp, &world, &changes);
    let bound = json!({"cnf": {"jkt": world.scribe.jkt()}});
    let cases = [
        ("N-IR-01", jag(json!({"aud": [ISSUER, "https://other.example"]})), "token_audience_wrong"),
        ("IR-01", jag(json!({"aud": "https://other.example"})), "token_audience_wrong"),
        ("IR-01", jag(json!({"aud": "remit"})), "token_audience_wrong"),
        ("JB-02", jag(json!({"aud": TOKEN})), "token_audience_wrong"),
        ("N-IR-03", jag(json!({"client_id": "agent:scribe"})), "chain_spliced"),
        ("N-IR-03", jag(json!({"client_id": "planner-app"})), "chain_spliced"),
        ("N-IR-03", jag(json!({"client_id": null})), "chain_spliced"),
        ("N-IR-05", jag(bound), "dpop_key_mismatch"),
        ("N-JB-01", jag(json!({"iss": "https://idp.example/realms/other"})), "token_issuer_unknown"),
        ("N-JB-06", jag(json!({"iss": "https://idp.example/realms/staff/"})), "token_issuer_unknown"),
        ("N-JB-06", jag(json!({"iss": "https://idp.EXAMPLE/realms/staff"})), "token_issuer_unknown"),
        ("N-JB-04", jag(json!({"iat": now - 931})), "token_expired"),
        ("JB-03", jag(json!({"jti": null})), "token_malformed"),
        ("JB-03", jag(json!({"exp": null})), "token_malformed"),
        ("N-JB-07", jag(json!({"sub": "f3c1x"})), "human_unknown"),
        ("IR-05", jag(json!({"sub": "f3c9", "email": "alice@example.org", "email_verified": true})), "human_unknown"),
        (
            "signature",
            sign_jws("oauth-id-jag+jwt", &world.scribe.dpop, None, &assertion(&world)).unwrap(),
            "token_signature_invalid",
        ),
        (
            "N-JB-08",
            idp.sign("JWT", &with(assertion(&world), &json!({"nonce": "n-1", "azp": "planner-app"}))),
            "token_type_wrong",
        ),
        ("N-IR-02", idp.sign("at+jwt", &assertion(&world)), "token_type_wrong"),
        ("access token", idp.sign("JWT", &with(keycloak(&world), &json!({"aud": ISSUER}))), "token_type_wrong"),
    ];
    let mut answers = std::collections::BTreeSet::new();
    for (rule, assertion, code) in cases {
        let reply = redeem(&world, &world.planner, &assertion, &[]).await;
        reply.refused("invalid_grant", "grant_invalid");
        answers.insert(reply.body["error_description"].to_string());
        assert_eq!(world.last_record().await["ext"]["token"]["assertion_refused"], code, "{rule}");
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn n_ir_02_the_type_of_an_id_jag_decides_its_rules() {
    let idp = Idp::new().await;
    let world = idp.world(|trusted| trusted.kinds = [Kind::IdJag].into()).await;
    redeem(&world, &world.planner, &idp.sign("JWT", &assertion(&world)), &[]).await.refused("invalid_grant", "grant_invalid");
    redeem(&world, &world.planner, &id_jag(&idp, &world, &json!({})), &[]).await.access_token();
}

#[tokio::test]
async fn n_ir_04_n_jb_05_an_assertion_is_redeemed_once() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let jag = id_jag(&idp, &world, &json!({}));
    redeem(&world, &world.planner, &jag, &[]).await.access_token();
    redeem(&world, &world.planner, &jag, &[]).await.refused("invalid_grant", "subject_token_used");
    // The same `jti` under another signature is the same assertion.
    let jti = claims(&jag)["jti"].clone();
    let again = id_jag(&idp, &world, &json!({"jti": jti}));
    redeem(&world, &world.planner, &again, &[]).await.refused("invalid_grant", "subject_token_used");
}

#[tokio::test]
async fn ir_06_a_bound_assertion_is_redeemed_with_its_key() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let jag = id_jag(&idp, &world, &json!({"cnf": {"jkt": world.planner.jkt()}}));
    let after = claims(&redeem(&world, &world.planner, &jag, &[]).await.access_token());
    assert_eq!(after["cnf"]["jkt"], world.planner.jkt());
}

#[tokio::test]
async fn n_ir_06_a_resource_outside_the_assertion() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let both = json!({"scope": "helpdesk:tickets_read files:read"});
    let jag = id_jag(&idp, &world, &both);
    redeem(&world, &world.planner, &jag, &[("resource", FILES)]).await.refused("invalid_target", "widens_resource");
    let jag = id_jag(&idp, &world, &with(both, &json!({"resource": "https://unknown.example"})));
    redeem(&world, &world.planner, &jag, &[]).await.refused("invalid_target", "resource_unknown");
    let jag = id_jag(&idp, &world, &json!({}));
    let wider = [("scope", "helpdesk:tickets_search")];
    redeem(&world, &world.planner, &jag, &wider).await.refused("invalid_scope", "widens_scope");
}

#[tokio::test]
async fn n_ir_08_an_id_jag_is_no_access_token() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let jag = id_jag(&idp, &world, &json!({}));
    assert!(!world.active(&world.planner, &jag).await);
    let proof = world.call_proof(&world.planner, &jag, &format!("{ISSUER}/oauth/userinfo"));
    let request = axum::http::Request::post("/oauth/userinfo")
        .header("authorization", format!("DPoP {jag}"))
        .header("dpop", proof)
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(world.send(request).await.status, 401);
    exchange(&world, &world.planner, &jag, &[]).await.refused("invalid_request", "token_type_wrong");
}

#[tokio::test]
async fn n_ir_09_a_person_who_was_disabled_meanwhile() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let token = redeem(&world, &world.planner, &id_jag(&idp, &world, &json!({})), &[]).await.access_token();
    let jag = id_jag(&idp, &world, &json!({}));
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") })).await;
    redeem(&world, &world.planner, &jag, &[]).await.refused("invalid_grant", "human_disabled");
    assert!(!world.active(&world.planner, &token).await, "what was derived stops too");
}

#[tokio::test]
async fn jb_04_a_jwt_grant_of_another_domain() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let grant =
        idp.sign("JWT", &with(assertion(&world), &json!({"client_id": "planner-app", "scope": "tickets", "resource": null})));
    let after = claims(&redeem(&world, &world.planner, &grant, &[]).await.access_token());
    assert_eq!(after["scope"], "helpdesk:tickets_read helpdesk:tickets_search");
    convinces_an_auditor(&world).await;
}

#[tokio::test]
async fn jb_06_one_jwt_is_not_both_client_and_grant() {
    let idp = Idp::new().await;
    let world = idp.world(|_| {}).await;
    let form = world.authenticated(&world.planner);
    let assertion = form.iter().find(|(name, _)| name == "client_assertion").unwrap().1.clone();
    let mut both = form;
    both.extend(fields(&[("grant_type", JWT_BEARER), ("assertion", &assertion)]));
    let reply = world.post("/oauth/token", &both, &[("dpop", world.proof(&world.planner.dpop))]).await;
    reply.refused("invalid_grant", "grant_invalid");
}

/// SPEC: MD-04, MD-07, N-MD-04
#[tokio::test]
async fn the_metadata_names_what_is_on_and_no_issuer() {
    let idp = Idp::new().await;
    let metadata = async |world: &World| world.get("/.well-known/oauth-authorization-server").await;
    let on = metadata(&idp.world(|_| {}).await).await;
    assert_eq!(on.body["authorization_grant_profiles_supported"], json!(["urn:ietf:params:oauth:grant-profile:id-jag"]));
    assert!(on.body["grant_types_supported"].as_array().unwrap().contains(&json!(JWT_BEARER)));
    assert!(!on.text.contains("idp.example"), "MD-07");
    let off = World::with(Settings { trusted_issuers: vec![idp.trusted()], ..Settings::default() }).await;
    assert_eq!(metadata(&off).await.body.get("authorization_grant_profiles_supported"), None);
    redeem(&off, &off.planner, &id_jag(&idp, &off, &json!({})), &[]).await.refused("invalid_grant", "grant_invalid");
    let none = World::new().await;
    assert!(!metadata(&none).await.body["grant_types_supported"].as_array().unwrap().contains(&json!(JWT_BEARER)));
    redeem(&none, &none.planner, "x", &[]).await.refused("unsupported_grant_type", "grant_type_unsupported");
}

/// Who vouches for workloads is no reason to take the grant of a client for its authentication. SPEC: JB-05
#[tokio::test]
async fn jb_05_a_client_with_a_certificate_redeems_an_assertion_where_others_vouch_for_agents() {
    let idp = Idp::new().await;
    let settings =
        Settings { trusted_issuers: vec![idp.trusted()], id_jag: true, client_certificates: true, ..Settings::default() };
    let site = Published::new(json!({"keys": []})).await;
    let bundle = BundleSource::Url(site.url.clone());
    let domain = TrustDomain { name: "example.org".to_owned(), bundle, max_lifetime: 300, max_stale: 3_600 };
    let world = World::trusting_with(settings, WorkloadTrust { issuers: Vec::new(), domains: vec![domain] }).await;
    let (own, other) = (made(2090), made(2090));
    let credentials = vec![Credential::Certificate { thumbprint: own.thumbprint().to_owned() }];
    let client = ClientProfile { credentials, ..ClientProfile::default() };
    world.change(Change::PutAgent(Agent { client, keys: Vec::new(), ..agent(&world.planner, false) })).await;
    let ask = async |shown: Option<&PeerCertificate>, name: &str| {
        let jag = id_jag(&idp, &world, &json!({}));
        let form = fields(&[("grant_type", JWT_BEARER), ("assertion", &jag), ("client_id", name)]);
        world.post_over(shown, "/oauth/token", &form, &[("dpop", world.proof(&world.planner.dpop))]).await
    };
    let after = claims(&ask(Some(&own), "agent:planner").await.access_token());
    assert_eq!((after["sub"].as_str(), after["act"]["sub"].as_str()), (Some("user:alice"), Some("agent:planner")));
    // The assertion alone authenticates no one, nor does another certificate, or this one for another agent.
    for (shown, name) in [(None, "agent:planner"), (Some(&other), "agent:planner"), (Some(&own), "agent:scribe")] {
        ask(shown, name).await.refused("invalid_grant", "grant_invalid");
    }
}
