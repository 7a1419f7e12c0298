//! Tokens that vouch for an agent without naming it: which agent it is, by client authentication and as a grant. SPEC: JB-05

use crate::{
    published::{Published, jwks},
    workload::{Fixture, JWT_BEARER, UID, accept, because, present, uniform},
    world::*,
};
use remit_model::{Agent, AgentId, AgentStatus, ClientProfile, Credential};
use remit_store::Change;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The token as the whole grant: no client authentication, and no `client_id` unless `more` has one.
async fn redeem(world: &World, assertion: &str, more: &[(&str, &str)]) -> Reply {
    let mut form = fields(&[("grant_type", GRANT), ("assertion", assertion), ("scope", "files:read")]);
    form.extend(fields(more));
    world.post("/oauth/token", &form, &[("dpop", world.proof(&world.planner.dpop))]).await
}

async fn nameless(world: &World, compact: &str) -> Reply {
    present(world, JWT_BEARER, compact, &[("client_id", "")]).await
}

/// Registers the scribe with these credentials.
async fn second(it: &Fixture, credentials: Vec<Credential>, status: AgentStatus) {
    let client = ClientProfile { credentials, ..ClientProfile::default() };
    let twin = Agent { client, keys: Vec::new(), status, ..agent(&it.world.scribe, false) };
    it.world.change(Change::PutAgent(twin.clone())).await;
    it.world.record_registration(&twin).await;
}

fn planners(it: &Fixture) -> Vec<Credential> {
    let planner = it.world.store.snapshot().agent(&AgentId::parse("planner").unwrap()).unwrap().clone();
    planner.client.credentials.clone()
}

fn pod(account: &str) -> Credential {
    Credential::Kubernetes {
        cluster: "prod".to_owned(),
        namespace: "bots".to_owned(),
        service_account: account.to_owned(),
        uid: UID.to_owned(),
    }
}

#[tokio::test]
async fn jb_05_the_client_is_the_agent_that_the_token_is_mapped_to() {
    let it = Fixture::new().await;
    second(&it, vec![pod("scribe")], AgentStatus::Active).await;
    let account = |name: &str| {
        let sub = format!("system:serviceaccount:bots:{name}");
        json!({"sub": sub, "kubernetes.io": {"namespace": "bots", "serviceaccount": {"name": name, "uid": UID}}})
    };
    for (token, agent) in [
        (it.projected(&json!({})), "agent:planner"),
        (it.run(&json!({})), "agent:planner"),
        (it.projected(&account("scribe")), "agent:scribe"),
    ] {
        let token = nameless(&it.world, &token).await.access_token();
        assert_eq!((&claims(&token)["sub"], &claims(&token)["client_id"]), (&json!(agent), &json!(agent)));
        assert_eq!(claims(&token)["cnf"]["jkt"], it.world.planner.jkt());
    }
    // What no agent is registered with.
    because(&nameless(&it.world, &it.projected(&account("planner2"))).await, "no agent accepts this token");
    because(&nameless(&it.world, &it.run(&json!({"repository_id": "8"}))).await, "no agent accepts this token");
    because(&nameless(&it.world, &it.run(&json!({"ref": "refs/heads/evil"}))).await, "no agent accepts this token");
    because(&nameless(&it.world, &it.run(&json!({"event_name": "pull_request"}))).await, "no agent accepts this token");
    // Before a trusted issuer's signature holds, nothing is told.
    uniform(&nameless(&it.world, &it.run(&json!({"iss": "https://unknown.example"}))).await);
    let report = remit_insight::custody(&it.world.audited().await);
    assert!(report.ok() && report.roots == 3, "{report:?}");
}

#[tokio::test]
async fn jb_05_a_workload_token_alone_is_a_grant() {
    let it = Fixture::new().await;
    let reply = redeem(&it.world, &it.projected(&json!({})), &[]).await;
    let token = reply.access_token();
    assert_eq!(
        (&claims(&token)["sub"], &claims(&token)["cnf"]["jkt"]),
        (&json!("agent:planner"), &json!(it.world.planner.jkt()))
    );
    assert_eq!(reply.body.get("refresh_token"), None, "JB-04");
    let record = it.world.last_record().await;
    assert_eq!(record["ext"]["token"]["credential"]["kind"], "kubernetes");
    // Once, where the issuer's tokens are good once; and again, where they are the only one that a pod has.
    let run = it.run(&json!({}));
    redeem(&it.world, &run, &[("client_id", "agent:planner")]).await.access_token();
    redeem(&it.world, &run, &[]).await.refused("invalid_grant", "assertion_replayed");
    let metadata = it.world.get("/.well-known/oauth-authorization-server").await;
    assert!(metadata.body["grant_types_supported"].as_array().unwrap().contains(&json!(GRANT)));
    let report = remit_insight::custody(&it.world.audited().await);
    assert!(report.ok() && report.roots == 2, "{report:?}");
}

/// SPEC: JB-07
#[tokio::test]
async fn n_jb_01_as_a_grant_every_unusable_assertion_is_an_invalid_grant() {
    let it = Fixture::new().await;
    let unknown = it.run(&json!({"iss": "https://unknown.example"}));
    let forged = it.run(&json!({})).replace("eyJ", "eyI");
    for assertion in [unknown.as_str(), forged.as_str(), "x", "a.b.c"] {
        redeem(&it.world, assertion, &[]).await.refused("invalid_grant", "grant_invalid");
    }
    let told = redeem(&it.world, &unknown, &[]).await.body["error_description"].clone();
    assert_eq!(told, "client authentication failed");
    for (change, word) in [
        (json!({"aud": TOKEN}), "aud"),
        (json!({"aud": [ISSUER, "https://other.example"]}), "audience"),
        (json!({"repository_id": "8"}), "no agent accepts"),
        (json!({"nonce": "n"}), "ID token"),
        (json!({"exp": START - 100, "iat": START - 200}), "expired"),
    ] {
        let reply = redeem(&it.world, &it.run(&change), &[]).await;
        reply.refused("invalid_grant", "grant_invalid");
        assert!(reply.body["error_description"].as_str().unwrap().contains(word), "{word}: {}", reply.text);
    }
    for other in ["agent:summarizer", "agent:nobody"] {
        redeem(&it.world, &it.run(&json!({})), &[("client_id", other)]).await.refused("invalid_grant", "grant_invalid");
    }
    let public = redeem(&it.world, &it.run(&json!({})), &[("client_id", "agent:public")]).await;
    public.refused("unauthorized_client", "client_not_allowed");
}

