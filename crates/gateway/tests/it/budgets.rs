//! A limit holds over everyone who holds a part of the grant, however they came by it.

use crate::world::{NOW, World, agent, key};
use remit_model::{Authority, Chain, EdgeProof, Hop, Principal, TenantId, UnixTime};
use remit_store::{Batch, Change, StoredToken};
use remit_token::access::Claims;
use serde_json::{Value, json};
use std::sync::Arc;

fn hop(world: &World, from: Principal, to: &str, jkt: &str, authority: Authority) -> Hop {
    Hop {
        delegator: from,
        delegate: Principal::local(&world.base, to),
        jkt: Some(jkt.to_owned()),
        x5t: None,
        authority,
        purpose: None,
        expires: UnixTime(NOW + 600),
        jti: format!("hop-to-{to}"),
        edge: EdgeProof::Statement("a.b.c".to_owned()),
        signed: None,
    }
}

/// The chain from Alice to the planner.
fn consented(world: &World, authority: Authority) -> Chain {
    let alice = Principal::human(&world.base, "alice");
    let mut chain = Chain::new("chain-1".to_owned(), alice.clone());
    chain.hops.push(hop(world, alice, "agent:planner", key(7).public().thumbprint(), authority));
    chain
}

/// As the authorization server does: no token leaves before the store knows it.
async fn issue(world: &World, claims: &Claims, chain: &Chain) {
    let token = StoredToken {
        jti: claims.jti.clone(),
        chain: chain.clone(),
        authority: claims.authority.clone(),
        parent: claims.ancestors.first().cloned(),
        client: claims.client_id.clone(),
        jkt: claims.cnf_jkt.clone(),
        audience: claims.aud.clone(),
        issued: claims.iat,
        expires: claims.exp,
        family: None,
        keys: Vec::new(),
    };
    world.store.apply(Batch::new(TenantId::main()).change(Change::IssueToken(Arc::new(token)))).await.unwrap();
}

fn refunds(world: &World, most: u32, calls: u32) -> Authority {
    world.grant(json!({"actions": ["refund"], "arguments": {"/amount": {"max": most}}, "limits": {"calls": calls, "spend": {"/amount": 100}}}))
}

#[tokio::test]
async fn n_dc_07_neither_narrowing_nor_refreshing_ones_own_token_multiplies_a_limit() {
    for narrowed in [true, false] {
        let world = World::new(true).await;
        let chain = consented(&world, refunds(&world, 50, 2));
        let mut first = None;
        for (n, most) in [50, 49, 48, 47].into_iter().enumerate() {
            let mut claims = world.claims(refunds(&world, most, 2), key(7).public().thumbprint());
            // A narrower copy descends from a token; a narrower refresh descends from none.
            claims.ancestors = first.iter().filter(|_| narrowed).cloned().collect();
            first.get_or_insert_with(|| claims.jti.clone());
            issue(&world, &claims, &chain).await;
            let reply = world.client(key(7), &claims).call("refund", json!({"amount": 1})).await;
            match n {
                0 | 1 => _ = reply.result(),
                _ => reply.refused(200, "limit_exhausted"),
            }
        }
        assert_eq!(world.fake.calls(), 2);
    }
}

#[tokio::test]
async fn n_dc_07_parent_and_child_draw_on_one_limit() {
    let world = World::new(true).await;
    let parent = consented(&world, refunds(&world, 50, 3));
    let mut child = parent.clone();
    let planner = parent.holder().clone();
    child.hops.push(hop(&world, planner, "agent:helper", key(8).public().thumbprint(), refunds(&world, 20, 3)));
    let claims = world.claims(refunds(&world, 50, 3), key(7).public().thumbprint());
    issue(&world, &claims, &parent).await;
    let (parent, above) = (world.client(key(7), &claims), claims.jti);
    let mut claims = world.claims(refunds(&world, 20, 3), key(8).public().thumbprint());
    claims.client_id = "agent:helper".into();
    claims.ancestors = vec![above];
    let inner = crate::world::actor(&world.base, "agent:planner", None);
    claims.act = Some(crate::world::actor(&world.base, "agent:helper", Some(inner)));
    issue(&world, &claims, &child).await;
    let child = world.client(key(8), &claims);
    child.call("refund", json!({"amount": 20})).await.result();
    parent.call("refund", json!({"amount": 50})).await.result();
    parent.call("refund", json!({"amount": 31})).await.refused(200, "limit_exhausted");
    child.call("refund", json!({"amount": 20})).await.result();
    child.call("refund", json!({"amount": 1})).await.refused(200, "limit_exhausted");
    parent.call("refund", json!({"amount": 1})).await.refused(200, "limit_exhausted");
    assert_eq!(world.fake.calls(), 3);
}

