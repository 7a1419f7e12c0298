//! Token exchange: the three ways to hand authority on, and the many ways that are refused.

use crate::{flow::*, world::*};
use remit_model::{AgentStatus, Authority, Human, HumanStatus};
use remit_store::Change;
use remit_token::{PrivateKey, assertion, sign_jws};
use serde_json::{Value, json};

pub(crate) fn read_only() -> Value {
    json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "fields": ["/id", "/subject"]}])
}

/// The planner's token for Alice.
pub(crate) async fn parent(world: &World) -> String {
    text(&world.delegated("alice").await, "access_token").to_owned()
}

pub(crate) async fn hand_details(world: &World, token: &str, details: &Value) -> Reply {
    world.hand(&world.planner, token, &world.summarizer, &[("authorization_details", &details.to_string())]).await
}

pub(crate) async fn by_statement(world: &World, child: &Actor, statement: &str, more: &[(&str, &str)]) -> Reply {
    let mut all = vec![("grant_type", EXCHANGE), ("subject_token", statement), ("subject_token_type", JWT)];
    all.extend_from_slice(more);
    world.token(child, &all).await
}

pub(crate) async fn by_call(world: &World, child: &Actor, token: &str, proof: &str, more: &[(&str, &str)]) -> Reply {
    let mut all = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("subject_token_proof", proof),
    ];
    all.extend_from_slice(more);
    world.token(child, &all).await
}

/// SPEC: TX-07, TX-10, DC-03
#[tokio::test]
async fn a_parent_hands_a_part_to_a_named_child() {
    let world = World::new().await;
    let token = parent(&world).await;
    let reply = hand_details(&world, &token, &read_only()).await;
    let (before, after) = (claims(&token), claims(&reply.access_token()));
    assert_eq!(reply.body["issued_token_type"], ACCESS_TOKEN);
    assert!(reply.body.get("refresh_token").is_none(), "RT-06, TX-10");
    assert_eq!(after["sub"], "user:alice", "DC-02");
    assert_eq!(
        after["act"],
        json!({"iss": ISSUER, "sub": "agent:summarizer", "sub_profile": "ai_agent",
               "act": {"iss": ISSUER, "sub": "agent:planner", "sub_profile": "ai_agent"}}),
        "DC-03"
    );
    assert_eq!(after["cnf"]["jkt"], world.summarizer.jkt(), "DC-09");
    assert_eq!(after["urn:remit:ancestors"], json!([before["jti"]]));
    assert_eq!((&after["txn"], &after["auth_time"]), (&before["txn"], &before["auth_time"]));
    assert_eq!(after["authorization_details"], grants(&read_only()).to_value());
    let record = world.last_record().await;
    assert_eq!(record["record_type"], "delegation");
    assert_eq!(record["chain"].as_array().unwrap().len(), 3);
    assert_eq!(record["ext"]["token"]["proved_by"], "dpop_at_token");
    let side = world.last_side().await;
    assert_eq!(side["/delegation/chain"]["hops"][1]["edge"]["kind"], "dpop_at_token");
}

#[tokio::test]
async fn a_child_brings_a_statement() {
    let world = World::new().await;
    let token = parent(&world).await;
    let statement = world.statement(&world.planner, &token, &world.summarizer, &read_only());
    let reply = by_statement(&world, &world.summarizer, &statement, &[]).await;
    let after = claims(&reply.access_token());
    assert_eq!(after["act"]["sub"], "agent:summarizer");
    assert_eq!(after["urn:remit:purpose"], "summaries");
    assert_eq!(after["auth_time"], claims(&token)["auth_time"]);
    assert_eq!(after["authorization_details"], grants(&read_only()).to_value());
    assert!(after["exp"].as_i64().unwrap() <= START + 300, "the statement's end");
    assert_eq!(world.last_side().await["/delegation/chain"]["hops"][1]["edge"]["jws"], statement.as_str());
}

