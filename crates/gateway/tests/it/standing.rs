//! A token that is in use is remembered; what the world says of those it names is not, beyond one revision of it.

use crate::world::{Client, Wish, World, actor, agent, key};
use remit_ledger::{
    Draft,
    record::{ProducerKind, RecordType},
    vault::Subject,
};
use remit_model::{AgentId, AgentStatus, HumanStatus, TenantId, ToolClass, criterion};
use remit_store::{Batch, Change, Revocation};
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn apply(world: &World, change: Change) {
    world.store.apply(Batch::new(TenantId::main()).change(change)).await.unwrap();
}

#[tokio::test]
async fn a_changed_ceiling_bites_on_the_very_next_call() {
    let world = World::new(true).await;
    let (planner, helper) = (world.all(), world.helper(world.grant(json!({"actions": ["*"]}))));
    for client in [&planner, &helper] {
        client.call("refund", json!({})).await.result();
    }
    let read_only = agent("planner", world.grant(json!({"actions": ["ticket_read"]})));
    apply(&world, Change::PutAgent(read_only)).await;
    for client in [&planner, &helper] {
        client.call("refund", json!({})).await.refused(200, "tool_not_granted");
        client.call("ticket_read", json!({})).await.result();
    }
    apply(&world, Change::PutAgent(agent("planner", world.grant(json!({"actions": ["*"]}))))).await;
    planner.call("refund", json!({})).await.result();
    let masked = agent("planner", world.grant(json!({"actions": ["*"], "fields": ["/id"]})));
    apply(&world, Change::PutAgent(masked)).await;
    let reply = planner.call("ticket_read", json!({})).await;
    assert!(!reply.result().to_string().contains("ann@example.com"), "a ceiling that masks masks at once");
}

#[tokio::test]
async fn changed_entitlements_and_a_disabled_human_bite_on_the_very_next_call() {
    let world = World::new(true).await;
    let client = world.all();
    client.call("refund", json!({})).await.result();
    let alice = world.store.snapshot().human("alice").unwrap().as_ref().clone();
    let less = remit_model::Human { entitlements: world.grant(json!({"actions": ["ticket_read"]})), ..alice };
    apply(&world, Change::PutHuman(less.clone())).await;
    client.call("refund", json!({})).await.refused(200, "tool_not_granted");
    apply(&world, Change::PutHuman(remit_model::Human { status: HumanStatus::Disabled, ..less })).await;
    client.call("ticket_read", json!({})).await.refused(401, "human_disabled");
}

#[tokio::test]
async fn changes_about_others_neither_help_nor_hurt() {
    let world = World::new(true).await;
    let client = world.planner(world.grant(json!({"actions": ["ticket_read"]})));
    for n in 0..3 {
        apply(&world, Change::PutAgent(agent(&format!("other-{n}"), world.grant(json!({"actions": ["*"]}))))).await;
        world.revoke(Revocation::Jti(format!("other-{n}"))).await;
        client.call("ticket_read", json!({})).await.result();
        client.call("refund", json!({})).await.refused(200, "tool_not_granted");
    }
    // And among them one that is about this chain.
    world.revoke(Revocation::Txn("chain-1".into())).await;
    client.call("ticket_read", json!({})).await.refused(401, "token_revoked");
    client.call("ticket_read", json!({})).await.refused(401, "token_revoked");
}

#[tokio::test]
async fn quarantine_bites_at_once_and_its_end_is_seen_at_once() {
    let world = World::new(true).await;
    let client = world.all();
    client.call("ticket_read", json!({})).await.result();
    for _ in 0..2 {
        world.quarantine("planner").await;
        client.call("ticket_read", json!({})).await.refused(401, "agent_quarantined");
        let agent = AgentId::parse("planner").unwrap();
        apply(&world, Change::SetAgentStatus { agent, status: AgentStatus::Active }).await;
        client.call("ticket_read", json!({})).await.result();
    }
}

#[tokio::test]
async fn an_erasure_leaves_nothing_of_the_person_in_memory_and_nothing_comes_back() {
    let world = World::new(true).await;
    let client = world.all();
    client.call("ticket_read", json!({})).await.result();
    assert_eq!(world.gate.remembered_tokens(), 1);
    let alice = Subject::Principal { iss: world.base.clone(), sub: "user:alice".into() };
    let asked = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .action("ledger.erase", ToolClass::Admin)
        .ext("redaction", json!({"legal_basis": "asked for"}));
    world.store.erase(&alice, asked).await.unwrap();
    assert_eq!(world.gate.remembered_tokens(), 0, "though nobody called since");
    for _ in 0..2 {
        client.call("ticket_read", json!({})).await.refused(401, "human_unknown");
        let mut headers = client.modern_request("tools/list", json!({})).0;
        headers.retain(|(name, _)| name != "dpop");
        client.send(headers, &json!({})).await.refused(401, "dpop_proof_missing");
        assert_eq!(world.gate.remembered_tokens(), 0);
    }
}

#[tokio::test]
async fn policies_see_the_labels_and_the_owner_of_now() {
    let text =
        "permit (principal in Group::\"team=support\", action, resource) when { principal is Agent && principal has owner };";
    let world = Wish { policy: vec![("p.cedar".into(), text.into())], ..Wish::new(true) }.build().await;
    let client = world.all();
    client.call("ticket_read", json!({})).await.refused(200, "policy_denied");
    let mut labelled = agent("planner", world.grant(json!({"actions": ["*"]})));
    labelled.labels.insert("team".into(), "support".into());
    apply(&world, Change::PutAgent(labelled.clone())).await;
    client.call("ticket_read", json!({})).await.result();
    labelled.labels.insert("team".into(), "sales".into());
    labelled.owner = "user:bob".into();
    apply(&world, Change::PutAgent(labelled)).await;
    client.call("ticket_read", json!({})).await.refused(200, "policy_denied");
}

