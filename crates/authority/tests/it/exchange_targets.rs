//! Token exchange: several resources in one request, and subject tokens that restrict their own exchange.

use crate::{flow::*, world::*};
use remit_insight::custody;
use remit_model::Agent;
use remit_store::Change;
use serde_json::{Value, json};

/// The planner's token for Alice, for both servers' worth of what it may.
async fn everywhere(world: &World) -> String {
    let own = json!([
        {"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "delegate": {"to": ["*"], "depth": 3}},
        {"type": "tool_access", "locations": [FILES], "actions": ["read"], "delegate": {"to": ["*"], "depth": 3}},
    ]);
    world.change(Change::PutAgent(Agent { ceiling: grants(&own), ..agent(&world.planner, false) })).await;
    world.own_token(&world.planner, &[("resource", DESK)]).await
}

/// The planner's token for Alice, addressed to the summarizer, and its call there.
async fn called(world: &World, more: &[(&str, &str)]) -> (String, String) {
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let mut ask = vec![("resource", DESK)];
    ask.extend_from_slice(more);
    let for_child = world.narrow(&world.planner, &token, &ask).await.access_token();
    let proof = world.call_proof(&world.planner, &for_child, DESK);
    (for_child, proof)
}

async fn by_call(world: &World, child: &Actor, token: &str, proof: &str) -> Reply {
    let ask = [
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("subject_token_proof", proof),
        ("resource", HELPDESK),
    ];
    world.token(child, &ask).await
}

async fn convinces_an_auditor(world: &World) {
    let report = custody(&world.audited().await);
    assert!(report.ok() && report.undisclosed == 0, "{report:?}");
}

#[tokio::test]
async fn tk_08_of_several_resources_the_token_is_for_the_one_that_is_asked_about() {
    let world = World::new().await;
    let token = everywhere(&world).await;
    let ask = |scope: &'static str| [("resource", HELPDESK), ("audience", FILES), ("scope", scope)];
    for (scope, audience) in [("helpdesk:tickets_read", HELPDESK), ("files:read", FILES)] {
        let narrow = world.narrow(&world.planner, &token, &ask(scope)).await.access_token();
        assert_eq!(claims(&narrow)["aud"], audience, "one token, one audience");
    }
    // Asked for at both, or at none: which one it is for cannot be said.
    let both = ask("helpdesk:tickets_read files:read");
    world.narrow(&world.planner, &token, &both).await.refused("invalid_target", "resource_unknown");
    let none = [("resource", HELPDESK), ("resource", FILES)];
    world.narrow(&world.planner, &token, &none).await.refused("invalid_target", "resource_unknown");
    let unknown = [("resource", HELPDESK), ("resource", "https://x.example"), ("scope", "helpdesk:tickets_read")];
    world.narrow(&world.planner, &token, &unknown).await.refused("invalid_target", "resource_unknown");
}

#[tokio::test]
async fn tx_04_every_resource_that_is_named_has_to_be_held() {
    let world = World::new().await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let ask = [("resource", HELPDESK), ("resource", FILES), ("scope", "helpdesk:tickets_read")];
    world.narrow(&world.planner, &token, &ask).await.refused("invalid_target", "widens_resource");
}

#[tokio::test]
async fn an_audience_may_be_a_name_and_a_resource_may_not() {
    let world = World::new().await;
    let token = everywhere(&world).await;
    let narrow = world.narrow(&world.planner, &token, &[("audience", "files")]).await.access_token();
    assert_eq!(claims(&narrow)["aud"], FILES);
    // Two spellings of one resource are one resource.
    let twice = [("audience", "files"), ("resource", FILES)];
    assert_eq!(claims(&world.narrow(&world.planner, &token, &twice).await.access_token())["aud"], FILES);
    for ask in [("resource", "files"), ("audience", "mail"), ("audience", "FILES")] {
        world.narrow(&world.planner, &token, &[ask]).await.refused("invalid_target", "resource_unknown");
    }
}

#[tokio::test]
async fn a_token_for_an_agent_says_who_may_act_with_it() {
    let world = World::new().await;
    let (token, proof) = called(&world, &[]).await;
    let may_act = json!({"iss": ISSUER, "sub": "agent:summarizer"});
    assert_eq!(claims(&token)["may_act"], may_act);
    assert_eq!(world.introspect(&world.summarizer, &token).await.body["may_act"], may_act);
    let child = claims(&by_call(&world, &world.summarizer, &token, &proof).await.access_token());
    assert_eq!(child.get("may_act"), None, "DC-05: never copied");
    convinces_an_auditor(&world).await;
}

/// SPEC: DC-05 (4)
#[tokio::test]
async fn n_tx_15_n_dc_05_another_agent_than_may_act_names() {
    let world = World::new().await;
    let (token, proof) = called(&world, &[]).await;
    // The address becomes the scribe's, so that everything else would fit.
    let moved = |actor: &Actor, endpoint: Option<&str>| {
        let labels = endpoint.map(|uri| ("endpoint".to_owned(), uri.to_owned())).into_iter().collect();
        Change::PutAgent(Agent { labels, ..agent(actor, false) })
    };
    world.change(moved(&world.summarizer, None)).await;
    world.change(moved(&world.scribe, Some(DESK))).await;
    let reply = by_call(&world, &world.scribe, &token, &proof).await;
    reply.refused("invalid_request", "delegate_not_named");
    // Nor does the holder get another agent in by naming it.
    let reply = world.hand(&world.planner, &token, &world.scribe, &[("resource", HELPDESK)]).await;
    reply.refused("invalid_request", "delegate_not_named");
    let record = world.last_record().await;
    assert_eq!(record["decision"]["reason_code"], "delegate_not_named");
    // It restricts and proves nothing: the agent that it names still needs a proof of the call.
    let bare = [("grant_type", EXCHANGE), ("subject_token", token.as_str()), ("subject_token_type", ACCESS_TOKEN)];
    world.token(&world.summarizer, &bare).await.refused("invalid_request", "chain_spliced");
    world.hand(&world.planner, &token, &world.summarizer, &[("resource", HELPDESK)]).await.access_token();
}

#[tokio::test]
async fn a_token_for_single_use_is_exchanged_once() {
    let world = World::new().await;
    let (token, proof) = called(&world, &[("single_use", "true")]).await;
    assert_eq!(claims(&token)["urn:remit:single_use"], true);
    let child = claims(&by_call(&world, &world.summarizer, &token, &proof).await.access_token());
    assert_eq!(child.get("urn:remit:single_use"), None);
    let again = world.call_proof(&world.planner, &token, DESK);
    by_call(&world, &world.summarizer, &token, &again).await.refused("invalid_request", "subject_token_used");
    world.narrow(&world.planner, &token, &[("resource", HELPDESK)]).await.refused("invalid_request", "subject_token_used");
    convinces_an_auditor(&world).await;
}

#[tokio::test]
async fn a_refused_exchange_uses_it_up_too_and_two_at_once_get_one_token() {
    let world = World::new().await;
    let (token, proof) = called(&world, &[("single_use", "true")]).await;
    let wide = [
        ("grant_type", EXCHANGE),
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("subject_token_proof", proof.as_str()),
        ("scope", "helpdesk:admin_reset"),
    ];
    world.token(&world.summarizer, &wide).await.refused("invalid_scope", "authority_empty");
    let again = world.call_proof(&world.planner, &token, DESK);
    by_call(&world, &world.summarizer, &token, &again).await.refused("invalid_request", "subject_token_used");

    let (token, first) = called(&world, &[("single_use", "true")]).await;
    let second = world.call_proof(&world.planner, &token, DESK);
    let (a, b) =
        tokio::join!(by_call(&world, &world.summarizer, &token, &first), by_call(&world, &world.summarizer, &token, &second),);
    let won: Vec<Value> = [a, b].into_iter().filter(|reply| reply.status == 200).map(|reply| reply.body).collect();
    assert_eq!(won.len(), 1);
}

#[tokio::test]
async fn single_use_is_for_tokens_that_others_exchange() {
    let world = World::new().await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let ask = [("resource", HELPDESK), ("single_use", "true")];
    world.narrow(&world.planner, &token, &ask).await.refused("invalid_request", "request_malformed");
    let ask = [("resource", DESK), ("single_use", "yes")];
    world.narrow(&world.planner, &token, &ask).await.refused("invalid_request", "request_malformed");
    // Not asked for, it can be exchanged as often as its holder calls.
    let (token, first) = called(&world, &[("single_use", "false")]).await;
    by_call(&world, &world.summarizer, &token, &first).await.access_token();
    let second = world.call_proof(&world.planner, &token, DESK);
    by_call(&world, &world.summarizer, &token, &second).await.access_token();
}
