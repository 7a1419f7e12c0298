//! The authorization code and refresh token grants.

use crate::{flow::*, world::*};
use axum::{body::Body, http::Request};
use remit_model::{AgentStatus, Authority, Human, HumanStatus};
use remit_store::Change;
use remit_token::{KeySet, Skew, id_token};
use serde_json::json;

#[tokio::test]
async fn a_person_delegates_to_an_agent() {
    let world = World::new().await;
    let code = world
        .code("alice", &request_with(&[("scope", "openid helpdesk:tickets_read"), ("nonce", "n-1"), ("purpose", "triage")]))
        .await;
    let reply = world.redeem(&world.planner, &code, &[]).await;
    let token = claims(&reply.access_token());
    assert_eq!(token["sub"], "user:alice");
    assert_eq!(token["client_id"], "agent:planner");
    assert_eq!(token["act"], json!({"iss": ISSUER, "sub": "agent:planner", "sub_profile": "ai_agent"}), "DC-04");
    assert_eq!(token["aud"], HELPDESK);
    assert_eq!(token["auth_time"], START);
    assert_eq!(token["urn:remit:purpose"], "triage");
    assert_eq!(token["scope"], "helpdesk:tickets_read openid");
    assert_eq!(token["authorization_details"], reply.body["authorization_details"]);
    let fields = &token["authorization_details"][0]["fields"];
    assert_eq!(fields.as_array().unwrap().len(), 3, "what the scope is silent about comes from the person");
    let keys = KeySet::of([world.signing.public()]);
    let expect = id_token::Expect { issuer: ISSUER, client_id: "agent:planner", nonce: Some("n-1") };
    let id = id_token::verify(text(&reply.body, "id_token"), &keys, &expect, world.now(), Skew::NONE).unwrap();
    assert_eq!(id.sub, "user:alice");
    let side = world.last_side().await;
    let hop = &side["/delegation/chain"]["hops"][0];
    let shown = remit_model::json::digest(
        &json!({"agent": "agent:planner", "authority": hop["authority"], "until": hop["expires"], "purpose": "triage"}),
    );
    assert_eq!(id.consent.as_deref(), Some(shown.as_str()), "an auditor recomputes what was agreed to");
    assert_eq!(hop["edge"]["jws"], id.compact());
    let record = world.last_record().await;
    assert_eq!(record["record_type"], "delegation");
    assert_eq!(record["human_in_loop"], "approved");
    assert_eq!(record["chain"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn without_openid_there_is_no_id_token() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    assert!(body.get("id_token").is_none());
    assert!(body.get("refresh_token").is_some());
}

#[tokio::test]
async fn openid_alone_gives_a_token_for_userinfo_only() {
    let world = World::new().await;
    let body = world.delegated_with("alice", &[("scope", "openid"), ("resource", "")]).await;
    let token = text(&body, "access_token");
    assert_eq!(claims(token)["aud"], ISSUER);
    assert!(body.get("authorization_details").is_none());
    let get = |scheme: &str, token: &str, proof: String| {
        Request::get("/oauth/userinfo")
            .header("authorization", format!("{scheme} {token}"))
            .header("dpop", proof)
            .body(Body::empty())
            .unwrap()
    };
    let proof = |token: &str| {
        let jti = fresh();
        let url = format!("{ISSUER}/oauth/userinfo");
        let request = remit_token::dpop::ProofFor {
            method: "GET",
            url: &url,
            now: world.now(),
            jti: &jti,
            access_token: Some(token),
            ..Default::default()
        };
        remit_token::dpop::create(&world.planner.dpop, &request).unwrap()
    };
    let reply = world.send(get("DPoP", token, proof(token))).await;
    assert_eq!(reply.body, json!({"sub": "user:alice", "name": "alice Example"}));
    assert_eq!(world.last_record().await["action"]["name"], "authority.userinfo");
    let bearer = world.send(get("Bearer", token, proof(token))).await;
    assert_eq!((bearer.status.as_u16(), bearer.body["error"].as_str()), (401, Some("invalid_token")), "N-UI-05");
    let tool = world.delegated("alice").await;
    let tool = text(&tool, "access_token");
    let reply = world.send(get("DPoP", tool, proof(tool))).await;
    assert_eq!((reply.status.as_u16(), reply.body["remit_code"].as_str()), (401, Some("token_audience_wrong")), "N-UI-04");
    let own = world.identity(&world.planner).await;
    assert_eq!(world.send(get("DPoP", &own, proof(&own))).await.status, 403, "N-UI-02");
    let query = Request::get(format!("/oauth/userinfo?access_token={token}")).body(Body::empty()).unwrap();
    assert_eq!(world.send(query).await.status, 400, "N-UI-03");
}

/// SPEC: AZ-13, AC-04
#[tokio::test]
async fn n_ac_01_of_two_racing_redeemers_one_wins() {
    let world = World::new().await;
    let code = world.code("alice", &request()).await;
    let (one, two) = tokio::join!(world.redeem(&world.planner, &code, &[]), world.redeem(&world.planner, &code, &[]));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
}

#[tokio::test]
async fn n_ac_02_a_wrong_verifier_counts() {
    let world = World::new().await;
    let code = world.code("alice", &request()).await;
    let wrong = "x".repeat(43);
    for _ in 0..4 {
        world.redeem(&world.planner, &code, &[("code_verifier", &wrong)]).await.refused("invalid_grant", "pkce_mismatch");
    }
    world.redeem(&world.planner, &code, &[]).await.access_token();
    let code = world.code("alice", &request()).await;
    for _ in 0..5 {
        world.redeem(&world.planner, &code, &[("code_verifier", &wrong)]).await.refused("invalid_grant", "pkce_mismatch");
    }
    world.redeem(&world.planner, &code, &[]).await.refused("invalid_grant", "grant_invalid");
}

/// SPEC: AZ-13, AC-03
#[tokio::test]
async fn n_ac_03_n_dc_17_the_code_of_one_client_by_another() {
    let world = World::new().await;
    let code = world.code("alice", &request()).await;
    world.redeem(&world.summarizer, &code, &[]).await.refused("invalid_grant", "grant_invalid");
    world.redeem(&world.planner, &code, &[]).await.access_token();
}

/// SPEC: AC-04
#[tokio::test]
async fn n_ac_04_a_replay_after_success_revokes_everything() {
    let world = World::new().await;
    let code = world.code("alice", &request()).await;
    let reply = world.redeem(&world.planner, &code, &[]).await;
    let token = reply.access_token();
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    assert!(world.active(&world.planner, &token).await);
    // A replay that fails verification revokes nothing.
    world.redeem(&world.planner, &code, &[("code_verifier", &"x".repeat(43))]).await.refused("invalid_grant", "pkce_mismatch");
    assert!(world.active(&world.planner, &token).await);
    world.redeem(&world.planner, &code, &[]).await.refused("invalid_grant", "grant_invalid");
    assert!(!world.active(&world.planner, &token).await);
    assert!(!world.active(&world.summarizer, &child).await, "RV-02");
    let refresh = text(&reply.body, "refresh_token");
    world.refresh(&world.planner, refresh, &[]).await.refused("invalid_grant", "grant_invalid");
}

/// SPEC: AC-02
#[tokio::test]
async fn n_ac_05_a_verifier_of_42_or_129_characters() {
    let world = World::new().await;
    let code = world.code("alice", &request()).await;
    for length in [42, 129] {
        let reply = world.redeem(&world.planner, &code, &[("code_verifier", &"a".repeat(length))]).await;
        reply.refused("invalid_grant", "pkce_mismatch");
    }
}

/// SPEC: AC-02
#[tokio::test]
async fn n_ac_06_a_missing_verifier() {
    let world = World::new().await;
    let code = world.code("alice", &request()).await;
    world.redeem(&world.planner, &code, &[("code_verifier", "")]).await.refused("invalid_grant", "pkce_mismatch");
}

/// SPEC: AC-03
#[tokio::test]
async fn n_ac_07_an_unknown_or_expired_code() {
    let world = World::new().await;
    world.redeem(&world.planner, "unknown", &[]).await.refused("invalid_grant", "grant_invalid");
    let code = world.code("alice", &request()).await;
    world.advance(61);
    world.redeem(&world.planner, &code, &[]).await.refused("invalid_grant", "grant_invalid");
}

#[tokio::test]
async fn ac_01_a_redirect_uri_other_than_the_one_asked_with() {
    let world = World::new().await;
    let code = world.code("alice", &request()).await;
    let reply = world.redeem(&world.planner, &code, &[("redirect_uri", "http://127.0.0.1/cb")]).await;
    reply.refused("invalid_grant", "redirect_uri_mismatch");
    world.redeem(&world.planner, &code, &[("redirect_uri", "")]).await.access_token();
}

#[tokio::test]
async fn ac_06_a_request_that_fails_authentication_does_not_burn_the_code() {
    let world = World::new().await;
    let code = world.code("alice", &request()).await;
    let form = fields(&[("grant_type", "authorization_code"), ("code", &code), ("client_id", "agent:planner")]);
    world.post("/oauth/token", &form, &[]).await.refused("invalid_client", "client_unauthenticated");
    world.redeem(&world.planner, &code, &[]).await.access_token();
}

#[tokio::test]
async fn ac_05_dp_13_a_code_bound_to_a_key_wants_that_key() {
    let world = World::new().await;
    let code = world.code("alice", &request_with(&[("dpop_jkt", world.summarizer.jkt())])).await;
    world.redeem(&world.planner, &code, &[]).await.refused("invalid_dpop_proof", "dpop_key_mismatch");
}

/// SPEC: TX-03, TK-05
#[tokio::test]
async fn a_public_client_uses_the_code_flow_and_nothing_else() {
    let world = World::new().await;
    let code = world.code("alice", &request_with(&[("client_id", "agent:public")])).await;
    let form = fields(&[
        ("grant_type", "authorization_code"),
        ("client_id", "agent:public"),
        ("code", &code),
        ("code_verifier", VERIFIER),
    ]);
    let reply = world.post("/oauth/token", &form, &[("dpop", world.proof(&world.public.dpop))]).await;
    let token = reply.access_token();
    let refresh = text(&reply.body, "refresh_token");
    let form = fields(&[("grant_type", "refresh_token"), ("client_id", "agent:public"), ("refresh_token", refresh)]);
    let other = world.post("/oauth/token", &form, &[("dpop", world.proof(&world.planner.dpop))]).await;
    other.refused("invalid_dpop_proof", "dpop_key_mismatch");
    world.post("/oauth/token", &form, &[("dpop", world.proof(&world.public.dpop))]).await.access_token();
    // SPEC: N-TX-12
    let form = fields(&[
        ("grant_type", EXCHANGE),
        ("client_id", "agent:public"),
        ("subject_token", &token),
        ("subject_token_type", ACCESS_TOKEN),
    ]);
    let reply = world.post("/oauth/token", &form, &[("dpop", world.proof(&world.public.dpop))]).await;
    reply.refused("unauthorized_client", "client_not_allowed");
}

#[tokio::test]
async fn one_token_is_for_one_of_the_resources_that_were_agreed_to() {
    let world = World::new().await;
    let mut parameters = request();
    parameters.extend(fields(&[("resource", FILES)]));
    let code = world.code("alice", &parameters).await;
    world.redeem(&world.planner, &code, &[]).await.refused("invalid_target", "resource_unknown");
    let reply = world.redeem(&world.planner, &code, &[("resource", FILES)]).await;
    let token = claims(&reply.access_token());
    assert_eq!(token["aud"], FILES);
    assert_eq!(token["scope"], "files:read");
    let refresh = text(&reply.body, "refresh_token");
    let reply = world.refresh(&world.planner, refresh, &[("resource", HELPDESK)]).await;
    assert_eq!(claims(&reply.access_token())["aud"], HELPDESK);
}

#[tokio::test]
async fn tk_09_policy_has_the_last_word_and_is_recorded() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &request_with(&[("purpose", "mischief")])).await;
    let back = page.location();
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(query(&back, "remit_code").as_deref(), Some("policy_denied"));
    let record = world.last_record().await;
    assert_eq!(record["decision"]["result"], "deny");
    assert_eq!(record["decision"]["policies"][0]["id"], "never-for-mischief");
    assert!(world.last_side().await.get("/decision/input").is_some());
    let digest = record["decision"]["policy_set_digest"].as_str().unwrap().strip_prefix("sha-256:").unwrap().to_owned();
    assert!(world.store.object(&digest).await.unwrap().is_some(), "the policy set is pinned for replay");
}

