//! Tokens of issuers that vouch for agents: Kubernetes service accounts, CI systems, clouds.

use crate::{
    published::{Published, jwks},
    world::*,
};
use axum::{Json, Router, extract::State, http::HeaderMap, routing::post};
use remit_authority::{WorkloadSource, WorkloadTrust};
use remit_model::{Agent, ClientProfile, Credential, WorkloadIssuer, WorkloadKind};
use remit_store::Change;
use remit_token::{Algorithm, PrivateKey, sign_jws};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const CLUSTER: &str = "https://k8s.example";
const CI: &str = "https://ci.example";
pub(crate) const UID: &str = "5d1a3d10-0001-4a6f-9d5e-000000000001";

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap()
}

fn rules(name: &str, kind: WorkloadKind, issuer: &str) -> WorkloadIssuer {
    let cluster = kind == WorkloadKind::Kubernetes;
    WorkloadIssuer {
        name: name.to_owned(),
        kind,
        issuer: issuer.to_owned(),
        algorithms: vec!["ES256".to_owned()],
        max_lifetime: 3_600,
        max_age: (!cluster).then_some(600),
        single_use: !cluster,
        required_claims: Vec::new(),
    }
}

fn trusted(rules: WorkloadIssuer, keys: &Published) -> WorkloadSource {
    WorkloadSource { rules, jwks_uri: Some(keys.url.clone()), token_review: None, token_file: None }
}

pub(crate) async fn accept(world: &World, credentials: &[Credential]) -> Agent {
    let client = ClientProfile { credentials: credentials.to_vec(), ..ClientProfile::default() };
    let planner = Agent { keys: Vec::new(), client, ..agent(&world.planner, false) };
    world.change(Change::PutAgent(planner.clone())).await;
    world.record_registration(&planner).await;
    planner
}

/// A token request with this credential and the instance's own proof key.
pub(crate) async fn present(world: &World, kind: &str, compact: &str, more: &[(&str, &str)]) -> Reply {
    let mut form = fields(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", kind),
        ("client_assertion", compact),
        ("client_id", "agent:planner"),
        ("scope", "files:read"),
    ]);
    form.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    form.extend(fields(more).into_iter().filter(|(_, value)| !value.is_empty()));
    world.post("/oauth/token", &form, &[("dpop", world.proof(&world.planner.dpop))]).await
}

async fn bearer(world: &World, compact: &str) -> Reply {
    present(world, JWT_BEARER, compact, &[]).await
}

#[track_caller]
pub(crate) fn uniform(reply: &Reply) {
    reply.refused("invalid_client", "client_unauthenticated");
    assert_eq!(reply.body["error_description"], "client authentication failed", "X-11");
}

#[track_caller]
pub(crate) fn because(reply: &Reply, word: &str) {
    reply.refused("invalid_client", "client_unauthenticated");
    assert!(reply.body["error_description"].as_str().unwrap().contains(word), "{word}: {}", reply.text);
}

