//! A flood by strangers: a proven client is served throughout, memory and disk grow by little, and every refusal is in the
//! ledger, alone or counted. `cargo xtask flood` runs it at full size against a release build; `REMIT_FLOOD=full` does the
//! same by hand.

use crate::{
    harness::{Remit, Setup, python, remit, succeed, text},
    raw::Agent,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use remit_model::bounds;
use remit_testkit::wait_until;
use serde_json::{Value, json};
use std::{
    env, fmt, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const MEMORY_KB: u64 = 64 << 10;
const DISK_HOUR: u64 = 20_000_000;
const PATIENCE: Duration = Duration::from_secs(40);
/// Requests of the first flood.
const FIRST: u64 = 600;
/// Seconds between two heartbeats in the ledger.
const HEARTBEAT: u64 = 60;
/// Connections that flood at once, in each protocol.
const SENDERS: u64 = 4;

struct Scale {
    silent: usize,
    small: u64,
    large: u64,
}

const QUICK: Scale = Scale { silent: 60, small: 1_600, large: 400 };
const FULL: Scale = Scale { silent: 1_100, small: 80_000, large: 20_000 };

/// A request that proves nothing, and what is recorded of its refusal.
struct Shot {
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: String,
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn shots(large: bool) -> Vec<Shot> {
    // Small enough to be read by every endpoint that takes a body, large for a form.
    let filler = if large { format!("&x={}", "x".repeat(50 << 10)) } else { String::new() };
    let form = |rest: &str| format!("client_id=agent:nobody&{rest}{filler}");
    let shot = |method, path, headers, body| Shot { method, path, headers, body };
    let mut shots = vec![
        shot("POST", "/oauth/token", &[FORM][..], form("grant_type=client_credentials")),
        shot("POST", "/oauth/introspect", &[FORM], form("token=x")),
        shot("POST", "/oauth/revoke", &[FORM], form("token=x")),
        shot(
            "POST",
            "/mcp/helpdesk",
            &[("authorization", "DPoP e30.e30.e30"), ("content-type", "application/json")],
            filler.clone(),
        ),
    ];
    if !large {
        shots.push(shot("GET", "/admin/v1/agents", &[("authorization", "Bearer guess")], String::new()));
        shots.push(shot("GET", "/oauth/authorize?client_id=agent:nobody", &[], String::new()));
    }
    shots
}

/// What came of the flood's requests.
#[derive(Default)]
struct Outcome {
    answered: AtomicU64,
    broken: AtomicU64,
}

#[test]
fn a_flood_of_strangers_stops_nobody_and_fills_nothing() {
    let scale = if env::var_os("REMIT_FLOOD").is_some_and(|size| size == "full") { FULL } else { QUICK };
    let mut server = Setup::new().start();
    let agent = Agent::new(&server, "helpdesk", "/mcp/helpdesk");
    let served = |session: &str, times: u32| {
        for _ in 0..times {
            let answer = agent.call(session, "tickets_read", &json!({"id": "T-1001"}));
            assert!(answer.contains("T-1001"), "a proven caller was not served: {answer}");
        }
    };
    let outcome = Outcome::default();
    // A first flood, so that what a folder takes once is there before its growth is measured.
    served(&agent.session(), 100);
    let memory = resident(&server);
    flood(&agent.address, FIRST, &shots(false), &outcome);
    server.stop();
    let (told, disk) = (Told::of(&server), kept(&server));
    server.restart();
    let session = agent.session();
    served(&session, 100);
    // What a start takes for a moment is given back before memory is watched.
    wait_until("the server has started", || (1..memory + MEMORY_KB / 4).contains(&resident(&server)));
    let (over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let mut calls: Vec<Duration> = Vec::new();
    let _silent = silent(&agent.address, scale.silent);
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            flood(&agent.address, scale.small, &shots(false), &outcome);
            flood(&agent.address, scale.large, &shots(true), &outcome);
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            let call = Instant::now();
            served(&session, 1);
            calls.push(call.elapsed());
            peak.fetch_max(resident(&server), Ordering::Relaxed);
        }
        flood.join().unwrap();
    });
    server.stop();
    let (before, told) = (told, Told::of(&server));
    let memory = peak.into_inner().saturating_sub(memory);
    let grown = Grown { records: told.records - before.records, disk: kept(&server).saturating_sub(disk) };
    report(&scale, &outcome, memory, began.elapsed(), &mut calls);
    let hour = grown.hour(told.summary_bytes);
    println!("flood: {} refusals recorded alone, {} counted in {} summaries", told.alone, told.counted, told.summaries);
    println!("{grown}, {} KB an hour when it goes on (bound: {} KB)", hour / 1_000, DISK_HOUR / 1_000);
    assert!(memory <= MEMORY_KB && hour <= DISK_HOUR);
    let (answered, broken) = (outcome.answered.into_inner(), outcome.broken.into_inner());
    let recorded = told.alone + told.counted;
    assert_eq!(answered + broken, FIRST + scale.small + scale.large);
    // The new process refused the caller once, to give it a nonce; a body that never comes is refused when its time is over.
    let most = answered + 1 + broken + scale.silent as u64 / 3;
    assert!((answered + 1..=most).contains(&recorded), "{recorded} of {answered}, {broken}");
    succeed(remit(&["audit", "verify", text(&server.ledger()), "--vkey", &server.vkey]));
}

/// What was added between two stops.
struct Grown {
    records: u64,
    disk: u64,
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flood: disk +{} KB for {} records, {} bytes each", self.disk / 1_000, self.records, self.each())
    }
}