#[tokio::test]
async fn a_child_brings_the_parents_call() {
    let world = World::new().await;
    let token = parent(&world).await;
    let for_child = world.narrow(&world.planner, &token, &[("resource", DESK)]).await.access_token();
    assert_eq!(claims(&for_child)["aud"], DESK);
    let proof = world.call_proof(&world.planner, &for_child, DESK);
    let reply =
        by_call(&world, &world.summarizer, &for_child, &proof, &[("authorization_details", &read_only().to_string())]).await;
    let after = claims(&reply.access_token());
    assert_eq!((after["aud"].as_str(), after["act"]["sub"].as_str()), (Some(HELPDESK), Some("agent:summarizer")));
    assert_eq!(after["urn:remit:ancestors"].as_array().unwrap().len(), 2);
    // SPEC: N-DC-18: the same call proves no second hop.
    let again = by_call(&world, &world.summarizer, &for_child, &proof, &[("scope", "helpdesk:tickets_search")]).await;
    again.refused("invalid_request", "edge_proof_invalid");
}

#[tokio::test]
async fn a_holder_narrows_its_own_token() {
    let world = World::new().await;
    let token = parent(&world).await;
    let reply = world.narrow(&world.planner, &token, &[("scope", "helpdesk:tickets_read"), ("requested_lifetime", "30")]).await;
    let (before, after) = (claims(&token), claims(&reply.access_token()));
    assert_eq!(before["act"], after["act"], "DC-03: copied unchanged");
    assert_eq!(after["scope"], "helpdesk:tickets_read");
    assert_eq!(reply.body["expires_in"], 30);
    assert_eq!(after["urn:remit:ancestors"], json!([before["jti"]]));
    assert_eq!(world.last_record().await["record_type"], "token");
}

#[tokio::test]
async fn an_agent_on_its_own_account_delegates_too() {
    let world = World::new().await;
    let token = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    let child = claims(&hand_details(&world, &token, &read_only()).await.access_token());
    assert_eq!((child["sub"].as_str(), child["act"]["sub"].as_str()), (Some("agent:planner"), Some("agent:summarizer")));
    assert!(child["act"].get("act").is_none());
}

/// SPEC: TX-04
#[tokio::test]
async fn n_tx_01_asking_for_more_is_refused_in_every_dimension() {
    let world = World::new().await;
    let token = parent(&world).await;
    let grant = |change: Value| {
        let mut grant = json!({"type": "tool_access", "locations": [HELPDESK], "actions": ["refund_create"],
                               "arguments": {"/amount": {"max": 50}}, "limits": {"calls": 10}});
        for (name, value) in change.as_object().unwrap() {
            grant[name] = value.clone();
        }
        json!([grant])
    };
    let fields =
        |fields: Value| json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "fields": fields}]);
    let details = "invalid_authorization_details";
    let cases = [
        (grant(json!({"actions": ["admin_reset"]})), "invalid_scope", "widens_scope"),
        (grant(json!({"arguments": {"/amount": {"max": 500}}})), details, "widens_argument"),
        (grant(json!({"arguments": {}})), details, "widens_argument"),
        (grant(json!({"limits": {"calls": 11}})), details, "widens_limit"),
        (grant(json!({"delegate": {"to": ["*"], "depth": 1}})), details, "widens_delegation"),
        (grant(json!({"locations": [FILES]})), "invalid_target", "widens_resource"),
        (grant(json!({"not_after": START + 5_000})), "invalid_request", "widens_lifetime"),
        (fields(json!(["/id", "/customer/email"])), details, "widens_field"),
        (fields(json!(["/customer"])), details, "widens_field"),
    ];
    for (ask, error, code) in cases {
        hand_details(&world, &token, &ask).await.refused(error, code);
        let record = world.last_record().await;
        assert_eq!(
            (record["decision"]["result"].as_str(), record["decision"]["reason_code"].as_str()),
            (Some("deny"), Some(code))
        );
    }
    hand_details(&world, &token, &grant(json!({}))).await.access_token();
}

