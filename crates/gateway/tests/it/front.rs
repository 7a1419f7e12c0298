//! Before anyone is asked who they are, and how requests are read.

use crate::world::{Client, Wish, World, whole};
use hyper::Method;
use remit_model::token_bounds;
use serde_json::{Value, json};

/// SPEC: PR-01, PR-02
#[tokio::test]
async fn n_pr_01_02_03_metadata_is_the_registered_resource_whatever_the_host_says() {
    let world = World::new(true).await;
    let client = world.all();
    let get = |path: &str, host: Option<&'static str>| {
        let mut client = world.all();
        client.url = format!("{}{path}", world.base);
        async move {
            let headers = host.map(|host| ("host".to_owned(), host.to_owned())).into_iter().collect();
            whole(client.raw(Method::GET, headers, "").await).await
        }
    };
    let found = get("/.well-known/oauth-protected-resource/mcp/helpdesk", None).await;
    assert_eq!(found.body["dpop_signing_alg_values_supported"], json!(remit_token::Algorithm::ACCEPTED));
    assert_eq!(found.body["resource"], Value::from(world.location.clone()));
    assert_eq!(found.body["authorization_servers"], json!([world.base]));
    assert_eq!(found.body["dpop_bound_access_tokens_required"], true);
    assert!(!found.body["scopes_supported"].to_string().contains("offline_access"), "PR-04");
    assert_eq!(get("/.well-known/oauth-protected-resource/mcp/nothing", None).await.status, 404);
    assert_eq!(get("/.well-known/oauth-protected-resource/mcp/helpdesk", Some("evil.example")).await.status, 403);
    assert_eq!(get("/mcp/nothing", None).await.status, 404);
    drop(client);
}

#[tokio::test]
async fn pr_05_each_server_has_metadata_of_its_own_and_no_token_is_for_two() {
    let world = World::new(true).await;
    let document = async |name: &str| {
        let mut client = world.all();
        client.url = format!("{}/.well-known/oauth-protected-resource/mcp/{name}", world.base);
        whole(client.raw(Method::GET, Vec::new(), "").await).await.body
    };
    for name in ["helpdesk", "other"] {
        let found = document(name).await;
        assert_eq!(found["resource"], format!("{}/mcp/{name}", world.base));
        let scopes = found["scopes_supported"].as_array().unwrap();
        assert!(
            !scopes.is_empty() && scopes.iter().all(|scope| scope.as_str().unwrap().starts_with(&format!("{name}:"))),
            "{found}"
        );
    }
    // There is no document for all of them together.
    let mut client = world.all();
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        client.url = format!("{}{path}", world.base);
        assert_eq!(whole(client.raw(Method::GET, Vec::new(), "").await).await.status, 404, "{path}");
    }
    // What is good at one server is good at no other, whatever it grants there.
    let elsewhere = format!("{}/mcp/other", world.base);
    let grant = json!([{"type": "tool_access", "locations": [world.location, elsewhere], "actions": ["*"]}]);
    let mut client = world.planner(remit_model::Authority::parse(&grant).unwrap());
    client.call("ticket_read", json!({})).await.result();
    client.url = elsewhere;
    client.call("ticket_read", json!({})).await.refused(401, "token_audience_wrong");
}

#[tokio::test]
async fn n_mg_12_foreign_origins_and_rebound_hosts_get_nothing() {
    let world = World::new(true).await;
    let client = world.all();
    for (name, value, code, status) in [
        ("origin", "https://evil.example", "origin_not_allowed", 403),
        ("origin", "null", "origin_not_allowed", 403),
        ("host", "evil.example", "host_not_allowed", 421),
    ] {
        let (mut headers, body) = client.modern_request("tools/list", json!({}));
        headers.push((name.into(), value.into()));
        client.send(headers, &body).await.refused(status, code);
    }
    let (mut headers, body) = client.modern_request("tools/list", json!({}));
    headers.push(("origin".into(), world.base.clone()));
    client.send(headers, &body).await.result();
}

#[tokio::test]
async fn x_10_size_and_depth_have_limits() {
    let world = Wish::new(true)
        .settings(|settings| {
            settings.request_bytes = 2000;
            settings.request_depth = 10;
        })
        .build()
        .await;
    let client = world.all();
    let padded = |n: usize| json!({"x": "y".repeat(n)});
    client.call("ticket_read", padded(1000)).await.result();
    client.call("ticket_read", padded(2000)).await.refused(413, "request_too_large");
    let deep = (0..12).fold(json!(1), |inner, _| json!([inner]));
    client.call("ticket_read", json!({"deep": deep})).await.refused(400, "json_too_deep");
}

