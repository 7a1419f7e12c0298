//! Logging itself fails while the real server runs: nothing is done that is not recorded, and everything works again
//! once the trouble is over, without a restart. SPEC: record.md §1.10.

use crate::harness::{Remit, Setup, desk, remit, succeed, text};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use remit_helpdesk::Desk;
use remit_model::UnixTime;
use remit_testkit::wait_until;
use remit_token::{PrivateKey, dpop};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};
use tokio::runtime::Runtime;

/// Long-lived tokens, so that none has to be fetched during an outage.
const AGENTS: &str = "\nagents:\n  access_token_lifetime: 3600\n";

#[test]
fn without_the_keys_of_side_values_nothing_is_changed() {
    let (desk, url) = desk();
    let mut server = Setup::new().desk(&url).section(AGENTS).start();
    let caller = Caller::new(&server);
    assert_eq!(caller.update("before"), Ok(()));
    let keys = server.folder().join("data/keys.db");
    let away = keys.with_extension("away");

    fs::rename(&keys, &away).unwrap();
    caller.until_refused("side_store_unavailable");
    nothing_happens(&caller, &desk, "side_store_unavailable");
    wait_until("/readyz says degraded", || ready(&caller).1.contains("side_store_unavailable"));
    assert_eq!(ready(&caller), (StatusCode::SERVICE_UNAVAILABLE, "degraded: side_store_unavailable\n".to_owned()));

    fs::rename(&away, &keys).unwrap();
    caller.until_done();
    wait_until("/readyz says ready", || ready(&caller).0 == StatusCode::OK);
    server.stop();
    in_order(&server, &["outage.began", "outage.over", "stop"]);
}

#[test]
fn after_a_step_of_the_clock_nothing_is_changed_until_it_has_settled() {
    let Some(library) = libfaketime() else {
        println!("SKIPPED: libfaketime is missing; `cargo xtask setup` installs it");
        return;
    };
    for step in ["+5", "-5"] {
        let (desk, url) = desk();
        let setup = Setup::new().desk(&url).section(AGENTS).section("ledger:\n  clock_settle_s: 3\n");
        let offset = setup.folder().join("offset");
        fs::write(&offset, "+0\n").unwrap();
        let mut server = setup
            .env("LD_PRELOAD", text(&library))
            .env("FAKETIME_TIMESTAMP_FILE", text(&offset))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .start();
        let caller = Caller::new(&server);
        assert_eq!(caller.update("before"), Ok(()), "a clock that keeps time is no outage");

        fs::write(&offset, format!("{step}\n")).unwrap();
        caller.until_refused("clock_disrupted");
        nothing_happens(&caller, &desk, "clock_disrupted");
        assert_eq!(ready(&caller).0, StatusCode::SERVICE_UNAVAILABLE);
        caller.until_done();
        wait_until("/readyz says ready", || ready(&caller).0 == StatusCode::OK);
        server.stop();
        let records = in_order(&server, &["clock.stepped", "outage.began", "outage.over", "stop"]);
        let far: f64 = records[0]["ext"]["clock"]["step_ns"].as_str().unwrap().parse().unwrap();
        let wanted: f64 = step.parse().unwrap();
        assert!((far / 1e9 - wanted).abs() < 0.5, "stepped by {wanted} s, recorded {far} ns");
    }
}

#[test]
fn a_full_disk_refuses_changes_and_serves_reads_from_the_spool_where_the_operator_says_so() {
    let (desk, url) = desk();
    let section = "ledger:\n  spool_bytes: 1048576\n  on_outage: {reads: serve}\n";
    let setup = Setup::new().desk(&url).section(AGENTS).section(section);
    let Some(disk) = Disk::mount(&setup.folder().join("data"), "24m") else {
        println!("SKIPPED: only root can mount a small disk");
        return;
    };
    let mut server = setup.start();
    let caller = Caller::new(&server);
    assert_eq!((caller.update("before"), caller.read()), (Ok(()), Ok(())));

    let filler = disk.fill();
    caller.until_refused("ledger_full");
    nothing_happens(&caller, &desk, "ledger_full");
    let before = desk.calls_of("tickets_read");
    assert_eq!(caller.read(), Ok(()), "reads are served");
    assert_eq!(desk.calls_of("tickets_read"), before + 1);
    assert!(ready(&caller).1.contains("ledger_full"), "{:?}", ready(&caller));

    fs::remove_file(filler).unwrap();
    caller.until_done();
    wait_until("/readyz says ready", || ready(&caller).0 == StatusCode::OK);
    server.stop();
    let records = in_order(&server, &["outage.began", "tickets_read", "outage.over", "stop"]);
    let over = &records[2]["ext"]["outage"];
    assert_eq!(over["code"], "ledger_full");
    let number = |name: &str| over[name].as_str().unwrap().parse::<u64>().unwrap();
    // The refusals are spooled too, and the read.
    assert!(number("refused") >= 1 && number("spooled") >= 5, "{over}");
    drop(server);
    drop(disk);
}