impl Grown {
    /// What a record adds to database, ledger and index.
    fn each(&self) -> u64 {
        self.disk / self.records.max(1)
    }

    /// What an hour of a flood adds to the disk, from its beginning: the records that its budget allows, its summaries, and the
    /// heartbeats that are recorded in any case.
    fn hour(&self, summary: u64) -> u64 {
        let records = bounds::UNPROVEN_RECORDS.value() + 3_600 / bounds::UNPROVEN_EVERY.value() + 3_600 / HEARTBEAT;
        let summaries = 3_600 / bounds::UNPROVEN_SUMMARY.value();
        records * self.each() + summaries * self.each().max(summary)
    }
}

fn report(scale: &Scale, outcome: &Outcome, memory: u64, took: Duration, calls: &mut [Duration]) {
    let (answered, broken) = (outcome.answered.load(Ordering::Relaxed), outcome.broken.load(Ordering::Relaxed));
    let silent = scale.silent;
    println!("flood: {silent} silent connections, {answered} requests refused ({broken} not answered) in {took:.1?}");
    calls.sort_unstable();
    let (half, last) = (calls[calls.len() / 2], calls[calls.len() - 1]);
    println!("flood: {} calls served meanwhile, p50 {half:.1?}, max {last:.1?}", calls.len());
    println!("flood: memory +{memory} KB at most (bound: +{MEMORY_KB} KB)");
}

/// Connections that say nothing, part of a head, or part of a body.
fn silent(address: &str, count: usize) -> Vec<TcpStream> {
    let open = |n: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        let begun = match n % 3 {
            0 => String::new(),
            1 => format!("POST /oauth/token HTTP/1.1\r\nhost: {address}\r\n"),
            _ => format!(
                "POST /oauth/token HTTP/1.1\r\nhost: {address}\r\ncontent-type: {}\r\ncontent-length: 60000\r\n\r\nx",
                FORM.1
            ),
        };
        stream.write_all(begun.as_bytes()).unwrap();
        stream
    };
    (0..count).map(open).collect()
}

/// Sends this many requests, half in each version of HTTP.
fn flood(address: &str, count: u64, shots: &[Shot], outcome: &Outcome) {
    let share = |sender: u64| count / 2 / SENDERS + u64::from(sender < count / 2 % SENDERS);
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || by_hand(address, share(sender), shots, outcome));
        }
        scope.spawn(|| multiplexed(address, count - count / 2, shots, outcome));
    });
}

