//! Client authentication and `client_credentials`.

use crate::{flow::text, world::*};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use remit_model::{Acts, Agent, AgentStatus};
use remit_store::Change;
use remit_token::{Algorithm, PrivateKey, assertion, sign_jws};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const CC: (&str, &str) = ("grant_type", "client_credentials");

/// An assertion with some claims replaced.
pub(crate) fn assertion(world: &World, actor: &Actor, key: &PrivateKey, change: &Value) -> String {
    let mut body = json!({
        "iss": actor.sub, "sub": actor.sub, "aud": ISSUER, "jti": fresh(), "iat": world.now(), "exp": world.now().plus(60),
    });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(name);
        } else {
            body[name] = value.clone();
        }
    }
    sign_jws(assertion::TYP, key, None, &body).unwrap()
}

pub(crate) async fn with_assertion(world: &World, actor: &Actor, compact: &str, more: &[(&str, &str)]) -> Reply {
    let mut form = fields(&[
        CC,
        ("client_assertion_type", assertion::ASSERTION_TYPE),
        ("client_assertion", compact),
        ("scope", "files:read"),
    ]);
    form.extend(fields(more));
    world.post("/oauth/token", &form, &[("dpop", world.proof(&actor.dpop))]).await
}

/// SPEC: TK-06
#[tokio::test]
async fn an_agent_gets_a_token_for_itself() {
    let world = World::new().await;
    let reply = world.token(&world.planner, &[CC, ("scope", "helpdesk:tickets_read")]).await;
    let claims = claims(&reply.access_token());
    assert_eq!(reply.body["token_type"], "DPoP");
    assert_eq!(reply.body["scope"], "helpdesk:tickets_read");
    assert_eq!(reply.body["expires_in"], 600);
    assert!(reply.body.get("refresh_token").is_none(), "RT-06");
    assert!(reply.headers.contains_key("dpop-nonce"));
    assert_eq!(claims["sub"], "agent:planner");
    assert_eq!(claims["client_id"], "agent:planner");
    assert_eq!(claims["aud"], HELPDESK);
    assert_eq!(claims["cnf"]["jkt"], world.planner.jkt());
    assert!(claims.get("act").is_none(), "CC-01");
    let record = world.last_record().await;
    assert_eq!(record["record_type"], "token");
    assert_eq!(record["decision"]["result"], "allow");
    let side = world.last_side().await.to_string();
    assert!(side.contains("/delegation/chain") && side.contains("/token/access") && side.contains("/chain/0/edge"), "{side}");
    assert!(!side.contains(&reply.access_token()), "the token itself is never kept");
    assert!(!record.to_string().contains("agent:planner"), "no subject in the plain record");
}

/// SPEC: N-DC-14
#[tokio::test]
async fn dc_13_an_agent_that_acts_on_behalf_only_gets_no_authority_of_its_own() {
    let world = World::new().await;
    let before = world.own_token(&world.planner, &[("resource", HELPDESK)]).await;
    assert!(world.active(&world.planner, &before).await);
    let only = Agent { acts: Acts::OnBehalf, ..agent(&world.planner, false) };
    world.change(Change::PutAgent(only)).await;
    for scope in [&[("scope", "helpdesk:tickets_read")][..], &[("resource", HELPDESK)], &[("resource", DESK)]] {
        let reply = world.token(&world.planner, &[&[CC], scope].concat()).await;
        reply.refused("unauthorized_client", "client_not_allowed");
        assert!(reply.body["error_description"].as_str().unwrap().contains("person"), "{}", reply.body);
        assert_eq!(world.last_record().await["decision"]["reason_code"], "client_not_allowed");
    }
    // What it was given before ends, and nothing comes of it.
    assert!(!world.active(&world.planner, &before).await);
    let narrowed = world.narrow(&world.planner, &before, &[("scope", "helpdesk:tickets_read")]).await;
    assert_eq!(narrowed.body["remit_code"], "client_not_allowed", "{}", narrowed.body);
    // Nor does it take part in a chain that an agent began.
    let summarizer = world.own_token(&world.summarizer, &[("resource", HELPDESK)]).await;
    let handed = world.hand(&world.summarizer, &summarizer, &world.planner, &[("scope", "helpdesk:tickets_read")]).await;
    assert_eq!(handed.body["remit_code"], "client_not_allowed", "{}", handed.body);
    // It can say who it is, and act for a person.
    let identity = world.identity(&world.planner).await;
    assert!(world.active(&world.planner, &identity).await);
    let delegated = world.delegated("alice").await;
    assert!(delegated["access_token"].is_string(), "{delegated}");
    world.refresh(&world.planner, delegated["refresh_token"].as_str().unwrap(), &[]).await.access_token();
}

