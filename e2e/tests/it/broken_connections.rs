//! `remit connect` over connections that break: an answer that is lost, and a stream that ends with its token.

use crate::{
    bridge::{Session, read, sign_in},
    harness::{Running, Setup, client},
};
use remit_testkit::{wait_for, wait_until};
use serde_json::json;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// The server has rotated the refresh token, and its answer never arrives: the bridge asks again and gets the same successor,
/// which another process goes on with.
#[test]
fn rt_02_a_lost_answer_to_a_refresh_does_not_end_the_sign_in() {
    let (setup, proxy) = Setup::new().behind_proxy();
    let remit = setup.start();
    remit.agent("planner", &["helpdesk:*"]);
    sign_in(&remit);
    let mut connect = remit.through_connect("planner", "helpdesk");
    connect["args"].as_array_mut().unwrap().push(json!("--login"));
    for _ in 0..2 {
        proxy.lose_answer_to("grant_type=refresh_token");
        let done = Session::start(&connect).call("tickets_read", &read("T-1001"));
        assert_eq!(done["structuredContent"]["id"], "T-1001", "{done}");
        assert!(!proxy.still_to_lose(), "no answer was lost");
    }
    remit.published();
    // Records are published a little after the answer.
    let records = wait_for("both calls are published", || {
        let records = remit.run(&["audit", "export", "--format", "jsonl"]);
        let calls = records.lines().filter(|line| line.contains("\"action\":{\"class\":\"read\",\"name\":\"tickets_read\"}"));
        (calls.count() >= 2).then_some(records)
    });
    let retried = records.lines().filter(|line| line.contains("\"refresh_retry\":true")).count();
    assert_eq!(retried, 2, "each lost answer was asked for once more");
    let denied: Vec<&str> = records.lines().filter(|line| line.contains("\"denied\"")).collect();
    assert!(denied.is_empty(), "{denied:?}");
}

/// The server ends the stream on which it speaks first together with its token; the bridge opens another one.
#[test]
fn the_servers_stream_is_opened_again_after_its_token_has_ended() {
    let port = remit_testkit::port();
    let mut command = Command::new("node");
    command.arg(client("node_modules/@modelcontextprotocol/server-everything/dist/index.js")).arg("streamableHttp");
    command.env("PORT", port.to_string());
    // The helpdesk never speaks first, so there is no stream of its to open.
    let _everything = Running::start(command, "listening on port");
    let url = format!("url: http://127.0.0.1:{port}/mcp");
    let setup = Setup::new().upstream("everything", &[&url, "tools: { echo: { class: read } }"]);
    let (setup, proxy) = setup.section("\nagents:\n  access_token_lifetime: 60\n").behind_proxy();
    let remit = setup.start();
    remit.agent("planner", &["everything:echo"]);
    let mut session = Session::start(&remit.through_connect("planner", "everything"));
    let mut echo = |message: &str| {
        let done = session.call("echo", &json!({ "message": message }));
        assert_eq!(done["content"][0]["text"], format!("Echo: {message}"), "{done}");
    };
    echo("before");
    wait_until("the stream is opened", || proxy.count("GET /mcp/everything") >= 1);
    let (began, opened) = (Instant::now(), proxy.count("GET /mcp/everything"));
    let before = proxy.count("grant_type=client_credentials");
    wait_until("the stream is opened again", || proxy.count("GET /mcp/everything") > opened);
    assert!(began.elapsed() > Duration::from_secs(40), "the stream ended before its token: {:?}", began.elapsed());
    wait_until("the second stream has a token of its own", || proxy.count("grant_type=client_credentials") > before);
    echo("after");
}