#[tokio::test]
async fn a_refresh_rotates_and_keeps_the_chain() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    world.advance(300);
    let reply = world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await;
    let (old, new) = (claims(text(&body, "access_token")), claims(&reply.access_token()));
    assert_ne!(old["jti"], new["jti"]);
    assert_eq!((&old["txn"], &old["act"], &old["auth_time"]), (&new["txn"], &new["act"], &new["auth_time"]));
    assert_ne!(text(&body, "refresh_token"), text(&reply.body, "refresh_token"));
    assert_eq!(world.last_record().await["record_type"], "token");
}

#[tokio::test]
async fn n_rt_01_reuse_after_rotation_ends_the_family() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let first = text(&body, "refresh_token");
    let second = world.refresh(&world.planner, first, &[]).await;
    second.access_token();
    world.advance(31);
    world.refresh(&world.planner, first, &[]).await.refused("invalid_grant", "grant_invalid");
    assert!(world.last_record().await["ext"]["token"]["revoked_txn"].is_string());
    let again = world.refresh(&world.planner, text(&second.body, "refresh_token"), &[]).await;
    again.refused("invalid_grant", "grant_invalid");
    assert!(!world.active(&world.planner, &second.access_token()).await, "RV-02");
}

#[tokio::test]
async fn rt_02_a_retry_gets_the_same_successor_also_after_a_restart() {
    let mut world = World::new().await;
    let body = world.delegated("alice").await;
    let first = text(&body, "refresh_token").to_owned();
    let reply = world.refresh(&world.planner, &first, &[]).await;
    let successor = text(&reply.body, "refresh_token").to_owned();
    let issued = reply.access_token();
    for wait in [0, 10, 20] {
        world.advance(wait);
        if wait == 10 {
            world = world.restart().await;
        }
        let retry = world.refresh_with_nonce(&first).await;
        assert_eq!(text(&retry.body, "refresh_token"), successor, "after {wait} more seconds");
        assert_ne!(retry.access_token(), issued);
        assert_eq!(world.last_record().await["ext"]["token"]["refresh_retry"], true);
    }
    let next = world.refresh_with_nonce(&successor).await;
    assert_ne!(text(&next.body, "refresh_token"), successor);
    assert!(world.active(&world.planner, &issued).await, "nothing was revoked");
}