#[tokio::test]
async fn n_tk_01_two_ways_to_authenticate_are_refused() {
    let world = World::new().await;
    world.token(&world.planner, &[CC, ("client_secret", "x")]).await.refused("invalid_request", "request_malformed");
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[CC]));
    let headers = [("dpop", world.proof(&world.planner.dpop)), ("authorization", "Basic eDp5".to_owned())];
    world.post("/oauth/token", &form, &headers).await.refused("invalid_request", "request_malformed");
}

#[tokio::test]
async fn n_tk_02_an_assertion_for_the_token_endpoint_is_refused() {
    let world = World::new().await;
    let compact = assertion(&world, &world.planner, &world.planner.auth, &json!({"aud": TOKEN}));
    let reply = with_assertion(&world, &world.planner, &compact, &[]).await;
    reply.refused("invalid_client", "client_unauthenticated");
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn n_tk_03_an_assertion_for_two_audiences_is_refused() {
    let world = World::new().await;
    let compact = assertion(&world, &world.planner, &world.planner.auth, &json!({"aud": [ISSUER, "https://other.example"]}));
    with_assertion(&world, &world.planner, &compact, &[]).await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn n_tk_04_an_assertion_is_good_once() {
    let world = World::new().await;
    let compact = world.assertion(&world.planner);
    with_assertion(&world, &world.planner, &compact, &[]).await.access_token();
    let reply = with_assertion(&world, &world.planner, &compact, &[]).await;
    reply.refused("invalid_client", "assertion_replayed");
    let record = world.last_record().await;
    assert_eq!(record["record_id"], reply.record_id());
    assert_eq!(record["decision"]["reason_code"], "assertion_replayed");
}

#[tokio::test]
async fn n_tk_04_a_refused_request_uses_its_assertion_up_too() {
    let world = World::new().await;
    let compact = world.assertion(&world.planner);
    let reply = with_assertion(&world, &world.planner, &compact, &[("resource", "https://nowhere.example")]).await;
    reply.refused("invalid_target", "resource_unknown");
    with_assertion(&world, &world.planner, &compact, &[]).await.refused("invalid_client", "assertion_replayed");
}

#[tokio::test]
async fn n_tk_05_the_assertion_of_one_client_with_the_id_of_another() {
    let world = World::new().await;
    let compact = world.assertion(&world.planner);
    let reply = with_assertion(&world, &world.planner, &compact, &[("client_id", "agent:summarizer")]).await;
    reply.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn n_tk_06_wrong_algorithms_and_keys() {
    let world = World::new().await;
    let planner = &world.planner;
    let stranger = PrivateKey::from_seed(Algorithm::Ed25519, &[77; 32]).unwrap();
    let foreign = assertion(&world, planner, &stranger, &json!({}));
    with_assertion(&world, planner, &foreign, &[]).await.refused("invalid_client", "client_unauthenticated");
    let other_kind = assertion(&world, planner, &PrivateKey::from_seed(Algorithm::Es256, &[7; 32]).unwrap(), &json!({}));
    with_assertion(&world, planner, &other_kind, &[]).await.refused("invalid_client", "client_unauthenticated");
    let good = world.assertion(planner);
    let (_, rest) = good.split_once('.').unwrap();
    for alg in ["none", "NonE", "HS256"] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        let header = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header);
        let forged = format!("{header}.{rest}");
        with_assertion(&world, planner, &forged, &[]).await.refused("invalid_client", "client_unauthenticated");
    }
}

#[tokio::test]
async fn n_tk_07_expired_far_future_or_endless_assertions() {
    let world = World::new().await;
    for change in [json!({"exp": START - 120}), json!({"exp": START + 3631}), json!({"exp": null}), json!({"jti": null})] {
        let compact = assertion(&world, &world.planner, &world.planner.auth, &change);
        with_assertion(&world, &world.planner, &compact, &[]).await.refused("invalid_client", "client_unauthenticated");
    }
    let compact = assertion(&world, &world.planner, &world.planner.auth, &json!({"exp": START + 3631}));
    let said = with_assertion(&world, &world.planner, &compact, &[]).await.body["error_description"].clone();
    assert!(said.as_str().unwrap().contains("client assertion ends more than 3600 seconds ahead"), "{said}");
}

#[tokio::test]
async fn n_tk_08_an_agent_with_keys_cannot_fall_back_to_none() {
    let world = World::new().await;
    let mut told = BTreeSet::new();
    for client in ["agent:planner", "agent:nobody", "not-an-agent"] {
        let form = fields(&[CC, ("client_id", client)]);
        let reply = world.post("/oauth/token", &form, &[("dpop", world.proof(&world.planner.dpop))]).await;
        reply.refused("invalid_client", "client_unauthenticated");
        let words = reply.body["error_description"].as_str().unwrap();
        assert!(words.contains("private_key_jwt") && words.contains("no client secrets"), "{words}");
        told.insert(words.to_owned());
    }
    assert_eq!(told.len(), 1, "X-11: the same words: {told:?}");
}

#[tokio::test]
async fn x_07_basic_credentials_get_a_basic_challenge() {
    let world = World::new().await;
    let headers = [("dpop", world.proof(&world.planner.dpop)), ("authorization", "Basic eDp5".to_owned())];
    let reply = world.post("/oauth/token", &fields(&[CC]), &headers).await;
    reply.refused("invalid_client", "client_unauthenticated");
    assert_eq!(reply.headers["www-authenticate"], "Basic realm=\"remit\"");
}

/// SPEC: X-02
#[tokio::test]
async fn n_tk_09_get_is_405() {
    let world = World::new().await;
    for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke"] {
        let reply = world.get(path).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(reply.headers["allow"], "POST");
        reply.refused("invalid_request", "method_not_allowed");
    }
}

