//! What this server writes convinces an auditor who has only the ledger directory.

use crate::{flow::*, world::*};
use remit_insight::{custody, replay};
use serde_json::json;

/// SPEC: DC-01
#[tokio::test]
async fn every_hop_and_decision_can_be_checked_offline() {
    let world = World::new().await;
    world.record_registrations().await;
    let body = world.delegated_with("alice", &[("purpose", "triage")]).await;
    let token = text(&body, "access_token");
    let narrow = world.narrow(&world.planner, token, &[("requested_lifetime", "300")]).await.access_token();
    let child = world.hand(&world.planner, &narrow, &world.summarizer, &[]).await.access_token();
    world.hand(&world.summarizer, &child, &world.scribe, &[]).await.access_token();
    let details = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "fields": ["/id"]}]);
    let statement = world.statement(&world.planner, token, &world.scribe, &details);
    world
        .token(&world.scribe, &[("grant_type", EXCHANGE), ("subject_token", &statement), ("subject_token_type", JWT)])
        .await
        .access_token();
    let for_child = world.narrow(&world.planner, token, &[("resource", DESK)]).await.access_token();
    let proof = world.call_proof(&world.planner, &for_child, DESK);
    let call = [
        ("grant_type", EXCHANGE),
        ("subject_token", for_child.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("subject_token_proof", proof.as_str()),
        ("resource", HELPDESK),
    ];
    world.token(&world.summarizer, &call).await.access_token();
    world.advance(700);
    world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await.access_token();
    let own = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    world.hand(&world.planner, &own, &world.summarizer, &[]).await.access_token();
    world
        .hand(&world.planner, &own, &world.summarizer, &[("purpose", "mischief")])
        .await
        .refused("invalid_request", "policy_denied");

    let reader = world.audited().await;
    let report = custody(&reader);
    assert!(report.ok() && report.undisclosed == 0, "{report:?}");
    let report = replay(&reader);
    assert!(report.ok(), "{report:?}");
}
