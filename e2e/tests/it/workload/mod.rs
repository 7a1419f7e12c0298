//! Agents without a secret here: keys that they publish, and tokens of issuers and trust domains; both verifiers accept what the
//! server made of them. [`kubernetes`] and [`spire`] bring real ones.

mod commands;
mod kubernetes;
mod presets;
mod spire;

use crate::{
    harness::{Remit, Setup, succeed, text},
    ledger::second_opinion,
};
use axum::{Json, Router, routing::get};
use remit_model::UnixTime;
use remit_token::{Algorithm, PrivateKey, dpop, sign_jws};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::SystemTime,
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const UID: &str = "5d1a3d10-0001-4a6f-9d5e-000000000001";

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap()
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

fn fresh() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("workload-{}-{}", now(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn jwks(kid: &str, key: &PrivateKey, usage: &str) -> Value {
    let mut jwk = key.public().to_jwk();
    jwk["kid"] = json!(kid);
    jwk["use"] = json!(usage);
    json!({"keys": [jwk], "spiffe_sequence": 1, "spiffe_refresh_hint": 60})
}

/// Serves one document on a loopback port; its URL.
fn publish(document: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let routes = Router::new().route("/keys", get(move || async move { Json(document) }));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), routes).await })
    });
    url
}

/// One token request with the proof of the instance's own key; status and body.
fn ask(server: &Remit, agent: &str, kind: &str, assertion: &str) -> (u16, Value) {
    let agent = format!("agent:{agent}");
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", &agent),
        ("client_assertion_type", kind),
        ("client_assertion", assertion),
    ];
    request(server, &key(9), &fields)
}

/// One token request with these parameters and the proof of this key.
fn request(server: &Remit, key: &PrivateKey, fields: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}/oauth/token", server.issuer);
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let body = format!("{}&scope=helpdesk:tickets_read", fields.join("&"));
    let mut nonce: Option<String> = None;
    loop {
        let jti = fresh();
        let proof = dpop::ProofFor {
            method: "POST",
            url: &url,
            now: UnixTime(now()),
            jti: &jti,
            nonce: nonce.as_deref(),
            ..dpop::ProofFor::default()
        };
        let proof = dpop::create(key, &proof).unwrap();
        let address = server.issuer.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /oauth/token HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nDPoP: {proof}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        if body["error"] != "use_dpop_nonce" {
            return (status, body);
        }
        let offered = head.lines().find_map(|line| line.strip_prefix("dpop-nonce: ").map(str::to_owned));
        assert!(nonce.is_none(), "asked for a nonce twice");
        nonce = offered;
    }
}

/// The access token of an answer, with its claims.
#[track_caller]
fn granted((status, body): (u16, Value)) -> (String, Value) {
    assert_eq!(status, 200, "{body}");
    let token = body["access_token"].as_str().unwrap().to_owned();
    let claims = claims_of(&token);
    (token, claims)
}

/// A refusal that says this.
#[track_caller]
fn refused((status, body): (u16, Value), word: &str) {
    assert!(matches!(status, 400 | 401), "{status} {body}");
    assert!(body["error_description"].as_str().is_some_and(|text| text.contains(word)), "{word}: {body}");
}

fn claims_of(token: &str) -> Value {
    remit_token::Jws::parse(token).unwrap().claims().map(Value::Object).unwrap()
}