/// SPEC: TX-05
#[tokio::test]
async fn n_tx_01_wider_lifetime() {
    let world = World::new().await;
    let token = parent(&world).await;
    let reply = world.hand(&world.planner, &token, &world.summarizer, &[("requested_lifetime", "3600")]).await;
    reply.refused("invalid_request", "widens_lifetime");
}

#[tokio::test]
async fn n_tx_02_n_dc_10_no_hierarchy_and_no_wildcard_widens() {
    let world = World::new().await;
    let token = parent(&world).await;
    let held = text(&claims(&token), "scope").to_owned();
    for (scope, given) in [
        ("helpdesk:*", Some(held.as_str())),
        ("helpdesk:admin_reset", None),
        ("helpdesk:tickets_read helpdesk:admin_reset", Some("helpdesk:tickets_read")),
        ("helpdesk:tickets_read files:read", Some("helpdesk:tickets_read")),
    ] {
        let reply = world.hand(&world.planner, &token, &world.summarizer, &[("scope", scope)]).await;
        if let Some(given) = given {
            // SPEC: RFC 6749 §3.3: the part that may be given, named in the answer.
            assert_eq!(text(&reply.body, "scope"), given, "{scope}");
        } else {
            reply.refused("invalid_scope", "authority_empty");
            let words = text(&reply.body, "error_description");
            assert!(words.contains("`agent:planner` may delegate to `agent:summarizer`"), "{words}");
        }
        assert!(!reply.text.contains("admin_reset"), "{}", reply.text);
    }
    let details =
        json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read", "admin_reset"]}]).to_string();
    let asked = [("authorization_details", details.as_str())];
    world.hand(&world.planner, &token, &world.summarizer, &asked).await.refused("invalid_scope", "widens_scope");
    for scope in ["helpdesk:tickets", "HELPDESK:tickets_read", "helpdesk:tickets.*", "helpdesk:tickets_read\tx"] {
        world
            .hand(&world.planner, &token, &world.summarizer, &[("scope", scope)])
            .await
            .refused("invalid_scope", "scope_unknown");
    }
}

#[tokio::test]
async fn n_tx_03_a_target_the_parent_does_not_have() {
    let world = World::new().await;
    let token = parent(&world).await;
    let ask = |resource: &'static str| [("resource", resource)];
    world.narrow(&world.planner, &token, &ask("https://x.example")).await.refused("invalid_target", "resource_unknown");
    world.narrow(&world.planner, &token, &ask(FILES)).await.refused("invalid_target", "widens_resource");
    let both = [("resource", HELPDESK), ("audience", FILES)];
    world.narrow(&world.planner, &token, &both).await.refused("invalid_target", "widens_resource");
}

#[tokio::test]
async fn n_tx_04_actor_token_and_its_type_come_together() {
    let world = World::new().await;
    let token = parent(&world).await;
    let actor = world.identity(&world.summarizer).await;
    let alone = [("actor_token", actor.as_str())];
    world.narrow(&world.planner, &token, &alone).await.refused("invalid_request", "request_malformed");
    let alone = [("actor_token_type", ACCESS_TOKEN)];
    world.narrow(&world.planner, &token, &alone).await.refused("invalid_request", "request_malformed");
    let bare = [("grant_type", EXCHANGE), ("subject_token", token.as_str())];
    world.token(&world.planner, &bare).await.refused("invalid_request", "request_malformed");
}

/// SPEC: TX-02
#[tokio::test]
async fn n_tx_05_n_dc_06_a_token_of_another_issuer_or_key() {
    let world = World::new().await;
    let token = parent(&world).await;
    let stranger = PrivateKey::from_seed(remit_token::Algorithm::Es256, &[66; 32]).unwrap();
    let mut body = claims(&token);
    body["act"]["act"] = json!({"iss": ISSUER, "sub": "agent:scribe", "sub_profile": "ai_agent"});
    let forged = sign_jws("at+jwt", &stranger, None, &body).unwrap();
    world.narrow(&world.planner, &forged, &[]).await.refused("invalid_request", "token_signature_invalid");
    body["iss"] = json!("https://other.example");
    let foreign = sign_jws("at+jwt", &stranger, None, &body).unwrap();
    world.narrow(&world.planner, &foreign, &[]).await.refused("invalid_request", "token_issuer_unknown");
}

