//! Upstreams that are child processes.

use crate::world::{Client, Wish, World, eventually, next_event, whole};
use hyper::Method;
use remit_gateway::Upstream;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

const CHILD: &str = include_str!("child.py");

pub(crate) async fn world(mode: &str) -> World {
    let env =
        BTreeMap::from([("MODE".to_owned(), mode.to_owned()), ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]);
    let upstream = Upstream::Stdio { command: "python3".into(), args: vec!["-c".into(), CHILD.into()], env, cwd: None };
    Wish { upstream: Some(upstream), ..Wish::new(true) }.build().await
}

async fn works(client: &Client<'_>) {
    let reply = client.call("echo", json!({"a": [1, {"b": null}]})).await;
    assert_eq!(reply.result()["structuredContent"]["arguments"], json!({"a": [1, {"b": null}]}));
    assert_eq!(reply.result()["resultType"], "complete");
}

#[tokio::test]
async fn a_child_of_either_era_is_spoken_to_in_its_own() {
    for (mode, era) in [("legacy", "initialize"), ("modern", "server/discover"), ("dies-on-probe", "initialize")] {
        let world = world(mode).await;
        let client = world.all();
        works(&client).await;
        let reply = client.call("era", json!({})).await;
        assert_eq!(reply.result()["structuredContent"]["era"], era, "{mode}");
        let mut legacy = world.all();
        legacy.initialize().await.result();
        let reply = legacy.legacy_call("echo", json!({"x": 1})).await;
        assert_eq!(reply.result()["structuredContent"]["arguments"], json!({"x": 1}));
    }
}

#[tokio::test]
async fn mg_17_a_child_gets_the_configured_environment_and_nothing_of_ours() {
    let world = world("legacy").await;
    let reply = world.all().call("environment", json!({})).await;
    let mut names: Vec<String> = serde_json::from_value(reply.result()["structuredContent"]["names"].clone()).unwrap();
    // What the interpreter sets by itself.
    names.retain(|name| !name.starts_with("LC_") && !name.starts_with("__"));
    names.sort();
    assert_eq!(names, ["MODE", "PATH"]);
}

#[tokio::test]
async fn progress_of_a_child_is_streamed_to_the_call_it_belongs_to() {
    let world = world("legacy").await;
    let client = world.all();
    let (headers, body) = client.modern_request("tools/call", json!({"name": "progress", "arguments": {}}));
    let mut stream = client.raw(Method::POST, headers, &body.to_string()).await.into_body();
    assert_eq!(next_event(&mut stream).await.unwrap()["params"]["progressToken"], "mine");
    // The child answers only when it is called again: the first event did not wait for the answer.
    client.call("release", json!({})).await.result();
    assert_eq!(next_event(&mut stream).await.unwrap()["id"], 11);
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_up_the_other_calls_to_its_child() {
    let world = world("legacy").await;
    let client = world.all();
    works(&client).await;
    let (headers, body) = client.modern_request("tools/call", json!({"name": "chatter", "arguments": {}}));
    // Twenty megabytes of progress are on their way to this response, more than any buffer between holds.
    let unread = client.raw(Method::POST, headers, &body.to_string()).await;
    let other = world.all();
    tokio::time::timeout(Duration::from_secs(20), works(&other)).await.unwrap();
    // The answer was kept for the client, whatever it missed on the way.
    assert_eq!(whole(unread).await.result()["structuredContent"], json!({"done": true}));
}

#[tokio::test]
async fn each_chain_has_a_child_of_its_own_and_a_dead_child_is_replaced() {
    let world = world("legacy").await;
    let planner = world.all();
    let helper = world.helper(world.grant(json!({"actions": ["*"]})));
    let pid = |reply: crate::world::Reply| reply.result()["structuredContent"]["pid"].as_u64().unwrap();
    let first = pid(planner.call("pid", json!({})).await);
    assert_eq!(pid(planner.call("pid", json!({})).await), first);
    assert_ne!(pid(helper.call("pid", json!({})).await), first);
    planner.call("die", json!({})).await.refused(200, "upstream_unavailable");
    assert_ne!(pid(planner.call("pid", json!({})).await), first);
}

#[tokio::test]
async fn a_line_that_is_no_message_is_skipped_and_the_call_goes_on() {
    let world = world("legacy").await;
    let client = world.all();
    for name in ["nonsense", "json-log", "null-error", "batch", "blank"] {
        let reply = client.call(name, json!({})).await;
        assert_eq!(reply.result()["structuredContent"]["said"], name);
    }
    works(&client).await;
}

#[tokio::test]
async fn a_child_whose_line_never_ends_is_cut_off_and_replaced() {
    let world = world("legacy").await;
    let client = world.all();
    client.call("flood", json!({})).await.refused(200, "upstream_malformed");
    works(&client).await;
}

/// A server behind a launcher, as `npx` and `sh -c` leave them: the launcher waits for it, and neither ends at the end of
/// standard input.
async fn launched(change: impl FnOnce(&mut remit_gateway::Settings) + 'static) -> World {
    let launcher = "exec 3<&0; python3 -c \"$CHILD\" <&3 & wait";
    let env = [("MODE", "stubborn"), ("PATH", "/usr/local/bin:/usr/bin:/bin"), ("CHILD", CHILD)];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let upstream = Upstream::Stdio { command: "sh".into(), args: vec!["-c".into(), launcher.into()], env, cwd: None };
    Wish { upstream: Some(upstream), ..Wish::new(true) }.settings(change).build().await
}

/// The process group of a server, from its own word for its process id.
fn group(reply: &crate::world::Reply) -> (u64, String) {
    let pid = reply.result()["structuredContent"]["pid"].as_u64().unwrap();
    (pid, stat(pid).unwrap().1)
}

/// State and process group of a process.
fn stat(pid: u64) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned);
    Some((fields.next()?, fields.nth(1)?))
}