fn by_hand(address: &str, count: u64, shots: &[Shot], outcome: &Outcome) {
    let mut open = None;
    for shot in shots.iter().cycle().take(count.try_into().unwrap()) {
        match one(address, open.take(), shot) {
            Some((_, next)) => {
                outcome.answered.fetch_add(1, Ordering::Relaxed);
                open = next;
            }
            None => drop(outcome.broken.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// One request over HTTP/1.1; the status, and the connection if it can be used again.
fn one(address: &str, open: Option<BufReader<TcpStream>>, shot: &Shot) -> Option<(u16, Option<BufReader<TcpStream>>)> {
    let connect = || {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(BufReader::new(stream))
    };
    let mut stream = open.or_else(connect)?;
    let Shot { method, path, headers, body } = shot;
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    // The server may answer, and close, before it has read everything.
    let whole = stream.get_mut().write_all(request.as_bytes()).is_ok();
    let (mut status, mut length, mut closes) = (None, 0, !whole);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        status = status.or_else(|| line.split(' ').nth(1)?.parse::<u16>().ok());
        length = line.strip_prefix("content-length: ").map_or(length, |length| length.parse().unwrap());
        closes |= line == "connection: close";
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).ok()?;
    let status = status.filter(|status| *status == 400 || *status == 401 || *status == 413)?;
    Some((status, (!closes).then_some(stream)))
}

fn multiplexed(address: &str, count: u64, shots: &[Shot], outcome: &Outcome) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build(HttpConnector::new());
    runtime.block_on(async {
        let (client, places) = (Arc::new(client), Arc::new(tokio::sync::Semaphore::new(50)));
        let mut tasks = tokio::task::JoinSet::new();
        for shot in shots.iter().cycle().take(count.try_into().unwrap()) {
            let place = Arc::clone(&places).acquire_owned().await.unwrap();
            let mut request = Request::builder().method(shot.method).uri(format!("http://{address}{}", shot.path));
            for (name, value) in shot.headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Full::from(shot.body.clone())).unwrap();
            let client = Arc::clone(&client);
            tasks.spawn(async move {
                let answer = tokio::time::timeout(PATIENCE, client.request(request)).await;
                let refused = match answer {
                    Ok(Ok(answer)) => {
                        let status = answer.status();
                        let _ = answer.into_body().collect().await;
                        [400, 401, 413].contains(&status.as_u16())
                    }
                    _ => false,
                };
                drop(place);
                refused
            });
            while let Some(done) = tasks.try_join_next() {
                outcome.count(done.unwrap());
            }
        }
        while let Some(done) = tasks.join_next().await {
            outcome.count(done.unwrap());
        }
    });
}

impl Outcome {
    fn count(&self, refused: bool) {
        let count = if refused { &self.answered } else { &self.broken };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the ledger says of the refusals.
#[derive(Default)]
struct Told {
    records: u64,
    alone: u64,
    counted: u64,
    summaries: u64,
    summary_bytes: u64,
}

impl Told {
    fn of(server: &Remit) -> Self {
        let output = crate::ledger::second_opinion(&server.ledger(), &server.vkey, &["--records"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut told = Self::default();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            told.records += 1;
            if record["action"]["name"] == "refusals.summarised" {
                let count: u64 = record["ext"]["refusals"]["count"].as_str().unwrap().parse().unwrap();
                told.counted += count;
                told.summaries += 1;
                told.summary_bytes = told.summary_bytes.max(4 * line.len() as u64);
            } else if record["outcome"]["status"] == "denied" {
                told.alone += 1;
            }
        }
        told
    }
}

/// The memory of the server in kilobytes.
fn resident(server: &Remit) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// The bytes that the folder of a stopped server keeps. A write-ahead log is emptied into its database first: it has a size of
/// its own that it does not outgrow.
fn kept(server: &Remit) -> u64 {
    const EMPTY: &str =
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone())";
    let database = server.folder().join("data/remit.db");
    let mut sqlite = Command::new(python());
    sqlite.args(["-c", EMPTY, text(&database)]);
    let emptied = succeed(sqlite);
    assert!(emptied.stdout.starts_with(b"(0, "), "{emptied:?}");
    size(server.folder())
}

/// The bytes of all files below a folder. Of a tile that is not full yet (`*.p`) only the widest stage counts: the others go
/// when it is full.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    if folder.extension().is_some_and(|end| end == "p") { sizes.max().unwrap_or(0) } else { sizes.sum() }
}