#[tokio::test]
async fn n_dc_07_a_new_token_does_not_begin_the_limit_of_a_ceiling_anew() {
    let world = World::new(true).await;
    let ceiling = Change::PutAgent(agent("planner", refunds(&world, 50, 2)));
    world.store.apply(Batch::new(TenantId::main()).change(ceiling)).await.unwrap();
    for n in 0..4 {
        let mut claims = world.claims(refunds(&world, 50 - n, 2), key(7).public().thumbprint());
        (claims.sub, claims.act) = ("agent:planner".into(), None);
        claims.txn = format!("own-{n}");
        issue(&world, &claims, &Chain::new(claims.txn.clone(), Principal::local(&world.base, &claims.sub))).await;
        let reply = world.client(key(7), &claims).call("refund", json!({"amount": 1})).await;
        if n < 2 { _ = reply.result() } else { reply.refused(200, "limit_exhausted") }
    }
    assert_eq!(world.fake.calls(), 2);
}

#[tokio::test]
async fn another_grant_pays_when_one_is_used_up_and_shows_only_its_own_fields() {
    let world = World::new(true).await;
    let held = world.grants(&[
        json!({"actions": ["ticket_read"], "limits": {"calls": 1}}),
        json!({"actions": ["ticket_read"], "fields": ["/id"], "limits": {"calls": 3}}),
    ]);
    let chain = consented(&world, held.clone());
    let claims = world.claims(held, key(7).public().thumbprint());
    issue(&world, &claims, &chain).await;
    let client = world.client(key(7), &claims);
    let seen = |reply: &Value| reply["structuredContent"]["customer"].is_object();
    let mut shown = Vec::new();
    for _ in 0..2 {
        shown.push(seen(client.call("ticket_read", json!({})).await.result()));
    }
    assert_eq!(shown, [true, false]);
}

#[tokio::test]
async fn alternatives_of_one_meaning_share_one_budget() {
    for limits in [json!({"calls": 1}), json!({"name": "refunds", "calls": 1}), json!({"spend": {"/amount": 1}})] {
        let world = World::new(true).await;
        let one = |least: u32| json!({"actions": ["refund"], "arguments": {"/amount": {"min": 1}, "/n": {"eq": least}}, "limits": limits});
        let held = world.grants(&[one(1), one(2), one(3), one(4)]);
        let chain = consented(&world, held.clone());
        let claims = world.claims(held, key(7).public().thumbprint());
        issue(&world, &claims, &chain).await;
        let client = world.client(key(7), &claims);
        client.call("refund", json!({"amount": 1, "n": 3})).await.result();
        for n in 1..=4 {
            client.call("refund", json!({"amount": 1, "n": n})).await.refused(200, "limit_exhausted");
        }
        assert_eq!(world.fake.calls(), 1, "{limits}");
    }
}

#[tokio::test]
async fn budgets_of_different_names_are_counted_apart() {
    let world = World::new(true).await;
    let one =
        |name: &str, n: u32| json!({"actions": ["refund"], "arguments": {"/n": {"eq": n}}, "limits": {"name": name, "calls": 1}});
    let held = world.grants(&[one("a", 1), one("b", 2)]);
    let chain = consented(&world, held.clone());
    let claims = world.claims(held, key(7).public().thumbprint());
    issue(&world, &claims, &chain).await;
    let client = world.client(key(7), &claims);
    for n in [1, 2] {
        client.call("refund", json!({"amount": 1, "n": n})).await.result();
        client.call("refund", json!({"amount": 1, "n": n})).await.refused(200, "limit_exhausted");
    }
}

#[tokio::test]
async fn two_narrowings_of_one_sign_in_are_both_usable_and_draw_on_it_together() {
    let world = World::new(true).await;
    let chain = consented(&world, refunds(&world, 50, 3));
    let sign_in = world.claims(refunds(&world, 50, 3), key(7).public().thumbprint());
    issue(&world, &sign_in, &chain).await;
    let mut narrowed = Vec::new();
    for _ in 0..2 {
        let mut claims = world.claims(refunds(&world, 50, 2), key(7).public().thumbprint());
        claims.ancestors = vec![sign_in.jti.clone()];
        issue(&world, &claims, &chain).await;
        narrowed.push(world.client(key(7), &claims));
    }
    // Each has two calls of its own, and the sign-in has three for both.
    for _ in 0..2 {
        narrowed[0].call("refund", json!({"amount": 1})).await.result();
    }
    narrowed[0].call("refund", json!({"amount": 1})).await.refused(200, "limit_exhausted");
    narrowed[1].call("refund", json!({"amount": 1})).await.result();
    narrowed[1].call("refund", json!({"amount": 1})).await.refused(200, "limit_exhausted");
    world.client(key(7), &sign_in).call("refund", json!({"amount": 1})).await.refused(200, "limit_exhausted");
    assert_eq!(world.fake.calls(), 3);
}
