//! Tokens that are bound to the certificate of the connection (`binding: mtls`), and agents that authenticate by one.

use crate::{flow::*, workload::uniform, world::*};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use remit_authority::Settings;
use remit_model::{Agent, Binding, ClientProfile, Confirmation, Credential, criterion};
use remit_store::Change;
use remit_token::PeerCertificate;
use serde_json::{Value, json};

const CC: (&str, &str) = ("grant_type", "client_credentials");
const READ: (&str, &str) = ("scope", "helpdesk:tickets_read");

/// A self-signed certificate until the beginning of a year.
pub(crate) fn made(year: i32) -> PeerCertificate {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["client".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
    PeerCertificate::new(params.self_signed(&key).unwrap().der().to_vec(), Vec::new())
}

fn bound(actor: &Actor, credentials: &[Credential]) -> Agent {
    let client = ClientProfile { binding: Binding::Mtls, credentials: credentials.to_vec(), ..ClientProfile::default() };
    let keys = if credentials.is_empty() { agent(actor, false).keys } else { Vec::new() };
    Agent { client, keys, ..agent(actor, false) }
}

async fn register(world: &World, agent: Agent) {
    world.change(Change::PutAgent(agent.clone())).await;
    world.record_registration(&agent).await;
}

/// A server that sees certificates, where the planner's tokens are bound to one.
async fn world() -> World {
    let world = World::with(Settings { client_certificates: true, ..Settings::default() }).await;
    for actor in [&world.summarizer, &world.scribe] {
        world.record_registration(&agent(actor, false)).await;
    }
    register(&world, bound(&world.planner, &[])).await;
    world
}

async fn over(world: &World, certificate: Option<&PeerCertificate>, actor: &Actor, more: &[(&str, &str)]) -> Reply {
    let mut form = world.authenticated(actor);
    form.extend(fields(more));
    world.post_over(certificate, "/oauth/token", &form, &[]).await
}

fn thumbprint(token: &str) -> Value {
    claims(token)["cnf"]["x5t#S256"].clone()
}

async fn signed_in(world: &World, certificate: &PeerCertificate) -> Value {
    let code = world.code("alice", &request()).await;
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
    let reply = over(world, Some(certificate), &world.planner, &form).await;
    reply.access_token();
    reply.body
}

async fn refresh(world: &World, certificate: Option<&PeerCertificate>, token: &str) -> Reply {
    over(world, certificate, &world.planner, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

async fn proven(world: &World) {
    let report = remit_insight::custody(&world.audited().await);
    assert!(report.ok(), "{report:?}");
}

#[tokio::test]
async fn rfc_8705_a_token_is_bound_to_the_certificate_and_its_record_says_so() {
    let (world, own) = (world().await, made(2090));
    let reply = over(&world, Some(&own), &world.planner, &[CC, READ]).await;
    let token = reply.access_token();
    assert_eq!((thumbprint(&token), &reply.body["token_type"]), (json!(own.thumbprint()), &json!("Bearer")));
    assert!(claims(&token)["cnf"].get("jkt").is_none());
    let record = world.last_record().await;
    assert_eq!(record["chain"][0]["token"]["binding"], "mtls", "{record}");
    assert_eq!(record["chain"][0]["cnf"], json!({"x5t#S256": own.thumbprint()}));
    let described = world.introspect(&world.summarizer, &token).await;
    assert_eq!(described.body, json!({"active": false}), "it is no business of others");
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[("token", &token)]));
    let described = world.post_over(None, "/oauth/introspect", &form, &[]).await;
    assert_eq!(described.body["cnf"], json!({"x5t#S256": own.thumbprint()}), "{}", described.text);
    assert_eq!(described.body["token_type"], "Bearer");
    proven(&world).await;
}

#[tokio::test]
async fn rfc_8705_without_a_certificate_nothing_is_issued() {
    let (world, own) = (world().await, made(2090));
    let reply = over(&world, None, &world.planner, &[CC, READ]).await;
    reply.refused("invalid_request", "certificate_missing");
    assert!(text(&reply.body, "error_description").contains("TLS handshake"), "{}", reply.text);
    // A proof of a key is no certificate, and does not bind besides one.
    world.token(&world.planner, &[CC, READ]).await.refused("invalid_request", "certificate_missing");
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[CC, READ]));
    let both = world.post_over(Some(&own), "/oauth/token", &form, &[("dpop", world.proof(&world.planner.dpop))]).await;
    assert_eq!(claims(&both.access_token())["cnf"], json!({"x5t#S256": own.thumbprint()}));
    // Nor does a certificate stand in for the proof of an agent that has a key.
    let reply = over(&world, Some(&own), &world.scribe, &[CC, READ]).await;
    reply.refused("invalid_dpop_proof", "dpop_proof_missing");
    let blind = World::with(Settings::default()).await;
    register(&blind, bound(&blind.planner, &[])).await;
    let reply = over(&blind, None, &blind.planner, &[CC, READ]).await;
    assert!(text(&reply.body, "error_description").contains("server.tls.client_certificates"), "{}", reply.text);
}

