//! Who is calling: tokens, proofs, standing. Every way to get it wrong has its own code.

use crate::world::{Client, NOW, Wish, World, actor, key};
use hyper::Method;
use remit_model::{AgentId, AgentStatus, HumanStatus, TenantId, UnixTime};
use remit_store::{Batch, Change, Revocation};
use remit_token::{dpop, sign_jws};
use serde_json::{Value, json};
use std::time::Duration;

fn list() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}})
}

/// An otherwise honest request with these credentials.
fn with(authorization: Option<&str>, proofs: &[&str]) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    headers.extend(authorization.map(|value| ("authorization".to_owned(), value.to_owned())));
    headers.extend(proofs.iter().map(|proof| ("dpop".to_owned(), (*proof).to_owned())));
    headers
}

async fn refused(client: &Client<'_>, authorization: Option<&str>, proofs: &[&str], code: &str) {
    let reply = client.send(with(authorization, proofs), &list()).await;
    reply.refused(401, code);
    let challenges: Vec<_> = reply.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
    // PR-03: one for each scheme that can be used; what else a server can take is in `bearer.rs`.
    assert_eq!(challenges.len(), 1, "{challenges:?}");
    let algs = format!("DPoP algs=\"{}\", resource_metadata=\"http://127.0.0.1:", remit_token::Algorithm::ACCEPTED.join(" "));
    assert!(challenges[0].starts_with(&algs), "{challenges:?}");
}

fn custom<'a>(client: &'a Client<'_>, change: impl FnOnce(&mut dpop::ProofFor<'a>)) -> String {
    let jti: &'static str = Box::leak(client.world.unique().into_boxed_str());
    let mut request = dpop::ProofFor {
        method: "POST",
        url: &client.url,
        now: client.world.clock.unix(),
        jti,
        access_token: Some(&client.token),
        ..dpop::ProofFor::default()
    };
    change(&mut request);
    dpop::create(&client.key, &request).unwrap()
}