#[tokio::test]
async fn n_mg_04_05_17_bodies_with_two_meanings_are_refused() {
    let world = World::new(true).await;
    let client = world.all();
    for (body, code) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"refund"}}"#,
            "json_duplicate_member",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ticket_read","arguments":{"a":1,"a":2}}}"#,
            "json_duplicate_member",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ticket_read","\u006eame":"refund"}}"#,
            "json_duplicate_member",
        ),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#, "request_malformed"),
        (r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#, "request_malformed"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"} {"#, "request_malformed"),
        ("", "request_malformed"),
        ("{", "request_malformed"),
    ] {
        let headers = client.headers(&Method::POST);
        let reply = whole(client.raw(Method::POST, headers, body).await).await;
        reply.refused(400, code);
    }
    assert_eq!(world.fake.calls(), 0);
}

#[tokio::test]
async fn n_mg_03_06_headers_that_disagree_with_the_body_are_refused() {
    let world = World::new(true).await;
    let client = world.all();
    let change = |name: &'static str, value: Option<&'static str>| {
        let (mut headers, body) = client.modern_request("tools/call", json!({"name": "refund", "arguments": {}}));
        headers.retain(|(header, _)| header != name);
        headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        (headers, body)
    };
    for (name, value) in [
        ("mcp-name", Some("ticket_read")),
        ("mcp-name", None),
        ("mcp-name", Some("=?BASE64?cmVmdW5k?=")),
        ("mcp-method", Some("tools/list")),
        ("mcp-method", None),
        ("mcp-protocol-version", Some("2025-11-25")),
        ("mcp-protocol-version", None),
    ] {
        let (headers, body) = change(name, value);
        let reply = client.send(headers, &body).await;
        reply.refused(400, "header_body_mismatch");
        assert_eq!(reply.body["error"]["code"], -32020);
        assert_eq!(reply.body["id"], 11);
    }
    assert_eq!(world.fake.calls(), 0);
    let (headers, body) = change("mcp-name", Some("=?base64?cmVmdW5k?="));
    client.send(headers, &body).await.result();
}

#[tokio::test]
async fn mg_06_the_envelope_is_complete_and_the_version_known() {
    let world = World::new(true).await;
    let client = world.all();
    let (headers, mut body) = client.modern_request("tools/list", json!({}));
    body["params"]["_meta"].as_object_mut().unwrap().remove("io.modelcontextprotocol/clientCapabilities");
    let reply = client.send(headers, &body).await;
    reply.refused(400, "protocol_meta_missing");
    assert_eq!(reply.body["error"]["code"], -32602);
    let (mut headers, mut body) = client.modern_request("tools/list", json!({}));
    headers.retain(|(name, _)| name != "mcp-protocol-version");
    headers.push(("mcp-protocol-version".into(), "2027-01-01".into()));
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2027-01-01");
    let reply = client.send(headers, &body).await;
    reply.refused(400, "protocol_version_unsupported");
    assert_eq!(reply.body["error"]["code"], -32022);
    assert_eq!(reply.body["error"]["data"]["supported"][0], "2026-07-28");
    assert_eq!(reply.body["error"]["data"]["requested"], "2027-01-01");
    let reply = client.modern("ping", json!({})).await;
    reply.refused(404, "rpc_method_unknown");
    assert_eq!(reply.body["error"]["code"], -32601);
}

#[tokio::test]
async fn only_json_posts_are_read_and_other_methods_are_refused() {
    let world = World::new(true).await;
    let client = world.all();
    let (mut headers, body) = client.modern_request("tools/list", json!({}));
    headers.retain(|(name, _)| name != "content-type");
    headers.push(("content-type".into(), "text/plain".into()));
    client.send(headers, &body).await.refused(415, "media_type_unsupported");
    let reply = whole(client.raw(Method::PUT, client.headers(&Method::PUT), "").await).await;
    reply.refused(405, "method_not_allowed");
    let reply = whole(client.raw(Method::GET, client.headers(&Method::GET), "").await).await;
    reply.refused(405, "method_not_allowed");
}

/// A request that carries nothing but these headers.
async fn bare(world: &World, method: Method, path: &str, headers: &[(&str, &str)]) -> crate::world::Reply {
    let mut client = world.all();
    client.url = format!("{}{path}", world.base);
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    whole(client.raw(method, headers, "").await).await
}