/// One cluster and one CI system, each with its keys.
pub(crate) struct Fixture {
    pub(crate) world: World,
    cluster: PrivateKey,
    ci: PrivateKey,
    ci_keys: Published,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Vec<WorkloadSource>)) -> Self {
        let (cluster, ci) = (key(51), key(52));
        let (cluster_keys, ci_keys) = (Published::new(jwks(&[("c", &cluster)])).await, Published::new(jwks(&[("g", &ci)])).await);
        let mut issuers = vec![
            trusted(rules("prod", WorkloadKind::Kubernetes, CLUSTER), &cluster_keys),
            trusted(rules("other", WorkloadKind::Kubernetes, "https://other.example"), &cluster_keys),
            trusted(rules("gh", WorkloadKind::Github, CI), &ci_keys),
        ];
        change(&mut issuers);
        let world = World::trusting(WorkloadTrust { issuers, domains: Vec::new() }).await;
        let claims =
            [("repository_id", "7"), ("repository_owner_id", "9"), ("repository", "org/app"), ("ref", "refs/heads/main")];
        let claims: BTreeMap<String, String> = claims.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let accepted = [
            Credential::Kubernetes {
                cluster: "prod".to_owned(),
                namespace: "bots".to_owned(),
                service_account: "planner".to_owned(),
                uid: UID.to_owned(),
            },
            Credential::Federated { issuer: "gh".to_owned(), claims },
        ];
        accept(&world, &accepted).await;
        Self { world, cluster, ci, ci_keys }
    }

    /// A projected service-account token, with claims changed.
    pub(crate) fn projected(&self, change: &Value) -> String {
        let now = self.world.now();
        let body = json!({
            "iss": CLUSTER, "sub": "system:serviceaccount:bots:planner", "aud": [ISSUER], "iat": now, "nbf": now,
            "exp": now.plus(3_600), "jti": fresh(),
            "kubernetes.io": {
                "namespace": "bots", "node": {"name": "n1", "uid": "n"}, "pod": {"name": "p", "uid": "p"},
                "serviceaccount": {"name": "planner", "uid": UID},
            },
        });
        signed(&self.cluster, "c", body, change)
    }

    /// A token of a CI run, with claims changed.
    pub(crate) fn run(&self, change: &Value) -> String {
        let now = self.world.now();
        let body = json!({
            "iss": CI, "sub": "repo:org/app:ref:refs/heads/main", "aud": ISSUER, "iat": now, "exp": now.plus(300), "jti": fresh(),
            "repository": "org/app", "repository_id": "7", "repository_owner_id": "9", "ref": "refs/heads/main",
            "event_name": "push",
        });
        signed(&self.ci, "g", body, change)
    }
}

fn signed(key: &PrivateKey, kid: &str, mut body: Value, change: &Value) -> String {
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
            value => body[name] = value.clone(),
        }
    }
    sign_jws("JWT", key, Some(json!({"kid": kid})), &body).unwrap()
}

#[tokio::test]
async fn ks_01_a_projected_token_proves_the_agent_and_the_instance_brings_its_own_key() {
    let it = Fixture::new().await;
    let projected = it.projected(&json!({}));
    let token = bearer(&it.world, &projected).await.access_token();
    assert_eq!(claims(&token)["cnf"]["jkt"], it.world.planner.jkt());
    assert_eq!(claims(&token)["sub"], "agent:planner");
    let record = it.world.last_record().await;
    let named = &record["ext"]["token"]["credential"];
    assert_eq!((&named["kind"], &named["issuer"], &named["trusted_as"]), (&json!("kubernetes"), &json!(CLUSTER), &json!("prod")));
    assert!(named["hash"].as_str().unwrap().starts_with("sha-256:"));
    let side = it.world.last_side().await;
    assert_eq!(side["/token/credential"]["subject"], "system:serviceaccount:bots:planner");
    // It is a bearer credential until it ends, so the ledger does not keep its signature.
    assert!(!side.to_string().contains(projected.rsplit('.').next().unwrap()));
    // Another instance with the same token has another key, and a token of its own.
    let other = key(77);
    let form = fields(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", &projected),
        ("client_id", "agent:planner"),
        ("scope", "files:read"),
    ]);
    let second = it.world.post("/oauth/token", &form, &[("dpop", it.world.proof(&other))]).await.access_token();
    assert_eq!(claims(&second)["cnf"]["jkt"], other.public().thumbprint());
    // It authenticates at the other endpoints and for other grants as well.
    let narrowed = [("grant_type", EXCHANGE), ("subject_token", token.as_str()), ("subject_token_type", ACCESS_TOKEN)];
    present(&it.world, JWT_BEARER, &it.projected(&json!({})), &narrowed).await.access_token();
}

#[tokio::test]
async fn ks_03_a_derived_token_does_not_outlive_the_projected_one() {
    let it = Fixture::new().await;
    let projected = it.projected(&json!({}));
    assert_eq!(bearer(&it.world, &projected).await.body["expires_in"], 600);
    it.world.advance(3_500);
    assert_eq!(bearer(&it.world, &projected).await.body["expires_in"], 100);
    it.world.advance(150);
    because(&bearer(&it.world, &projected).await, "expired");
    because(&bearer(&it.world, &it.projected(&json!({"exp": it.world.now().plus(3_601)}))).await, "lives longer than 3600");
}