/// A change is refused with this code, and the upstream never hears of it.
fn nothing_happens(caller: &Caller, desk: &Desk, code: &str) {
    let before = desk.calls_of("tickets_update");
    for _ in 0..3 {
        assert_eq!(caller.update("never"), Err(code.to_owned()));
    }
    assert_eq!(desk.calls_of("tickets_update"), before, "the upstream heard of a refused change");
    assert!(!serde_json::to_string(&desk.ticket("T-1001").unwrap()).unwrap().contains("never"));
}

/// The ledger verifies, and has records of these actions in this order.
fn in_order(server: &Remit, actions: &[&str]) -> Vec<Value> {
    succeed(remit(&["audit", "verify", text(&server.ledger()), "--vkey", &server.vkey]));
    let output = crate::ledger::second_opinion(&server.ledger(), &server.vkey, &["--records"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records = String::from_utf8(output.stdout).unwrap();
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut rest = records.iter();
    let mut find = |action: &&str| rest.find(|record| record["action"]["name"] == **action).cloned();
    let found = actions.iter().map(|action| find(action).unwrap_or_else(|| panic!("{action} is missing or not in its place")));
    found.collect()
}

fn ready(caller: &Caller) -> (StatusCode, String) {
    let request = Request::get(format!("{}/readyz", caller.issuer)).body(Full::default()).unwrap();
    let (status, body) = caller.send(request);
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn libfaketime() -> Option<PathBuf> {
    let mut places = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    places.find(|place| place.is_file())
}

/// A small disk of its own, mounted until dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(place: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(place).unwrap();
        let size = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs", text(place)]).output().ok()?;
        mounted.status.success().then(|| Self(place.to_owned()))
    }

    /// Takes all the room there is; the file to remove again.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).unwrap();
        for size in [1 << 16, 1 << 10, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may just be ending.
        let _ = Command::new("umount").args(["--lazy", text(&self.0)]).status();
    }
}

/// An agent that keeps calling with one token.
struct Caller {
    runtime: Runtime,
    client: Client<HttpConnector, Full<Bytes>>,
    issuer: String,
    url: String,
    token: String,
    key: PrivateKey,
}

impl Caller {
    fn new(server: &Remit) -> Self {
        let name = "caller";
        let key_file = server.agent(name, &["helpdesk:tickets_read", "helpdesk:tickets_update"]);
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
            issuer: server.issuer.clone(),
            url: server.resource("helpdesk"),
            token: server.token(name, "helpdesk"),
            key: PrivateKey::from_pkcs8_pem(&fs::read_to_string(key_file).unwrap()).unwrap(),
        }
    }

    fn update(&self, note: &str) -> Result<(), String> {
        self.call("tickets_update", &json!({ "id": "T-1001", "note": note }))
    }

    fn read(&self) -> Result<(), String> {
        self.call("tickets_read", &json!({ "id": "T-1001" }))
    }

    fn until_refused(&self, code: &str) {
        wait_until(code, || self.update("until refused").is_err_and(|refused| refused == code));
    }

    fn until_done(&self) {
        wait_until("changes are allowed again", || self.update("after").is_ok());
    }

    /// One call; the code of its refusal.
    fn call(&self, tool: &str, arguments: &Value) -> Result<(), String> {
        let meta =
            json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let request = Request::post(&self.url)
            .header("authorization", format!("DPoP {}", self.token))
            .header("dpop", self.proof())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .body(Full::from(body.to_string()))
            .unwrap();
        let (status, body) = self.send(request);
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match body.pointer("/result/structuredContent") {
            Some(_) => Ok(()),
            None => Err(code(&body).unwrap_or_else(|| format!("{status} {body}"))),
        }
    }

    fn send(&self, request: Request<Full<Bytes>>) -> (StatusCode, Bytes) {
        self.runtime.block_on(async {
            let response = self.client.request(request).await.unwrap();
            (response.status(), response.into_body().collect().await.unwrap().to_bytes())
        })
    }

    fn proof(&self) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let proof = dpop::ProofFor {
            method: "POST",
            url: &self.url,
            now: UnixTime(i64::try_from(now.as_secs()).unwrap()),
            jti: &format!("outage-{}", now.as_nanos()),
            nonce: None,
            access_token: Some(&self.token),
            delegation: None,
        };
        dpop::create(&self.key, &proof).unwrap()
    }
}

/// Our stable code in an error's data or in a refused tool call's result.
fn code(body: &Value) -> Option<String> {
    let meta = || body.pointer("/result/_meta")?.get("remit/code");
    let code = body.pointer("/error/data").and_then(|data| data.get("code").or_else(|| data.get("remit_code")));
    code.or_else(meta)?.as_str().map(str::to_owned)
}