/// SPEC: X-02
#[tokio::test]
async fn n_tk_10_a_json_body_is_415() {
    let world = World::new().await;
    for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke"] {
        let request = Request::post(path).header("content-type", "application/json").body(Body::from("{}")).unwrap();
        let reply = world.send(request).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        reply.refused("invalid_request", "media_type_unsupported");
    }
}

#[tokio::test]
async fn x_10_a_body_over_the_limit_is_413() {
    let world = World::new().await;
    let form = fields(&[("x", &"y".repeat(140_000))]);
    let reply = world.post("/oauth/token", &form, &[]).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// SPEC: X-05
#[tokio::test]
async fn n_tk_11_nothing_is_cached() {
    let world = World::new().await;
    let reply = world.token(&world.planner, &[CC, ("scope", "files:read")]).await;
    reply.access_token();
    assert_eq!(reply.headers["cache-control"], "no-store");
    let reply = world.post("/oauth/token", &[], &[]).await;
    assert_eq!(reply.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn x_03_a_repeated_parameter_is_refused() {
    let world = World::new().await;
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[CC, CC]));
    world.post("/oauth/token", &form, &[]).await.refused("invalid_request", "request_malformed");
}

#[tokio::test]
async fn x_04_credentials_in_the_url_are_refused() {
    let world = World::new().await;
    let reply = world.post("/oauth/token?client_id=agent:planner", &fields(&[CC]), &[]).await;
    reply.refused("invalid_request", "request_malformed");
}

#[tokio::test]
async fn n_md_04_a_grant_that_is_not_offered_is_unsupported() {
    let world = World::new().await;
    for grant in ["password", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:device_code"] {
        world.token(&world.planner, &[("grant_type", grant)]).await.refused("unsupported_grant_type", "grant_type_unsupported");
    }
}

#[tokio::test]
async fn n_cc_01_a_public_client_is_refused() {
    let world = World::new().await;
    let form = fields(&[CC, ("client_id", "agent:public")]);
    let reply = world.post("/oauth/token", &form, &[("dpop", world.proof(&world.public.dpop))]).await;
    reply.refused("unauthorized_client", "client_not_allowed");
}

#[tokio::test]
async fn n_cc_02_openid_is_refused() {
    let world = World::new().await;
    world.token(&world.planner, &[CC, ("scope", "openid files:read")]).await.refused("invalid_scope", "scope_unknown");
}

#[tokio::test]
async fn n_cc_03_scope_outside_the_registration() {
    let world = World::new().await;
    world.token(&world.planner, &[CC, ("scope", "helpdesk:admin_reset")]).await.refused("invalid_scope", "authority_empty");
    world.token(&world.planner, &[CC, ("scope", "helpdesk:unknown")]).await.refused("invalid_scope", "scope_unknown");
    world.token(&world.planner, &[CC, ("scope", "elsewhere:read")]).await.refused("invalid_scope", "scope_unknown");
}

#[tokio::test]
async fn n_cc_04_an_agent_can_never_have_a_persons_subject() {
    let world = World::new().await;
    let form = fields(&[CC, ("client_id", "user:alice")]);
    let reply = world.post("/oauth/token", &form, &[("dpop", world.proof(&world.planner.dpop))]).await;
    reply.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn dp_12_an_agent_without_a_proof_gets_nothing() {
    let world = World::new().await;
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[CC]));
    world.post("/oauth/token", &form, &[]).await.refused("invalid_dpop_proof", "dpop_proof_missing");
    let proof = world.proof(&world.planner.dpop);
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[CC]));
    let reply = world.post("/oauth/token", &form, &[("dpop", proof.clone()), ("dpop", proof)]).await;
    reply.refused("invalid_dpop_proof", "dpop_proof_invalid");
}