/// SPEC: PR-04
#[tokio::test]
async fn the_first_challenge_asks_for_no_scope_and_stays_small() {
    let rule = |class| remit_model::ToolRule { class, ..remit_model::ToolRule::default() };
    let many = (0..400).map(|n| (format!("a_rather_long_name_of_a_tool_that_reads_{n}"), rule(remit_model::ToolClass::Read)));
    let few = [
        ("read", remit_model::ToolClass::Read),
        ("write", remit_model::ToolClass::Write),
        ("purge", remit_model::ToolClass::Admin),
    ];
    let few = few.map(|(name, class)| (name.to_owned(), rule(class)));
    for (tools, scopes) in
        [(many.collect(), Value::Null), (few.into(), json!(["helpdesk:read"])), (std::collections::BTreeMap::new(), Value::Null)]
    {
        let world = Wish { tools, ..Wish::new(true) }.build().await;
        for method in [Method::GET, Method::POST, Method::HEAD] {
            let reply = bare(&world, method.clone(), "/mcp/helpdesk", &[]).await;
            assert_eq!(reply.status, 401, "{method}");
            let bytes: usize = reply.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
            assert!(bytes < 2000, "{method}: {bytes} bytes of headers");
            let challenges: Vec<_> =
                reply.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(challenges.len(), 1, "{method}");
            assert!(challenges.iter().all(|challenge| challenge.contains("resource_metadata=") && !challenge.contains("scope=")));
            assert_eq!(reply.body.is_null(), method == Method::HEAD);
        }
        let metadata = bare(&world, Method::GET, "/.well-known/oauth-protected-resource/mcp/helpdesk", &[]).await;
        assert_eq!(metadata.body["scopes_supported"], scopes);
        assert!(metadata.body.to_string().len() < 2000);
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_can_use_the_endpoint_and_no_other_page_can() {
    let world = Wish::new(true).settings(|settings| settings.origins.push("https://app.example".to_owned())).build().await;
    let preflight = |origin: &'static str| {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "dpop, mcp-param-region"),
        ];
        let world = &world;
        async move { bare(world, Method::OPTIONS, "/mcp/helpdesk", &asked).await }
    };
    let reply = preflight("https://app.example").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.headers["access-control-allow-origin"]),
        (204, &"https://app.example".parse().unwrap())
    );
    let allowed = reply.headers["access-control-allow-headers"].to_str().unwrap();
    for name in ["authorization", "dpop", "mcp-session-id", "mcp-protocol-version", "mcp-param-region", "content-type"] {
        assert!(allowed.split(", ").any(|allowed| allowed == name), "{name} in {allowed}");
    }
    let reply = preflight("https://evil.example").await;
    assert_eq!(reply.status, 403);
    assert!(reply.headers.get("access-control-allow-origin").is_none());
    let challenged = bare(&world, Method::POST, "/mcp/helpdesk", &[("origin", "https://app.example")]).await;
    assert_eq!(
        (challenged.status.as_u16(), &challenged.headers["access-control-allow-origin"]),
        (401, &"https://app.example".parse().unwrap())
    );
    let exposed = challenged.headers["access-control-expose-headers"].to_str().unwrap();
    assert!(
        exposed.contains("WWW-Authenticate") && exposed.contains("DPoP-Nonce") && exposed.contains("Mcp-Session-Id"),
        "{exposed}"
    );
    let client = world.all();
    let (mut headers, body) = client.modern_request("tools/list", json!({}));
    headers.push(("origin".into(), "https://app.example".into()));
    let reply = client.send(headers, &body).await;
    reply.result();
    assert_eq!(reply.headers["access-control-allow-origin"], "https://app.example");
}

#[tokio::test]
async fn the_metadata_of_a_resource_is_for_every_page() {
    let world = World::new(true).await;
    let path = "/.well-known/oauth-protected-resource/mcp/helpdesk";
    let reply = bare(&world, Method::GET, path, &[("origin", "https://any.example")]).await;
    assert_eq!((reply.status.as_u16(), &reply.headers["access-control-allow-origin"]), (200, &"*".parse().unwrap()));
    let asked = [
        ("origin", "https://any.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "mcp-protocol-version"),
    ];
    let reply = bare(&world, Method::OPTIONS, path, &asked).await;
    assert_eq!((reply.status.as_u16(), &reply.headers["access-control-allow-origin"]), (204, &"*".parse().unwrap()));
}

#[tokio::test]
async fn x_10_the_largest_token_that_may_be_issued_is_accepted() {
    let world = World::new(true).await;
    let with = |actions: usize| {
        let names: Vec<_> = (0..actions).map(|n| format!("{}{n:03}", "a".repeat(97))).chain(["ticket_read".to_owned()]).collect();
        world.planner(world.grant(json!({"actions": names})))
    };
    let fits = |client: &Client<'_>| token_bounds::check_token(&client.token, "").is_ok();
    let most = (200..500).take_while(|actions| fits(&with(*actions))).last().unwrap();
    let client = with(most);
    assert!(client.token.len() + 200 > token_bounds::TOKEN.size(), "{}", client.token.len());
    client.call("ticket_read", json!({})).await.result();
    with(most + 1).call("ticket_read", json!({})).await.refused(401, "token_malformed");
}