#[tokio::test]
async fn n_ks_01_a_token_for_the_api_server_is_refused() {
    let it = Fixture::new().await;
    for aud in [
        json!(["https://kubernetes.default.svc"]),
        json!(CLUSTER),
        json!([ISSUER, CLUSTER]),
        json!([]),
        json!(format!("{ISSUER}/")),
    ] {
        because(&bearer(&it.world, &it.projected(&json!({"aud": aud}))).await, "aud");
    }
}

#[tokio::test]
async fn n_ks_02_another_cluster_with_the_same_names_is_refused() {
    let it = Fixture::new().await;
    // It is trusted, with the same keys even, but the agent is of the cluster `prod`.
    uniform(&bearer(&it.world, &it.projected(&json!({"iss": "https://other.example"}))).await);
    // Its key, under our cluster's name.
    let foreign = signed(&key(99), "c", json!({"iss": CLUSTER, "sub": "x", "aud": ISSUER}), &json!({}));
    uniform(&bearer(&it.world, &foreign).await);
}

#[tokio::test]
async fn n_ks_04_a_recreated_account_with_the_same_name_is_refused() {
    let it = Fixture::new().await;
    let account =
        |name: &str, uid: &str| json!({"kubernetes.io": {"namespace": "bots", "serviceaccount": {"name": name, "uid": uid}}});
    because(&bearer(&it.world, &it.projected(&account("planner", "another-uid"))).await, "UID is another");
    because(&bearer(&it.world, &it.projected(&account("planner2", UID))).await, "service account is another");
    because(&bearer(&it.world, &it.projected(&json!({"sub": "system:serviceaccount:other:planner"}))).await, "`sub` is another");
}

#[tokio::test]
async fn n_ks_05_a_static_token_without_an_end_is_refused() {
    let it = Fixture::new().await;
    because(&bearer(&it.world, &it.projected(&json!({"exp": null, "aud": null}))).await, "aud");
    because(&bearer(&it.world, &it.projected(&json!({"exp": null}))).await, "exp");
    because(&bearer(&it.world, &it.projected(&json!({"iat": null}))).await, "iat");
}