#[tokio::test]
async fn n_dp_09_a_replayed_proof_is_refused() {
    let world = World::new().await;
    let proof = world.proof(&world.planner.dpop);
    world.token_with(&world.planner, &proof, &[CC, ("scope", "files:read")]).await.access_token();
    let reply = world.token_with(&world.planner, &proof, &[CC, ("scope", "files:read")]).await;
    reply.refused("invalid_dpop_proof", "dpop_proof_replayed");
}

#[tokio::test]
async fn dp_07_a_required_nonce_is_asked_for_and_then_accepted() {
    let settings = remit_authority::Settings { require_nonce: true, ..Default::default() };
    let world = World::with(settings).await;
    let reply = world.token(&world.planner, &[CC, ("scope", "files:read")]).await;
    reply.refused("use_dpop_nonce", "dpop_nonce_required");
    let nonce = reply.headers["dpop-nonce"].to_str().unwrap().to_owned();
    // C19: clients keep one nonce for each origin, so one that the gateway issued is as good here.
    let gateway = remit_token::dpop::Nonces::new(&[7; 32], remit_token::dpop::nonce::PERIOD_SECS);
    let (jti, issued) = (fresh(), gateway.issue(world.now()));
    let request = remit_token::dpop::ProofFor {
        method: "POST",
        url: TOKEN,
        now: world.now(),
        jti: &jti,
        nonce: Some(&issued),
        ..Default::default()
    };
    let proof = remit_token::dpop::create(&world.planner.dpop, &request).unwrap();
    world.token_with(&world.planner, &proof, &[CC, ("scope", "files:read")]).await.access_token();
    let jti = fresh();
    let proof = remit_token::dpop::create(
        &world.planner.dpop,
        &remit_token::dpop::ProofFor {
            method: "POST",
            url: TOKEN,
            now: world.now(),
            jti: &jti,
            nonce: Some(&nonce),
            ..Default::default()
        },
    )
    .unwrap();
    world.token_with(&world.planner, &proof, &[CC, ("scope", "files:read")]).await.access_token();
}

#[tokio::test]
async fn dc_13_a_stopped_agent_gets_nothing() {
    let world = World::new().await;
    world.set_status(&world.planner, AgentStatus::Quarantined).await;
    let reply = world.token(&world.planner, &[CC, ("scope", "files:read")]).await;
    assert_eq!(reply.body["remit_code"], "agent_quarantined");
    world.set_status(&world.planner, AgentStatus::Retired).await;
    let reply = world.token(&world.planner, &[CC, ("scope", "files:read")]).await;
    assert_eq!(reply.body["remit_code"], "agent_retired");
}

#[tokio::test]
async fn details_beyond_the_ceiling_are_refused_by_dimension() {
    let world = World::new().await;
    let ask = |detail: Value| json!([detail]).to_string();
    let cases = [
        (json!({"type": "tool_access", "locations": [HELPDESK], "actions": ["admin_reset"]}), "invalid_scope", "widens_scope"),
        (
            json!({"type": "tool_access", "actions": ["read"], "locations": ["https://x.example"]}),
            "invalid_target",
            "widens_resource",
        ),
        (json!({"type": "other", "locations": [HELPDESK]}), "invalid_authorization_details", "authorization_details_invalid"),
        (
            json!({"type": "tool_access", "locations": [FILES], "actions": ["read"], "delegate": {"to": ["*"], "depth": 1}}),
            "invalid_authorization_details",
            "widens_delegation",
        ),
    ];
    for (detail, error, code) in cases {
        let resource = if detail["locations"][0] == FILES { FILES } else { HELPDESK };
        let details = ask(detail);
        let reply = world.token(&world.planner, &[CC, ("authorization_details", &details), ("resource", resource)]).await;
        reply.refused(error, code);
    }
}

