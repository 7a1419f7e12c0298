//! ID-JAG, the issuing side: an agent gets an assertion about its person for another authorization server.

use crate::{flow::*, world::*};
use axum::http::StatusCode;
use remit_authority::{AssertionAudience, Settings};
use remit_insight::custody;
use remit_model::{Agent, AgentId, Human, HumanStatus};
use remit_store::Change;
use remit_token::inspect_unverified;
use serde_json::{Value, json};

pub(crate) const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";
const CALENDAR_AS: &str = "https://as.calendar.example";
const CALENDAR: &str = "https://calendar.example/mcp";

fn audience(act: bool) -> AssertionAudience {
    AssertionAudience {
        issuer: CALENDAR_AS.to_owned(),
        clients: [
            (AgentId::parse("planner").unwrap(), "planner-at-calendar".to_owned()),
            (AgentId::parse("scribe").unwrap(), "scribe-at-calendar".to_owned()),
        ]
        .into(),
        resources: [CALENDAR.to_owned()].into(),
        scopes: ["events.read".to_owned(), "events.write".to_owned(), "admin".to_owned()].into(),
        act,
    }
}

/// A world in which Alice may read and write events, and the planner too.
pub(crate) async fn world(act: bool) -> World {
    let world = World::with(Settings { assertion_audiences: vec![audience(act)], ..Settings::default() }).await;
    world.record_registrations().await;
    let with_calendar = |of: Value, actions: Value| {
        let mut all = of.as_array().unwrap().clone();
        all.push(json!({"type": "tool_access", "locations": [CALENDAR], "actions": actions}));
        grants(&Value::Array(all))
    };
    let planner = agent(&world.planner, false);
    let ceiling = with_calendar(planner.ceiling.to_value(), json!(["events.read", "events.write", "admin"]));
    world.change(Change::PutAgent(Agent { ceiling, ..planner })).await;
    let entitlements = with_calendar(entitlements(), json!(["events.read", "events.write"]));
    world.change(Change::PutHuman(Human { entitlements, ..human("alice") })).await;
    world
}

pub(crate) async fn signed_in(world: &World) -> Value {
    world.delegated_with("alice", &[("scope", "openid helpdesk:tickets_read")]).await
}

pub(crate) async fn assertion(world: &World, actor: &Actor, subject: &str, kind: &str, more: &[(&str, &str)]) -> Reply {
    let mut all = vec![
        ("grant_type", EXCHANGE),
        ("requested_token_type", ID_JAG),
        ("subject_token", subject),
        ("subject_token_type", kind),
    ];
    if !more.iter().any(|(name, _)| *name == "audience") {
        all.push(("audience", CALENDAR_AS));
    }
    all.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    world.token(actor, &all).await
}

/// SPEC: IJ-01 to IJ-04
#[tokio::test]
async fn an_agent_gets_an_assertion_for_the_other_server() {
    let world = world(false).await;
    let body = signed_in(&world).await;
    for (subject, kind) in [("id_token", ID_TOKEN), ("refresh_token", REFRESH_TOKEN)] {
        let reply = assertion(&world, &world.planner, text(&body, subject), kind, &[("scope", "events.read")]).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        assert_eq!((reply.body["token_type"].as_str(), reply.body["issued_token_type"].as_str()), (Some("N_A"), Some(ID_JAG)));
        assert_eq!((reply.body["expires_in"].as_i64(), reply.body["scope"].as_str()), (Some(300), Some("events.read")));
        assert!(reply.body.get("refresh_token").is_none(), "N-IJ-03");
        let token = inspect_unverified(reply.body["access_token"].as_str().unwrap()).unwrap();
        assert_eq!(token.header["typ"], "oauth-id-jag+jwt");
        let says = |name: &str| token.claims[name].clone();
        assert_eq!((says("iss"), says("aud")), (json!(ISSUER), json!(CALENDAR_AS)), "one audience, as a text");
        assert_eq!((says("sub"), says("client_id")), (json!("user:alice"), json!("planner-at-calendar")));
        assert_eq!((says("resource"), says("scope")), (json!(CALENDAR), json!("events.read")));
        assert_eq!(says("exp").as_i64(), Some(world.now().0 + 300));
        assert_eq!((says("cnf"), says("amr")), (json!({"jkt": world.planner.jkt()}), json!(["pwd"])));
        assert!(says("jti").is_string() && says("auth_time").is_i64());
        assert!(token.claims.get("act").is_none(), "IJ-08: only where it is understood");
        let record = world.last_record().await;
        assert_eq!(record["ext"]["token"]["assertion_audience"], CALENDAR_AS);
        assert!(!record.to_string().contains("eyJ"), "IR-07");
    }
    // The refresh token was not used up, and the ledger holds.
    world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await.access_token();
    let report = custody(&world.audited().await);
    assert!(report.ok(), "{report:?}");
}

