//! The operator's side over HTTP, in process: no door without a lock, every change a record.
#![expect(clippy::unwrap_used, reason = "tests")]

mod accounts;
mod bindings;
mod keys;
mod passkeys;
mod revocations;
mod updates;

use axum::{Router, body::Body};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use remit_clock::{Clock, Entropy};
use remit_console::{ADMIN_ROUTES, Console, router};
use remit_model::{Authority, Human, Server, TenantId, ToolRule, bounds};
use remit_store::{Batch, Change, Config, Store};
use remit_token::{Algorithm, PrivateKey, SigningKeys};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use tower::ServiceExt as _;

const ISSUER: &str = "http://127.0.0.1:8420";
const CREDENTIAL: &str = "the-admin-credential";

struct World {
    router: Router,
    store: Store,
    clock: Clock,
    signing: SigningKeys,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::at(TempDir::new().unwrap()).await
    }

    /// Where agents may be registered whose tokens are bound to no key.
    async fn with_bearers() -> Self {
        Self::open(TempDir::new().unwrap(), true).await
    }

    async fn at(dir: TempDir) -> Self {
        Self::open(dir, false).await
    }

    async fn open(dir: TempDir, danger_bearer: bool) -> Self {
        let clock = remit_testkit::clock();
        Self::with_clocks(dir, danger_bearer, clock.clone(), clock).await
    }

    /// `store_clock` is what a commit sees; it is ahead of `clock` as where the commit had to wait.
    async fn with_clocks(dir: TempDir, danger_bearer: bool, clock: Clock, store_clock: Clock) -> Self {
        let entropy = Entropy::seeded(1);
        let signing = keys::at_hand(dir.path());
        let issuer_jwks = signing.set().to_jwks();
        let store = Store::open(Config { entropy, issuer_jwks, ..remit_testkit::store_config(dir.path(), store_clock) }).unwrap();
        let alice = Human { display_name: "Alice".into(), ..remit_testkit::human("alice", Authority::none()) };
        remit_testkit::change(&store, Change::PutHuman(alice)).await;
        let tools = [("tickets_read".to_owned(), ToolRule::default())];
        let server =
            Server { title: "Helpdesk".into(), ..remit_testkit::server("helpdesk", &format!("{ISSUER}/mcp/helpdesk"), tools) };
        let console = Console {
            tenant: TenantId::main(),
            issuer: ISSUER.into(),
            store: store.clone(),
            policy: remit_testkit::live(&[]),
            clock: clock.clone(),
            entropy: Entropy::seeded(2),
            servers: vec![Arc::new(server)],
            signing: signing.clone(),
            admin_digest: Console::digest(CREDENTIAL),
            ledger_dir: store.ledger_dir().to_owned(),
            gathered: remit_console::Gathered::default(),
            danger_bearer,
            client_certificates: danger_bearer,
            workload_issuers: Vec::new(),
            trust_domains: Vec::new(),
            earlier_keys: std::sync::OnceLock::new(),
        };
        Self { router: router(Arc::new(console)), store, clock, signing, dir }
    }

    async fn send(&self, method: &str, path: &str, credential: Option<&str>, body: &str) -> (StatusCode, Value) {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        let answer = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
    }

    async fn admin(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, Some(&format!("Bearer {CREDENTIAL}")), &body).await
    }
}