/// SPEC: JB-05, JB-06
#[tokio::test]
async fn a_token_that_several_agents_accept_needs_a_name() {
    let it = Fixture::new().await;
    second(&it, planners(&it), AgentStatus::Active).await;
    because(&nameless(&it.world, &it.projected(&json!({}))).await, "client_id");
    redeem(&it.world, &it.projected(&json!({})), &[]).await.refused("invalid_grant", "grant_invalid");
    let scribe = present(&it.world, JWT_BEARER, &it.projected(&json!({})), &[("client_id", "agent:scribe")]).await.access_token();
    assert_eq!(claims(&scribe)["sub"], "agent:scribe");
    // One that may not act does not stand in the way of one that may.
    second(&it, planners(&it), AgentStatus::Quarantined).await;
    assert_eq!(claims(&nameless(&it.world, &it.projected(&json!({}))).await.access_token())["sub"], "agent:planner");
    // Where it is the only one, its state is the answer.
    accept(&it.world, &[]).await;
    nameless(&it.world, &it.projected(&json!({}))).await.refused("invalid_grant", "agent_quarantined");
    // The same JWT is not both what authenticates and what is redeemed.
    accept(&it.world, &[pod("planner")]).await;
    let token = it.projected(&json!({}));
    let both = present(&it.world, JWT_BEARER, &token, &[("grant_type", GRANT), ("assertion", &token)]).await;
    both.refused("invalid_grant", "grant_invalid");
}

#[tokio::test]
async fn an_agent_is_found_no_longer_by_what_it_no_longer_accepts() {
    let it = Fixture::new().await;
    nameless(&it.world, &it.projected(&json!({}))).await.access_token();
    accept(
        &it.world,
        &[Credential::Federated { issuer: "gh".to_owned(), claims: BTreeMap::from([("ref".to_owned(), "x".to_owned())]) }],
    )
    .await;
    because(&nameless(&it.world, &it.projected(&json!({}))).await, "no agent accepts this token");
    nameless(&it.world, &it.run(&json!({"ref": "x"}))).await.access_token();
}

/// Without anyone who vouches, the grant is for identity chaining alone, or not offered.
#[tokio::test]
async fn without_trusted_issuers_a_grant_needs_a_client() {
    let world = World::new().await;
    redeem(&world, "a.b.c", &[]).await.refused("invalid_client", "client_unauthenticated");
}

/// This server issues no SVIDs, so it is no trust domain: it publishes no bundle, and its keys are not for SVIDs.
#[tokio::test]
async fn jw_05_a_server_that_is_no_trust_domain_publishes_no_bundle() {
    let site = Published::new(jwks(&[])).await;
    let domain = remit_authority::TrustDomain {
        name: "example.org".to_owned(),
        bundle: remit_authority::BundleSource::Url(site.url.clone()),
        max_lifetime: 300,
        max_stale: 3_600,
    };
    let trust = remit_authority::WorkloadTrust { issuers: Vec::new(), domains: vec![domain] };
    let world = World::trusting(trust).await;
    for path in ["/.well-known/spiffe-bundle", "/.well-known/spiffe", "/spiffe/bundle", "/spiffe-bundle", "/bundle"] {
        assert_eq!(world.get(path).await.status, 404, "{path}");
    }
    let keys = world.get("/.well-known/jwks.json").await.body;
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key["use"] == "sig"), "{keys}");
    assert_eq!((keys.get("spiffe_sequence"), keys.get("spiffe_refresh_hint")), (None, None));
    let metadata: Value = world.get("/.well-known/oauth-authorization-server").await.body;
    assert!(!metadata.to_string().contains("spiffe_bundle"), "{metadata}");
}

/// SPEC: JB-05
#[tokio::test]
async fn agents_that_were_retired_do_not_fill_the_room_of_the_one_that_acts() {
    let it = Fixture::new().await;
    let client = ClientProfile { credentials: planners(&it), ..ClientProfile::default() };
    let one = |nth: usize, status: AgentStatus| {
        let id = AgentId::parse(&format!("old-{nth}")).unwrap();
        Agent { id, client: client.clone(), keys: Vec::new(), status, ..agent(&it.world.scribe, false) }
    };
    for nth in 0..70 {
        it.world.change(Change::PutAgent(one(nth, AgentStatus::Retired))).await;
    }
    assert_eq!(claims(&nameless(&it.world, &it.projected(&json!({}))).await.access_token())["sub"], "agent:planner");
    // None of them authenticates, with or without its name.
    let named = present(&it.world, JWT_BEARER, &it.projected(&json!({})), &[("client_id", "agent:old-1")]).await;
    named.refused("invalid_grant", "agent_retired");
    accept(&it.world, &[]).await;
    because(&nameless(&it.world, &it.projected(&json!({}))).await, "several agents");
    for nth in 0..64 {
        it.world.change(Change::PutAgent(one(nth, AgentStatus::Active))).await;
    }
    because(&nameless(&it.world, &it.projected(&json!({}))).await, "several agents");
}
