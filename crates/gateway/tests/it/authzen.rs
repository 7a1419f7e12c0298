//! The decision point: what AuthZEN says of the wire, and what no caller may get out of it.

use crate::world::{Client, NOW, Reply, Wish, World, agent, key};
use hyper::{Method, StatusCode};
use remit_gateway::Authzen;
use remit_model::{Agent, Authority, Human, HumanStatus, TenantId};
use remit_store::{Batch, Change, Revocation};
use remit_token::access;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

struct Point {
    world: World,
    at: String,
}

/// No agent may pay more than 100, and prose is not to be asked for.
const POLICY: &str = r#"
@id("all") permit (principal, action, resource);
@id("payments") @reason("More than 100 was to be paid.")
forbid (principal, action == Action::"call", resource) when { resource.class == "payment" } unless {
  context.input.hasTag("/amount") && context.input.getTag("/amount") has long && context.input.getTag("/amount").long <= 100 };
@id("overflow")
forbid (principal, action == Action::"call", resource == Tool::"helpdesk/prose") when {
  context.input.hasTag("/n") && context.input.getTag("/n") has long && context.input.getTag("/n").long * 9223372036854775807 > 0 };
@id("sign-in") @effect("step_up")
forbid (principal is Human, action == Action::"call", resource == Tool::"helpdesk/slow") unless { context has auth_age };
"#;

impl Point {
    async fn new() -> Self {
        Self::of(|_| {}).await
    }

    async fn of(change: impl FnOnce(&mut remit_gateway::Settings) + 'static) -> Self {
        let mut wish = Wish::new(true).settings(|settings| {
            let server = Arc::new(Authzen::resource(&settings.issuer).unwrap());
            settings.authzen = Some(Authzen { server, reads_in_outage: false });
            change(settings);
        });
        wish.policy = vec![("all.cedar".into(), POLICY.into())];
        let world = wish.build().await;
        let at = format!("{}/access/v1", world.base);
        let point = Self { world, at };
        let pep = agent("pep", point.may(json!({})));
        point.put(pep).await;
        point
    }

    async fn put(&self, agent: Agent) {
        self.world.store.apply(Batch::new(TenantId::main()).change(Change::PutAgent(agent))).await.unwrap();
    }

    /// The grant of asking, with these further members.
    #[expect(clippy::needless_pass_by_value, reason = "a literal at every call")]
    fn may(&self, more: Value) -> Authority {
        let mut grant = json!({"type": "tool_access", "locations": [self.at], "actions": ["evaluate"]});
        grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Authority::parse(&json!([grant])).unwrap()
    }

    fn claims(&self, authority: Authority) -> access::Claims {
        access::Claims {
            sub: "agent:pep".into(),
            client_id: "agent:pep".into(),
            aud: self.at.clone(),
            act: None,
            auth_time: None,
            purpose: None,
            signed: None,
            ..self.world.claims(authority, key(9).public().thumbprint())
        }
    }