#[tokio::test]
async fn a_stolen_token_is_worthless_without_its_key() {
    let world = World::new(true).await;
    let client = world.all();
    refused(&client, None, &[], "token_missing").await;
    let bearer = format!("Bearer {}", client.token);
    refused(&client, Some(&bearer), &[], "dpop_proof_missing").await;
    refused(&client, Some(&bearer), &[&client.proof("POST", &client.url)], "dpop_proof_missing").await;
    let dpop = format!("DPoP {}", client.token);
    refused(&client, Some(&dpop), &[], "dpop_proof_missing").await;
    let thief = Client {
        key: key(66),
        session: None,
        url: client.url.clone(),
        token: client.token.clone(),
        http: client.http.clone(),
        ..client
    };
    refused(&thief, Some(&dpop), &[&thief.proof("POST", &thief.url)], "dpop_key_mismatch").await;
    assert!(world.fake.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn n_dp_09_a_proof_is_good_once() {
    let world = World::new(true).await;
    let client = world.all();
    let (headers, body) = client.modern_request("tools/list", json!({}));
    client.send(headers.clone(), &body).await.result();
    client.send(headers, &body).await.refused(401, "dpop_proof_replayed");
}

#[tokio::test]
async fn n_dp_09_a_refused_request_is_not_good_later() {
    let world = World::new(true).await;
    let client = world.all();
    let (headers, body) = client.modern_request("tools/list", json!({}));
    world.quarantine("planner").await;
    client.send(headers.clone(), &body).await.refused(401, "agent_quarantined");
    client.send(headers.clone(), &body).await.refused(401, "dpop_proof_replayed");
    let active = Change::SetAgentStatus { agent: AgentId::parse("planner").unwrap(), status: AgentStatus::Active };
    world.store.apply(Batch::new(TenantId::main()).change(active)).await.unwrap();
    client.send(headers, &body).await.refused(401, "dpop_proof_replayed");
    client.modern("tools/list", json!({})).await.result();
}

#[tokio::test]
async fn n_dp_09_who_may_not_act_takes_no_room_among_the_proofs() {
    let world = Wish::new(true).settings(|settings| settings.remembered_proofs = 64).build().await;
    let (client, other) = (world.all(), world.helper(world.grant(json!({"actions": ["*"]}))));
    world.quarantine("helper").await;
    for _ in 0..300 {
        other.call("ticket_read", json!({})).await.refused(401, "agent_quarantined");
    }
    client.call("ticket_read", json!({})).await.result();
    // Those who may act fill it, and then nothing is accepted that could not be remembered.
    let mut full = false;
    for _ in 0..300 {
        full |= client.call("ticket_read", json!({})).await.body["error"]["data"]["code"] == "rate_limited";
    }
    assert!(full);
}

#[tokio::test]
async fn n_dp_04_05_10_a_proof_is_for_this_request_and_token() {
    let world = World::new(true).await;
    let client = world.all();
    let dpop = format!("DPoP {}", client.token);
    let other = world.all();
    let wrong: Vec<String> = vec![
        custom(&client, |request| request.method = "GET"),
        custom(&client, |request| request.method = "post"),
        custom(&client, |request| request.url = "http://evil.example/mcp/helpdesk"),
        custom(&client, |request| request.url = "https://127.0.0.1/mcp/helpdesk"),
        custom(&client, |request| request.access_token = None),
        custom(&client, |request| request.access_token = Some(&other.token)),
        custom(&client, |request| request.now = UnixTime(NOW - 301)),
        custom(&client, |request| request.now = UnixTime(NOW + 301)),
        "not.a.proof".to_owned(),
        String::new(),
    ];
    for proof in &wrong {
        refused(&client, Some(&dpop), &[proof], "dpop_proof_invalid").await;
    }
    let two = [client.proof("POST", &client.url), client.proof("POST", &client.url)];
    refused(&client, Some(&dpop), &[&two[0], &two[1]], "dpop_proof_invalid").await;
    let path = format!("{}/mcp/other", world.base);
    refused(&client, Some(&dpop), &[&custom(&client, |request| request.url = &path)], "dpop_proof_invalid").await;
}

#[tokio::test]
async fn n_dp_01_02_03_a_proof_has_the_right_form() {
    let world = World::new(true).await;
    let client = world.all();
    let dpop = format!("DPoP {}", client.token);
    let claims = json!({"jti": "x1", "htm": "POST", "htu": client.url, "iat": NOW});
    let jwk = client.key.public().to_jwk();
    let mut private = jwk.clone();
    private["d"] = json!("AAAA");
    for proof in [
        sign_jws("JWT", &client.key, Some(json!({"jwk": jwk})), &claims).unwrap(),
        sign_jws("dpop+jwt", &client.key, None, &claims).unwrap(),
        sign_jws("dpop+jwt", &client.key, Some(json!({"jwk": private})), &claims).unwrap(),
        sign_jws("dpop+jwt", &key(66), Some(json!({"jwk": jwk})), &claims).unwrap(),
    ] {
        refused(&client, Some(&dpop), &[&proof], "dpop_proof_invalid").await;
    }
}

#[tokio::test]
async fn n_dp_14_15_a_required_nonce_is_asked_for_and_then_enough() {
    let world = Wish::new(true).settings(|settings| settings.nonce_required = true).build().await;
    let client = world.all();
    let (headers, body) = client.modern_request("tools/list", json!({}));
    let reply = client.send(headers, &body).await;
    reply.refused(401, "dpop_nonce_required");
    assert_eq!(reply.headers["cache-control"], "no-store", "DP-15");
    assert!(
        reply
            .headers
            .get_all("www-authenticate")
            .iter()
            .any(|value| value.to_str().unwrap().contains("error=\"use_dpop_nonce\""))
    );
    let nonce = reply.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let dpop = format!("DPoP {}", client.token);
    let good = client.send(with(Some(&dpop), &[&custom(&client, |request| request.nonce = Some(&nonce))]), &list()).await;
    good.result();
    assert!(good.headers.contains_key("dpop-nonce"), "DP-07: rolled on success");
    refused(&client, Some(&dpop), &[&custom(&client, |request| request.nonce = Some("made-up"))], "dpop_nonce_required").await;
    // C19: clients keep one nonce for each origin, so one that the token endpoint issued is as good here.
    let token_endpoint = dpop::Nonces::new(&[8; 32], dpop::nonce::PERIOD_SECS).issue(UnixTime(NOW));
    let proof = custom(&client, |request| request.nonce = Some(&token_endpoint));
    client.send(with(Some(&dpop), &[&proof]), &list()).await.result();
    let another_process = dpop::Nonces::new(&[9; 32], 150).issue(UnixTime(NOW));
    let foreign = custom(&client, |request| request.nonce = Some(&another_process));
    refused(&client, Some(&dpop), &[&foreign], "dpop_nonce_required").await;
    world.clock.advance(Duration::from_secs(400));
    refused(&client, Some(&dpop), &[&custom(&client, |request| request.nonce = Some(&nonce))], "dpop_nonce_required").await;
}

#[tokio::test]
async fn dp_09_a_proof_that_an_earlier_process_may_have_accepted_needs_a_nonce() {
    let world = World::new(true).await;
    let client = world.all();
    let dpop = format!("DPoP {}", client.token);
    let old = custom(&client, |request| request.now = UnixTime(NOW - 5));
    refused(&client, Some(&dpop), &[&old], "dpop_nonce_required").await;
}

#[tokio::test]
async fn n_mg_01_a_token_for_another_server_is_refused() {
    let world = World::new(true).await;
    let mut client = world.all();
    client.call("ticket_read", json!({})).await.result();
    client.url = format!("{}/mcp/other", world.base);
    client.call("ticket_read", json!({})).await.refused(401, "token_audience_wrong");
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), key(7).public().thumbprint());
    claims.aud = "https://elsewhere.example/mcp/helpdesk".into();
    world.client(key(7), &claims).call("ticket_read", json!({})).await.refused(401, "token_audience_wrong");
}