/// Changes the database's file where it holds `from`, as a disk does that fails.
async fn damaged(world: World, from: &str, to: &str) -> World {
    let World { router, store, dir, .. } = world;
    store.close().await.unwrap();
    drop((router, store));
    let file = dir.path().join("data/remit.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let found = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from.as_bytes());
    let places: Vec<usize> = found.map(|(at, _)| at).collect();
    assert!(!places.is_empty() && from.len() == to.len());
    for at in places {
        bytes.splice(at..at + to.len(), to.bytes());
    }
    std::fs::write(&file, bytes).unwrap();
    World::at(dir).await
}

#[tokio::test]
async fn an_agent_whose_row_cannot_be_read_is_named_and_may_do_nothing() {
    let world = World::new().await;
    for name in ["planner", "reader"] {
        assert_eq!(world.admin("POST", "/admin/v1/agents", &registration(name)).await.0, StatusCode::CREATED);
    }
    let world = damaged(world, "\"id\":\"reader\"", "\"id\"~\"reader\"").await;
    let (status, answer) = world.admin("GET", "/admin/v1/agents", &Value::Null).await;
    let listed = |at: usize| (answer["agents"][at]["name"].as_str(), answer["agents"][at]["status"].as_str());
    assert_eq!(status, StatusCode::OK);
    assert_eq!((listed(0), listed(1)), ((Some("planner"), Some("active")), (Some("reader"), Some("unreadable"))));
    assert!(world.store.snapshot().agent_named("reader").is_none());
    for (method, path) in [("GET", ""), ("POST", "/activate"), ("POST", "/retire")] {
        let (status, answer) = world.admin(method, &format!("/admin/v1/agents/reader{path}"), &Value::Null).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
        assert!(answer.to_string().contains("cannot be read"), "{answer}");
    }
    let (status, _) = world.admin("POST", "/admin/v1/agents", &registration("reader")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the name is not free");
    let erasure = json!({"subject": "user:alice", "legal_basis": "asked for"});
    let (status, answer) = world.admin("POST", "/admin/v1/ledger/erasures", &erasure).await;
    assert_eq!((status, &answer["unreadable_agents"]), (StatusCode::OK, &json!(["reader"])), "{answer}");
}

/// Texts that a page or a terminal could not show as they are.
const HIDDEN: [&str; 7] = ["a\u{1b}[2J", "a\nb", "a\0b", "a\u{202e}b", "a\u{200b}b", "a\u{2066}b", "a\u{feff}b"];

#[tokio::test]
async fn an_agent_is_registered_with_texts_that_can_be_displayed() {
    let world = World::new().await;
    let long = "x".repeat(100_000);
    for text in HIDDEN.into_iter().chain([long.as_str()]) {
        for members in [json!({"display_name": text}), json!({"labels": {text: "x"}}), json!({"labels": {"team": text}})] {
            let mut asked = registration("planner");
            asked.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            let (status, answer) = world.admin("POST", "/admin/v1/agents", &asked).await;
            assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("request_malformed")), "{answer}");
        }
    }
    let mut asked = registration("planner");
    asked["display_name"] = json!("Plänér 計画");
    assert_eq!(world.admin("POST", "/admin/v1/agents", &asked).await.0, StatusCode::CREATED);
}

fn registration(name: &str) -> Value {
    with_keys(name, &[key(name)])
}

fn with_keys(name: &str, keys: &[Value]) -> Value {
    json!({"name": name, "owner": "user:alice", "keys": keys, "scope": "helpdesk:tickets_read"})
}

/// The public key of this name, always the same.
fn key(name: &str) -> Value {
    let seed = remit_model::json::sha256(name.as_bytes());
    PrivateKey::from_seed(Algorithm::Ed25519, &seed).unwrap().public().to_jwk()
}

#[tokio::test]
async fn a_key_is_registered_for_one_agent_and_once() {
    let world = World::new().await;
    let mut other_spelling = key("a");
    other_spelling["kid"] = json!("another-name-for-it");
    let add = async |world: &World, name: &str, keys: &[Value]| {
        let (status, body) = world.admin("POST", "/admin/v1/agents", &with_keys(name, keys)).await;
        (status, body["message"].as_str().or(body["reason"].as_str()).unwrap_or_default().to_owned() + &body.to_string())
    };
    for twice in [[key("a"), key("a")], [key("a"), other_spelling.clone()]] {
        let (status, body) = add(&world, "planner", &twice).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body.contains("listed twice"), "{body}");
    }
    assert_eq!(add(&world, "planner", &[key("a"), key("b")]).await.0, StatusCode::CREATED);
    for taken in [key("a"), key("b"), other_spelling] {
        let (status, body) = add(&world, "reader", &[key("c"), taken]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body.contains("another agent"), "{body}");
    }
    world.admin("POST", "/admin/v1/agents/planner/retire", &Value::Null).await;
    assert_eq!(add(&world, "heir", &[key("a")]).await.0, StatusCode::BAD_REQUEST, "a retired agent's key stays its own");
    assert_eq!(add(&world, "reader", &[key("c")]).await.0, StatusCode::CREATED, "a refused registration claims nothing");
}

#[tokio::test]
async fn two_registrations_at_once_cannot_share_a_key() {
    let world = World::new().await;
    let (one, other) = (with_keys("one", &[key("a")]), with_keys("other", &[key("a")]));
    let both = tokio::join!(world.admin("POST", "/admin/v1/agents", &one), world.admin("POST", "/admin/v1/agents", &other));
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::BAD_REQUEST]);
}