/// An API server that answers TokenReview.
pub(crate) async fn api_server(alive: Arc<AtomicBool>) -> String {
    async fn review(State(alive): State<Arc<AtomicBool>>, headers: HeaderMap, Json(asked): Json<Value>) -> Json<Value> {
        assert_eq!(headers["authorization"], "Bearer remit-token");
        assert_eq!(asked["spec"]["audiences"], json!([ISSUER]));
        let status = if alive.load(Ordering::SeqCst) {
            json!({"authenticated": true, "audiences": [ISSUER], "user": {"username": "system:serviceaccount:bots:planner", "uid": UID}})
        } else {
            json!({"authenticated": false, "error": "pod is gone"})
        };
        Json(json!({"kind": "TokenReview", "status": status}))
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/apis/authentication.k8s.io/v1/tokenreviews", post(review)).with_state(alive);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

#[tokio::test]
async fn n_ks_03_the_token_of_a_pod_that_is_gone_is_refused_at_once() {
    let alive = Arc::new(AtomicBool::new(true));
    let url = api_server(Arc::clone(&alive)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "remit-token\n").unwrap();
    let it = Fixture::with(|issuers| {
        issuers[0].token_review = Some(url);
        issuers[0].token_file = Some(file.clone());
    })
    .await;
    let projected = it.projected(&json!({}));
    bearer(&it.world, &projected).await.access_token();
    alive.store(false, Ordering::SeqCst);
    because(&bearer(&it.world, &projected).await, "does not vouch");
    // Without an answer nothing is let in.
    std::fs::remove_file(&file).unwrap();
    uniform(&bearer(&it.world, &projected).await);
}

#[tokio::test]
async fn of_02_a_run_of_a_pinned_repository_proves_the_agent_once() {
    let it = Fixture::new().await;
    let run = it.run(&json!({}));
    let reply = bearer(&it.world, &run).await;
    reply.access_token();
    assert_eq!(reply.body["expires_in"], 300, "no longer than the token of the run");
    let record = it.world.last_record().await;
    assert_eq!(record["ext"]["token"]["credential"]["kind"], "federated");
    bearer(&it.world, &run).await.refused("invalid_client", "assertion_replayed");
}

#[tokio::test]
async fn n_of_01_another_organisation_of_the_same_issuer_is_refused() {
    let it = Fixture::new().await;
    because(&bearer(&it.world, &it.run(&json!({"repository_owner_id": "10"}))).await, "repository_owner_id");
    because(&bearer(&it.world, &it.run(&json!({"repository_id": "8"}))).await, "repository_id");
    because(&bearer(&it.world, &it.run(&json!({"repository_id": null}))).await, "repository_id");
}

#[tokio::test]
async fn n_of_02_a_renamed_or_transferred_repository_is_refused() {
    let it = Fixture::new().await;
    // The old name, taken by someone else; and the same repository under another name or owner.
    because(&bearer(&it.world, &it.run(&json!({"repository_id": "4711"}))).await, "repository_id");
    because(&bearer(&it.world, &it.run(&json!({"repository": "org/renamed"}))).await, "repository");
    because(&bearer(&it.world, &it.run(&json!({"repository": "new/app", "repository_owner_id": "11"}))).await, "repository");
}

#[tokio::test]
async fn n_of_03_the_default_audience_is_refused() {
    let it = Fixture::new().await;
    because(&bearer(&it.world, &it.run(&json!({"aud": "https://github.com/org"}))).await, "aud");
}

#[tokio::test]
async fn n_of_04_a_run_for_a_pull_request_is_refused() {
    let it = Fixture::new().await;
    for event in ["pull_request", "pull_request_target", "issue_comment"] {
        because(&bearer(&it.world, &it.run(&json!({"event_name": event}))).await, "not merged");
    }
    because(&bearer(&it.world, &it.run(&json!({"ref": "refs/pull/5/merge"}))).await, "`ref` is another");
}

#[tokio::test]
async fn n_of_05_another_tenant_of_a_cloud_is_refused() {
    let cloud = "https://login.cloud.example/common";
    let (cloud_key, mut rules) = (key(61), rules("cloud", WorkloadKind::Oidc, cloud));
    rules.required_claims = vec!["tid".to_owned()];
    let keys = Published::new(jwks(&[("k", &cloud_key)])).await;
    let trust = WorkloadTrust { issuers: vec![trusted(rules, &keys)], domains: Vec::new() };
    let world = World::trusting(trust).await;
    let pinned = [("tid", "tenant-1"), ("sub", "app-1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    accept(&world, &[Credential::Federated { issuer: "cloud".to_owned(), claims: pinned.into() }]).await;
    let token = |tenant: &str| {
        let now = world.now();
        let body =
            json!({"iss": cloud, "sub": "app-1", "tid": tenant, "aud": ISSUER, "iat": now, "exp": now.plus(600), "jti": fresh()});
        signed(&cloud_key, "k", body, &json!({}))
    };
    bearer(&world, &token("tenant-1")).await.access_token();
    because(&bearer(&world, &token("tenant-2")).await, "tid");
}

/// SPEC: JB-01
#[tokio::test]
async fn n_jb_01_an_unknown_issuer_is_refused_in_the_words_for_everything() {
    let it = Fixture::new().await;
    for iss in ["https://unknown.example", "", "agent:summarizer"] {
        uniform(&bearer(&it.world, &it.run(&json!({"iss": iss}))).await);
    }
    // A trusted one that this agent does not accept reads the same.
    accept(&it.world, &[]).await;
    uniform(&bearer(&it.world, &it.run(&json!({}))).await);
}

#[tokio::test]
async fn n_jb_02_a_token_of_another_repository_or_namespace() {
    let it = Fixture::new().await;
    because(&bearer(&it.world, &it.run(&json!({"repository": "org/other", "repository_id": "8"}))).await, "repository");
    let other = json!({"sub": "system:serviceaccount:other:planner", "kubernetes.io": {"namespace": "other", "serviceaccount": {"name": "planner", "uid": UID}}});
    because(&bearer(&it.world, &it.projected(&other)).await, "another");
}

#[tokio::test]
async fn n_jb_03_several_audiences() {
    let it = Fixture::new().await;
    because(&bearer(&it.world, &it.run(&json!({"aud": [ISSUER, "https://other.example"]}))).await, "audience");
    because(&bearer(&it.world, &it.run(&json!({"aud": TOKEN}))).await, "audience");
}

#[tokio::test]
async fn n_jb_04_a_token_older_than_the_limit_is_refused_though_it_has_not_expired() {
    let it = Fixture::new().await;
    let old = it.run(&json!({"iat": START - 631, "exp": START + 300}));
    because(&bearer(&it.world, &old).await, "more than 600 seconds ago");
    bearer(&it.world, &it.run(&json!({"iat": START - 629, "exp": START + 300}))).await.access_token();
    because(&bearer(&it.world, &it.run(&json!({"iat": START + 31}))).await, "future");
}

#[tokio::test]
async fn n_jb_05_a_replay_is_refused_for_another_agent_too() {
    let it = Fixture::new().await;
    let run = it.run(&json!({}));
    bearer(&it.world, &run).await.access_token();
    let planner = it.world.store.snapshot().agent(&remit_model::AgentId::parse("planner").unwrap()).unwrap().clone();
    let twin = Agent { client: planner.client.clone(), keys: Vec::new(), ..agent(&it.world.scribe, false) };
    it.world.change(Change::PutAgent(twin)).await;
    let again = present(&it.world, JWT_BEARER, &run, &[("client_id", "agent:scribe")]).await;
    again.refused("invalid_client", "assertion_replayed");
    because(&bearer(&it.world, &it.run(&json!({"jti": null}))).await, "jti");
}

#[tokio::test]
async fn n_jb_06_a_look_alike_issuer_is_refused() {
    let it = Fixture::new().await;
    for iss in ["https://ci.example/", "https://CI.example", "HTTPS://ci.example", "https://ci.example.", "http://ci.example"] {
        uniform(&bearer(&it.world, &it.run(&json!({"iss": iss}))).await);
    }
}

#[tokio::test]
async fn n_jb_07_a_subject_that_looks_alike_is_refused() {
    let it = Fixture::new().await;
    let claims: BTreeMap<String, String> =
        [("sub", "repo:org/app:ref:refs/heads/main"), ("repository_id", "7")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    accept(&it.world, &[Credential::Federated { issuer: "gh".to_owned(), claims }]).await;
    bearer(&it.world, &it.run(&json!({}))).await.access_token();
    for sub in ["repo:org/app-evil:ref:refs/heads/main", "repo:org/app:ref:refs/heads/main-2", "repo:ORG/app:ref:refs/heads/main"]
    {
        because(&bearer(&it.world, &it.run(&json!({"sub": sub}))).await, "`sub` is another");
    }
}

#[tokio::test]
async fn n_jb_08_a_persons_id_token_proves_no_workload() {
    let it = Fixture::new().await;
    for claim in ["nonce", "at_hash", "c_hash"] {
        because(&bearer(&it.world, &it.run(&json!({claim: "x"}))).await, "ID token");
    }
    because(&bearer(&it.world, &it.run(&json!({"azp": "client"}))).await, "azp");
    because(&bearer(&it.world, &it.projected(&json!({"azp": "client"}))).await, "azp");
}

#[tokio::test]
async fn tk_01_a_token_of_an_issuer_is_for_the_client_that_is_named_and_the_only_method() {
    let it = Fixture::new().await;
    uniform(&present(&it.world, JWT_BEARER, &it.run(&json!({})), &[("client_id", "agent:summarizer")]).await);
    uniform(&present(&it.world, JWT_BEARER, &it.run(&json!({})), &[("client_id", "agent:nobody")]).await);
    let two = present(&it.world, JWT_BEARER, &it.run(&json!({})), &[("client_secret", "x")]).await;
    two.refused("invalid_request", "request_malformed");
    // The agent itself has no key to sign with.
    let own = it.world.assertion(&it.world.planner);
    uniform(&present(&it.world, JWT_BEARER, &own, &[]).await);
}

#[tokio::test]
async fn j_02_the_algorithm_is_one_that_the_issuer_may_use() {
    let ed = PrivateKey::from_seed(Algorithm::Ed25519, &[8; 32]).unwrap();
    let keys = Published::new(jwks(&[("e", &ed)])).await;
    let it = Fixture::with(|issuers| issuers[2].jwks_uri = Some(keys.url.clone())).await;
    let now = it.world.now();
    let body = json!({"iss": CI, "sub": "s", "aud": ISSUER, "iat": now, "exp": now.plus(60), "jti": fresh()});
    uniform(&bearer(&it.world, &signed(&ed, "e", body, &json!({}))).await);
}

#[tokio::test]
async fn f_05_an_issuer_rotates_its_keys_and_is_found_by_discovery() {
    let it = Fixture::new().await;
    bearer(&it.world, &it.run(&json!({}))).await.access_token();
    let new = key(53);
    it.ci_keys.change(jwks(&[("n", &new)]));
    it.world.advance(11);
    let now = it.world.now();
    let body = json!({
        "iss": CI, "sub": "s", "aud": ISSUER, "iat": now, "exp": now.plus(60), "jti": fresh(), "repository": "org/app",
        "repository_id": "7", "repository_owner_id": "9", "ref": "refs/heads/main",
    });
    bearer(&it.world, &signed(&new, "n", body, &json!({}))).await.access_token();
    uniform(&bearer(&it.world, &it.run(&json!({}))).await);
}

#[tokio::test]
async fn an_issuer_is_found_by_its_discovery_document() {
    let (signer, site) = (key(52), Published::new(json!({})).await);
    let issuer = site.url.trim_end_matches("/document").to_owned();
    let keys = Published::new(jwks(&[("g", &signer)])).await;
    site.change(json!({"issuer": issuer, "jwks_uri": keys.url}));
    let mut found = trusted(rules("gh", WorkloadKind::Github, &issuer), &keys);
    found.jwks_uri = None;
    let world = World::trusting(WorkloadTrust { issuers: vec![found], domains: Vec::new() }).await;
    let claims = BTreeMap::from([("repository_id".to_owned(), "7".to_owned())]);
    accept(&world, &[Credential::Federated { issuer: "gh".to_owned(), claims }]).await;
    let now = world.now();
    let token = || {
        let body = json!({"iss": issuer, "sub": "s", "aud": ISSUER, "iat": now, "exp": now.plus(60), "jti": fresh(), "repository_id": "7"});
        signed(&signer, "g", body, &json!({}))
    };
    bearer(&world, &token()).await.access_token();
    // A document about another issuer is not believed.
    site.change(json!({"issuer": format!("{issuer}/"), "jwks_uri": keys.url}));
    world.advance(3_601);
    let late = json!({"iss": issuer, "sub": "s", "aud": ISSUER, "iat": world.now(), "exp": world.now().plus(60), "jti": fresh(), "repository_id": "7"});
    uniform(&bearer(&world, &signed(&signer, "g", late, &json!({}))).await);
}

#[tokio::test]
async fn an_auditor_checks_what_vouched_for_a_root() {
    let it = Fixture::new().await;
    bearer(&it.world, &it.projected(&json!({}))).await.access_token();
    bearer(&it.world, &it.projected(&json!({}))).await.access_token();
    bearer(&it.world, &it.run(&json!({}))).await.access_token();
    let report = remit_insight::custody(&it.world.audited().await);
    assert!(report.ok() && report.roots == 3, "{report:?}");
    assert_eq!(report.notes.values().sum::<u64>(), 3, "{report:?}");
    // A registration that accepts none of it.
    let it = Fixture::new().await;
    let other = Credential::Federated { issuer: "gh".to_owned(), claims: BTreeMap::from([("ref".to_owned(), "x".to_owned())]) };
    let planner = it.world.store.snapshot().agent(&remit_model::AgentId::parse("planner").unwrap()).unwrap().clone();
    bearer(&it.world, &it.run(&json!({}))).await.access_token();
    let client = ClientProfile { credentials: vec![other], ..ClientProfile::default() };
    it.world.record_registration(&Agent { client, ..(*planner).clone() }).await;
    it.world.advance(120);
    bearer(&it.world, &it.run(&json!({}))).await.access_token();
    let report = remit_insight::custody(&it.world.audited().await);
    assert_eq!(report.failures.len(), 1, "{report:?}");
    assert!(report.failures[0].detail.contains("not registered with the credential"), "{report:?}");
}