#[tokio::test]
async fn rt_02_four_refreshes_at_once_survive_with_one_successor() {
    let world = World::new().await;
    let mut token = text(&world.delegated("alice").await, "refresh_token").to_owned();
    for _ in 0..5 {
        let one = || world.refresh(&world.planner, &token, &[]);
        let replies = tokio::join!(one(), one(), one(), one());
        let replies = [replies.0, replies.1, replies.2, replies.3];
        let successors: Vec<&str> = replies.iter().map(|reply| text(&reply.body, "refresh_token")).collect();
        assert!(successors.iter().all(|successor| *successor == successors[0]), "{successors:?}");
        for reply in &replies {
            assert!(world.active(&world.planner, &reply.access_token()).await);
        }
        token = successors[0].to_owned();
    }
}

#[tokio::test]
async fn n_rt_01_the_grace_is_for_the_same_client_and_key_and_ends_by_the_second() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let first = text(&body, "refresh_token");
    let successor = text(&world.refresh(&world.planner, first, &[]).await.body, "refresh_token").to_owned();
    world.refresh(&world.summarizer, first, &[]).await.refused("invalid_grant", "grant_invalid");
    let form = [("grant_type", "refresh_token"), ("refresh_token", first)];
    let foreign = world.proof(&world.summarizer.dpop);
    world.token_with(&world.planner, &foreign, &form).await.refused("invalid_dpop_proof", "dpop_key_mismatch");
    world.advance(30);
    assert_eq!(text(&world.refresh(&world.planner, first, &[]).await.body, "refresh_token"), successor);
    world.advance(1);
    world.refresh(&world.planner, first, &[]).await.refused("invalid_grant", "grant_invalid");
    world.refresh(&world.planner, &successor, &[]).await.refused("invalid_grant", "grant_invalid");
    world.refresh(&world.planner, first, &[]).await.refused("invalid_grant", "grant_invalid");
}

