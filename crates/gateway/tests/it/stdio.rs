//! Upstreams that are child processes.

use crate::world::{Client, Wish, World, next_event};
use hyper::Method;
use remit_gateway::Upstream;
use serde_json::json;
use std::collections::BTreeMap;

const CHILD: &str = include_str!("child.py");

async fn world(mode: &str) -> World {
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
async fn a_child_that_talks_nonsense_is_cut_off() {
    let world = world("legacy").await;
    let client = world.all();
    client.call("nonsense", json!({})).await.refused(200, "upstream_malformed");
    client.call("flood", json!({})).await.refused(200, "upstream_malformed");
    works(&client).await;
}

#[tokio::test]
async fn a_child_that_does_not_exist_is_an_error_of_the_call() {
    let upstream = Upstream::Stdio { command: "/nonexistent/server".into(), args: vec![], env: BTreeMap::new(), cwd: None };
    let world = Wish { upstream: Some(upstream), ..Wish::new(true) }.build().await;
    let reply = world.all().call("echo", json!({})).await;
    reply.refused(200, "upstream_unavailable");
    assert!(!reply.body.to_string().contains("nonexistent"));
}
