//! SIGKILL under load, many times: no acknowledged record is lost, no effect is without its intent, the log still verifies.

use crate::{
    harness::{Remit, Setup, desk, node, remit, succeed, text},
    ledger::second_opinion,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use remit_ledger::Reader;
use remit_model::UnixTime;
use remit_token::{PrivateKey, dpop};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

const CRASHES: u64 = 12;
const CALLERS: u64 = 6;

#[test]
fn sigkill_under_load_loses_nothing_and_leaves_no_effect_without_intent() {
    let (desk, url) = desk();
    let mut server = Setup::new().desk(&url).section("\nagents:\n  access_token_lifetime: 3600\n").start();
    let key_file = server.agent("payer", &["helpdesk:*"]);
    let token = delegated_token(&server, &key_file);
    let key = PrivateKey::from_pkcs8_pem(&fs::read_to_string(&key_file).unwrap()).unwrap();
    let load = Arc::new(Load {
        url: server.resource("helpdesk"),
        token,
        key,
        stop: AtomicBool::new(false),
        paid: Mutex::default(),
        nonce: Mutex::default(),
    });

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for crash in 0..CRASHES {
        load.stop.store(false, Ordering::Relaxed);
        let callers: Vec<_> =
            (0..CALLERS).map(|caller| runtime.spawn(Arc::clone(&load).pay(format!("{crash}-{caller}")))).collect();
        // PAUSE: a kill comes at any moment of the work; 83 is coprime to everything that ticks inside.
        std::thread::sleep(Duration::from_millis(150 + crash * 83 % 500));
        server.kill();
        load.stop.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            for caller in callers {
                caller.await.unwrap();
            }
        });
        server.restart();
    }
    server.stop();

    let paid = load.paid.lock().unwrap().clone();
    assert!(paid.len() > 50, "only {} payments were acknowledged: no load", paid.len());
    let verified = succeed(remit(&["audit", "verify", text(&server.ledger()), "--vkey", &server.vkey]));
    println!("{}", String::from_utf8_lossy(&verified.stdout));
    let history = History::read(&server);
    for key in &paid {
        let intent =
            history.intents.get(key).unwrap_or_else(|| panic!("payment {key} was acknowledged and is not in the ledger"));
        assert!(history.effects.contains(intent), "payment {key} was acknowledged without a recorded outcome");
    }
    for refund in desk.refunds().unwrap() {
        assert!(history.intents.contains_key(&refund.idempotency_key), "refund {} has no recorded intent", refund.id);
    }
    println!("{} acknowledged, {} refunds made, {} intents", paid.len(), desk.refunds().unwrap().len(), history.intents.len());
}

/// Alice signs in and lets the agent pay: payments need a person.
fn delegated_token(server: &Remit, key_file: &Path) -> String {
    let told = node(
        "delegate.mjs",
        &json!({
            "issuer": server.issuer, "resource": server.resource("helpdesk"), "scope": "helpdesk:refund_create",
            "agent": "agent:payer", "agent_key": key_file, "user": "alice", "password": server.password,
        }),
    );
    told["access_token"].as_str().unwrap().to_owned()
}

struct Load {
    url: String,
    token: String,
    key: PrivateKey,
    stop: AtomicBool,
    /// Idempotency keys of the payments that were answered as made.
    paid: Mutex<BTreeSet<String>>,
    nonce: Mutex<Option<String>>,
}

impl Load {
    async fn pay(self: Arc<Self>, name: String) {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        for number in 0.. {
            let key = format!("{name}-{number}");
            for _ in 0..2 {
                // The server is gone, or going: this payment is not acknowledged, and perhaps made.
                let Some((status, nonce, body)) = self.ask(&client, &key).await else { return };
                if let Some(nonce) = nonce {
                    *self.nonce.lock().unwrap() = Some(nonce);
                }
                if status == StatusCode::UNAUTHORIZED {
                    continue;
                }
                assert_eq!(body.pointer("/result/structuredContent/idempotency_key"), Some(&json!(key)), "{status} {body}");
                self.paid.lock().unwrap().insert(key);
                break;
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    async fn ask(&self, client: &Client<HttpConnector, Full<Bytes>>, key: &str) -> Option<(StatusCode, Option<String>, Value)> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let jti = format!("{key}-{}", now.as_nanos());
        let nonce = self.nonce.lock().unwrap().clone();
        let proof = dpop::create(
            &self.key,
            &dpop::ProofFor {
                method: "POST",
                url: &self.url,
                now: UnixTime(i64::try_from(now.as_secs()).unwrap()),
                jti: &jti,
                nonce: nonce.as_deref(),
                access_token: Some(&self.token),
                delegation: None,
            },
        );
        let arguments = json!({ "ticket_id": "T-1001", "amount": 1, "currency": "EUR", "idempotency_key": key });
        let meta =
            json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
        let params = json!({ "name": "refund_create", "arguments": arguments, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let request = Request::post(&self.url)
            .header("authorization", format!("DPoP {}", self.token))
            .header("dpop", proof.unwrap())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "refund_create")
            .body(Full::from(body.to_string()))
            .unwrap();
        let response = client.request(request).await.ok()?;
        let nonce = response.headers().get("dpop-nonce").map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, nonce, serde_json::from_slice(&bytes).ok()?))
    }
}

/// What the ledger says was to be done, and what came of it.
struct History {
    /// Idempotency key to the intent's record id.
    intents: BTreeMap<String, String>,
    /// Ids of the intents whose outcome is recorded.
    effects: BTreeSet<String>,
}

impl History {
    fn read(server: &Remit) -> Self {
        let output = second_opinion(&server.ledger(), &server.vkey, &["--records"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let records = String::from_utf8(output.stdout).unwrap();
        let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut history = Self { intents: BTreeMap::new(), effects: BTreeSet::new() };
        let opened = opened(server);
        for (index, record) in (0..).zip(&records).filter(|(_, record)| record["record_type"] == "intent") {
            let arguments = opened.side(index).unwrap().and_then(|side| side.value("/call/arguments"));
            if let Some(key) = arguments.as_ref().and_then(|arguments| arguments["idempotency_key"].as_str()) {
                history.intents.insert(key.to_owned(), record["record_id"].as_str().unwrap().to_owned());
            }
        }
        let effects = records.iter().filter(|record| record["record_type"] == "effect");
        history.effects.extend(effects.map(|record| record["intent_id"].as_str().unwrap().to_owned()));
        history
    }
}

/// The ledger, its values opened with the stopped server's own keys.
fn opened(server: &Remit) -> Reader {
    let seed = fs::read_to_string(server.folder().join("keys/vault.seed")).unwrap();
    let seed: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(seed.get(at..at + 2).unwrap(), 16).unwrap()).collect();
    let keys = remit_store::keyring(&server.folder().join("data"), &seed.try_into().unwrap()).unwrap();
    Reader::open(&server.ledger()).unwrap().with_keys(keys)
}