#[tokio::test]
async fn n_rt_06_a_retry_is_checked_like_any_refresh() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let first = text(&body, "refresh_token");
    world.refresh(&world.planner, first, &[]).await.access_token();
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") })).await;
    world.refresh(&world.planner, first, &[]).await.refused("invalid_grant", "human_disabled");
}

/// SPEC: RT-01
#[tokio::test]
async fn n_rt_02_another_client_cannot_refresh() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let token = text(&body, "refresh_token");
    world.refresh(&world.summarizer, token, &[]).await.refused("invalid_grant", "grant_invalid");
    world.refresh(&world.planner, token, &[]).await.access_token();
}

/// SPEC: RT-03
#[tokio::test]
async fn n_rt_03_scope_may_only_narrow() {
    let world = World::new().await;
    let body = world.delegated_with("alice", &[("scope", "helpdesk:tickets_read helpdesk:tickets_search")]).await;
    let token = text(&body, "refresh_token");
    world
        .refresh(&world.planner, token, &[("scope", "helpdesk:refund_create")])
        .await
        .refused("invalid_scope", "authority_empty");
    world.refresh(&world.planner, token, &[("scope", "openid")]).await.refused("invalid_scope", "widens_scope");
    let narrower = world.refresh(&world.planner, token, &[("scope", "helpdesk:tickets_read")]).await;
    assert_eq!(claims(&narrower.access_token())["scope"], "helpdesk:tickets_read");
    // Of what is wider, the part that was agreed to, and the answer says so.
    let wider = [("scope", "helpdesk:tickets_read helpdesk:refund_create files:read")];
    let narrower = world.refresh(&world.planner, text(&narrower.body, "refresh_token"), &wider).await;
    assert_eq!(text(&narrower.body, "scope"), "helpdesk:tickets_read");
    assert!(!narrower.body["authorization_details"].to_string().contains("refund_create"), "{}", narrower.text);
    let whole = world.refresh(&world.planner, text(&narrower.body, "refresh_token"), &[]).await;
    assert_eq!(claims(&whole.access_token())["scope"], "helpdesk:tickets_read helpdesk:tickets_search", "RT-03");
}

