//! How the server stops: streams end first, their ends are recorded, then the ledger closes; a second signal ends at once.

use crate::{
    harness::{Setup, client, remit, succeed, text},
    raw::{Agent, REVISION},
};
use remit_testkit::wait_until;
use serde_json::{Value, json};
use std::{
    io::Read as _,
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

#[test]
fn a_stop_ends_open_streams_first_and_records_the_end_of_their_sessions() {
    // A server of 2025-11-25 that may speak first; the sample helpdesk never does, and has no such stream.
    let schemas = format!("command: {}", json!(["node", client("typed/schemas.mjs")]));
    let mut server = Setup::new().upstream("schemas", &[&schemas]).start();
    let agent = Agent::new(&server, "schemas", "/mcp/schemas");
    let session = agent.session();
    let mut stream = agent.answered("GET", Some(&session), "");
    assert_eq!(stream.status, 200, "the session has a stream");
    let began = Instant::now();
    server.stop();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "the stop waited for a stream: {took:?}");
    let mut rest = Vec::new();
    stream.body.read_to_end(&mut rest).unwrap();
    assert!(String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"), "the stream ended as a whole body does");

    succeed(remit(&["audit", "verify", text(&server.ledger()), "--vkey", &server.vkey]));
    let output = crate::ledger::second_opinion(&server.ledger(), &server.vkey, &["--records"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let closed = |record: &&Value| record["record_type"] == "session_close" && record["session"]["id"] == *session;
    let end = records.iter().find(closed).expect("the end of the session is recorded");
    assert_eq!((&end["outcome"]["status"], &end["ext"]["closed"]["why"]), (&json!("success"), &json!("stop")), "{end}");
    assert!(end["caused_by"].as_array().is_some_and(|ids| !ids.is_empty()), "by the gateway, which knows what opened it: {end}");
    assert_eq!(records.last().unwrap()["action"]["name"], "stop");
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    // An upstream that accepts and never answers keeps a request under way.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("url: http://{}/mcp", silent.local_addr().unwrap());
    let mut server = Setup::new().upstream("silent", &[&url]).start();
    let agent = Agent::new(&server, "silent", "/mcp/silent");
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let _waiting = agent.send("POST", None, &hello.to_string());
    let _held = silent.accept().unwrap();
    server.signal("TERM");
    wait_until("the listener is closed", || TcpStream::connect(&agent.address).is_err());
    assert_eq!(server.ended(), None, "it waits for the request under way");
    let began = Instant::now();
    server.signal("INT");
    wait_until("the process ended", || server.ended().is_some());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(server.ended(), Some(false), "it says that it did not finish");
    server.restart();
    server.stop();
    succeed(remit(&["audit", "verify", text(&server.ledger()), "--vkey", &server.vkey]));
}
