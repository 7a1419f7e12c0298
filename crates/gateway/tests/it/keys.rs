//! The issuer's keys as the gateway sees them: a revoked one is dead at the next call, remembered token or not.

use crate::world::{Client, World};
use remit_model::{IssuerKey, issuer_keys};
use remit_store::{Batch, Change};
use remit_token::{Algorithm, PrivateKey, access};
use serde_json::json;
use std::time::Duration;

fn next() -> PrivateKey {
    PrivateKey::from_seed(Algorithm::Es256, &[6; 32]).unwrap()
}

async fn apply(world: &World, rows: Vec<IssuerKey>) {
    let batch = Batch::new(remit_model::TenantId::main());
    world.store.apply(rows.into_iter().map(Change::PutIssuerKey).fold(batch, Batch::change)).await.unwrap();
}

async fn rotate(world: &World) {
    let (key, now) = (next(), world.clock.unix());
    let keys = world.store.snapshot().issuer_keys().clone();
    apply(world, keys.succession(key.public().thumbprint(), &key.public().to_jwk(), now, now)).await;
}

async fn revoke(world: &World, key: &PrivateKey) {
    let key = world.store.snapshot().issuer_keys().key(key.public().thumbprint()).unwrap().clone();
    apply(world, vec![IssuerKey { revoked: Some(world.clock.unix()), ..key }]).await;
}

/// A client whose token the next key signed; `above` signed the token that it comes from.
fn by_next<'w>(world: &'w World, above: &[&PrivateKey]) -> Client<'w> {
    let mut client = world.all();
    let mut claims = world.claims(world.grant(json!({"actions": ["*"]})), client.key.public().thumbprint());
    claims.ancestor_keys = above.iter().map(|key| key.public().thumbprint().to_owned()).collect();
    client.token = access::mint(&next(), &claims).unwrap();
    client
}

#[tokio::test]
async fn dc_13_a_call_with_a_token_of_a_revoked_key_is_refused_at_once() {
    let world = World::new(true).await;
    let old = world.all();
    old.call("ticket_read", json!({})).await.result();
    by_next(&world, &[]).call("ticket_read", json!({})).await.refused(401, "token_signature_invalid");
    rotate(&world).await;
    let (new, child) = (by_next(&world, &[]), by_next(&world, &[&world.issuer_key]));
    for client in [&old, &new, &child] {
        client.call("ticket_read", json!({})).await.result();
    }
    let remembered = world.gate.remembered_tokens();
    revoke(&world, &world.issuer_key).await;
    // One that was remembered, one that comes for the first time, and one that rests on what the key signed.
    old.call("ticket_read", json!({})).await.refused(401, "token_revoked");
    old.call("ticket_read", json!({})).await.refused(401, "token_signature_invalid");
    world.all().call("ticket_read", json!({})).await.refused(401, "token_signature_invalid");
    child.call("ticket_read", json!({})).await.refused(401, "token_revoked");
    new.call("ticket_read", json!({})).await.result();
    assert_eq!(world.gate.remembered_tokens(), remembered - 2, "nothing of the revoked key is remembered");
}

#[tokio::test]
async fn jw_02_the_old_key_is_accepted_until_its_tokens_have_expired() {
    let world = World::new(true).await;
    rotate(&world).await;
    let late = |world: &World, before_end: i64| {
        let begin = world.clock.unix();
        let mut client = world.all();
        let claims = world.claims(world.grant(json!({"actions": ["*"]})), client.key.public().thumbprint());
        let claims = access::Claims { iat: begin, exp: begin.plus(before_end), ..claims };
        client.token = access::mint(&world.issuer_key, &claims).unwrap();
        client.token
    };
    world.clock.advance(Duration::from_secs(issuer_keys::OVERLAP.unsigned_abs() - 30));
    let token = late(&world, 300);
    let client = || Client { token: token.clone(), ..world.all() };
    client().call("ticket_read", json!({})).await.result();
    world.clock.advance(Duration::from_secs(30));
    // The token itself would live on; it was not remembered past the end of its key.
    Client { token: late(&world, 300), ..world.all() }
        .call("ticket_read", json!({}))
        .await
        .refused(401, "token_signature_invalid");
}
