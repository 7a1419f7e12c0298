//! `remit connect` over connections that break: an answer that is lost, and a stream that ends with its token.

use crate::{
    bridge::{Session, read, sign_in},
    harness::{Remit, Setup},
    proxy::Proxy,
};
use remit_testkit::wait_until;
use serde_json::json;
use std::time::{Duration, Instant};

fn behind_a_proxy(agents: &str) -> (Remit, Proxy) {
    let (setup, proxy) = Setup::new().section(agents).behind_proxy();
    (setup.start(), proxy)
}

/// The server has rotated the refresh token, and its answer never arrives: the bridge asks again and gets the same successor,
/// which another process goes on with.
#[test]
fn rt_02_a_lost_answer_to_a_refresh_does_not_end_the_sign_in() {
    let (remit, proxy) = behind_a_proxy("");
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
    let records = remit.run(&["audit", "export", "--format", "jsonl"]);
    let retried = records.lines().filter(|line| line.contains("\"refresh_retry\":true")).count();
    assert_eq!(retried, 2, "each lost answer was asked for once more");
    let denied: Vec<&str> = records.lines().filter(|line| line.contains("\"denied\"")).collect();
    assert!(denied.is_empty(), "{denied:?}");
}

/// The server ends the stream on which it speaks first together with its token; the bridge opens another one.
#[test]
fn the_servers_stream_is_opened_again_after_its_token_has_ended() {
    let (remit, proxy) = behind_a_proxy("\nagents:\n  access_token_lifetime: 60\n");
    remit.agent("planner", &["helpdesk:*"]);
    let mut session = Session::start(&remit.through_connect("planner", "helpdesk"));
    session.call("tickets_read", &read("T-1001"));
    wait_until("the stream is opened", || proxy.count("GET /mcp/helpdesk") >= 1);
    let (began, before) = (Instant::now(), proxy.count("grant_type=client_credentials"));
    wait_until("the stream is opened again", || proxy.count("GET /mcp/helpdesk") >= 2);
    assert!(began.elapsed() > Duration::from_secs(40), "the stream ended before its token: {:?}", began.elapsed());
    assert!(proxy.count("grant_type=client_credentials") > before, "the second stream has a token of its own");
    let done = session.call("tickets_read", &read("T-1002"));
    assert_eq!(done["structuredContent"]["id"], "T-1002", "{done}");
}