/// SPEC: DC-14
#[tokio::test]
async fn ij_08_act_names_the_agent_where_it_is_understood() {
    let world = world(true).await;
    let body = signed_in(&world).await;
    let reply = assertion(&world, &world.planner, text(&body, "id_token"), ID_TOKEN, &[]).await;
    let act = json!({"iss": ISSUER, "sub": "agent:planner", "sub_profile": "ai_agent"});
    assert_eq!(claims(reply.body["access_token"].as_str().unwrap())["act"], act);
    let actor = world.identity(&world.summarizer).await;
    let named = [("actor_token", actor.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    let reply = assertion(&world, &world.planner, text(&body, "id_token"), ID_TOKEN, &named).await;
    reply.refused("invalid_request", "request_malformed");
}

/// SPEC: IJ-05
#[tokio::test]
async fn the_person_and_the_agent_bound_the_scopes() {
    let world = world(false).await;
    let body = signed_in(&world).await;
    let id_token = text(&body, "id_token");
    // `admin` is within the agent's ceiling and not the person's: the answer says what is left.
    let reply = assertion(&world, &world.planner, id_token, ID_TOKEN, &[]).await;
    assert_eq!(reply.body["scope"], "events.read events.write", "{}", reply.text);
    let reply = assertion(&world, &world.planner, id_token, ID_TOKEN, &[("scope", "admin")]).await;
    reply.refused("invalid_scope", "authority_empty");
    let reply = assertion(&world, &world.planner, id_token, ID_TOKEN, &[("scope", "events.read everything")]).await;
    reply.refused("invalid_scope", "scope_unknown");
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..human("alice") })).await;
    let reply = assertion(&world, &world.planner, id_token, ID_TOKEN, &[]).await;
    reply.refused("invalid_grant", "human_disabled");
}

#[tokio::test]
async fn n_ij_01_a_subject_token_of_another_client_or_kind() {
    let world = world(false).await;
    let body = signed_in(&world).await;
    let id_token = text(&body, "id_token");
    assertion(&world, &world.scribe, id_token, ID_TOKEN, &[]).await.refused("invalid_grant", "token_audience_wrong");
    let refresh = text(&body, "refresh_token");
    assertion(&world, &world.scribe, refresh, REFRESH_TOKEN, &[]).await.refused("invalid_grant", "grant_invalid");
    assertion(&world, &world.summarizer, id_token, ID_TOKEN, &[]).await.refused("invalid_target", "resource_unknown");
    for (subject, kind, error, code) in [
        (text(&body, "access_token"), ID_TOKEN, "invalid_grant", "token_type_wrong"),
        (text(&body, "access_token"), ACCESS_TOKEN, "invalid_grant", "token_type_wrong"),
        (id_token, REFRESH_TOKEN, "invalid_grant", "grant_invalid"),
        ("unknown", REFRESH_TOKEN, "invalid_grant", "grant_invalid"),
    ] {
        assertion(&world, &world.planner, subject, kind, &[]).await.refused(error, code);
    }
    let foreign = remit_token::PrivateKey::from_seed(remit_token::Algorithm::Es256, &[66; 32]).unwrap();
    let forged = remit_token::sign_jws("JWT", &foreign, None, &claims(id_token)).unwrap();
    assertion(&world, &world.planner, &forged, ID_TOKEN, &[]).await.refused("invalid_grant", "token_signature_invalid");
    let rotated = text(&body, "refresh_token");
    world.refresh(&world.planner, rotated, &[]).await.access_token();
    assertion(&world, &world.planner, rotated, REFRESH_TOKEN, &[]).await.refused("invalid_grant", "grant_invalid");
    world.advance(3_601);
    assertion(&world, &world.planner, id_token, ID_TOKEN, &[]).await.refused("invalid_grant", "token_expired");
}

/// SPEC: IJ-05, IJ-07
#[tokio::test]
async fn n_ij_02_an_audience_or_resource_that_is_not_configured() {
    let world = world(false).await;
    let body = signed_in(&world).await;
    let id_token = text(&body, "id_token");
    for more in [
        vec![("audience", "https://as.other.example")],
        vec![("audience", "https://as.calendar.example/")],
        vec![("audience", ISSUER)],
        vec![("audience", "")],
        vec![("audience", CALENDAR_AS), ("audience", "https://as.other.example")],
        vec![("resource", "https://mail.example")],
        vec![("resource", CALENDAR), ("resource", "https://mail.example")],
    ] {
        let reply = assertion(&world, &world.planner, id_token, ID_TOKEN, &more).await;
        reply.refused("invalid_target", "resource_unknown");
    }
}

#[tokio::test]
async fn n_ij_03_what_ended_gets_no_assertion() {
    let world = world(false).await;
    let body = signed_in(&world).await;
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[("token", text(&body, "refresh_token"))]));
    assert_eq!(world.post("/oauth/revoke", &form, &[]).await.status, 200);
    for (subject, kind) in [("id_token", ID_TOKEN), ("refresh_token", REFRESH_TOKEN)] {
        let reply = assertion(&world, &world.planner, text(&body, subject), kind, &[]).await;
        assert_eq!(reply.body["error"], "invalid_grant", "{}", reply.text);
        assert!(reply.body.get("refresh_token").is_none() && reply.body.get("access_token").is_none());
    }
}

/// SPEC: MD-04, IJ-07
#[tokio::test]
async fn the_metadata_says_that_they_are_issued_only_where_they_are() {
    let on = world(false).await;
    let member = "identity_chaining_requested_token_types_supported";
    let metadata = async |world: &World| world.get("/.well-known/oauth-authorization-server").await.body;
    assert_eq!(metadata(&on).await[member], json!([ID_JAG]));
    let off = World::new().await;
    assert_eq!(metadata(&off).await.get(member), None);
    let body = signed_in(&off).await;
    let reply = assertion(&off, &off.planner, text(&body, "id_token"), ID_TOKEN, &[("audience", HELPDESK)]).await;
    reply.refused("invalid_request", "request_malformed");
    // What is issued serves nothing here.
    let body = signed_in(&on).await;
    let jag = assertion(&on, &on.planner, text(&body, "id_token"), ID_TOKEN, &[]).await;
    let jag = jag.body["access_token"].as_str().unwrap();
    on.narrow(&on.planner, jag, &[]).await.refused("invalid_request", "token_type_wrong");
    assertion(&on, &on.planner, jag, ID_TOKEN, &[]).await.refused("invalid_grant", "token_type_wrong");
    assert!(!on.active(&on.planner, jag).await);
}
