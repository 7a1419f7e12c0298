//! Nothing is issued after the record that stops a party or revokes what the token comes from: what was true at the decision is
//! asked again at the commit. SPEC: DC-13, RV-03

use crate::{flow::*, world::*};
use remit_ledger::record::{Draft, ProducerKind, RecordType};
use remit_model::{AgentId, AgentStatus, Human, HumanStatus, TenantId, ToolClass};
use remit_store::{Batch, Change, Revocation};
use std::{
    future::poll_fn,
    pin::pin,
    task::Poll,
};

/// Runs a request as far as it comes without waiting, then the change, then the rest of the request.
async fn interrupted(request: impl Future<Output = Reply>, change: impl Future<Output = ()>) -> Reply {
    let mut request = pin!(request);
    let first = poll_fn(|context| Poll::Ready(request.as_mut().poll(context))).await;
    assert!(first.is_pending(), "the request came to its end before the change");
    change.await;
    request.await
}

/// What stops a request of the planner's for Alice, and the code it is then refused with.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Quarantine,
    Disable,
    RevokeChain,
}

const STOPS: [(Stop, &str); 3] = [
    (Stop::Quarantine, "agent_quarantined"),
    (Stop::Disable, "human_disabled"),
    (Stop::RevokeChain, "token_revoked"),
];

impl Stop {
    fn change(self, txn: &str) -> Change {
        match self {
            Self::Quarantine => {
                Change::SetAgentStatus { agent: AgentId::parse("planner").unwrap(), status: AgentStatus::Quarantined }
            }
            Self::Disable => Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") }),
            Self::RevokeChain => {
                Change::Revoke { what: Revocation::Txn(txn.to_owned()), until: remit_model::UnixTime(START + 100_000) }
            }
        }
    }
}

/// The newest record is the refusal that was answered.
async fn recorded(world: &World, reply: &Reply, code: &str) {
    assert_eq!(reply.body["remit_code"], code, "{}", reply.text);
    assert!(reply.body.get("access_token").is_none());
    let record = world.last_record().await;
    assert_eq!((record["record_id"].as_str(), record["outcome"]["code"].as_str()), (Some(reply.record_id()), Some(code)));
}

#[tokio::test]
async fn dc_13_a_code_is_not_redeemed_when_a_party_is_stopped_between_decision_and_commit() {
    for (stop, code) in STOPS {
        if matches!(stop, Stop::RevokeChain) {
            // A code has no chain yet.
            continue;
        }
        let world = World::new().await;
        let granted = world.code("alice", &request()).await;
        let reply = interrupted(world.redeem(&world.planner, &granted, &[]), world.change(stop.change(""))).await;
        recorded(&world, &reply, code).await;
    }
}

#[tokio::test]
async fn dc_13_a_refresh_token_is_not_redeemed_when_a_party_is_stopped_between_decision_and_commit() {
    for (stop, code) in STOPS {
        let world = World::new().await;
        let body = world.delegated("alice").await;
        let txn = claims(text(&body, "access_token"))["txn"].as_str().unwrap().to_owned();
        let refresh = world.refresh(&world.planner, text(&body, "refresh_token"), &[]);
        let reply = interrupted(refresh, world.change(stop.change(&txn))).await;
        recorded(&world, &reply, code).await;
    }
}

#[tokio::test]
async fn dc_13_authority_is_not_exchanged_when_a_party_is_stopped_between_decision_and_commit() {
    for (stop, code) in STOPS {
        let world = World::new().await;
        let token = text(&world.delegated("alice").await, "access_token").to_owned();
        let txn = claims(&token)["txn"].as_str().unwrap().to_owned();
        let details = serde_json::json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"],
            "fields": ["/id"]}]);
        let statement = world.statement(&world.planner, &token, &world.scribe, &details);
        // Rows that are remembered are not waited for.
        let world = world.restart().await;
        let form = [("grant_type", EXCHANGE), ("subject_token", statement.as_str()), ("subject_token_type", JWT)];
        let nonce = world.token(&world.scribe, &form).await.headers["dpop-nonce"].to_str().unwrap().to_owned();
        let proof = world.proof_answering(&world.scribe.dpop, &nonce);
        let exchange = world.token_with(&world.scribe, &proof, &form);
        let reply = interrupted(exchange, world.change(stop.change(&txn))).await;
        recorded(&world, &reply, code).await;
    }
}

/// Many requests of every kind beside a quarantine: by the ledger's own order no token follows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dc_13_no_token_of_an_agent_follows_the_record_of_its_quarantine() {
    for _ in 0..12 {
        let world = World::new().await;
        let body = world.delegated("alice").await;
        let (token, refresh) = (text(&body, "access_token"), text(&body, "refresh_token"));
        let granted = world.code("alice", &request()).await;
        let own = [("grant_type", "client_credentials"), ("resource", HELPDESK)];
        let quarantine = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
            .action("agent.quarantine", ToolClass::Admin);
        let quarantine = Batch::new(TenantId::main()).change(Stop::Quarantine.change("")).record(quarantine);
        let (_, _, _, _, _, _, stopped) = tokio::join!(
            world.token(&world.planner, &own),
            world.narrow(&world.planner, token, &[]),
            world.refresh(&world.planner, refresh, &[]),
            world.redeem(&world.planner, &granted, &[]),
            world.hand(&world.planner, token, &world.summarizer, &[]),
            world.token(&world.planner, &own),
            world.store.apply(quarantine),
        );
        stopped.unwrap();
        let mut over = false;
        for index in 0..world.store.len() {
            let record = world.store.record(index).await.unwrap().unwrap();
            let record: serde_json::Value = serde_json::from_slice(&record.bytes).unwrap();
            over |= record["action"]["name"] == "agent.quarantine";
            let issued = record["ext"]["token"]["authority_digest"].is_string();
            // The summarizer may still show itself.
            let of_the_planner = record["ext"]["token"]["audience"] != ISSUER;
            assert!(!(over && issued && of_the_planner), "a token after the quarantine: {record}");
        }
        assert!(over);
    }
}