/// Sends a request but for the last byte of its body, lets the world change, and sends the rest.
async fn held_back(client: &Client<'_>, change: impl Future<Output = ()>) -> String {
    let (headers, body) = client.modern_request("tools/call", json!({"name": "refund", "arguments": {}}));
    let body = body.to_string();
    let url: hyper::Uri = client.url.parse().unwrap();
    let authority = url.authority().unwrap().to_string();
    let mut head = format!("POST {} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n", url.path());
    for (name, value) in headers {
        head.push_str(&[&name, ": ", &value, "\r\n"].concat());
    }
    let (most, last) = body.split_at(body.len() - 1);
    let mut socket = TcpStream::connect(authority).await.unwrap();
    let sent = format!("{head}content-length: {}\r\n\r\n{most}", body.len());
    socket.write_all(sent.as_bytes()).await.unwrap();
    // PAUSE: the request is identified before its body is whole. Were the pause too short, the test would prove less.
    tokio::time::sleep(Duration::from_millis(200)).await;
    change.await;
    socket.write_all(last.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_call_whose_body_was_held_back_gets_no_more_than_when_it_ends() {
    let world = World::new(true).await;
    let client = world.all();
    client.call("refund", json!({})).await.result();
    let answer = held_back(&client, async {}).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"result\""), "{answer}");
    let read_only = agent("planner", world.grant(json!({"actions": ["ticket_read"]})));
    let answer = held_back(&client, apply(&world, Change::PutAgent(read_only))).await;
    assert!(answer.contains("tool_not_granted"), "{answer}");
    let answer = held_back(&client, world.quarantine("planner")).await;
    assert!(answer.contains("agent_quarantined"), "{answer}");
    let answer = held_back(&client, world.revoke(Revocation::Txn("chain-1".into()))).await;
    assert!(answer.contains("token_revoked") || answer.contains("agent_quarantined"), "{answer}");
}

/// SPEC: RV-05
#[tokio::test]
async fn rv_05_what_an_agent_a_key_or_a_server_was_issued_before_is_refused_at_the_next_call() {
    for by in ["agent", "key", "resource", "elsewhere"] {
        let world = World::new(true).await;
        let whole = || world.grant(json!({"actions": ["*"]}));
        let planner = world.all();
        let bound_to = planner.key.public().thumbprint().to_owned();
        let mut claims = world.claims(whole(), key(8).public().thumbprint());
        claims.act = Some(actor(&world.base, "agent:helper", Some(actor(&world.base, "agent:planner", None))));
        claims.ancestor_jkts = vec![bound_to.clone()];
        let helper = world.client(key(8), &claims);
        for client in [&planner, &helper] {
            client.call("ticket_read", json!({})).await.result();
        }
        let criterion = match by {
            "agent" => criterion::agent(&AgentId::parse("planner").unwrap()),
            "key" => criterion::key(&bound_to),
            "resource" => criterion::resource(&world.location),
            _ => criterion::resource("https://elsewhere.example/"),
        };
        let before = world.clock.unix().plus(1);
        apply(&world, Change::RevokeIssued { criterion, before, until: before.plus(100_000) }).await;
        if by == "elsewhere" {
            planner.call("ticket_read", json!({})).await.result();
            continue;
        }
        // What came from it goes too: its agent, its key and its server are those of the chain.
        for client in [&planner, &helper, &world.all()] {
            client.call("ticket_read", json!({})).await.refused(401, "token_revoked");
        }
        world.clock.advance(Duration::from_secs(1));
        let mut claims = world.claims(whole(), key(7).public().thumbprint());
        claims.iat = world.clock.unix();
        world.client(key(7), &claims).call("ticket_read", json!({})).await.result();
        planner.call("ticket_read", json!({})).await.refused(401, "token_revoked");
    }
}

/// The outermost actor is the one that acts. Those beneath it only take away: who they are permits nothing. SPEC: DC-11
#[tokio::test]
async fn dc_11_an_inner_actor_permits_nothing_and_one_of_another_issuer_ends_the_call() {
    let world = World::new(true).await;
    let narrow = agent("helper", world.grant(json!({"actions": ["ticket_read"]})));
    apply(&world, Change::PutAgent(narrow)).await;
    let whole = || world.grant(json!({"actions": ["*"]}));
    let with = |inner: Option<remit_token::Actor>| {
        let mut claims = world.claims(whole(), key(8).public().thumbprint());
        claims.act = Some(actor(&world.base, "agent:helper", inner));
        world.client(key(8), &claims)
    };
    // The same answer with and without the planner beneath, who may do everything.
    for client in [with(None), with(Some(actor(&world.base, "agent:planner", None)))] {
        client.call("ticket_read", json!({})).await.result();
        client.call("refund", json!({})).await.refused(200, "tool_not_granted");
    }
    let foreign = with(Some(actor("https://other.example", "agent:planner", None)));
    foreign.call("ticket_read", json!({})).await.refused(401, "client_unknown");
    let planner = world.store.snapshot().agent_named("planner").unwrap().as_ref().clone();
    apply(&world, Change::PutAgent(remit_model::Agent { status: AgentStatus::Quarantined, ..planner })).await;
    with(Some(actor(&world.base, "agent:planner", None))).call("ticket_read", json!({})).await.refused(401, "agent_quarantined");
    with(None).call("ticket_read", json!({})).await.result();
}