#[tokio::test]
async fn n_at_01_02_04_other_tokens_are_not_access_tokens() {
    let world = World::new(true).await;
    let client = world.all();
    let claims =
        serde_json::to_value(json!({"iss": world.base, "sub": "user:alice", "aud": world.location, "iat": NOW, "exp": NOW + 60,
        "client_id": "agent:planner", "scope": "", "jti": "x", "txn": "c", "authorization_details": []}))
        .unwrap();
    for typ in ["JWT", "dpop+jwt", "client-authentication+jwt", "delegation+jwt", "secevent+jwt"] {
        let token = sign_jws(typ, &world.issuer_key, None, &claims).unwrap();
        refused(&client, Some(&format!("DPoP {token}")), &[&client.proof("POST", &client.url)], "token_type_wrong").await;
    }
    let stranger = sign_jws("at+jwt", &key(99), None, &claims).unwrap();
    refused(&client, Some(&format!("DPoP {stranger}")), &[&client.proof("POST", &client.url)], "token_signature_invalid").await;
    let mut foreign = claims.clone();
    foreign["iss"] = json!("https://evil.example");
    let foreign = sign_jws("at+jwt", &world.issuer_key, None, &foreign).unwrap();
    refused(&client, Some(&format!("DPoP {foreign}")), &[&client.proof("POST", &client.url)], "token_issuer_unknown").await;
    for broken in ["DPoP", "DPoP a.b.c", "Basic dXNlcjpwYXNz", "DPoP  "] {
        let reply = client.send(with(Some(broken), &[]), &list()).await;
        assert_eq!(reply.status, 401, "{broken}");
    }
}

#[tokio::test]
async fn x_08_two_credentials_are_refused() {
    let world = World::new(true).await;
    let client = world.all();
    let mut headers = client.modern_request("tools/list", json!({})).0;
    headers.push(("authorization".into(), format!("DPoP {}", client.token)));
    client.send(headers, &list()).await.refused(401, "token_malformed");
}