#[tokio::test]
async fn a_client_that_lists_a_key_without_using_it_keeps_no_administrator_from_it() {
    let world = World::new().await;
    world.admin("POST", "/admin/v1/agents", &with_keys("planner", &[key("a")])).await;
    let mut listing = (*world.store.snapshot().agent_named("planner").unwrap().clone()).clone();
    listing.id = remit_model::AgentId::parse("stranger").unwrap();
    listing.keys = vec![key("victim"), key("proved")];
    listing.client.registration = remit_model::Registration::Dynamic { client_id: "stranger".to_owned() };
    let proved = format!("agent key {}", remit_token::PublicKey::from_jwk(&key("proved")).unwrap().thumbprint());
    let batch = Batch::new(TenantId::main()).change(Change::PutAgent(listing));
    let batch = batch.once(remit_store::JtiKind::Other, proved, remit_model::UnixTime(253_402_300_799));
    world.store.apply(batch).await.unwrap();
    // After a restart the keys of agents are read anew.
    let World { router, store, dir, .. } = world;
    store.close().await.unwrap();
    drop((router, store));
    let restarted = World::at(dir).await;
    let add = async |name: &str, key_name: &str| {
        restarted.admin("POST", "/admin/v1/agents", &with_keys(name, &[key(key_name)])).await.0
    };
    assert_eq!(add("reader", "victim").await, StatusCode::CREATED);
    assert_eq!(add("writer", "proved").await, StatusCode::BAD_REQUEST, "a key that a client has signed with is its own");
    assert_eq!(add("third", "a").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_key_registered_before_keys_were_claimed_stays_its_agents() {
    let world = World::new().await;
    world.admin("POST", "/admin/v1/agents", &with_keys("planner", &[key("a")])).await;
    let mut earlier = (*world.store.snapshot().agent_named("planner").unwrap().clone()).clone();
    earlier.id = remit_model::AgentId::parse("old").unwrap();
    earlier.keys = vec![key("old")];
    world.store.apply(Batch::new(TenantId::main()).change(Change::PutAgent(earlier))).await.unwrap();
    let World { router, store, dir, .. } = world;
    store.close().await.unwrap();
    drop((router, store));
    let world = World::at(dir).await;
    let (status, body) = world.admin("POST", "/admin/v1/agents", &with_keys("reader", &[key("old")])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

/// The first refusals are records of their own, as far as the budget of unproven callers goes; the others are counted in one.
#[tokio::test]
async fn no_admin_route_answers_without_the_credential_and_each_refusal_is_recorded_or_counted() {
    let world = World::new().await;
    let (mut alone, mut counted) = (0, 0);
    for credential in [
        None,
        Some("Bearer wrong"),
        Some("Basic the-admin-credential"),
        Some("the-admin-credential"),
        Some("Bearer "),
        Some("DPoP the-admin-credential"),
    ] {
        for (method, route) in ADMIN_ROUTES {
            let path = route.replace("{name}", "planner").replace("{id}", "0").replace("{path}", "000");
            let before = world.store.len();
            let (status, body) = world.send(method, &path, credential, "").await;
            assert_eq!(
                (status, body["error"].as_str()),
                (StatusCode::UNAUTHORIZED, Some("admin_unauthenticated")),
                "{method} {path} {credential:?}"
            );
            if alone == bounds::UNPROVEN_RECORDS.value() {
                counted += 1;
                assert_eq!((world.store.len(), body["record"].as_str()), (before, None), "counted, not recorded: {body}");
                continue;
            }
            alone += 1;
            assert_eq!(world.store.len(), before + 1);
            let record = world.store.record_by_id(body["record"].as_str().unwrap()).await.unwrap().unwrap();
            let record: Value = serde_json::from_slice(&record.bytes).unwrap();
            assert_eq!(
                (record["outcome"]["status"].as_str(), record["http"]["route"].as_str().is_some()),
                (Some("denied"), true)
            );
        }
    }
    let World { router, store, dir, .. } = world;
    store.close().await.unwrap();
    drop((router, store));
    let records = World::at(dir).await.store.records(0, 1_000).await.unwrap();
    let records = records.iter().map(|stored| serde_json::from_slice::<Value>(&stored.bytes).unwrap());
    let summaries: Vec<Value> = records.filter(|record| record["action"]["name"] == "refusals.summarised").collect();
    let counts: Vec<&str> = summaries.iter().map(|summary| summary["ext"]["refusals"]["count"].as_str().unwrap()).collect();
    assert_eq!((counts, counted > 0), (vec![counted.to_string().as_str()], true), "{summaries:?}");
}

#[tokio::test]
async fn an_agent_is_registered_shown_stopped_and_retired_and_each_step_is_recorded() {
    let world = World::new().await;
    let (status, added) = world.admin("POST", "/admin/v1/agents", &registration("planner")).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
    assert_eq!(added["agent"]["status"], "active");
    for (verb, expected) in [("quarantine", "quarantined"), ("activate", "active"), ("retire", "retired")] {
        let (status, body) = world.admin("POST", &format!("/admin/v1/agents/planner/{verb}"), &Value::Null).await;
        assert_eq!((status, body["agent"]["status"].as_str()), (StatusCode::OK, Some(expected)), "{body}");
        let (_, record) =
            world.admin("GET", &format!("/admin/v1/records/{}", body["record"].as_str().unwrap()), &Value::Null).await;
        assert_eq!(record["record"]["action"]["name"], format!("agent.{verb}"));
    }
    let (status, body) = world.admin("POST", "/admin/v1/agents/planner/activate", &Value::Null).await;
    assert_eq!((status, body["error"].as_str()), (StatusCode::BAD_REQUEST, Some("agent_retired")), "retired is for good");
    let (status, _) = world.admin("POST", "/admin/v1/agents", &registration("planner")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "names are never reused");
}

#[tokio::test]
async fn a_ceiling_that_names_what_a_server_does_not_have_is_warned_of() {
    let world = World::new().await;
    let mut asked = registration("planner");
    asked["scope"] = json!("helpdesk:raed_graph");
    let (status, body) = world.admin("POST", "/admin/v1/agents", &asked).await;
    assert_eq!((status, body["error"].as_str()), (StatusCode::BAD_REQUEST, Some("scope_unknown")), "{body}");
    asked.as_object_mut().unwrap().remove("scope");
    let location = format!("{ISSUER}/mcp/helpdesk");
    asked["authorization_details"] =
        json!([{"type": "tool_access", "locations": [location], "actions": ["raed_graph", "tickets_read"]}]);
    let (status, added) = world.admin("POST", "/admin/v1/agents", &asked).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
    let (_, shown) = world.admin("GET", "/admin/v1/agents/planner", &Value::Null).await;
    for body in [added, shown] {
        let warnings = json!(["the ceiling names `helpdesk:raed_graph`, which the server does not describe"]);
        assert_eq!(body["agent"]["warnings"], warnings, "{body}");
    }
}

#[tokio::test]
async fn an_agent_whose_human_was_forgotten_stays_stopped_and_no_text_that_stays_names_them() {
    let world = World::new().await;
    world.admin("POST", "/admin/v1/agents", &registration("planner")).await;
    let basis = "GDPR Art. 17(1)(a)";
    for wrong in [
        json!({"subject": "user:alice", "legal_basis": "Alice asked"}),
        json!({"subject": "user:alice", "legal_basis": basis, "reason": "a letter from Alice"}),
    ] {
        for path in ["/admin/v1/ledger/erasures", "/admin/v1/ledger/holds"] {
            let (status, body) = world.admin("POST", path, &wrong).await;
            assert_eq!((status, body["error"].as_str()), (StatusCode::BAD_REQUEST, Some("request_malformed")), "{body}");
        }
    }
    let ask = json!({"subject": "user:alice", "legal_basis": basis, "reason": "a letter of 3 May"});
    let (status, body) = world.admin("POST", "/admin/v1/ledger/erasures", &ask).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (_, shown) = world.admin("GET", "/admin/v1/agents/planner", &Value::Null).await;
    assert_eq!(shown["agent"]["status"], "quarantined");
    let (status, body) = world.admin("POST", "/admin/v1/agents/planner/activate", &Value::Null).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "no person is accountable for it: {body}");
}

#[tokio::test]
async fn bad_registrations_are_refused_and_leave_nothing() {
    let world = World::new().await;
    let with = |name: &str, value: Value| {
        let mut body = registration("planner");
        body[name] = value;
        body
    };
    let mut private = registration("planner");
    private["keys"][0]["d"] = json!("AAAA");
    let mut both = registration("planner");
    both["authorization_details"] = json!([]);
    let mut large = registration("planner");
    large.as_object_mut().unwrap().remove("scope");
    let names: Vec<_> = (0..300).map(|n| format!("{}{n:03}", "a".repeat(97))).collect();
    large["authorization_details"] = json!([{"type": "tool_access", "actions": names}]);
    for (body, code) in [
        (with("name", json!("Plan ner")), "name_malformed"),
        (with("owner", json!("user:nobody")), "request_malformed"),
        (with("owner", json!("agent:planner")), "request_malformed"),
        (with("scope", json!("nowhere:*")), "scope_unknown"),
        (with("redirect_uris", json!(["javascript:alert(1)"])), "redirect_uri_mismatch"),
        (with("redirect_uris", json!(["https://*.example/cb"])), "redirect_uri_mismatch"),
        (with("redirect_uris", json!(["https://app.example;x/cb"])), "redirect_uri_mismatch"),
        (large, "authorization_details_invalid"),
        (with("surprise", json!(1)), "request_malformed"),
        (with("keys", json!([{"kty": "oct", "k": "AAAA"}])), "request_malformed"),
        (private, "request_malformed"),
        (both, "request_malformed"),
    ] {
        let (status, answer) = world.admin("POST", "/admin/v1/agents", &body).await;
        assert_eq!((status, answer["error"].as_str()), (StatusCode::BAD_REQUEST, Some(code)), "{body} {answer}");
    }
    let (status, answer) =
        world.send("POST", "/admin/v1/agents", Some(&format!("Bearer {CREDENTIAL}")), r#"{"name":"a","name":"b"}"#).await;
    assert_eq!((status, answer["error"].as_str()), (StatusCode::BAD_REQUEST, Some("json_duplicate_member")));
    assert!(world.store.snapshot().agents().next().is_none());
    for missing in ["/admin/v1/agents/nobody", "/admin/v1/records/999999", "/admin/v1/records/nothing"] {
        assert_eq!(world.admin("GET", missing, &Value::Null).await.0, StatusCode::NOT_FOUND, "{missing}");
    }
}

#[tokio::test]
async fn n_lg_15_only_tiles_leave_the_log_folder_and_entries_only_for_the_operator() {
    let world = World::new().await;
    world.store.publish().await.unwrap();
    let (status, note) = world.send("GET", "/log/checkpoint", None, "").await;
    assert_eq!(status, StatusCode::OK);
    let size: u64 = note.as_str().unwrap().lines().nth(1).unwrap().parse().unwrap();
    assert_eq!(world.send("GET", &format!("/log/tile/0/000.p/{size}"), None, "").await.0, StatusCode::OK);
    assert_eq!(world.send("GET", &format!("/log/tile/entries/000.p/{size}"), None, "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.admin("GET", &format!("/log/tile/entries/000.p/{size}"), &Value::Null).await.0, StatusCode::OK);
    for path in [
        "x001/067",
        "0/x001/067x",
        "0/../../checkpoint",
        "..%2f..%2fcheckpoint",
        "0/000.p/0",
        "0/000.p/257",
        "64/000",
        "0/00",
        "%00",
        "entries",
        "side/000",
    ] {
        let (status, _) = world.send("GET", &format!("/log/tile/{path}"), None, "").await;
        assert!(matches!(status, StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED), "{path}: {status}");
    }
    for path in ["/log/side/000", "/log/objects/x", "/log/../keys/admin.token"] {
        assert_eq!(world.send("GET", path, None, "").await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn lg_12_entries_behind_an_encoded_path_need_the_credential_too() {
    let world = World::new().await;
    world.store.publish().await.unwrap();
    let (_, note) = world.send("GET", "/log/checkpoint", None, "").await;
    let size: u64 = note.as_str().unwrap().lines().nth(1).unwrap().parse().unwrap();
    for entries in
        ["%65ntries/", "entrie%73/", "%65%6e%74%72%69%65%73/", "entries%2F", "%2Fentries/", "./entries/", "0/../entries/"]
    {
        let path = format!("/log/tile/{entries}000.p/{size}");
        let (status, body) = world.send("GET", &path, None, "").await;
        assert!(matches!(status, StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED), "{path}: {status}");
        assert!(!body.to_string().contains("record_id"), "{path}");
    }
}

#[tokio::test]
async fn a_flood_without_the_credential_does_not_fill_the_ledger() {
    let world = World::new().await;
    let before = world.store.len();
    let alone = bounds::UNPROVEN_RECORDS.value();
    for _ in 0..2 * alone {
        assert_eq!(world.send("GET", "/admin/v1/agents", Some("Bearer guess"), "").await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.store.len() - before, alone);
}

#[tokio::test]
async fn health_is_open_and_says_nothing_else() {
    let world = World::new().await;
    assert_eq!(world.send("GET", "/healthz", None, "").await, (StatusCode::OK, json!("ok\n")));
    assert_eq!(world.send("GET", "/readyz", None, "").await, (StatusCode::OK, json!("ready\n")));
    let (status, body) = world.admin("GET", "/admin/v1/status", &Value::Null).await;
    assert_eq!((status, body["policy"]["digest"].is_string()), (StatusCode::OK, true));
}