#[tokio::test]
async fn tk_08_one_token_is_for_one_resource() {
    let world = World::new().await;
    world.token(&world.planner, &[CC]).await.refused("invalid_target", "resource_unknown");
    let reply = world.token(&world.planner, &[CC, ("resource", HELPDESK), ("resource", FILES)]).await;
    reply.refused("invalid_target", "resource_unknown");
    let reply = world.token(&world.planner, &[CC, ("resource", "HTTP://127.0.0.1:8420/mcp/files")]).await;
    assert_eq!(claims(&reply.access_token())["aud"], FILES, "C-02: scheme and host in any case");
}

#[tokio::test]
async fn requested_lifetime_shortens_and_must_be_a_number() {
    let world = World::new().await;
    let reply = world.token(&world.planner, &[CC, ("resource", FILES), ("requested_lifetime", "60")]).await;
    assert_eq!(reply.body["expires_in"], 60);
    for wrong in ["0", "-5", "1e3", "99999999999999999999"] {
        let reply = world.token(&world.planner, &[CC, ("resource", FILES), ("requested_lifetime", wrong)]).await;
        reply.refused("invalid_request", "request_malformed");
    }
}

/// SPEC: TK-10
#[tokio::test]
async fn without_the_ledger_nothing_is_issued() {
    let world = World::new().await;
    world.store.close().await.unwrap();
    let reply = world.token(&world.planner, &[CC, ("resource", FILES)]).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.body["remit_code"], "ledger_unavailable");
    assert!(reply.body.get("access_token").is_none(), "TK-10");
}

#[tokio::test]
async fn tk_09_policies_are_asked_about_an_agents_own_token_and_a_refusal_is_recorded_with_its_decision() {
    let world = World::new().await;
    let asked = [CC, ("scope", "helpdesk:tickets_read"), ("purpose", "mischief")];
    world.token(&world.planner, &asked).await.refused("invalid_scope", "policy_denied");
    let record = world.last_record().await;
    assert_eq!((&record["record_type"], &record["outcome"]["status"]), (&json!("decision"), &json!("denied")));
    assert_eq!(record["decision"]["policies"][0]["id"], "never-for-mischief");
    assert!(record["decision"]["policy_set_digest"].is_string() && record["decision"]["latency_ns"].is_string());
    assert_eq!(record["decision"]["nondet"][0]["name"], "now");

    world.token(&world.planner, &[CC, ("scope", "helpdesk:tickets_read")]).await.access_token();
    let record = world.last_record().await;
    let policy = &record["decision"]["policies"][0];
    assert_eq!((&policy["id"], &record["decision"]["result"]), (&json!("may-delegate"), &json!("allow")));
    assert!(policy["version"].as_str().unwrap().contains(".cedar:"), "where the policy is, as in every record: {policy}");
}

#[tokio::test]
async fn x_11_an_unknown_client_and_a_wrong_key_look_alike_whatever_else_is_wrong() {
    let world = World::new().await;
    let mallory = Actor::new("mallory").auth;
    let nobody = Actor { sub: "agent:nobody".to_owned(), ..Actor::new("mallory") };
    for change in [
        json!({}),
        json!({"aud": "https://other.example"}),
        json!({"aud": TOKEN}),
        json!({"exp": world.now().0 - 100}),
        json!({"exp": world.now().0 + 100_000}),
        json!({"jti": null}),
    ] {
        let mut answers = Vec::new();
        for who in [&world.planner, &nobody] {
            let compact = assertion(&world, who, &mallory, &change);
            let reply = with_assertion(&world, who, &compact, &[]).await;
            let mut said = reply.body.clone();
            said.as_object_mut().unwrap().remove("remit_record");
            let headers: Vec<String> = reply.headers.keys().map(ToString::to_string).collect();
            answers.push((reply.status, said, headers));
        }
        assert_eq!(answers[0], answers[1], "{change}");
        assert_eq!(answers[0].1["error_description"], "client authentication failed", "{change}");
    }
    // Who has the key is told what is wrong.
    let compact = assertion(&world, &world.planner, &world.planner.auth, &json!({"aud": "https://other.example"}));
    let reply = with_assertion(&world, &world.planner, &compact, &[]).await;
    assert!(text(&reply.body, "error_description").contains("aud"), "{}", reply.text);
}