    fn asker_with(&self, authority: Authority) -> Client<'_> {
        let mut client = self.world.client(key(9), &self.claims(authority));
        client.url = format!("{}/evaluation", self.at);
        client
    }

    fn asker(&self) -> Client<'_> {
        self.asker_with(self.may(json!({})))
    }

    async fn ask(&self, body: Value) -> Reply {
        let client = self.asker();
        client.send(client.headers(&Method::POST), &body).await
    }

    async fn many(&self, body: Value) -> Reply {
        let mut client = self.asker();
        client.url = format!("{}/evaluations", self.at);
        client.send(client.headers(&Method::POST), &body).await
    }

    async fn text(&self, client: &Client<'_>, headers: Vec<(String, String)>, body: &str) -> (StatusCode, String) {
        use http_body_util::BodyExt;
        let (parts, body) = client.raw(Method::POST, headers, body).await.into_parts();
        assert_eq!(parts.headers["cache-control"], "no-store");
        (parts.status, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    async fn refused(&self, client: &Client<'_>, headers: Vec<(String, String)>, body: &str, status: u16, code: &str) {
        let (got, told) = self.text(client, headers, body).await;
        assert_eq!(got.as_u16(), status, "{body}: {told}");
        assert!(told.starts_with(&format!("{code}: ")), "{body}: {told}");
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a literal at every call")]
fn about(subject: &str, tool: &str, arguments: Value) -> Value {
    let (kind, id) = subject.split_once(':').unwrap();
    json!({"subject": {"type": kind, "id": id}, "action": {"name": "call"}, "resource": {"type": "tool", "id": tool},
        "context": {"arguments": arguments}})
}

#[track_caller]
fn denied(reply: &Reply, code: &str) {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    assert_eq!((&reply.body["decision"], reply.body["context"]["code"].as_str()), (&json!(false), Some(code)), "{}", reply.body);
    assert!(!reply.body["context"]["reason"].as_str().unwrap().is_empty());
}

#[track_caller]
fn permitted(reply: &Reply) {
    assert_eq!((reply.status, &reply.body["decision"]), (StatusCode::OK, &json!(true)), "{}", reply.body);
}

#[tokio::test]
async fn a_decision_is_what_authority_and_policies_say_and_is_recorded_first() {
    let point = Point::new().await;
    permitted(&point.ask(about("agent:planner", "helpdesk/refund", json!({"amount": 100}))).await);
    let reply = point.ask(about("human:alice", "helpdesk/refund", json!({"amount": 99}))).await;
    permitted(&reply);
    assert_eq!(reply.headers["cache-control"], "no-store");
    let record = point.world.last().await;
    assert_eq!(reply.body["context"]["record"], record["record_id"]);
    assert_eq!(record["record_type"], "decision");
    assert_eq!((&record["action"]["name"], &record["action"]["class"]), (&json!("authzen:evaluation"), &json!("read")));
    assert_eq!((&record["tool"]["server_id"], &record["tool"]["name"]), (&json!("helpdesk"), &json!("refund")));
    assert_eq!((&record["decision"]["result"], &record["protocol"]), (&json!("allow"), &json!("http")));
    assert_eq!(record["http"]["route"], "/access/v1/evaluation");
    assert_eq!(record["outcome"]["effect_confirmed"], "none", "nothing was done");
    assert_eq!(record["chain"].as_array().unwrap().len(), 1, "who asked");
    assert!(!record.to_string().contains("alice"), "about whom is committed, not written");
    let asked = about("human:alice", "helpdesk/refund", json!({"amount": 99}));
    assert_eq!(value(&point, "/evaluation/request").await, asked);
    assert_eq!(value(&point, "/decision/input").await["principal"]["sub"], "user:alice");
    denied(&point.ask(about("agent:planner", "helpdesk/refund", json!({"amount": 101}))).await, "policy_denied");
    assert_eq!(point.world.last().await["decision"]["reason_code"], "policy_denied");
}

/// A committed value of the newest record.
async fn value(point: &Point, path: &str) -> Value {
    let stored = point.world.store.records(1, 1000).await.unwrap().pop().unwrap();
    stored.side.unwrap().value(path).unwrap_or_else(|| panic!("{path} is not open"))
}

#[tokio::test]
async fn whoever_holds_nothing_or_stands_no_more_is_denied() {
    let point = Point::new().await;
    let read = |who: &str| about(who, "helpdesk/get_ticket", json!({}));
    denied(&point.ask(read("agent:nobody")).await, "client_unknown");
    denied(&point.ask(read("human:nobody")).await, "human_unknown");
    denied(&point.ask(read("robot:planner")).await, "client_unknown");
    denied(&point.ask(read("agent:user:alice")).await, "client_unknown");
    denied(&point.ask(about("agent:planner", "nowhere/get_ticket", json!({}))).await, "server_unknown");
    denied(&point.ask(about("agent:planner", "get_ticket", json!({}))).await, "resource_unknown");
    denied(&point.ask(about("agent:planner", "helpdesk/get\nticket", json!({}))).await, "request_malformed");
    denied(&point.ask(about("agent:planner", "other/get_ticket", json!({}))).await, "tool_not_granted");
    let mut ask = read("agent:planner");
    ask["action"]["name"] = json!("delete");
    denied(&point.ask(ask.clone()).await, "resource_unknown");
    permitted(&point.ask(read("agent:agent:planner")).await);
    point.world.quarantine("planner").await;
    denied(&point.ask(read("agent:planner")).await, "agent_quarantined");
    let alice = Human {
        name: "alice".into(),
        display_name: "Alice".into(),
        status: HumanStatus::Disabled,
        password_hash: None,
        entitlements: point.world.grant(json!({"actions": ["*"]})),
        identity: None,
        ended_before: None,
        passkeys: remit_model::Passkeys::default(),
        managed: remit_model::Managed::default(),
    };
    point.world.store.apply(Batch::new(TenantId::main()).change(Change::PutHuman(alice))).await.unwrap();
    denied(&point.ask(read("human:alice")).await, "human_disabled");
    let facts = value(&point, "/decision/input").await;
    assert_eq!(facts["principal"]["sub"], "user:alice", "a denial names whom it is about, sealed for them");
}

#[tokio::test]
async fn what_the_asker_says_of_them_changes_nothing() {
    let point = Point::new().await;
    let narrow = agent("narrow", point.world.grant(json!({"actions": ["refund"], "arguments": {"/amount": {"max": 10}}})));
    point.put(narrow).await;
    let mut ask = about("agent:narrow", "helpdesk/refund", json!({"amount": 11}));
    let before = point.ask(ask.clone()).await;
    denied(&before, "argument_not_granted");
    ask["subject"]["properties"] = json!({"role": "admin", "status": "active", "ceiling": "*"});
    ask["resource"]["properties"] = json!({"class": "read", "amount": 1, "arguments": {"amount": 1}});
    ask["action"]["properties"] = json!({"amount": 1});
    ask["context"]["on_behalf_of"] = json!("user:alice");
    denied(&point.ask(ask).await, "argument_not_granted");
    let record = point.world.last().await;
    assert!(!record["decision"]["explanation"].as_str().unwrap().contains("11"), "the amount is committed, not written");
    permitted(&point.ask(about("agent:narrow", "helpdesk/refund", json!({"amount": 10}))).await);
}

#[tokio::test]
async fn a_condition_that_only_the_gateway_enforces_is_a_denial() {
    let point = Point::new().await;
    let grant = |more: Value| point.world.grant(more);
    point.put(agent("counted", grant(json!({"actions": ["get_ticket"], "limits": {"calls": 5}})))).await;
    point.put(agent("masked", grant(json!({"actions": ["get_ticket"], "fields": ["/id"]})))).await;
    for who in ["agent:counted", "agent:masked"] {
        let reply = point.ask(about(who, "helpdesk/get_ticket", json!({}))).await;
        denied(&reply, "tool_not_granted");
        assert!(reply.body["context"]["reason"].as_str().unwrap().contains("gateway alone"), "{}", reply.body);
    }
}

#[tokio::test]
async fn ce_02_a_policy_that_fails_denies_and_a_step_up_is_no_permit() {
    let point = Point::new().await;
    denied(&point.ask(about("agent:planner", "helpdesk/prose", json!({"n": 2}))).await, "policy_error");
    denied(&point.ask(about("human:alice", "helpdesk/slow", json!({}))).await, "step_up_required");
    permitted(&point.ask(about("agent:planner", "helpdesk/slow", json!({}))).await);
}

#[tokio::test]
async fn a_list_needs_any_grant_at_the_server() {
    let point = Point::new().await;
    let list = |server: &str| json!({"subject": {"type": "agent", "id": "planner"}, "action": {"name": "list"}, "resource": {"type": "server", "id": server}});
    permitted(&point.ask(list("helpdesk")).await);
    denied(&point.ask(list("other")).await, "tool_not_granted");
    denied(&point.ask(list("access")).await, "server_unknown");
}

#[tokio::test]
async fn au_08_whoever_asks_must_prove_who_they_are() {
    let point = Point::new().await;
    let body = about("agent:planner", "helpdesk/get_ticket", json!({})).to_string();
    let client = point.asker();
    let with = |credentials: &[(&str, String)]| -> Vec<(String, String)> {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        headers.extend(credentials.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        headers
    };
    let dpop = format!("DPoP {}", client.token);
    let before = point.world.records().await.len();
    point.refused(&client, with(&[]), &body, 401, "token_missing").await;
    assert_eq!(point.world.records().await.len(), before, "no credential is no attempt");
    let reply = client.raw(Method::POST, with(&[]), &body).await;
    let challenge = reply.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("/.well-known/oauth-protected-resource/access/v1\""), "{challenge}");
    point
        .refused(&client, with(&[("authorization", format!("Bearer {}", client.token))]), &body, 401, "dpop_proof_missing")
        .await;
    point.refused(&client, with(&[("authorization", dpop.clone())]), &body, 401, "dpop_proof_missing").await;
    let once = with(&[("authorization", dpop.clone()), ("dpop", client.proof("POST", &client.url))]);
    assert_eq!(point.text(&client, once.clone(), &body).await.0, StatusCode::OK);
    point.refused(&client, once, &body, 401, "dpop_proof_replayed").await;
    for url in [format!("{}/evaluations", point.at), point.at.clone()] {
        let elsewhere = with(&[("authorization", dpop.clone()), ("dpop", client.proof("POST", &url))]);
        point.refused(&client, elsewhere, &body, 401, "dpop_proof_invalid").await;
    }
    let mut planner = point.world.all();
    planner.url.clone_from(&client.url);
    point.refused(&planner, planner.headers(&Method::POST), &body, 401, "token_audience_wrong").await;
    let mut others =
        point.world.client(key(9), &access::Claims { iss: "https://evil.example".into(), ..point.claims(point.may(json!({}))) });
    others.url.clone_from(&client.url);
    point.refused(&others, others.headers(&Method::POST), &body, 401, "token_issuer_unknown").await;
    point.world.quarantine("pep").await;
    point.refused(&client, client.headers(&Method::POST), &body, 401, "agent_quarantined").await;
    assert_eq!(point.world.last().await["decision"]["reason_code"], "agent_quarantined");
}

#[tokio::test]
async fn a_token_that_ended_or_was_revoked_asks_no_more() {
    let point = Point::new().await;
    let body = about("agent:planner", "helpdesk/get_ticket", json!({})).to_string();
    let claims = point.claims(point.may(json!({})));
    let mut client = point.world.client(key(9), &claims);
    client.url = format!("{}/evaluation", point.at);
    assert_eq!(point.text(&client, client.headers(&Method::POST), &body).await.0, StatusCode::OK);
    point.world.revoke(Revocation::Jti(claims.jti)).await;
    point.refused(&client, client.headers(&Method::POST), &body, 401, "token_revoked").await;
    let client = point.asker();
    point.world.clock.advance(Duration::from_secs(700));
    point.refused(&client, client.headers(&Method::POST), &body, 401, "token_expired").await;
}

#[tokio::test]
async fn whoever_may_not_ask_is_told_403_and_learns_nothing() {
    let point = Point::new().await;
    let body = about("agent:planner", "helpdesk/get_ticket", json!({})).to_string();
    let at = json!({"type": "tool_access", "locations": [point.at], "actions": ["something"]});
    let strangers = [
        ("tool_not_granted", Authority::parse(&json!([at])).unwrap()),
        ("tool_not_granted", point.world.grant(json!({"actions": ["*"]}))),
        ("argument_not_granted", point.may(json!({"arguments": {"/resource/id": {"prefix": "crm/"}}}))),
        ("argument_not_granted", point.may(json!({"arguments": {"/subject/type": {"eq": "human"}}}))),
        ("tool_not_granted", point.may(json!({"limits": {"calls": 5}}))),
        ("tool_not_granted", point.may(json!({"not_after": NOW - 1}))),
    ];
    for (code, authority) in strangers {
        let client = point.asker_with(authority);
        point.refused(&client, client.headers(&Method::POST), &body, 403, code).await;
    }
    let within = point.asker_with(point.may(json!({"arguments": {"/resource/id": {"prefix": "helpdesk/"}}})));
    assert_eq!(point.text(&within, within.headers(&Method::POST), &body).await.0, StatusCode::OK);
    // A ceiling that is taken away takes it from tokens that are out.
    point.put(agent("pep", Authority::none())).await;
    let client = point.asker();
    point.refused(&client, client.headers(&Method::POST), &body, 403, "tool_not_granted").await;
}

/// SPEC: N-AU-01, N-AU-03 to N-AU-07: one line each.
#[tokio::test]
async fn what_is_no_request_is_a_400() {
    let point = Point::new().await;
    let good = about("agent:planner", "helpdesk/get_ticket", json!({}));
    let without = |path: &str| {
        let mut body = good.clone();
        let (parent, member) = path.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(member);
        body.to_string()
    };
    let with = |path: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(path).unwrap() = value;
        body.to_string()
    };
    let deep = format!("{}1{}", "[".repeat(80), "]".repeat(80));
    let mut bodies: Vec<(String, u16, &str)> = vec![
        ("{}".into(), 400, "request_malformed"),
        ("[]".into(), 400, "request_malformed"),
        (String::new(), 400, "request_malformed"),
        (format!("[{good}]"), 400, "request_malformed"),
        (format!("{good}{good}"), 400, "request_malformed"),
        (good.to_string().replacen("\"action\"", "\"action\":{},\"action\"", 1), 400, "json_duplicate_member"),
        (good.to_string().replacen("\"id\"", "\"id\":\"a\",\"id\"", 1), 400, "json_duplicate_member"),
        (with("/context/arguments", json!({"x": 1})).replace("\"x\":1", &format!("\"x\":{deep}")), 400, "json_too_deep"),
        (with("/subject/id", json!("x".repeat(1025))), 400, "request_malformed"),
        (with("/subject/id", json!("x".repeat(1 << 20))), 413, "request_too_large"),
    ];
    for path in
        ["/subject", "/action", "/resource", "/subject/type", "/subject/id", "/action/name", "/resource/type", "/resource/id"]
    {
        bodies.push((without(path), 400, "request_malformed"));
        for wrong in [json!(5), json!(null), json!(["a"]), json!(true)] {
            bodies.push((with(path, wrong), 400, "request_malformed"));
        }
    }
    for path in ["/context", "/context/arguments"] {
        for wrong in [json!(5), json!(null), json!("a"), json!([])] {
            bodies.push((with(path, wrong), 400, "request_malformed"));
        }
    }
    for entity in ["/subject", "/action", "/resource"] {
        let mut body = good.clone();
        body.pointer_mut(entity).unwrap()["properties"] = json!("text");
        bodies.push((body.to_string(), 400, "request_malformed"));
    }
    let client = point.asker();
    for (body, status, code) in &bodies {
        point.refused(&client, client.headers(&Method::POST), body, *status, code).await;
    }
    assert_eq!(point.world.last().await["outcome"]["status"], "denied", "a refusal of somebody known is recorded");
}

#[tokio::test]
async fn what_is_around_the_body_is_strict_too() {
    let point = Point::new().await;
    let body = about("agent:planner", "helpdesk/get_ticket", json!({})).to_string();
    let client = point.asker();
    let mut plain = client.headers(&Method::POST);
    plain.retain(|(name, _)| name != "content-type");
    point.refused(&client, plain.clone(), &body, 415, "media_type_unsupported").await;
    plain = client.headers(&Method::POST);
    plain.iter_mut().filter(|(name, _)| name == "content-type").for_each(|(_, value)| *value = "text/plain".into());
    point.refused(&client, plain, &body, 415, "media_type_unsupported").await;
    let got = client.raw(Method::GET, client.headers(&Method::GET), "").await;
    assert_eq!((got.status(), &got.headers()["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap()));
    let mut foreign = client.headers(&Method::POST);
    foreign.push(("origin".into(), "https://evil.example".into()));
    point.refused(&client, foreign, &body, 403, "origin_not_allowed").await;
    // SPEC: AU-07, N-AU-15.
    for (id, echoed) in [("bfe9eb29-ab87", true), (&*"x".repeat(128), true), (&*"x".repeat(129), false), ("a b", false)] {
        let mut headers = client.headers(&Method::POST);
        headers.push(("x-request-id".into(), id.into()));
        let reply = client.raw(Method::POST, headers, &body).await;
        assert_eq!(reply.headers().get("x-request-id").and_then(|id| id.to_str().ok()), echoed.then_some(id));
    }
}

#[tokio::test]
async fn many_evaluations_are_one_transaction_and_answered_in_order() {
    let point = Point::new().await;
    let item = |amount: i64| json!({"resource": {"type": "tool", "id": "helpdesk/refund"}, "context": {"arguments": {"amount": amount}}});
    let body = |items: Value, semantic: Value| {
        let mut body = about("agent:planner", "helpdesk/get_ticket", json!({}));
        body["evaluations"] = items;
        body["options"] = json!({"evaluations_semantic": semantic});
        body
    };
    let decisions = |reply: &Reply| -> Vec<bool> {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        assert!(reply.body.get("decision").is_none(), "{}", reply.body);
        reply.body["evaluations"].as_array().unwrap().iter().map(|item| item["decision"].as_bool().unwrap()).collect()
    };
    let items = json!([item(500), item(5), {}, {"subject": {"type": "agent", "id": "nobody"}}]);
    for (semantic, expected) in [
        ("execute_all", vec![false, true, true, false]),
        ("deny_on_first_deny", vec![false]),
        ("permit_on_first_permit", vec![false, true]),
    ] {
        let before = point.world.records().await.len();
        let reply = point.many(body(items.clone(), json!(semantic))).await;
        assert_eq!(decisions(&reply), expected, "{semantic}");
        let records = point.world.records().await;
        assert_eq!(records.len() - before, expected.len(), "{semantic}: each has its record");
        for (told, record) in reply.body["evaluations"].as_array().unwrap().iter().zip(&records[before..]) {
            assert_eq!(told["context"]["record"], record["record_id"]);
        }
    }
    let mut defaulted = body(json!([item(5)]), json!("execute_all"));
    defaulted.as_object_mut().unwrap().remove("options");
    assert_eq!(decisions(&point.many(defaulted).await), [true]);
    // SPEC: AU-05: without a list it is one evaluation, answered as one.
    permitted(&point.many(about("agent:planner", "helpdesk/get_ticket", json!({}))).await);
    permitted(&point.many(body(json!([]), json!("execute_all"))).await);
}

#[tokio::test]
async fn an_item_that_cannot_be_read_or_asked_is_denied_alone() {
    let point = Point::new().await;
    let good = about("agent:planner", "helpdesk/get_ticket", json!({}));
    let broken = [json!(5), json!({"subject": 5}), json!({"subject": {"type": "agent"}}), json!({"context": []})];
    for item in broken {
        let mut body = good.clone();
        body["evaluations"] = json!([item, {}]);
        let reply = point.many(body).await;
        let [first, second] = reply.body["evaluations"].as_array().unwrap().as_slice() else { panic!("{}", reply.body) };
        assert_eq!((&first["decision"], &first["context"]["error"]["status"]), (&json!(false), &json!(400)), "{first}");
        assert_eq!(second["decision"], true, "{second}");
    }
    // The subject is in no default and in no item.
    let body = json!({"action": good["action"], "resource": good["resource"], "evaluations": [{}]});
    assert_eq!(point.many(body).await.body["evaluations"][0]["context"]["error"]["status"], 400);
    // What the asker may ask about is looked at item by item.
    let mut client = point.asker_with(point.may(json!({"arguments": {"/resource/id": {"prefix": "helpdesk/"}}})));
    client.url = format!("{}/evaluations", point.at);
    let mut body = good.clone();
    body["evaluations"] = json!([{}, {"resource": {"type": "tool", "id": "other/get_ticket"}}]);
    let reply = client.send(client.headers(&Method::POST), &body).await;
    assert_eq!(reply.body["evaluations"][0]["decision"], true);
    assert_eq!(reply.body["evaluations"][1]["context"]["error"]["status"], 403, "{}", reply.body);
}

#[tokio::test]
async fn a_list_that_is_none_is_refused_whole() {
    let point = Point::new().await;
    let mut client = point.asker();
    client.url = format!("{}/evaluations", point.at);
    let good = about("agent:planner", "helpdesk/get_ticket", json!({}));
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body["evaluations"] = json!([{}]);
        body[name] = value;
        body.to_string()
    };
    let many = |count: usize| with("evaluations", Value::Array(vec![json!({}); count]));
    let before = point.world.records().await.len();
    for (body, status, code) in [
        (with("evaluations", json!(5)), 400, "request_malformed"),
        (with("evaluations", json!(null)), 400, "request_malformed"),
        (with("evaluations", json!({})), 400, "request_malformed"),
        (with("options", json!([])), 400, "request_malformed"),
        (with("options", json!({"evaluations_semantic": "execute_some"})), 400, "request_malformed"),
        (with("options", json!({"evaluations_semantic": "EXECUTE_ALL"})), 400, "request_malformed"),
        (with("options", json!({"evaluations_semantic": 1})), 400, "request_malformed"),
        (with("subject", json!(5)), 400, "request_malformed"),
        (with("context", json!([])), 400, "request_malformed"),
        (many(101), 413, "request_too_large"),
    ] {
        point.refused(&client, client.headers(&Method::POST), &body, status, code).await;
    }
    assert_eq!(point.world.records().await.len() - before, 10, "one record of each refusal, none of an item");
    assert_eq!(point.text(&client, client.headers(&Method::POST), &many(100)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn n_au_16_the_same_question_gets_the_same_decision() {
    let point = Point::new().await;
    let ask = about("agent:planner", "helpdesk/refund", json!({"amount": 500}));
    let mut first = point.ask(ask.clone()).await.body;
    let mut second = point.ask(ask).await.body;
    assert_ne!(first["context"]["record"], second["context"]["record"], "each is its own fact");
    for body in [&mut first, &mut second] {
        body["context"].as_object_mut().unwrap().remove("record");
    }
    assert_eq!(first, second);
}

#[tokio::test]
async fn what_is_there_is_published_and_what_is_not_is_left_out() {
    let point = Point::new().await;
    let client = point.asker();
    let get = async |path: &str| {
        let mut client = point.asker();
        client.url = format!("{}{path}", point.world.base);
        crate::world::whole(client.raw(Method::GET, Vec::new(), "").await).await
    };
    let found = get("/.well-known/authzen-configuration").await;
    assert_eq!(
        found.body,
        json!({"policy_decision_point": point.world.base, "access_evaluation_endpoint": client.url,
            "access_evaluations_endpoint": format!("{}/evaluations", point.at)})
    );
    let found = get("/.well-known/oauth-protected-resource/access/v1").await;
    assert_eq!((&found.body["resource"], &found.body["scopes_supported"]), (&json!(point.at), &json!(["access:evaluate"])));
    assert_eq!(get("/access/v1/search/subject").await.status, StatusCode::NOT_FOUND);
    let without = World::new(true).await;
    let mut client = without.all();
    for path in ["/access/v1/evaluation", "/.well-known/authzen-configuration"] {
        client.url = format!("{}{path}", without.base);
        assert_eq!(client.raw(Method::POST, Vec::new(), "").await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn nothing_is_decided_that_cannot_be_recorded() {
    let point = Point::new().await;
    let body = about("agent:planner", "helpdesk/get_ticket", json!({})).to_string();
    let client = point.asker();
    point.world.store.set_witnesses(false);
    point.refused(&client, client.headers(&Method::POST), &body, 503, "witness_quorum_lost").await;
    point.world.store.set_witnesses(true);
    assert_eq!(point.text(&client, client.headers(&Method::POST), &body).await.0, StatusCode::OK);
    point.world.store.close().await.unwrap();
    let (status, _) = point.text(&client, client.headers(&Method::POST), &body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_nonce_is_given_where_one_is_required() {
    let point = Point::of(|settings| settings.nonce_required = true).await;
    let client = point.asker();
    let body = about("agent:planner", "helpdesk/get_ticket", json!({})).to_string();
    let reply = client.raw(Method::POST, client.headers(&Method::POST), &body).await;
    assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    assert!(reply.headers().contains_key("dpop-nonce"));
}

#[tokio::test]
async fn whoever_is_asked_about_is_named_nowhere_in_plain() {
    let point = Point::new().await;
    for subject in ["human:ann@example.com, patient Quine", "agent:ann@example.com, patient Quine"] {
        let reply = point.ask(about(subject, "helpdesk/refund", json!({}))).await;
        assert!(reply.body["context"]["reason"].as_str().unwrap().contains("Quine"), "the asker knows already: {}", reply.body);
        let record = point.world.last().await;
        assert_eq!(record["decision"]["result"], "deny");
        assert!(!record.to_string().contains("Quine"), "{record}");
    }
}

#[tokio::test]
async fn defaults_do_not_make_a_small_request_a_large_one() {
    let point = Point::new().await;
    let before = point.world.store.len();
    let mut body = about("agent:planner", "helpdesk/refund", json!({"note": "x".repeat(20_000)}));
    body["evaluations"] = json!(vec![json!({}); 100]);
    let reply = point.many(body.clone()).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", reply.body);
    assert_eq!(point.world.store.len(), before + 1, "one refusal");
    body["evaluations"] = json!(vec![json!({}); 10]);
    assert_eq!(point.many(body).await.status, StatusCode::OK);
}
