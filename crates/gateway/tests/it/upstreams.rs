//! What crosses to an upstream and what comes back when it misbehaves.

use crate::world::{Wish, World};
use remit_gateway::{Upstream, UpstreamHeaders};
use serde_json::json;

fn authorization(value: &str) -> UpstreamHeaders {
    UpstreamHeaders::parse(&[("authorization".into(), value.into())]).unwrap()
}

#[tokio::test]
async fn mg_02_a_replaced_credential_goes_out_over_links_that_are_open() {
    for modern_upstream in [true, false] {
        let headers = authorization("Bearer first");
        let world = Wish { headers: headers.clone(), ..Wish::new(modern_upstream) }.build().await;
        let client = world.all();
        client.call("refund", json!({})).await.result();
        world.fake.seen.lock().unwrap().clear();
        headers.replace(&[("authorization".into(), "Bearer second".into())]).unwrap();
        client.call("refund", json!({})).await.result();
        let seen = world.fake.seen.lock().unwrap();
        assert!(!seen.is_empty() && seen.iter().all(|seen| seen.headers["authorization"] == "Bearer second"), "{seen:?}");
    }
}

#[tokio::test]
async fn n_mg_02_no_credential_header_or_cookie_of_the_client_reaches_the_upstream() {
    for modern_upstream in [true, false] {
        let wish = Wish { headers: authorization("Bearer upstream-secret"), ..Wish::new(modern_upstream) };
        let world = wish.build().await;
        let client = world.all();
        let (mut headers, body) = client.modern_request("tools/call", json!({"name": "refund", "arguments": {}}));
        for (name, value) in [
            ("cookie", "session=1"),
            ("x-forwarded-user", "root"),
            ("x-forwarded-for", "10.0.0.1"),
            ("connection", "x-secret, keep-alive"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("proxy-authorization", "Basic eA=="),
            ("client-cert", "x"),
        ] {
            headers.push((name.into(), value.into()));
        }
        client.send(headers, &body).await.result();
        for seen in world.fake.seen.lock().unwrap().iter() {
            assert_eq!(seen.headers["authorization"], "Bearer upstream-secret");
            for name in [
                "dpop",
                "cookie",
                "x-forwarded-user",
                "x-forwarded-for",
                "x-secret",
                "te",
                "proxy-authorization",
                "client-cert",
                "connection",
            ] {
                assert!(!seen.headers.contains_key(name), "{name}");
            }
            assert!(!seen.body.to_string().contains(&client.token));
        }
    }
}

#[tokio::test]
async fn n_hg_04_a_redirect_is_not_followed() {
    let world = World::new(true).await;
    let reply = world.all().call("redirect", json!({})).await;
    reply.refused(200, "upstream_unavailable");
    assert!(world.fake.received("elsewhere").is_empty());
}

#[tokio::test]
async fn answers_outside_the_protocol_are_refused_and_not_shown() {
    let world = World::new(true).await;
    let client = world.all();
    for (tool, code) in [
        ("duplicate", "upstream_malformed"),
        ("garbage", "upstream_malformed"),
        ("huge", "upstream_malformed"),
        ("broken", "upstream_unavailable"),
        ("unauthorised", "upstream_unavailable"),
    ] {
        let reply = client.call(tool, json!({})).await;
        reply.refused(200, code);
        assert_eq!(world.last().await["outcome"]["status"], "failure");
    }
    client.call("ticket_read", json!({})).await.result();
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_an_error_of_the_call_not_of_the_session() {
    let upstream = Upstream::Http { url: "http://127.0.0.1:9/mcp".into(), headers: UpstreamHeaders::default() };
    let world = Wish { upstream: Some(upstream), ..Wish::new(true) }.build().await;
    let reply = world.all().call("ticket_read", json!({})).await;
    reply.refused(200, "upstream_unavailable");
    assert!(!reply.body.to_string().contains("127.0.0.1:9"), "details go to the log only");
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_given_up() {
    let wish = Wish::new(true).settings(|settings| settings.call_timeout = std::time::Duration::from_millis(300));
    let world = wish.build().await;
    let reply = world.all().call("hang", json!({})).await;
    reply.refused(200, "upstream_unavailable");
    assert_eq!(world.last().await["outcome"]["status"], "timeout");
}

#[tokio::test]
async fn an_upstreams_own_error_is_passed_on() {
    let world = World::new(true).await;
    let reply = world.all().call("error", json!({})).await;
    assert_eq!(reply.body["error"]["code"], -32602);
    assert_eq!(reply.body["error"]["message"], "ann@example.com is unknown");
    assert_eq!(world.last().await["outcome"]["error_type"], "upstream_error");
}

#[tokio::test]
async fn links_are_bounded() {
    let world = Wish::new(false).settings(|settings| settings.links = 1).build().await;
    let helper = world.helper(world.grant(json!({"actions": ["*"]})));
    world.all().call("ticket_read", json!({})).await.result();
    helper.call("ticket_read", json!({})).await.result();
    world.all().call("ticket_read", json!({})).await.result();
    assert_eq!(world.fake.received("initialize").len(), 3, "each took the other's idle place");
}
