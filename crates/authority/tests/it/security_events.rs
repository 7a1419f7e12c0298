//! Security events of an identity provider: whose sign-ins they end, and what a forger does not get.

use crate::{
    flow::*,
    provider::{corp, leads_to, offer, records, rules},
    stand_in::{Signer, StandIn},
    world::*,
};
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode},
    routing::post,
};
use remit_authority::{
    EventPolls,
    provider::{BearerSecret, EventSettings, PollSettings, ProviderSettings},
};
use remit_insight::{custody, replay};
use remit_testkit::key_named;
use remit_token::Algorithm;
use serde_json::{Map, Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::net::TcpListener;

const SECRET: &str = "a-secret-of-the-transmitter";
const AUDIENCE: &str = "http://127.0.0.1:8420/ssf/events/corp";
const SUBJECT: &str = "248289761001";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type";

fn pushed(corp: &StandIn) -> EventSettings {
    let issuer = corp.behaviour().issuer.clone();
    EventSettings { issuer, audience: None, push: Some(BearerSecret::of(SECRET)), poll: None }
}

fn with_events(corp: &StandIn, events: EventSettings) -> ProviderSettings {
    ProviderSettings { events: Some(events), ..corp.settings(rules()) }
}

async fn listening() -> (World, StandIn) {
    let (world, corp) = corp().await;
    offer(&world, vec![with_events(&corp, pushed(&corp))]);
    (world, corp)
}

fn person(corp: &StandIn) -> Value {
    json!({"format": "iss_sub", "iss": corp.behaviour().issuer, "sub": SUBJECT})
}

fn event(world: &World, corp: &StandIn, jti: &str, event: &str) -> Value {
    json!({
        "iss": corp.behaviour().issuer, "aud": AUDIENCE, "iat": world.now().0, "jti": jti, "sub_id": person(corp),
        "events": {event: {"event_timestamp": world.now().0}},
    })
}

fn signed(corp: &StandIn, claims: &Value) -> String {
    let behaviour = corp.behaviour();
    let mut header = json!({"typ": "secevent+jwt", "alg": behaviour.signer.alg()});
    if let Some(kid) = behaviour.signer.kid() {
        header["kid"] = json!(kid);
    }
    behaviour.signer.sign(&header, claims)
}

async fn deliver(world: &World, provider: &str, secret: Option<&str>, media: &str, token: String) -> Reply {
    let mut request = Request::post(format!("/ssf/events/{provider}")).header("content-type", media);
    if let Some(secret) = secret {
        request = request.header("authorization", format!("Bearer {secret}"));
    }
    world.send(request.body(Body::from(token)).unwrap()).await
}

async fn push(world: &World, token: String) -> Reply {
    deliver(world, "corp", Some(SECRET), "application/secevent+jwt", token).await
}

/// The person signs in and gives the planner a refresh token.
pub(crate) async fn handed_out(world: &World, corp: &StandIn) -> Value {
    let mut browser = Browser::default();
    let mut page = browser.through(world, corp, &request()).await;
    if !is_consent(&page) {
        page = browser.back(world, &corp.agree(&leads_to(&page))).await;
    }
    assert!(is_consent(&page), "{}", page.text);
    let code = query(&browser.decide(world, &page, "allow").await.location(), "code").unwrap();
    world.redeem(&world.planner, &code, &[]).await.body
}

/// Whether what was handed out still acts; the refresh token is used up by asking.
pub(crate) async fn acts(world: &World, body: &mut Value) -> bool {
    let reply = world.refresh(&world.planner, text(body, "refresh_token"), &[]).await;
    if reply.status == StatusCode::OK {
        *body = reply.body;
        return true;
    }
    assert_eq!(reply.body["remit_code"], "sign_in_ended", "{}", reply.text);
    false
}

pub(crate) async fn named(world: &World, action: &str) -> Vec<Value> {
    records(world).await.into_iter().filter(|record| record["action"]["name"] == action).collect()
}

#[tokio::test]
async fn ss_10_an_event_that_takes_a_session_or_an_account_away_ends_what_its_person_handed_out_for_good() {
    let ends = [
        (CAEP, "session-revoked"),
        (CAEP, "credential-change"),
        (RISC, "account-disabled"),
        (RISC, "account-purged"),
        (RISC, "sessions-revoked"),
        (RISC, "account-credential-change-required"),
    ];
    let (world, corp) = listening().await;
    for (nth, (family, name)) in ends.into_iter().enumerate() {
        corp.behaviour().age = 0;
        let mut body = handed_out(&world, &corp).await;
        world.advance(100);
        let token = signed(&corp, &event(&world, &corp, &format!("{nth}"), &format!("{family}/{name}")));
        let reply = push(&world, token).await;
        assert_eq!((reply.status, reply.text.as_str()), (StatusCode::ACCEPTED, ""), "{name}");
        assert!(!acts(&world, &mut body).await, "{name}");
        let ended = named(&world, "account.end_sign_ins").await;
        let plain = &ended[nth]["ext"]["sign_in"];
        assert_eq!(
            (&plain["provider"], &plain["cause"], &plain["type"]),
            (&json!("corp"), &json!("security_event"), &json!(name))
        );
        assert_eq!(plain["ended_before"], world.now().0 + 1);
        world.advance(100);
        assert!(!acts(&world, &mut body).await, "{name}: what died stays dead");
    }
    assert!(!records(&world).await.iter().any(|record| record.to_string().contains(SUBJECT)), "no name in plain");
}

#[tokio::test]
async fn ss_11_rs256_the_older_subject_and_a_complex_one_work_and_another_person_goes_on() {
    let (world, corp) = listening().await;
    corp.behaviour().signer = Signer::rsa("rsa-1");
    corp.behaviour().publish();
    let mut body = handed_out(&world, &corp).await;
    corp.behaviour().claims["sub"] = json!("another");
    let mut other = handed_out(&world, &corp).await;
    world.advance(100);
    let issuer = corp.behaviour().issuer.clone();
    let mut older = event(&world, &corp, "1", &format!("{CAEP}/session-revoked"));
    older.as_object_mut().unwrap().remove("sub_id");
    older["events"] =
        json!({format!("{CAEP}/session-revoked"): {"subject": {"subject_type": "iss-sub", "iss": issuer, "sub": SUBJECT}}});
    assert_eq!(push(&world, signed(&corp, &older)).await.status, StatusCode::ACCEPTED);
    assert!(!acts(&world, &mut body).await);
    assert!(acts(&world, &mut other).await, "another person's sign-ins go on");
    let mut complex = event(&world, &corp, "2", &format!("{CAEP}/session-revoked"));
    complex["sub_id"] =
        json!({"format": "complex", "user": {"format": "opaque", "id": "another"}, "session": {"format": "opaque", "id": "s"}});
    assert_eq!(push(&world, signed(&corp, &complex)).await.status, StatusCode::ACCEPTED);
    assert!(!acts(&world, &mut other).await);
}

#[tokio::test]
async fn n_ss_04_the_same_event_again_is_accepted_and_has_no_second_effect() {
    let (world, corp) = listening().await;
    let token = signed(&corp, &event(&world, &corp, "1", &format!("{CAEP}/session-revoked")));
    assert_eq!(push(&world, token.clone()).await.status, StatusCode::ACCEPTED, "nobody is known yet");
    world.advance(100);
    corp.behaviour().age = 0;
    let mut body = handed_out(&world, &corp).await;
    world.advance(100);
    for _ in 0..3 {
        assert_eq!(push(&world, token.clone()).await.status, StatusCode::ACCEPTED);
    }
    assert!(acts(&world, &mut body).await, "an event is of its time");
    let ended = named(&world, "account.end_sign_ins").await;
    assert_eq!((ended.len(), &ended[0]["ext"]["sign_in"]["person"]), (1, &json!("unknown")));
    world.advance(7 * 86_400);
    let reply = push(&world, token).await;
    assert_eq!((reply.status, &reply.body["remit_code"]), (StatusCode::BAD_REQUEST, &json!("token_expired")));
}

#[tokio::test]
async fn n_ss_06_what_names_nobody_of_this_provider_for_certain_has_no_effect_and_is_recorded_as_such() {
    let (world, corp) = listening().await;
    let mut body = handed_out(&world, &corp).await;
    world.advance(100);
    let revoked = format!("{CAEP}/session-revoked");
    let wrong = [
        (json!({"format": "email", "email": "alice@corp.example"}), revoked.as_str(), "subject_names_no_account"),
        (json!({"format": "iss_sub", "iss": "https://other.example", "sub": SUBJECT}), &revoked, "subject_of_another_issuer"),
        (json!({"format": "phone_number", "phone_number": "+15550100"}), &revoked, "subject_names_no_account"),
        (json!({"format": "complex", "tenant": {"format": "opaque", "id": SUBJECT}}), &revoked, "subject_names_no_account"),
        (person(&corp), "https://evil.example/event-type/session-revoked", "type_unknown"),
        (person(&corp), &format!("{CAEP}/assurance-level-change"), "nothing_ends"),
        (person(&corp), &format!("{RISC}/account-enabled"), "nothing_ends"),
        (json!({"format": "opaque", "id": "stream-1"}), &format!("{SSF}/verification"), "stream"),
        (json!({"format": "opaque", "id": "stream-1"}), &format!("{SSF}/stream-updated"), "stream"),
    ];
    for (nth, (subject, kind, reason)) in wrong.iter().enumerate() {
        let mut claims = event(&world, &corp, &format!("{nth}"), kind);
        claims["sub_id"] = subject.clone();
        assert_eq!(push(&world, signed(&corp, &claims)).await.status, StatusCode::ACCEPTED, "{subject} {kind}");
        let taken = named(&world, "provider.security_event").await;
        assert_eq!(taken.len(), nth + 1, "{kind}");
        let plain = &taken[nth]["ext"]["event"];
        assert_eq!((&plain["effect"], &plain["reason"]), (&json!("none"), &json!(reason)), "{kind}");
        assert!(!taken[nth].to_string().contains("evil.example") && !taken[nth].to_string().contains('@'));
    }
    let mut created = event(&world, &corp, "new", &format!("{CAEP}/credential-change"));
    created["events"] =
        json!({format!("{CAEP}/credential-change"): {"change_type": "create", "credential_type": "fido2-platform"}});
    assert_eq!(push(&world, signed(&corp, &created)).await.status, StatusCode::ACCEPTED);
    assert!(acts(&world, &mut body).await);
    assert!(named(&world, "account.end_sign_ins").await.is_empty());
}

#[tokio::test]
async fn n_ss_11_an_event_without_the_transmitters_signature_is_refused() {
    let (world, corp) = listening().await;
    let mut body = handed_out(&world, &corp).await;
    world.advance(100);
    let jwk = corp.behaviour().published.values().next().unwrap().to_string();
    let wrong = [
        Signer::Unsigned("none"),
        Signer::Unsigned("NONE"),
        Signer::Unsigned("ES256"),
        Signer::Hmac("corp-key-1".to_owned(), jwk.into_bytes()),
        Signer::Hmac("corp-key-1".to_owned(), SECRET.as_bytes().to_vec()),
        Signer::Ours("corp-key-1".to_owned(), key_named(Algorithm::Es256, "attacker")),
    ];
    for (nth, signer) in wrong.into_iter().enumerate() {
        world.advance(10);
        corp.behaviour().signer = signer;
        let reply =
            push(&world, signed(&corp, &event(&world, &corp, &format!("{nth}"), &format!("{CAEP}/session-revoked")))).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{nth}: {}", reply.text);
        assert!(["invalid_key", "invalid_request"].contains(&text(&reply.body, "err")), "{}", reply.text);
        assert!(reply.body["remit_record"].is_string(), "{}", reply.text);
    }
    assert!(acts(&world, &mut body).await);
    assert!(named(&world, "account.end_sign_ins").await.is_empty());
}

#[tokio::test]
async fn n_ss_01_02_03_12_what_is_no_event_of_this_stream_is_refused_with_the_words_of_rfc_8935() {
    type Change = fn(&mut Value);
    let wrong: [(&str, &str, Change); 9] = [
        ("invalid_issuer", "token_issuer_unknown", |claims| claims["iss"] = json!("https://other.example")),
        ("invalid_audience", "token_audience_wrong", |claims| claims["aud"] = json!("http://127.0.0.1:8420/ssf/events/other")),
        ("invalid_audience", "token_audience_wrong", |claims| claims["aud"] = json!("http://127.0.0.1:8420")),
        ("invalid_request", "token_type_wrong", |claims| claims["exp"] = json!(START + 600)),
        ("invalid_request", "token_type_wrong", |claims| claims["sub"] = json!(SUBJECT)),
        ("invalid_request", "token_not_yet_valid", |claims| claims["iat"] = json!(START + 100)),
        ("invalid_request", "token_expired", |claims| claims["iat"] = json!(START - 8 * 86_400)),
        ("invalid_request", "token_malformed", |claims| claims["events"]["https://evil.example"] = json!({})),
        ("invalid_request", "token_malformed", |claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
    ];
    let (world, corp) = listening().await;
    for (err, code, change) in wrong {
        let mut claims = event(&world, &corp, "1", &format!("{CAEP}/session-revoked"));
        change(&mut claims);
        let reply = push(&world, signed(&corp, &claims)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{code}: {}", reply.text);
        assert_eq!((text(&reply.body, "err"), text(&reply.body, "remit_code")), (err, code), "{}", reply.text);
        assert!(reply.body["description"].is_string());
    }
    let good = event(&world, &corp, "1", &format!("{CAEP}/session-revoked"));
    let header = json!({"typ": "JWT", "alg": "ES256", "kid": "corp-key-1"});
    let as_jwt = corp.behaviour().signer.sign(&header, &good);
    assert_eq!(push(&world, as_jwt).await.body["remit_code"], "token_type_wrong");
    for (token, code) in
        [(String::new(), "token_malformed"), ("a.b".to_owned(), "token_malformed"), ("x".repeat(16_385), "request_too_large")]
    {
        let reply = push(&world, token).await;
        assert_eq!((reply.status, &reply.body["remit_code"]), (StatusCode::BAD_REQUEST, &json!(code)));
    }
    assert_eq!(push(&world, signed(&corp, &good)).await.status, StatusCode::ACCEPTED, "it is good otherwise");
}

#[tokio::test]
async fn only_the_transmitter_of_a_provider_delivers_its_events() {
    let world = World::new().await;
    let corp = StandIn::start("corp", "", &world.clock).await;
    let other = StandIn::start("other", "", &world.clock).await;
    let others = EventSettings { push: Some(BearerSecret::of("the-secret-of-the-other")), ..pushed(&other) };
    let deaf = StandIn::start("deaf", "", &world.clock).await;
    offer(&world, vec![with_events(&corp, pushed(&corp)), with_events(&other, others), deaf.settings(rules())]);
    let mut body = handed_out(&world, &corp).await;
    world.advance(100);
    let token = signed(&corp, &event(&world, &corp, "1", &format!("{CAEP}/session-revoked")));
    let media = "application/secevent+jwt";
    for secret in [None, Some("wrong"), Some(""), Some("the-secret-of-the-other")] {
        let reply = deliver(&world, "corp", secret, media, token.clone()).await;
        assert_eq!((reply.status, &reply.body["err"]), (StatusCode::BAD_REQUEST, &json!("authentication_failed")), "{secret:?}");
    }
    let twice = Request::post("/ssf/events/corp").header("content-type", media);
    let twice = twice.header("authorization", format!("Bearer {SECRET}")).header("authorization", "Bearer wrong");
    assert_eq!(world.send(twice.body(Body::from(token.clone())).unwrap()).await.body["err"], "authentication_failed");
    for (provider, status) in [("nobody", StatusCode::NOT_FOUND), ("deaf", StatusCode::NOT_FOUND), ("..", StatusCode::NOT_FOUND)]
    {
        assert_eq!(deliver(&world, provider, Some(SECRET), media, token.clone()).await.status, status, "{provider}");
    }
    let reply = deliver(&world, "corp", Some(SECRET), "application/jwt", token.clone()).await;
    assert_eq!((reply.status, &reply.body["remit_code"]), (StatusCode::BAD_REQUEST, &json!("media_type_unsupported")));
    let get = Request::builder().method(Method::GET).uri("/ssf/events/corp").body(Body::empty()).unwrap();
    assert_eq!(world.send(get).await.status, StatusCode::METHOD_NOT_ALLOWED);
    // The other provider's own transmitter, with its own key and secret, says something about this provider's person.
    let mut claims = event(&world, &corp, "2", &format!("{CAEP}/session-revoked"));
    claims["iss"] = json!(other.behaviour().issuer);
    claims["aud"] = json!("http://127.0.0.1:8420/ssf/events/other");
    let reply = deliver(&world, "other", Some("the-secret-of-the-other"), media, signed(&other, &claims)).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.text);
    assert!(acts(&world, &mut body).await, "n_ss_06: a person of another provider");
    assert_eq!(push(&world, token).await.status, StatusCode::ACCEPTED);
    assert!(!acts(&world, &mut body).await);
}

/// SPEC: TK-11
#[tokio::test]
async fn a_flood_of_strangers_does_not_hold_back_the_events_of_the_transmitter() {
    let (world, corp) = listening().await;
    let mut body = handed_out(&world, &corp).await;
    world.advance(100);
    let token = signed(&corp, &event(&world, &corp, "1", &format!("{CAEP}/session-revoked")));
    let media = "application/secevent+jwt";
    let mut last = None;
    for _ in 0..2_001 {
        last = Some(deliver(&world, "corp", Some("guessed"), media, "x".to_owned()).await);
    }
    let last = last.unwrap();
    assert_eq!((last.status, &last.body["remit_code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("rate_limited")));
    assert!(last.headers.contains_key("retry-after"));
    assert!(acts(&world, &mut body).await);
    // From the same address, in the same second.
    assert_eq!(push(&world, token).await.status, StatusCode::ACCEPTED);
    assert!(!acts(&world, &mut body).await);
    let again = deliver(&world, "corp", None, media, "x".to_owned()).await;
    assert_eq!(again.status, StatusCode::TOO_MANY_REQUESTS, "strangers stay held back");
}

#[tokio::test]
async fn while_the_transmitters_keys_cannot_be_had_an_event_is_neither_taken_nor_lost() {
    let (world, corp) = listening().await;
    let mut body = handed_out(&world, &corp).await;
    world.advance(100);
    let token = signed(&corp, &event(&world, &corp, "1", &format!("{CAEP}/session-revoked")));
    corp.behaviour().down = true;
    let reply = push(&world, token.clone()).await;
    assert_eq!((reply.status, &reply.body["remit_code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("provider_unreachable")));
    assert!(reply.headers.contains_key("retry-after"));
    assert!(acts(&world, &mut body).await);
    corp.behaviour().down = false;
    world.advance(20);
    assert_eq!(push(&world, token).await.status, StatusCode::ACCEPTED, "it comes again");
    assert!(!acts(&world, &mut body).await);
}

/// A transmitter that is polled.
#[derive(Default)]
struct Queue {
    waiting: Map<String, Value>,
    errors: Map<String, Value>,
    polls: usize,
    /// How many it hands out at once.
    most: usize,
    answer: Option<Value>,
    url: String,
}

async fn transmit(
    State(queue): State<Arc<Mutex<Queue>>>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let mut queue = queue.lock().unwrap();
    queue.polls += 1;
    if headers.get("authorization").is_none_or(|value| value != "Bearer polling-secret") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    for jti in asked["ack"].as_array().unwrap() {
        queue.waiting.remove(jti.as_str().unwrap());
    }
    for (jti, error) in asked["setErrs"].as_object().unwrap() {
        queue.waiting.remove(jti);
        queue.errors.insert(jti.clone(), error.clone());
    }
    if let Some(answer) = &queue.answer {
        return Ok(Json(answer.clone()));
    }
    let most = queue.most.min(usize::try_from(asked["maxEvents"].as_u64().unwrap()).unwrap());
    let sets: Map<String, Value> = queue.waiting.iter().take(most).map(|(jti, set)| (jti.clone(), set.clone())).collect();
    let more = queue.waiting.len() > sets.len();
    Ok(Json(json!({"sets": sets, "moreAvailable": more})))
}

async fn polling() -> (World, StandIn, Arc<Mutex<Queue>>) {
    let (world, corp) = corp().await;
    let queue = Arc::new(Mutex::new(Queue { most: 2, ..Queue::default() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/poll", listener.local_addr().unwrap());
    queue.lock().unwrap().url.clone_from(&url);
    let app = Router::new().route("/poll", post(transmit)).with_state(Arc::clone(&queue));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let credential = Some(Arc::new("polling-secret".to_owned().into()));
    let poll = Some(PollSettings { url, credential, every: 30 });
    offer(&world, vec![with_events(&corp, EventSettings { push: None, poll, ..pushed(&corp) })]);
    (world, corp, queue)
}

#[tokio::test]
async fn ss_07_polled_events_are_taken_acknowledged_and_refused_one_by_one() {
    let (world, corp, queue) = polling().await;
    let mut body = handed_out(&world, &corp).await;
    world.advance(100);
    let set = |jti: &str, kind: &str| json!(signed(&corp, &event(&world, &corp, jti, kind)));
    let mut forged = event(&world, &corp, "forged", &format!("{CAEP}/session-revoked"));
    forged["aud"] = json!("another");
    {
        let mut queue = queue.lock().unwrap();
        queue.waiting.insert("a".into(), set("a", &format!("{SSF}/verification")));
        queue.waiting.insert("b".into(), json!(signed(&corp, &forged)));
        queue.waiting.insert("c".into(), json!(7));
        queue.waiting.insert("d".into(), set("d", &format!("{CAEP}/session-revoked")));
    }
    let mut polls = EventPolls::default();
    polls.poll_those_due(&world.server).await;
    assert!(!acts(&world, &mut body).await);
    {
        let queue = queue.lock().unwrap();
        assert!(queue.waiting.is_empty(), "{:?}", queue.waiting);
        assert_eq!(
            (&queue.errors["b"]["err"], &queue.errors["c"]["err"]),
            (&json!("invalid_audience"), &json!("invalid_request"))
        );
    }
    let polled = queue.lock().unwrap().polls;
    polls.poll_those_due(&world.server).await;
    assert_eq!(queue.lock().unwrap().polls, polled, "not before the interval is over");
    // A transmitter that has lost the acknowledgement sends it again.
    world.advance(31);
    queue.lock().unwrap().waiting.insert("d".into(), set("d", &format!("{CAEP}/session-revoked")));
    EventPolls::default().poll_those_due(&world.server).await;
    assert!(queue.lock().unwrap().waiting.is_empty());
    assert_eq!(named(&world, "account.end_sign_ins").await.len(), 1, "n_ss_04: no second effect");
}

/// A token of the transmitter that names a key which no one knows.
fn by_unknown_key(corp: &StandIn, claims: &Value) -> String {
    let behaviour = corp.behaviour();
    let header = json!({"typ": "secevent+jwt", "alg": behaviour.signer.alg(), "kid": "of-tomorrow"});
    behaviour.signer.sign(&header, claims)
}

#[tokio::test]
async fn ss_07_a_polled_event_that_cannot_be_judged_now_holds_back_no_other() {
    let (world, corp, queue) = polling().await;
    let mut body = handed_out(&world, &corp).await;
    world.advance(100);
    let kind = format!("{CAEP}/session-revoked");
    // The keys are known, and were fetched a moment ago: what names another one has to come again.
    queue.lock().unwrap().waiting.insert("0".into(), json!(signed(&corp, &event(&world, &corp, "0", "https://evil.example"))));
    EventPolls::default().poll_those_due(&world.server).await;
    assert!(queue.lock().unwrap().waiting.is_empty());
    {
        let mut queue = queue.lock().unwrap();
        queue.waiting.insert("a".into(), json!(by_unknown_key(&corp, &event(&world, &corp, "a", &kind))));
        queue.waiting.insert("b".into(), json!(signed(&corp, &event(&world, &corp, "b", &kind))));
    }
    let mut polls = EventPolls::default();
    polls.poll_those_due(&world.server).await;
    assert!(!acts(&world, &mut body).await, "the other one was taken");
    world.advance(31);
    polls.poll_those_due(&world.server).await;
    let queue = queue.lock().unwrap();
    assert!(!queue.waiting.contains_key("b") && queue.errors.get("b").is_none(), "and acknowledged: {:?}", queue.waiting);
}

#[tokio::test]
async fn ss_07_a_transmitter_that_is_slow_keeps_no_other_waiting() {
    let (world, corp, queue) = polling().await;
    let mut body = handed_out(&world, &corp).await;
    world.advance(100);
    let slow = StandIn::start("slow", "", &world.clock).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/poll", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let hang = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<StatusCode>()
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/poll", post(hang))).await.unwrap() });
    let poll = |url: String, every: u32| {
        let credential = Some(Arc::new("polling-secret".to_owned().into()));
        Some(PollSettings { url, credential, every })
    };
    let known = queue.lock().unwrap().url.clone();
    offer(
        &world,
        vec![
            with_events(&slow, EventSettings { push: None, poll: poll(url, 3_600), ..pushed(&slow) }),
            with_events(&corp, EventSettings { push: None, poll: poll(known, 30), ..pushed(&corp) }),
        ],
    );
    let kind = format!("{CAEP}/session-revoked");
    let mut polls = EventPolls::default();
    for jti in ["a", "b"] {
        let token = signed(&corp, &event(&world, &corp, jti, &kind));
        queue.lock().unwrap().waiting.insert(jti.into(), json!(token));
        while !queue.lock().unwrap().waiting.is_empty() || count.load(Ordering::SeqCst) == 0 {
            // As the server does it: again and again. A poll that still runs is left alone.
            polls.begin_those_due(&world.server);
            tokio::task::yield_now().await;
        }
        assert_eq!(count.load(Ordering::SeqCst), 1, "the slow one was asked, and has not answered");
        // The other's poll has ended once it was told that nothing more is there.
        world.advance(31);
    }
    assert!(!acts(&world, &mut body).await);
}

#[tokio::test]
async fn a_transmitter_that_answers_nonsense_or_without_end_is_left_for_its_interval() {
    let (world, _corp, queue) = polling().await;
    for (answer, most) in [
        (json!([]), 1),
        (json!({"sets": []}), 1),
        (json!({"sets": {}, "moreAvailable": true}), 20),
        (json!({"padding": "x".repeat(1 << 20)}), 1),
    ] {
        queue.lock().unwrap().polls = 0;
        queue.lock().unwrap().answer = Some(answer.clone());
        EventPolls::default().poll_those_due(&world.server).await;
        assert!((1..=most).contains(&queue.lock().unwrap().polls));
    }
    // Nor can events be pushed where they are polled for.
    let reply = push(&world, "a.b.c".to_owned()).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND, "{}", reply.text);
}

#[tokio::test]
async fn the_ledger_of_events_is_good_for_an_auditor() {
    let (world, corp) = listening().await;
    world.record_registrations().await;
    handed_out(&world, &corp).await;
    world.advance(100);
    push(&world, signed(&corp, &event(&world, &corp, "1", &format!("{CAEP}/session-revoked")))).await;
    push(&world, signed(&corp, &event(&world, &corp, "2", "https://evil.example/type"))).await;
    push(&world, "a.b.c".to_owned()).await;
    let reader = world.audited().await;
    let report = custody(&reader);
    assert!(report.ok(), "{report:?}");
    let report = replay(&reader);
    assert!(report.ok(), "{report:?}");
}