#[test]
fn agents_prove_themselves_without_a_secret_and_both_verifiers_accept_it() {
    let (own, cluster, ci, spire) = (key(1), key(2), key(3), key(4));
    let published = publish(jwks("own", &own, "sig"));
    let (cluster_keys, ci_keys) = (publish(jwks("c", &cluster, "sig")), publish(jwks("g", &ci, "sig")));
    let setup = Setup::new();
    let bundle = setup.folder().join("bundle.json");
    fs::write(&bundle, jwks("s", &spire, "jwt-svid").to_string()).unwrap();
    let server = setup
        .section(&format!(
            "workload_issuers:\n  prod: {{preset: kubernetes, issuer: https://k8s.example, jwks_uri: {cluster_keys}}}\n  \
             ci: {{preset: github, jwks_uri: {ci_keys}}}\n\
             spiffe:\n  trust_domains:\n    example.org: {{bundle_file: bundle.json}}\n"
        ))
        .start();
    let add = |name: &str, more: &[&str]| {
        let command = [&["agent", "add", name, "--scope", "helpdesk:*", "--autonomous"], more].concat();
        server.run(&command)
    };
    assert!(add("publisher", &["--jwks-uri", &published]).contains("keys published at"));
    assert!(add("pod", &["--kubernetes", &format!("prod/bots/planner/{UID}")]).contains("bots/planner"));
    let pins = ["--federated", "ci", "repository_id=7", "repository_owner_id=9", "ref=refs/heads/main"];
    assert!(add("run", &pins).contains("repository_id=7"));
    assert!(add("svid", &["--spiffe-id", "spiffe://example.org/ns/bots/*"]).contains("spiffe://example.org/ns/bots/*"));
    // What is not configured, or pins too little, cannot be registered.
    for wrong in [
        &["--kubernetes", "elsewhere/bots/planner/u"][..],
        &["--federated", "ci", "repository=org/app"],
        &["--spiffe-id", "spiffe://other.example/a"],
        &["--spiffe-id", "spiffe://example.org/*"],
        &["--kubernetes", "prod/bots/planner"],
    ] {
        let output = server.command(&[&["agent", "add", "wrong", "--scope", "helpdesk:*"], wrong].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
    }

    let at = now();
    let token = |key: &PrivateKey, kid: &str, body: Value| sign_jws("JWT", key, Some(json!({"kid": kid})), &body).unwrap();
    let issuer = &server.issuer;
    let mine = json!({"iss": "agent:publisher", "sub": "agent:publisher", "aud": issuer, "jti": fresh(), "exp": at + 3_600});
    let pod = json!({
        "iss": "https://k8s.example", "sub": "system:serviceaccount:bots:planner", "aud": [issuer], "iat": at, "exp": at + 3_600,
        "kubernetes.io": {"namespace": "bots", "serviceaccount": {"name": "planner", "uid": UID}},
    });
    let run = json!({
        "iss": "https://token.actions.githubusercontent.com", "sub": "repo:org/app:ref:refs/heads/main", "aud": issuer, "iat": at,
        "exp": at + 300, "jti": fresh(), "repository_id": "7", "repository_owner_id": "9", "ref": "refs/heads/main",
    });
    let svid = json!({"sub": "spiffe://example.org/ns/bots/planner", "aud": [issuer], "exp": at + 200});
    let shown = [
        ("publisher", JWT_BEARER, token(&own, "own", mine)),
        ("pod", JWT_BEARER, token(&cluster, "c", pod.clone())),
        ("pod", JWT_BEARER, token(&cluster, "c", pod)),
        ("run", JWT_BEARER, token(&ci, "g", run)),
        ("svid", JWT_SPIFFE, token(&spire, "s", svid)),
    ];
    for (agent, kind, assertion) in &shown {
        let (status, body) = ask(&server, agent, kind, assertion);
        assert_eq!(status, 200, "{agent}: {body}");
    }
    // Each once, or for its own agent alone.
    assert_eq!(ask(&server, "run", JWT_BEARER, &shown[3].2).1["remit_code"], "assertion_replayed");
    assert_eq!(ask(&server, "run", JWT_BEARER, &shown[1].2).1["error"], "invalid_client");

    both_verify(server, 5);
}

/// Stops the server; both verifiers accept its ledger, with this many chains.
pub(crate) fn both_verify(mut server: Remit, chains: usize) {
    server.published();
    let keys = server.folder().join("disclosure.json");
    server.run(&["audit", "disclose", "--out", text(&keys)]);
    server.stop();
    let ours = succeed(server.command(&["audit", "verify", text(&server.ledger()), "--keys", text(&keys)]));
    let ours = String::from_utf8(ours.stdout).unwrap();
    assert!(ours.contains("VERIFIED") && ours.contains(&format!("custody: {chains} chains")), "{ours}");
    let theirs = second_opinion(&server.ledger(), &server.vkey, &["--keys", text(&keys)]);
    let said = format!("{}{}", String::from_utf8_lossy(&theirs.stdout), String::from_utf8_lossy(&theirs.stderr));
    assert!(theirs.status.success() && said.contains("VERIFIED"), "{said}");
}