#[tokio::test]
async fn rfc_8705_a_refresh_token_works_over_its_own_certificate_alone() {
    let (world, own, other) = (world().await, made(2090), made(2090));
    let first = signed_in(&world, &own).await;
    let token = text(&first, "refresh_token");
    refresh(&world, Some(&other), token).await.refused("invalid_grant", "certificate_mismatch");
    refresh(&world, None, token).await.refused("invalid_request", "certificate_missing");
    let renewed = refresh(&world, Some(&own), token).await;
    assert_eq!(thumbprint(&renewed.access_token()), own.thumbprint());
    // What a person agreed to for one binding is not carried over to another.
    register(&world, agent(&world.planner, false)).await;
    let next = text(&renewed.body, "refresh_token");
    world.refresh(&world.planner, next, &[]).await.refused("invalid_dpop_proof", "dpop_key_mismatch");
    proven(&world).await;
}

#[tokio::test]
async fn n_tx_09_a_token_is_narrowed_over_its_own_certificate_alone() {
    let (world, own, other) = (world().await, made(2090), made(2090));
    let token = over(&world, Some(&own), &world.planner, &[CC, READ]).await.access_token();
    let narrow = [("grant_type", EXCHANGE), ("subject_token", &*token), ("subject_token_type", ACCESS_TOKEN)];
    over(&world, Some(&other), &world.planner, &narrow).await.refused("invalid_grant", "certificate_mismatch");
    over(&world, None, &world.planner, &narrow).await.refused("invalid_request", "certificate_missing");
    // A thief with a key of its own and the token.
    world.token(&world.scribe, &narrow).await.refused("invalid_request", "chain_spliced");
    let reply = over(&world, Some(&own), &world.planner, &narrow).await;
    assert_eq!(thumbprint(&reply.access_token()), own.thumbprint());
    proven(&world).await;
}