/// SPEC: TX-02
#[tokio::test]
async fn n_tx_06_a_revoked_subject_token() {
    let world = World::new().await;
    let token = parent(&world).await;
    revoke(&world, &world.planner, &token).await;
    world.narrow(&world.planner, &token, &[]).await.refused("invalid_request", "token_revoked");
    hand_details(&world, &token, &read_only()).await.refused("invalid_request", "token_revoked");
}

/// SPEC: DC-06
#[tokio::test]
async fn n_tx_07_a_token_addressed_to_someone_else() {
    let world = World::new().await;
    let token = parent(&world).await;
    // The token is for the helpdesk, not for the summarizer's endpoint.
    let proof = world.call_proof(&world.planner, &token, DESK);
    by_call(&world, &world.summarizer, &token, &proof, &[]).await.refused("invalid_request", "token_audience_wrong");
    // It is for the summarizer's endpoint, and the scribe brings it.
    let for_child = world.narrow(&world.planner, &token, &[("resource", DESK)]).await.access_token();
    let proof = world.call_proof(&world.planner, &for_child, DESK);
    by_call(&world, &world.scribe, &for_child, &proof, &[]).await.refused("invalid_request", "token_audience_wrong");
    // It is held by the planner, and the scribe presents it as its own.
    world.narrow(&world.scribe, &token, &[]).await.refused("invalid_request", "chain_spliced");
}

/// SPEC: TX-05
#[tokio::test]
async fn n_tx_08_n_tx_13_nothing_outlives_the_original() {
    let world = World::new().await;
    let mut token = parent(&world).await;
    let end = claims(&token)["exp"].as_i64().unwrap();
    for step in 0..10 {
        world.advance(40);
        token = world.narrow(&world.planner, &token, &[]).await.access_token();
        assert!(claims(&token)["exp"].as_i64().unwrap() <= end, "step {step}");
    }
    world.advance(300);
    world.narrow(&world.planner, &token, &[]).await.refused("invalid_request", "token_expired");
}

#[tokio::test]
async fn a_token_has_a_limited_number_of_ancestors() {
    let world = World::new().await;
    let mut token = parent(&world).await;
    for _ in 0..31 {
        token = world.narrow(&world.planner, &token, &[]).await.access_token();
    }
    world.narrow(&world.planner, &token, &[]).await.refused("invalid_request", "chain_too_deep");
}

/// SPEC: TX-06
#[tokio::test]
async fn n_tx_09_a_bound_token_without_its_key() {
    let world = World::new().await;
    let token = parent(&world).await;
    let ask = [("grant_type", EXCHANGE), ("subject_token", token.as_str()), ("subject_token_type", ACCESS_TOKEN)];
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&ask));
    world.post("/oauth/token", &form, &[]).await.refused("invalid_dpop_proof", "dpop_proof_missing");
    let foreign = world.proof(&world.scribe.dpop);
    world.token_with(&world.planner, &foreign, &ask).await.refused("invalid_dpop_proof", "dpop_key_mismatch");
}

/// SPEC: TX-01
#[tokio::test]
async fn n_tx_10_other_kinds_of_token_are_not_access_tokens() {
    let world = World::new().await;
    let body = world.delegated_with("alice", &[("scope", "openid helpdesk:tickets_read")]).await;
    let assertion = world.assertion(&world.planner);
    let token = text(&body, "access_token");
    let statement = world.statement(&world.planner, token, &world.summarizer, &read_only());
    for other in [text(&body, "id_token"), &assertion, &statement] {
        world.narrow(&world.planner, other, &[]).await.refused("invalid_request", "token_type_wrong");
    }
    by_statement(&world, &world.summarizer, token, &[]).await.refused("invalid_request", "token_type_wrong");
    let ask = [
        ("grant_type", EXCHANGE),
        ("subject_token", text(&body, "id_token")),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
    ];
    world.token(&world.planner, &ask).await.refused("invalid_request", "token_type_wrong");
    world.narrow(&world.planner, "not.a.token", &[]).await.refused("invalid_request", "token_malformed");
}

