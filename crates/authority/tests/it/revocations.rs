//! What is revoked by agent, resource or key is dead wherever it comes back, and what is obtained later counts. SPEC: RV-05, DC-13

use crate::{flow::*, world::*};
use remit_model::{AgentId, UnixTime, criterion};
use remit_store::Change;

impl World {
    /// As the admin API does it.
    async fn revoke_issued(&self, criterion: String) {
        let (before, until) = (self.now().plus(1), self.now().plus(1_000_000));
        self.change(Change::RevokeIssued { criterion, before, until }).await;
    }
}

fn planner() -> String {
    criterion::agent(&AgentId::parse("planner").unwrap())
}

#[tokio::test]
async fn rv_05_everything_of_an_agent_is_dead_and_a_new_consent_counts() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let (token, refresh) = (text(&body, "access_token").to_owned(), text(&body, "refresh_token").to_owned());
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    let code = world.code("bob", &request()).await;
    assert!(world.active(&world.planner, &token).await && world.active(&world.summarizer, &child).await);
    world.revoke_issued(planner()).await;
    for (who, token) in [(&world.planner, &token), (&world.summarizer, &child)] {
        assert!(!world.active(who, token).await);
    }
    let handed = world.hand(&world.planner, &token, &world.scribe, &[]).await;
    handed.refused("invalid_request", "token_revoked");
    world.refresh(&world.planner, &refresh, &[]).await.refused("invalid_grant", "grant_invalid");
    world.redeem(&world.planner, &code, &[]).await.refused("invalid_grant", "grant_invalid");
    // Another agent lost nothing.
    world.identity(&world.scribe).await;
    world.advance(1);
    let again = world.delegated("alice").await;
    assert!(world.active(&world.planner, text(&again, "access_token")).await);
    world.refresh(&world.planner, text(&again, "refresh_token"), &[]).await.access_token();
}

#[tokio::test]
async fn rv_05_a_sub_agents_end_leaves_its_delegator_alone() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let token = text(&body, "access_token").to_owned();
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    world.revoke_issued(criterion::agent(&AgentId::parse("summarizer").unwrap())).await;
    assert!(!world.active(&world.summarizer, &child).await && world.active(&world.planner, &token).await);
    world.advance(1);
    let again = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    assert!(world.active(&world.summarizer, &again).await, "an older parent may hand on to an agent that starts anew");
}

#[tokio::test]
async fn rv_05_a_key_ends_what_is_bound_to_it_and_what_came_from_that() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let (token, refresh) = (text(&body, "access_token").to_owned(), text(&body, "refresh_token").to_owned());
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    assert_eq!(claims(&child)["urn:remit:ancestor_jkts"], serde_json::json!([world.planner.jkt()]));
    assert!(claims(&token).get("urn:remit:ancestor_jkts").is_none());
    let other = world.identity(&world.scribe).await;
    world.revoke_issued(criterion::key(world.planner.jkt())).await;
    assert!(!world.active(&world.planner, &token).await && !world.active(&world.summarizer, &child).await);
    assert!(world.active(&world.scribe, &other).await);
    world.refresh(&world.planner, &refresh, &[]).await.refused("invalid_grant", "grant_invalid");
}

#[tokio::test]
async fn rv_05_a_resource_ends_there_and_with_every_refresh_token_that_reaches_it() {
    let world = World::new().await;
    let both = [("resource", ""), ("scope", "helpdesk:tickets_read files:read")];
    let reaching = world.delegated_with("alice", &[("scope", "helpdesk:tickets_read")]).await;
    let files = world.delegated_with("alice", &[("resource", FILES), ("scope", "files:read")]).await;
    let code = world.code("bob", &request_with(&both)).await;
    let wide = world.redeem(&world.planner, &code, &[("resource", FILES)]).await;
    wide.access_token();
    world.revoke_issued(criterion::resource(HELPDESK)).await;
    assert!(!world.active(&world.planner, text(&reaching, "access_token")).await);
    assert!(world.active(&world.planner, text(&files, "access_token")).await);
    world.refresh(&world.planner, text(&files, "refresh_token"), &[]).await.access_token();
    for body in [&reaching, &wide.body] {
        let refreshed = world.refresh(&world.planner, text(body, "refresh_token"), &[("resource", FILES)]).await;
        refreshed.refused("invalid_grant", "grant_invalid");
    }
}

#[tokio::test]
async fn rv_05_a_revocation_outlives_a_restart_and_a_refresh_token_of_an_older_build_is_older_than_any() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    world.revoke_issued(planner()).await;
    let world = world.restart().await;
    let reply = world.refresh_with_nonce(text(&body, "refresh_token")).await;
    reply.refused("invalid_grant", "grant_invalid");
    assert!(world.store.snapshot().revoked_before(&[planner()], UnixTime(i64::MIN)).is_some());
}