/// SPEC: RT-03
#[tokio::test]
async fn n_rt_04_resource_may_only_narrow() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let reply = world.refresh(&world.planner, text(&body, "refresh_token"), &[("resource", FILES)]).await;
    reply.refused("invalid_target", "widens_resource");
}

/// SPEC: RT-04
#[tokio::test]
async fn n_rt_05_idle_and_absolute_expiry() {
    let settings = remit_authority::Settings { refresh_idle: 1_000, consent: 2_500, ..Default::default() };
    let world = World::with(settings).await;
    let body = world.delegated("alice").await;
    world.advance(1_001);
    world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await.refused("invalid_grant", "grant_invalid");
    let body = world.delegated("alice").await;
    let mut token = text(&body, "refresh_token").to_owned();
    for _ in 0..2 {
        world.advance(950);
        let reply = world.refresh(&world.planner, &token, &[]).await;
        assert!(claims(&reply.access_token())["exp"].as_i64().unwrap() <= START + 1_001 + 2_500, "RT-04");
        token = text(&reply.body, "refresh_token").to_owned();
    }
    world.advance(700);
    world.refresh(&world.planner, &token, &[]).await.refused("invalid_grant", "grant_invalid");
}

#[tokio::test]
async fn n_rt_06_after_the_person_or_the_agent_was_stopped() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let token = text(&body, "refresh_token");
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") })).await;
    world.refresh(&world.planner, token, &[]).await.refused("invalid_grant", "human_disabled");
    world.change(Change::PutHuman(Human { entitlements: Authority::none(), ..human("alice") })).await;
    world.refresh(&world.planner, token, &[]).await.refused("invalid_scope", "authority_empty");
    world.change(Change::PutHuman(human("alice"))).await;
    world.set_status(&world.planner, AgentStatus::Quarantined).await;
    assert_eq!(world.refresh(&world.planner, token, &[]).await.body["remit_code"], "agent_quarantined");
    world.set_status(&world.planner, AgentStatus::Active).await;
    world.refresh(&world.planner, token, &[]).await.access_token();
}

#[tokio::test]
async fn rt_05_a_refresh_gives_only_what_everyone_may_do_now() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let less = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "fields": ["/id"]}]);
    world.change(Change::PutHuman(Human { entitlements: grants(&less), ..human("alice") })).await;
    let reply = world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await;
    assert_eq!(claims(&reply.access_token())["authorization_details"], grants(&less).to_value());
    let code = world.code("bob", &request()).await;
    world.change(Change::PutHuman(Human { entitlements: grants(&less), ..human("bob") })).await;
    world.redeem(&world.planner, &code, &[]).await.refused("invalid_grant", "grant_invalid");
}

/// SPEC: RT-08
#[tokio::test]
async fn n_rt_07_another_key_can_neither_refresh_nor_end_the_family() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let first = text(&body, "refresh_token");
    let foreign = [("grant_type", "refresh_token"), ("refresh_token", first)];
    let reply = world.token_with(&world.planner, &world.proof(&world.scribe.dpop), &foreign).await;
    reply.refused("invalid_dpop_proof", "dpop_key_mismatch");
    let second = world.refresh(&world.planner, first, &[]).await;
    let reply = world.token_with(&world.planner, &world.proof(&world.scribe.dpop), &foreign).await;
    reply.refused("invalid_dpop_proof", "dpop_key_mismatch");
    world.refresh(&world.planner, text(&second.body, "refresh_token"), &[]).await.access_token();
}

#[tokio::test]
async fn n_rt_08_of_two_parallel_refreshes_one_rotates() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let token = text(&body, "refresh_token");
    let (one, two) = tokio::join!(world.refresh(&world.planner, token, &[]), world.refresh(&world.planner, token, &[]));
    let next = text(&one.body, "refresh_token");
    assert_eq!(next, text(&two.body, "refresh_token"));
    world.advance(31);
    world.refresh(&world.planner, next, &[]).await.access_token();
}