#[tokio::test]
async fn tx_09_a_refresh_token_is_no_subject_and_stays_good() {
    let world = World::new().await;
    let consented = world.delegated("alice").await;
    let refresh = text(&consented, "refresh_token");
    for kind in ["refresh_token", "access_token", "jwt"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let ask = [("grant_type", EXCHANGE), ("subject_token", refresh), ("subject_token_type", kind.as_str())];
        let refused = world.token(&world.planner, &ask).await;
        assert_eq!((refused.status.as_u16(), refused.body["error"].as_str()), (400, Some("invalid_request")), "{}", refused.text);
    }
    world.refresh(&world.planner, refresh, &[]).await.access_token();
}

#[tokio::test]
async fn n_tx_11_n_dc_08_the_chain_has_a_depth_limit() {
    let settings = remit_authority::Settings { chain_depth: 2, ..Default::default() };
    let world = World::with(settings).await;
    let token = parent(&world).await;
    let child = world.hand(&world.planner, &token, &world.summarizer, &[("scope", "")]).await;
    let child = child.access_token();
    let reply = world.hand(&world.summarizer, &child, &world.scribe, &[]).await;
    reply.refused("invalid_request", "chain_too_deep");
}

#[tokio::test]
async fn n_dc_09_a_chain_never_comes_back() {
    let world = World::new().await;
    let change = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"],
                         "delegate": {"to": ["*"], "depth": 5}}]);
    world.change(Change::PutHuman(Human { entitlements: grants(&change), ..human("alice") })).await;
    let token = parent(&world).await;
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    world.hand(&world.summarizer, &child, &world.planner, &[]).await.refused("invalid_request", "chain_cycle");
    // To oneself: the actor's key is the parent's own.
    world.hand(&world.planner, &token, &world.planner, &[]).await.refused("invalid_request", "actor_token_invalid");
}

#[tokio::test]
async fn dc_10_only_named_children_and_only_so_deep() {
    let world = World::new().await;
    let token = parent(&world).await;
    // The public client is no delegator's named child, and files cannot be delegated at all.
    let refund = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["refund_create"], "limits": {"calls": 10},
                         "arguments": {"/amount": {"max": 50}}, "delegate": {"to": ["agent:summarizer"], "depth": 1}}]);
    let refund = world.narrow(&world.planner, &token, &[("authorization_details", &refund.to_string())]).await.access_token();
    world.hand(&world.planner, &refund, &world.scribe, &[]).await.refused("invalid_request", "delegate_not_named");
    let child = world.hand(&world.planner, &refund, &world.summarizer, &[]).await.access_token();
    world.hand(&world.summarizer, &child, &world.scribe, &[]).await.refused("invalid_request", "delegation_not_allowed");
    let files = text(&world.delegated_with("alice", &[("resource", FILES)]).await, "access_token").to_owned();
    world.hand(&world.planner, &files, &world.summarizer, &[]).await.refused("invalid_request", "delegation_not_allowed");
    // What was asked for by scope is not handed on either: `scope` cannot say to whom.
    let scoped = world.narrow(&world.planner, &token, &[("scope", "helpdesk:tickets_read")]).await.access_token();
    world.hand(&world.planner, &scoped, &world.summarizer, &[]).await.refused("invalid_request", "delegation_not_allowed");
}