#[tokio::test]
async fn dc_05_what_no_signature_proves_is_not_handed_on() {
    let (world, own) = (world().await, made(2090));
    let first = signed_in(&world, &own).await;
    let token = text(&first, "access_token");
    let actor = world.identity(&world.summarizer).await;
    let named = [
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("actor_token", &*actor),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    let reply = over(&world, Some(&own), &world.planner, &named).await;
    reply.refused("invalid_request", "delegation_unsigned");
    assert!(text(&reply.body, "error_description").contains("binding: dpop"), "{}", reply.text);
    // A statement that the planner signs with some key does not stand in for the certificate.
    let details = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"]}]);
    let statement = world.statement(&world.planner, token, &world.summarizer, &details);
    let stated = [("grant_type", EXCHANGE), ("subject_token", &*statement), ("subject_token_type", JWT)];
    world.token(&world.summarizer, &stated).await.refused("invalid_request", "delegation_unsigned");
}

#[tokio::test]
async fn dc_10_an_agent_with_a_certificate_is_delegated_to_over_it() {
    let (world, own, other) = (world().await, made(2090), made(2090));
    register(&world, agent(&world.planner, false)).await;
    register(&world, bound(&world.summarizer, &[])).await;
    let token = text(&world.delegated("alice").await, "access_token").to_owned();
    let actor = over(&world, Some(&own), &world.summarizer, &[CC, ("resource", ISSUER)]).await.access_token();
    let named = [
        ("grant_type", EXCHANGE),
        ("subject_token", &*token),
        ("subject_token_type", ACCESS_TOKEN),
        ("actor_token", &*actor),
        ("actor_token_type", ACCESS_TOKEN),
        READ,
    ];
    let reply = world.token(&world.planner, &named).await;
    let handed = reply.access_token();
    assert_eq!((thumbprint(&handed), &reply.body["token_type"]), (json!(own.thumbprint()), &json!("Bearer")));
    let record = world.last_record().await;
    assert_eq!(record["chain"][2]["token"]["binding"], "mtls", "{record}");
    // The child hands nothing on, and narrows it over its own certificate alone.
    let narrow = [("grant_type", EXCHANGE), ("subject_token", &*handed), ("subject_token_type", ACCESS_TOKEN)];
    over(&world, Some(&other), &world.summarizer, &narrow).await.refused("invalid_grant", "certificate_mismatch");
    over(&world, Some(&own), &world.summarizer, &narrow).await.access_token();
    proven(&world).await;
}

#[tokio::test]
async fn rfc_8705_a_registered_certificate_authenticates_and_no_other() {
    let (world, own, other, expired) = (world().await, made(2090), made(2090), made(2021));
    let listed = |shown: &PeerCertificate| Credential::Certificate { thumbprint: shown.thumbprint().to_owned() };
    register(&world, bound(&world.planner, &[listed(&own), listed(&expired)])).await;
    let form = fields(&[CC, READ, ("client_id", "agent:planner")]);
    let ask = async |shown: Option<&PeerCertificate>| world.post_over(shown, "/oauth/token", &form, &[]).await;
    let reply = ask(Some(&own)).await;
    assert_eq!(thumbprint(&reply.access_token()), own.thumbprint());
    let record = world.last_record().await;
    assert_eq!(record["ext"]["token"]["credential"]["kind"], "self_signed_tls_client_auth", "{record}");
    assert_eq!(record["chain"][0]["auth"]["method"], "client_certificate");
    uniform(&ask(Some(&other)).await);
    // Without any certificate it hears what every client hears that shows nothing.
    ask(None).await.refused("invalid_client", "client_unauthenticated");
    let late = ask(Some(&expired)).await;
    late.refused("invalid_client", "client_unauthenticated");
    assert!(text(&late.body, "error_description").contains("not valid now"), "{}", late.text);
    // Its certificate is no credential of another agent, and the name alone none of its own.
    let others = fields(&[CC, READ, ("client_id", "agent:scribe")]);
    let stranger = world.post_over(Some(&own), "/oauth/token", &others, &[]).await;
    stranger.refused("invalid_client", "client_unauthenticated");
    let secret = fields(&[CC, READ, ("client_id", "agent:planner"), ("client_secret", "x")]);
    world.post_over(Some(&own), "/oauth/token", &secret, &[]).await.refused("invalid_client", "client_unauthenticated");
    proven(&world).await;
}

#[tokio::test]
async fn rfc_8705_the_metadata_says_what_is_on() {
    let document = async |world: &World| world.get("/.well-known/oauth-authorization-server").await.body;
    let on = document(&world().await).await;
    assert_eq!(on["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(on["mtls_endpoint_aliases"]["token_endpoint"], on["token_endpoint"]);
    assert!(on["token_endpoint_auth_methods_supported"].as_array().unwrap().contains(&json!("self_signed_tls_client_auth")));
    let off = document(&World::new().await).await;
    assert_eq!(off["tls_client_certificate_bound_access_tokens"], false);
    assert!(off.get("mtls_endpoint_aliases").is_none());
    assert!(!off.to_string().contains("self_signed_tls_client_auth") && !off.to_string().contains("spiffe_x509"));
}

/// SPEC: RV-05
#[tokio::test]
async fn rv_05_a_certificate_ends_what_is_bound_to_it_and_what_came_from_that() {
    let (world, own, other) = (world().await, made(2090), made(2090));
    let named = |shown: &PeerCertificate| Confirmation::Certificate(shown.thumbprint().to_owned()).to_string();
    let first = signed_in(&world, &own).await;
    let (token, refreshing) = (text(&first, "access_token"), text(&first, "refresh_token"));
    let narrow = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    // The child descends from a token of the certificate, over which it is narrowed.
    let child = over(&world, Some(&own), &world.planner, &narrow).await.access_token();
    let revoke = async |shown: &PeerCertificate| {
        let (before, until) = (world.now().plus(1), world.now().plus(1_000_000));
        world.change(Change::RevokeIssued { criterion: criterion::key(&named(shown)), before, until }).await;
    };
    revoke(&other).await;
    over(&world, Some(&own), &world.planner, &narrow).await.access_token();
    revoke(&own).await;
    over(&world, Some(&own), &world.planner, &narrow).await.refused("invalid_request", "token_revoked");
    let of_child = [("grant_type", EXCHANGE), ("subject_token", &*child), ("subject_token_type", ACCESS_TOKEN)];
    over(&world, Some(&own), &world.planner, &of_child).await.refused("invalid_request", "token_revoked");
    refresh(&world, Some(&own), refreshing).await.refused("invalid_grant", "grant_invalid");
}
