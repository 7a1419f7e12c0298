//! Nothing is issued after the record that stops a party or revokes what the token comes from: what was true at the decision is
//! asked again at the commit. SPEC: DC-13, RV-03

use crate::{flow::*, world::*};
use remit_ledger::record::{Draft, ProducerKind, RecordType};
use remit_model::{AgentId, AgentStatus, Human, HumanStatus, TenantId, ToolClass, UnixTime};
use remit_store::{Batch, Change, Revocation};
use serde_json::{Value, json};

/// What ends the planner's authority for Alice, and the code that requests are then refused with.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Quarantine,
    Disable,
    EndPerson,
    RevokeChain,
}

const STOPS: [(Stop, &str); 4] = [
    (Stop::Quarantine, "agent_quarantined"),
    (Stop::Disable, "human_disabled"),
    (Stop::EndPerson, "sign_in_ended"),
    (Stop::RevokeChain, "token_revoked"),
];

impl Stop {
    fn change(self, txn: &str) -> Change {
        match self {
            Self::Quarantine => {
                Change::SetAgentStatus { agent: AgentId::parse("planner").unwrap(), status: AgentStatus::Quarantined }
            }
            Self::Disable => Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") }),
            Self::EndPerson => Change::EndHuman { name: "alice".to_owned(), before: UnixTime(START + 1) },
            Self::RevokeChain => Change::Revoke { what: Revocation::Txn(txn.to_owned()), until: UnixTime(START + 100_000) },
        }
    }

    /// The change with its record.
    fn batch(self, txn: &str) -> Batch {
        let record = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
            .action("test.stop", ToolClass::Admin);
        Batch::new(TenantId::main()).change(self.change(txn)).record(record)
    }
}

/// The change is on its way to the disk when the request is decided, on a snapshot without it, and is in force when the
/// request's batch comes after it.
async fn overtaken(world: &World, stop: Stop, txn: &str, request: impl Future<Output = Reply>) -> Reply {
    let (stopped, reply) = tokio::join!(world.store.apply(stop.batch(txn)), request);
    stopped.unwrap();
    reply
}

/// The refusal is recorded, and no token was issued after the record of the change.
async fn refused(world: &World, reply: &Reply, code: &str) {
    assert_eq!(reply.body["remit_code"], code, "{}", reply.text);
    assert!(reply.body.get("access_token").is_none());
    let record = world.last_record().await;
    assert_eq!((record["record_id"].as_str(), record["outcome"]["code"].as_str()), (Some(reply.record_id()), Some(code)));
    let mut stopped = false;
    for index in 0..world.store.len() {
        let record = world.store.record(index).await.unwrap().unwrap();
        let record: Value = serde_json::from_slice(&record.bytes).unwrap();
        stopped |= record["action"]["name"] == "test.stop";
        assert!(!(stopped && record["ext"]["token"]["authority_digest"].is_string()), "issued after the change: {record}");
    }
    assert!(stopped);
}

struct Before {
    world: World,
    txn: String,
    token: String,
    refresh: String,
    child: String,
}

async fn before() -> Before {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let token = text(&body, "access_token").to_owned();
    let txn = claims(&token)["txn"].as_str().unwrap().to_owned();
    let refresh = text(&body, "refresh_token").to_owned();
    let child = world.identity(&world.summarizer).await;
    Before { world, txn, token, refresh, child }
}

fn exchange<'a>(token: &'a str, kind: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", kind)]
}

#[tokio::test]
async fn dc_13_nothing_of_a_chain_is_issued_when_a_party_is_stopped_between_decision_and_commit() {
    for (stop, code) in STOPS {
        let Before { world, txn, refresh, .. } = before().await;
        let reply = overtaken(&world, stop, &txn, world.refresh(&world.planner, &refresh, &[])).await;
        refused(&world, &reply, code).await;

        let Before { world, txn, token, .. } = before().await;
        let reply = overtaken(&world, stop, &txn, world.narrow(&world.planner, &token, &[])).await;
        refused(&world, &reply, code).await;

        let Before { world, txn, token, child, .. } = before().await;
        let mut named = exchange(&token, ACCESS_TOKEN);
        named.extend([("actor_token", child.as_str()), ("actor_token_type", ACCESS_TOKEN)]);
        let reply = overtaken(&world, stop, &txn, world.token(&world.planner, &named)).await;
        refused(&world, &reply, code).await;

        let Before { world, txn, token, .. } = before().await;
        let details = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "fields": ["/id"]}]);
        let statement = world.statement(&world.planner, &token, &world.scribe, &details);
        let stated = exchange(&statement, JWT);
        let reply = overtaken(&world, stop, &txn, world.token(&world.scribe, &stated)).await;
        refused(&world, &reply, code).await;
    }
}