#[tokio::test]
async fn an_unbound_token_is_refused() {
    let world = World::new(true).await;
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), "x");
    claims.cnf_jkt = None;
    world.client(key(7), &claims).call("ticket_read", json!({})).await.refused(401, "dpop_key_mismatch");
}

#[tokio::test]
async fn an_expired_token_is_refused_even_when_it_was_seen_before() {
    let world = World::new(true).await;
    let client = world.all();
    client.call("ticket_read", json!({})).await.result();
    world.clock.advance(Duration::from_secs(631));
    client.call("ticket_read", json!({})).await.refused(401, "token_expired");
}

/// SPEC: N-RV-03
#[tokio::test]
async fn a_revoked_token_and_everything_below_it_is_refused() {
    let world = World::new(true).await;
    let all = world.grant(json!({"actions": ["*"]}));
    let (planner, helper) = (world.all(), world.helper(all));
    planner.call("ticket_read", json!({})).await.result();
    helper.call("ticket_read", json!({})).await.result();
    world.revoke(Revocation::Jti("parent-jti".into())).await;
    helper.call("ticket_read", json!({})).await.refused(401, "token_revoked");
    planner.call("ticket_read", json!({})).await.result();
    world.revoke(Revocation::Txn("chain-1".into())).await;
    planner.call("ticket_read", json!({})).await.refused(401, "token_revoked");
}

#[tokio::test]
async fn a_quarantined_agent_takes_its_sub_agents_with_it() {
    let world = World::new(true).await;
    let all = world.grant(json!({"actions": ["*"]}));
    let (planner, helper) = (world.all(), world.helper(all));
    helper.call("ticket_read", json!({})).await.result();
    world.quarantine("planner").await;
    for client in [&planner, &helper] {
        let reply = client.call("ticket_read", json!({})).await;
        reply.refused(401, "agent_quarantined");
        assert!(reply.body["error"]["message"].as_str().unwrap().contains("agent:planner"), "names which");
    }
    let retire = Change::SetAgentStatus { agent: AgentId::parse("helper").unwrap(), status: AgentStatus::Retired };
    let release = Change::SetAgentStatus { agent: AgentId::parse("planner").unwrap(), status: AgentStatus::Active };
    world.store.apply(Batch::new(TenantId::main()).change(retire).change(release)).await.unwrap();
    helper.call("ticket_read", json!({})).await.refused(401, "agent_retired");
    planner.call("ticket_read", json!({})).await.result();
}

#[tokio::test]
async fn a_disabled_human_ends_what_was_delegated() {
    let world = World::new(true).await;
    let client = world.all();
    client.call("ticket_read", json!({})).await.result();
    let alice = world.store.snapshot().human("alice").unwrap().as_ref().clone();
    let disabled = remit_model::Human { status: HumanStatus::Disabled, ..alice };
    world.store.apply(Batch::new(TenantId::main()).change(Change::PutHuman(disabled))).await.unwrap();
    client.call("ticket_read", json!({})).await.refused(401, "human_disabled");
}

#[tokio::test]
async fn n_dc_15_an_actor_of_another_issuer_is_another_party() {
    let world = World::new(true).await;
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), key(7).public().thumbprint());
    claims.act = Some(actor("https://evil.example", "agent:planner", None));
    world.client(key(7), &claims).call("ticket_read", json!({})).await.refused(401, "client_unknown");
    claims.act = Some(actor(&world.base, "agent:nobody", None));
    world.client(key(7), &claims).call("ticket_read", json!({})).await.refused(401, "client_unknown");
}

#[tokio::test]
async fn n_dp_15_every_method_of_the_endpoint_wants_a_proof() {
    let world = World::new(true).await;
    let client = world.all();
    for method in [Method::GET, Method::DELETE, Method::POST] {
        let reply = crate::world::whole(client.raw(method, with(None, &[]), "").await).await;
        reply.refused(401, "token_missing");
    }
}