/// SPEC: TX-08, DC-05
#[tokio::test]
async fn n_tx_14_n_dc_01_n_dc_02_splicing_two_flows() {
    let world = World::new().await;
    let alices = parent(&world).await;
    let bobs = text(&world.delegated("bob").await, "access_token").to_owned();
    let bobs_child = world.hand(&world.planner, &bobs, &world.summarizer, &[]).await.access_token();
    let alices_child = hand_details(&world, &alices, &read_only()).await.access_token();
    for actor in [&bobs_child, &alices_child] {
        let spliced = [("actor_token", actor.as_str()), ("actor_token_type", ACCESS_TOKEN)];
        world.narrow(&world.planner, &alices, &spliced).await.refused("invalid_request", "actor_token_invalid");
    }
    // The child's own token, but with authority of its own flow in it.
    let own = world.own_token(&world.summarizer, &[("resource", HELPDESK)]).await;
    let spliced = [("actor_token", own.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    world.narrow(&world.planner, &alices, &spliced).await.refused("invalid_request", "chain_spliced");
}

#[tokio::test]
async fn n_dc_03_an_actor_token_that_carries_act() {
    let world = World::new().await;
    let token = parent(&world).await;
    let child = hand_details(&world, &token, &read_only()).await.access_token();
    let with_act = [("actor_token", child.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    world.narrow(&world.planner, &token, &with_act).await.refused("invalid_request", "actor_token_invalid");
}

#[tokio::test]
async fn n_dc_04_an_actor_token_that_is_a_grant_or_assertion() {
    let world = World::new().await;
    let token = parent(&world).await;
    let statement = world.statement(&world.planner, &token, &world.summarizer, &read_only());
    for other in [world.assertion(&world.summarizer), statement] {
        let wrong = [("actor_token", other.as_str()), ("actor_token_type", ACCESS_TOKEN)];
        world.narrow(&world.planner, &token, &wrong).await.refused("invalid_request", "actor_token_invalid");
        let wrong = [("actor_token", other.as_str()), ("actor_token_type", JWT)];
        world.narrow(&world.planner, &token, &wrong).await.refused("invalid_request", "actor_token_invalid");
    }
}

/// SPEC: DC-03
#[tokio::test]
async fn n_dc_07_an_actor_chain_cannot_be_reordered() {
    let world = World::new().await;
    let token = parent(&world).await;
    let child = hand_details(&world, &token, &read_only()).await.access_token();
    let mut body = claims(&child);
    body["act"] = json!({"iss": ISSUER, "sub": "agent:planner", "sub_profile": "ai_agent",
                         "act": {"iss": ISSUER, "sub": "agent:summarizer", "sub_profile": "ai_agent"}});
    let (header, rest) = child.split_once('.').unwrap();
    let signature = rest.split_once('.').unwrap().1;
    let payload = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, body.to_string());
    let swapped = format!("{header}.{payload}.{signature}");
    world.narrow(&world.planner, &swapped, &[]).await.refused("invalid_request", "token_signature_invalid");
}

#[tokio::test]
async fn n_dc_11_a_child_never_outlives_its_parent() {
    let world = World::new().await;
    let token = parent(&world).await;
    world.advance(400);
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await;
    let child = child.access_token();
    assert!(claims(&child)["exp"].as_i64() <= claims(&token)["exp"].as_i64());
    world.advance(201);
    world.narrow(&world.summarizer, &child, &[]).await.refused("invalid_request", "token_expired");
}

/// SPEC: DC-09
#[tokio::test]
async fn n_dc_12_a_sub_agent_with_its_parents_key() {
    let world = World::new().await;
    let token = parent(&world).await;
    let proof = world.proof(&world.planner.dpop);
    let ask = [("grant_type", "client_credentials"), ("resource", ISSUER)];
    let shared = world.token_with(&world.summarizer, &proof, &ask).await.access_token();
    let actor = [("actor_token", shared.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    world.narrow(&world.planner, &token, &actor).await.refused("invalid_request", "actor_token_invalid");
    let statement = world.statement(&world.planner, &token, &world.summarizer, &read_only());
    let ask = [("grant_type", EXCHANGE), ("subject_token", statement.as_str()), ("subject_token_type", JWT)];
    let reply = world.token_with(&world.summarizer, &world.proof(&world.planner.dpop), &ask).await;
    reply.refused("invalid_request", "chain_spliced");
}

#[tokio::test]
async fn n_dc_13_n_rv_02_what_ends_the_parent_ends_the_child() {
    let world = World::new().await;
    let token = parent(&world).await;
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    let grandchild = world.hand(&world.summarizer, &child, &world.scribe, &[]).await.access_token();
    assert!(world.active(&world.scribe, &grandchild).await);
    revoke(&world, &world.planner, &token).await;
    for (holder, token) in [(&world.summarizer, &child), (&world.scribe, &grandchild)] {
        assert!(!world.active(holder, token).await);
        world.narrow(holder, token, &[]).await.refused("invalid_request", "token_revoked");
    }
}

#[tokio::test]
async fn n_tx_16_an_agent_or_person_stopped_between_hops() {
    let world = World::new().await;
    let token = parent(&world).await;
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    world.set_status(&world.planner, AgentStatus::Quarantined).await;
    world.narrow(&world.summarizer, &child, &[]).await.refused("invalid_request", "agent_quarantined");
    assert!(!world.active(&world.summarizer, &child).await);
    world.set_status(&world.planner, AgentStatus::Active).await;
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") })).await;
    world.narrow(&world.summarizer, &child, &[]).await.refused("invalid_request", "human_disabled");
    world.change(Change::PutHuman(Human { entitlements: Authority::none(), ..human("alice") })).await;
    world.narrow(&world.summarizer, &child, &[]).await.refused("invalid_scope", "authority_empty");
}

#[tokio::test]
async fn n_tx_16_a_stopped_child_is_not_handed_anything() {
    let world = World::new().await;
    let token = parent(&world).await;
    let actor = world.identity(&world.summarizer).await;
    world.set_status(&world.summarizer, AgentStatus::Quarantined).await;
    let ask = [("actor_token", actor.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    world.narrow(&world.planner, &token, &ask).await.refused("invalid_request", "agent_quarantined");
}

#[tokio::test]
async fn n_tx_17_an_unknown_field_in_the_details() {
    let world = World::new().await;
    let token = parent(&world).await;
    let mut unknown = read_only();
    unknown[0]["region"] = json!("EU");
    let reply = hand_details(&world, &token, &unknown).await;
    assert_eq!(reply.body["error"], "invalid_authorization_details", "{}", reply.text);
    let reply = world
        .hand(&world.planner, &token, &world.summarizer, &[("authorization_details", r#"[{"type":"tool_access","type":"x"}]"#)])
        .await;
    reply.refused("invalid_authorization_details", "authorization_details_invalid");
}

/// SPEC: TX-01
#[tokio::test]
async fn n_tx_18_only_access_tokens_are_issued() {
    let world = World::new().await;
    let token = parent(&world).await;
    for kind in ["refresh_token", "id_token", "jwt"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        world
            .narrow(&world.planner, &token, &[("requested_token_type", &kind)])
            .await
            .refused("invalid_request", "request_malformed");
    }
}

#[tokio::test]
async fn tk_09_policy_may_refuse_a_hop() {
    let world = World::new().await;
    let token = parent(&world).await;
    let reply = world.hand(&world.planner, &token, &world.summarizer, &[("purpose", "mischief")]).await;
    reply.refused("invalid_request", "policy_denied");
    let record = world.last_record().await;
    assert_eq!(record["record_id"], reply.record_id());
    assert_eq!(record["decision"]["policies"][0]["id"], "never-for-mischief");
    assert!(world.last_side().await.get("/decision/input").is_some());
}

pub(crate) async fn revoke(world: &World, actor: &Actor, token: &str) {
    let mut form = fields(&[("client_assertion_type", assertion::ASSERTION_TYPE), ("client_assertion", &world.assertion(actor))]);
    form.extend(fields(&[("token", token)]));
    assert_eq!(world.post("/oauth/revoke", &form, &[]).await.status, 200);
}