#[tokio::test]
async fn dc_13_a_consent_and_its_code_are_refused_when_a_party_is_stopped_between_decision_and_commit() {
    for (stop, code) in &STOPS[..3] {
        let world = World::new().await;
        let granted = world.code("alice", &request()).await;
        let reply = overtaken(&world, *stop, "", world.redeem(&world.planner, &granted, &[])).await;
        refused(&world, &reply, code).await;

        let world = World::new().await;
        let mut browser = Browser::default();
        let page = browser.consent_page(&world, "alice", &request()).await;
        let back = overtaken(&world, *stop, "", browser.decide(&world, &page, "allow")).await.location();
        assert_eq!((query(&back, "code"), query(&back, "remit_code").as_deref()), (None, Some(*code)));
    }
}

#[tokio::test]
async fn dc_13_an_agents_own_token_is_refused_when_it_is_stopped_between_decision_and_commit() {
    let world = World::new().await;
    let own = [("grant_type", "client_credentials"), ("resource", HELPDESK)];
    let reply = overtaken(&world, Stop::Quarantine, "", world.token(&world.planner, &own)).await;
    refused(&world, &reply, "agent_quarantined").await;
}

/// The token with which a child showed itself counts at the commit too.
#[tokio::test]
async fn n_dc_13_an_actor_token_that_is_revoked_between_decision_and_commit_is_refused() {
    let Before { world, token, child, .. } = before().await;
    let jti = claims(&child)["jti"].as_str().unwrap().to_owned();
    let revoke = Change::Revoke { what: Revocation::Jti(jti), until: UnixTime(START + 1_000) };
    let mut named = exchange(&token, ACCESS_TOKEN);
    named.extend([("actor_token", child.as_str()), ("actor_token_type", ACCESS_TOKEN)]);
    let ((), reply) = tokio::join!(world.change(revoke), world.token(&world.planner, &named));
    assert!(["token_revoked", "actor_token_invalid"].contains(&text(&reply.body, "remit_code")), "{}", reply.text);
}

/// What has ended stays so, however often the account is written, disabled and enabled afterwards.
#[tokio::test]
async fn dc_13_what_ended_with_a_person_stays_dead_when_they_may_act_again_and_a_new_sign_in_counts() {
    let Before { world, token, refresh, .. } = before().await;
    let body = world.delegated("bob").await;
    let code = world.code("alice", &request()).await;
    let mut browser = Browser::default();
    let consent = browser.consent_page(&world, "alice", &request()).await;

    world.change(Change::EndHuman { name: "alice".to_owned(), before: UnixTime(START + 1) }).await;
    for status in [HumanStatus::Disabled, HumanStatus::Active] {
        world.change(Change::PutHuman(Human { status, ..human("alice") })).await;
    }
    world.change(Change::EndHuman { name: "alice".to_owned(), before: UnixTime(START - 100) }).await;
    world.advance(5);
    let dead = [
        world.refresh(&world.planner, &refresh, &[]).await,
        world.narrow(&world.planner, &token, &[]).await,
        world.redeem(&world.planner, &code, &[]).await,
    ];
    for reply in &dead {
        assert_eq!(reply.body["remit_code"], "sign_in_ended", "{}", reply.text);
    }
    let told = world.introspect(&world.planner, &token).await;
    assert_eq!(told.body["active"], false);
    let back = browser.decide(&world, &consent, "allow").await.location();
    assert_eq!((query(&back, "code"), query(&back, "remit_code").as_deref()), (None, Some("sign_in_ended")));
    // A browser that was signed in before asks again.
    let page = browser.begin(&world, &request()).await;
    assert!(is_sign_in(&page), "{}", page.text);

    let again = world.delegated("alice").await;
    assert!(world.narrow(&world.planner, text(&again, "access_token"), &[]).await.body["access_token"].is_string());
    assert!(world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await.body["access_token"].is_string(), "of bob");
}
