//! What a delegator signs to hand authority on: a statement, a call, a proof with a delegation; each good once, for what it says.

use crate::{
    exchange::{by_call, by_statement, parent, read_only, revoke},
    world::*,
};
use remit_token::Delegation;
use serde_json::{Value, json};

#[tokio::test]
async fn n_dc_18_a_statement_is_good_once_and_for_one_child() {
    let world = World::new().await;
    let token = parent(&world).await;
    let statement = world.statement(&world.planner, &token, &world.summarizer, &read_only());
    by_statement(&world, &world.scribe, &statement, &[]).await.refused("invalid_request", "chain_spliced");
    by_statement(&world, &world.summarizer, &statement, &[]).await.access_token();
    by_statement(&world, &world.summarizer, &statement, &[]).await.refused("invalid_request", "edge_proof_invalid");
}

#[tokio::test]
async fn a_statement_by_someone_who_does_not_hold_the_token() {
    let world = World::new().await;
    let token = parent(&world).await;
    let by_scribe = world.statement(&world.scribe, &token, &world.summarizer, &read_only());
    by_statement(&world, &world.summarizer, &by_scribe, &[]).await.refused("invalid_request", "chain_spliced");
    let wider = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["admin_reset"]}]);
    let wider = world.statement(&world.planner, &token, &world.summarizer, &wider);
    by_statement(&world, &world.summarizer, &wider, &[]).await.refused("invalid_scope", "widens_scope");
    let narrow = world.statement(&world.planner, &token, &world.summarizer, &read_only());
    let reply = by_statement(&world, &world.summarizer, &narrow, &[("scope", "helpdesk:tickets_search")]).await;
    reply.refused("invalid_scope", "authority_empty");
    let late = world.statement(&world.planner, &token, &world.summarizer, &read_only());
    revoke(&world, &world.planner, &token).await;
    by_statement(&world, &world.summarizer, &late, &[]).await.refused("invalid_request", "token_revoked");
}

#[tokio::test]
async fn a_call_proof_of_another_call_or_key() {
    let world = World::new().await;
    let token = parent(&world).await;
    let for_child = world.narrow(&world.planner, &token, &[("resource", DESK)]).await.access_token();
    let other_url = world.call_proof(&world.planner, &for_child, "https://desk.example/other");
    let other_token = world.call_proof(&world.planner, &token, DESK);
    let other_key = world.call_proof(&world.scribe, &for_child, DESK);
    for proof in [other_url, other_token, other_key] {
        by_call(&world, &world.summarizer, &for_child, &proof, &[]).await.refused("invalid_request", "edge_proof_invalid");
    }
    let old = world.call_proof(&world.planner, &for_child, DESK);
    world.advance(301);
    by_call(&world, &world.summarizer, &for_child, &old, &[]).await.refused("invalid_request", "edge_proof_invalid");
}

#[tokio::test]
async fn a_delegation_in_the_proof_binds_content() {
    let world = World::new().await;
    let token = parent(&world).await;
    let stated = |parent: &str, child: &Actor, details: &Value| Delegation {
        delegate: child.sub.clone(),
        jkt: child.jkt().to_owned(),
        parent: parent.to_owned(),
        authority: grants(details),
        expires: world.now().plus(120),
        purpose: Some("stated".to_owned()),
    };
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    let actor = world.identity(&world.summarizer).await;
    let ask = |scope: &'static str| {
        vec![
            ("grant_type", EXCHANGE.to_owned()),
            ("subject_token", token.clone()),
            ("subject_token_type", ACCESS_TOKEN.to_owned()),
            ("actor_token", actor.clone()),
            ("actor_token_type", ACCESS_TOKEN.to_owned()),
            ("scope", scope.to_owned()),
        ]
    };
    let send = async |delegation: &Delegation, scope: &'static str| {
        let proof = world.proof_with(&world.planner.dpop, Some(delegation));
        let ask = ask(scope);
        let ask: Vec<(&str, &str)> = ask.iter().map(|(name, value)| (*name, value.as_str())).collect();
        world.token_with(&world.planner, &proof, &ask).await
    };
    let good = stated(&jti, &world.summarizer, &read_only());
    let reply = send(&good, "helpdesk:tickets_read").await;
    assert_eq!(reply.body["expires_in"], 120, "{}", reply.text);
    assert_eq!(claims(&reply.access_token())["urn:remit:purpose"], "stated");
    send(&good, "helpdesk:tickets_search").await.refused("invalid_scope", "authority_empty");
    let other = stated(&jti, &world.scribe, &read_only());
    send(&other, "helpdesk:tickets_read").await.refused("invalid_request", "edge_proof_invalid");
    let other = stated("another", &world.summarizer, &read_only());
    send(&other, "helpdesk:tickets_read").await.refused("invalid_request", "edge_proof_invalid");
}

#[tokio::test]
async fn two_ways_at_once_are_refused() {
    let world = World::new().await;
    let token = parent(&world).await;
    let proof = world.call_proof(&world.planner, &token, DESK);
    let actor = world.identity(&world.summarizer).await;
    let both = [("subject_token_proof", proof.as_str()), ("actor_token", actor.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    world.narrow(&world.planner, &token, &both).await.refused("invalid_request", "request_malformed");
}