/// The processes that are left of these groups, zombies included.
fn left(groups: &BTreeSet<String>) -> Vec<u64> {
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    all.filter(|pid| stat(*pid).is_some_and(|(_, group)| groups.contains(&group))).collect()
}

#[tokio::test]
async fn a_hundred_sessions_behind_a_launcher_leave_no_process() {
    let world = launched(|_| {}).await;
    let mut groups = BTreeSet::new();
    for _ in 0..100 {
        let mut client = world.all();
        client.initialize().await.result();
        groups.insert(group(&client.legacy_call("pid", json!({})).await).1);
        let deleted = client.raw(Method::DELETE, client.headers(&Method::DELETE), "").await;
        assert_eq!(deleted.status(), 204);
    }
    world.gate.close().await;
    assert_eq!(groups.len(), 100, "each session has a group of its own");
    assert_eq!(left(&groups), [] as [u64; 0]);
}

#[tokio::test]
async fn whatever_ends_a_link_ends_the_whole_group() {
    // Eviction, idleness, the launcher's own end, and the end of the gateway.
    let world = launched(|settings| settings.links = 1).await;
    let (planner, helper) = (world.all(), world.helper(world.grant(json!({"actions": ["*"]}))));
    let evicted = group(&planner.call("pid", json!({})).await);
    let killed = group(&helper.call("pid", json!({})).await);
    gone(evicted.0).await;
    helper.call("die", json!({})).await.refused(200, "upstream_unavailable");
    gone(killed.0).await;
    let last = group(&planner.call("pid", json!({})).await);
    world.gate.close().await;
    gone(last.0).await;
    assert_eq!(left(&BTreeSet::from([evicted.1, killed.1, last.1])), [] as [u64; 0]);
}

async fn gone(pid: u64) {
    eventually(&format!("process {pid} has ended"), || !fs::exists(format!("/proc/{pid}")).unwrap()).await;
}

#[tokio::test]
async fn a_child_that_does_not_exist_is_an_error_of_the_call() {
    let upstream = Upstream::Stdio { command: "/nonexistent/server".into(), args: vec![], env: BTreeMap::new(), cwd: None };
    let world = Wish { upstream: Some(upstream), ..Wish::new(true) }.build().await;
    let reply = world.all().call("echo", json!({})).await;
    reply.refused(200, "upstream_unavailable");
    assert!(!reply.body.to_string().contains("nonexistent"));
}
