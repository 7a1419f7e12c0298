//! Back-channel logout: what a provider's word ends, and what a stranger's does not.

use crate::{
    flow::*,
    provider::*,
    stand_in::{CLIENT, Signer, StandIn},
    world::*,
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use remit_authority::load_whom_to_ask;
use remit_store::Change;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const PATH: &str = "/oauth/backchannel-logout/corp";
const SUBJECT: &str = "248289761001";

type Spoil = fn(&mut Value, &mut Value);

/// What is wrong with a logout token, and with which code it is refused.
const SPOILT: [(&str, &str, Spoil); 31] = [
    ("another issuer", "token_issuer_unknown", |_, claims| claims["iss"] = json!("https://elsewhere.example")),
    ("the issuer with a slash", "token_issuer_unknown", |_, claims| {
        claims["iss"] = json!(format!("{}/", claims["iss"].as_str().unwrap()));
    }),
    ("no issuer", "token_malformed", |_, claims| drop(claims.as_object_mut().unwrap().remove("iss"))),
    ("another audience", "token_audience_wrong", |_, claims| claims["aud"] = json!("another")),
    ("us and another", "token_audience_wrong", |_, claims| claims["aud"] = json!([CLIENT, "another"])),
    ("no audience", "token_malformed", |_, claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
    ("no iat", "token_malformed", |_, claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
    ("an iat in the future", "token_not_yet_valid", |_, claims| {
        claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 100);
    }),
    ("an end that is over", "token_expired", |_, claims| {
        let iat = claims["iat"].as_i64().unwrap();
        (claims["iat"], claims["exp"]) = (json!(iat - 200), json!(iat - 80));
    }),
    ("an end that is far", "token_malformed", |_, claims| claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 601)),
    ("an end that is text", "token_malformed", |_, claims| claims["exp"] = json!("tomorrow")),
    ("no end, and old", "token_expired", |_, claims| {
        claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 700);
        drop(claims.as_object_mut().unwrap().remove("exp"));
    }),
    ("no jti", "token_malformed", |_, claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
    ("an empty jti", "token_malformed", |_, claims| claims["jti"] = json!("")),
    ("no events", "token_type_wrong", |_, claims| drop(claims.as_object_mut().unwrap().remove("events"))),
    ("no such event", "token_type_wrong", |_, claims| {
        claims["events"] = json!({"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}});
    }),
    ("an event that is text", "token_type_wrong", |_, claims| claims["events"] = json!({EVENT: "yes"})),
    ("a list of events", "token_type_wrong", |_, claims| claims["events"] = json!([EVENT])),
    ("a nonce", "token_type_wrong", |_, claims| claims["nonce"] = json!("n")),
    ("a nonce of null", "token_type_wrong", |_, claims| claims["nonce"] = Value::Null),
    ("nobody", "token_malformed", |_, claims| {
        for name in ["sub", "sid"] {
            claims.as_object_mut().unwrap().remove(name);
        }
    }),
    ("a sub that is a number", "token_malformed", |_, claims| claims["sub"] = json!(7)),
    ("an empty sub", "token_malformed", |_, claims| claims["sub"] = json!("")),
    ("the type of an access token", "token_type_wrong", |header, _| header["typ"] = json!("at+jwt")),
    ("the type of a security event", "token_type_wrong", |header, _| header["typ"] = json!("secevent+jwt")),
    ("a type that is a number", "token_malformed", |header, _| header["typ"] = json!(1)),
    ("no algorithm", "token_signature_invalid", |header, _| header["alg"] = json!("none")),
    ("another algorithm", "token_signature_invalid", |header, _| header["alg"] = json!("RS256")),
    ("a key that is not published", "token_signature_invalid", |header, _| header["kid"] = json!("nowhere")),
    ("a key that it brings itself", "token_malformed", |header, _| header["jwk"] = json!({"kty": "OKP"})),
    ("a critical extension", "token_malformed", |header, _| header["crit"] = json!(["b64"])),
];

/// A logout token as Keycloak sends it, changed.
fn logout_token(world: &World, corp: &StandIn, spoil: impl FnOnce(&mut Value, &mut Value)) -> String {
    let this = corp.behaviour();
    let now = world.now().0;
    let mut header = json!({"typ": "logout+jwt", "alg": this.signer.alg(), "kid": this.signer.kid()});
    let mut claims = json!({
        "iss": this.issuer, "aud": CLIENT, "sub": SUBJECT, "sid": "s-1", "iat": now, "exp": now + 120, "jti": fresh(),
        "events": {EVENT: {}},
    });
    spoil(&mut header, &mut claims);
    this.signer.sign(&header, &claims)
}

async fn deliver(world: &World, token: &str) -> Reply {
    world.post(PATH, &fields(&[("logout_token", token)]), &[]).await
}

/// Whether the answer is the one for a good token. SPEC: Back-Channel Logout 1.0 §2.8
#[track_caller]
fn taken(reply: &Reply) {
    assert_eq!((reply.status, reply.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(reply.headers["cache-control"], "no-store");
}

async fn ends(world: &World) -> Vec<Value> {
    records(world).await.into_iter().filter(|record| record["action"]["name"] == "account.end_sign_ins").collect()
}

/// The stand-in's person signs in and lets the planner act.
async fn agreed(world: &World, corp: &StandIn) -> Value {
    let mut browser = Browser::default();
    let page = browser.through(world, corp, &request()).await;
    assert!(is_consent(&page), "{}", page.text);
    let code = query(&browser.decide(world, &page, "allow").await.location(), "code").unwrap();
    let reply = world.redeem(&world.planner, &code, &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    reply.body
}

/// Whether the planner can still act for the person.
async fn acts(world: &World, body: &Value) -> bool {
    let narrowed = world.narrow(&world.planner, text(body, "access_token"), &[("requested_lifetime", "60")]).await;
    match narrowed.body["remit_code"].as_str() {
        None => true,
        Some("sign_in_ended") => false,
        Some(other) => panic!("{other}: {}", narrowed.text),
    }
}

async fn signed_in() -> (World, StandIn, Value) {
    let (world, corp) = corp().await;
    corp.behaviour().claims["sid"] = json!("s-1");
    let body = agreed(&world, &corp).await;
    (world, corp, body)
}

#[tokio::test]
async fn dc_13_a_logout_ends_everything_of_its_person_and_leaves_a_record_that_names_nobody() {
    let (world, corp, body) = signed_in().await;
    let alice = world.delegated("alice").await;
    let child = world.hand(&world.planner, text(&body, "access_token"), &world.summarizer, &[]).await.access_token();
    assert!(acts(&world, &body).await && world.active(&world.summarizer, &child).await);
    let token = logout_token(&world, &corp, |_, _| {});
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    taken(&deliver(&world, &token).await);

    assert!(!acts(&world, &body).await);
    assert!(!world.active(&world.summarizer, &child).await, "what an agent handed on ends with it");
    let refreshed = world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await;
    assert_eq!(refreshed.body["remit_code"], "sign_in_ended", "{}", refreshed.text);
    assert!(acts(&world, &alice).await, "nobody else's ends");
    let all = ends(&world).await;
    let [end] = all.as_slice() else { panic!("{all:?}") };
    let facts = &end["ext"]["sign_in"];
    assert_eq!(
        (&facts["provider"], &facts["cause"], &facts["named_by"]),
        (&json!("corp"), &json!("backchannel_logout"), &json!("sub"))
    );
    assert_eq!(facts["ended_before"], world.now().0 + 1);
    assert!(facts["event"].as_str().unwrap().starts_with("sha-256:"));
    assert_eq!(end["chain"][0]["subject_ref"], end["owner_ref"]);
    assert_eq!(end["http"]["route"], "/oauth/backchannel-logout/{provider}");
    let written = serde_json::to_string(&records(&world).await).unwrap();
    assert!(!written.contains(&jti) && !written.contains(SUBJECT) && !written.contains("s-1\""));

    // The session here is over as well; a new sign-in begins anew, and what died stays dead.
    world.advance(2);
    corp.behaviour().age = 0;
    let again = agreed(&world, &corp).await;
    assert!(acts(&world, &again).await && !acts(&world, &body).await);
}

#[tokio::test]
async fn a_token_that_names_the_session_alone_ends_the_person_who_signed_in_with_it_also_after_a_restart() {
    let by_session = |_: &mut Value, claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("sub"));
    let (world, corp, body) = signed_in().await;
    taken(
        &deliver(
            &world,
            &logout_token(&world, &corp, |header, claims| {
                by_session(header, claims);
                claims["sid"] = json!("s-2");
            }),
        )
        .await,
    );
    assert!(acts(&world, &body).await, "another session");
    assert_eq!(ends(&world).await[0]["ext"]["sign_in"]["person"], "unknown", "it is recorded that nobody is known");

    let world = world.restart().await;
    offer(&world, vec![corp.settings(rules())]);
    load_whom_to_ask(&world.server).await.unwrap();
    // For a while after a start, proofs need a nonce.
    world.advance(310);
    assert!(acts(&world, &body).await);
    taken(&deliver(&world, &logout_token(&world, &corp, by_session)).await);
    assert!(!acts(&world, &body).await);
    assert_eq!(ends(&world).await[1]["ext"]["sign_in"]["named_by"], "sid");
}

#[tokio::test]
async fn a_person_who_never_came_here_is_no_error_and_is_recorded() {
    let (world, corp, body) = signed_in().await;
    taken(&deliver(&world, &logout_token(&world, &corp, |_, claims| claims["sub"] = json!("somebody"))).await);
    let all = ends(&world).await;
    assert_eq!((all.len(), &all[0]["ext"]["sign_in"]["person"]), (1, &json!("unknown")));
    assert!(acts(&world, &body).await, "the `sub` says who it is, whatever session is named");
}

/// SPEC: Back-Channel Logout 1.0 §2.6, J-01, J-07
#[tokio::test]
async fn each_claim_of_a_logout_token_is_checked_and_a_bad_one_ends_nothing() {
    let (world, corp, body) = signed_in().await;
    for (name, code, spoil) in SPOILT {
        if name == "a key that is not published" {
            // Its keys were fetched at the sign-in: from then on they may be asked for again.
            world.advance(10);
        }
        let reply = deliver(&world, &logout_token(&world, &corp, spoil)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{name}: {}", reply.text);
        assert_eq!(reply.body["error"], "invalid_request", "{name}: {}", reply.text);
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(reply.body["remit_code"], code, "{name}: {}", reply.text);
        let record = world.last_record().await;
        assert_eq!(record["action"]["name"], "authority.backchannel_logout", "{name}");
        assert_eq!((&record["outcome"]["code"], &record["ext"]["token"]["provider"]), (&json!(code), &json!("corp")), "{name}");
    }
    assert!(ends(&world).await.is_empty());
    assert!(acts(&world, &body).await);
}

#[tokio::test]
async fn a_signature_by_another_key_or_under_a_shared_secret_is_refused() {
    let (world, corp, body) = signed_in().await;
    let kid = corp.behaviour().signer.kid().unwrap().to_owned();
    let public = corp.behaviour().published[&kid].to_string().into_bytes();
    let stranger = remit_testkit::key_named(remit_token::Algorithm::Es256, "stranger");
    for signer in [Signer::Ours(kid.clone(), stranger), Signer::Hmac(kid.clone(), public), Signer::Unsigned("none")] {
        let held = std::mem::replace(&mut corp.behaviour().signer, signer);
        let token = logout_token(&world, &corp, |_, _| {});
        corp.behaviour().signer = held;
        let reply = deliver(&world, &token).await;
        assert_eq!((reply.status, &reply.body["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{}", reply.text);
    }
    assert!(acts(&world, &body).await && ends(&world).await.is_empty());
}

#[tokio::test]
async fn a_token_counts_once_and_only_at_its_own_provider() {
    let (world, corp, _) = signed_in().await;
    let token = logout_token(&world, &corp, |_, _| {});
    taken(&deliver(&world, &token).await);
    world.advance(2);
    corp.behaviour().age = 0;
    let body = agreed(&world, &corp).await;
    deliver(&world, &token).await.refused("invalid_request", "assertion_replayed");
    assert!(acts(&world, &body).await, "a copy ends nothing of what began after it");

    // An ID token is no logout token, and another provider's word is not this one's.
    let other = StandIn::start("other", "/realms/staff", &world.clock).await;
    offer(&world, vec![corp.settings(rules()), other.settings(rules())]);
    let foreign = logout_token(&world, &other, |_, _| {});
    assert_eq!(deliver(&world, &foreign).await.status, StatusCode::BAD_REQUEST);
    let elsewhere = fields(&[("logout_token", &logout_token(&world, &corp, |_, _| {}))]);
    assert_eq!(world.post("/oauth/backchannel-logout/other", &elsewhere, &[]).await.status, StatusCode::BAD_REQUEST);
    let unknown = world.post("/oauth/backchannel-logout/nowhere", &elsewhere, &[]).await;
    assert_eq!((unknown.status, &unknown.body["remit_code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    let id_token = logout_token(&world, &corp, |header, claims| {
        header["typ"] = json!("JWT");
        let members = claims.as_object_mut().unwrap();
        members.remove("events");
        members.insert("nonce".to_owned(), json!("n"));
    });
    deliver(&world, &id_token).await.refused("invalid_request", "token_type_wrong");
    assert!(acts(&world, &body).await);
}

/// SPEC
#[tokio::test]
async fn only_one_posted_form_parameter_is_read() {
    let (world, corp, body) = signed_in().await;
    let token = || logout_token(&world, &corp, |_, _| {});
    let twice = fields(&[("logout_token", &token()), ("logout_token", &token())]);
    assert_eq!(world.post(PATH, &twice, &[]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.post(PATH, &fields(&[("token", &token())]), &[]).await.status, StatusCode::BAD_REQUEST);
    let long = format!("{}{}", token(), "x".repeat(8_192));
    assert_eq!(deliver(&world, &long).await.body["remit_code"], "request_too_large");
    let get = world.get(&format!("{PATH}?logout_token={}", token())).await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
    let json_body = Request::post(PATH).header("content-type", "application/json");
    let reply = world.send(json_body.body(Body::from(json!({"logout_token": token()}).to_string())).unwrap()).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(reply.headers.get("access-control-allow-origin").is_none(), "no page may call it");
    assert!(acts(&world, &body).await && ends(&world).await.is_empty());
}

/// SPEC: F-05
#[tokio::test]
async fn a_new_key_of_the_provider_is_found_and_one_that_is_down_is_told_to_come_again() {
    let (world, corp, body) = signed_in().await;
    world.advance(60);
    {
        let mut this = corp.behaviour();
        this.signer = Signer::rsa("corp-key-2");
        this.publish();
    }
    let token = logout_token(&world, &corp, |_, _| {});
    taken(&deliver(&world, &token).await);
    assert!(!acts(&world, &body).await);

    // Its keys were never fetched by this process: without them nothing is decided, and the token is not used up.
    let world = world.restart().await;
    offer(&world, vec![corp.settings(rules())]);
    let token = logout_token(&world, &corp, |_, _| {});
    corp.behaviour().down = true;
    let reply = deliver(&world, &token).await;
    assert_eq!((reply.status, &reply.body["remit_code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("provider_unreachable")));
    assert!(reply.headers.contains_key("retry-after"));
    corp.behaviour().down = false;
    world.advance(11);
    taken(&deliver(&world, &token).await);
}

/// SPEC: TK-11
#[tokio::test]
async fn a_flood_of_strangers_is_held_back_and_the_providers_logout_token_is_not() {
    let (world, corp, body) = signed_in().await;
    let mut last = None;
    for _ in 0..2_001 {
        last = Some(deliver(&world, "x").await);
    }
    let last = last.unwrap();
    assert_eq!((last.status, &last.body["remit_code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("rate_limited")));
    assert!(last.headers.contains_key("retry-after"));
    assert!(world.store.len() < 500, "what proves nothing has no record each");
    // From the same address, in the same second.
    taken(&deliver(&world, &logout_token(&world, &corp, |_, _| {})).await);
    assert!(!acts(&world, &body).await);
    assert_eq!(deliver(&world, "x").await.status, StatusCode::TOO_MANY_REQUESTS, "strangers stay held back");
}

/// SPEC: F-05, N-F-06
#[tokio::test]
async fn f_05_a_new_key_that_cannot_be_asked_for_yet_is_a_reason_to_come_again_and_a_strangers_token_is_none_to_ask() {
    let (world, corp, body) = signed_in().await;
    world.advance(60);
    // A stranger makes the server ask for the keys.
    let unknown = |header: &mut Value, _: &mut Value| header["kid"] = json!("nowhere");
    deliver(&world, &logout_token(&world, &corp, unknown)).await.refused("invalid_request", "token_signature_invalid");
    {
        let mut this = corp.behaviour();
        this.signer = Signer::rsa("corp-key-2");
        this.publish();
    }
    let token = logout_token(&world, &corp, |_, _| {});
    let reply = deliver(&world, &token).await;
    assert_eq!((reply.status, &reply.body["remit_code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("provider_unreachable")));
    assert!(reply.headers.contains_key("retry-after") && acts(&world, &body).await);
    world.advance(10);
    // What is not addressed to this server asks for nothing: the next one finds the new key.
    for spoil in [SPOILT[0].2, SPOILT[3].2] {
        let spoilt = logout_token(&world, &corp, |header, claims| {
            header["kid"] = json!("nowhere");
            spoil(header, claims);
        });
        assert_eq!(deliver(&world, &spoilt).await.status, StatusCode::BAD_REQUEST);
    }
    taken(&deliver(&world, &token).await);
    assert!(!acts(&world, &body).await);
}

/// Five hundred agents, each with a part of the person's authority.
pub(crate) struct Crowd {
    workers: Vec<(Actor, String)>,
    /// From then on no call is let through.
    over: AtomicBool,
    allowed: AtomicUsize,
    refused: AtomicUsize,
}

impl Crowd {
    /// The person signs in, and the planner hands a part to each.
    pub(crate) async fn of(world: &World, corp: &StandIn) -> Self {
        let anyone = json!([{
            "type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"], "delegate": {"to": ["*"], "depth": 1},
        }]);
        offer(world, vec![corp.settings(vec![rule(&[], &anyone)])]);
        let body = agreed(world, corp).await;
        let mut workers = Vec::new();
        for n in 0..500 {
            let worker = Actor::new(&format!("worker-{n}"));
            world.change(Change::PutAgent(agent(&worker, false))).await;
            let token = world.hand(&world.planner, text(&body, "access_token"), &worker, &[]).await.access_token();
            workers.push((worker, token));
        }
        Self { workers, over: AtomicBool::new(false), allowed: AtomicUsize::new(0), refused: AtomicUsize::new(0) }
    }

    /// Every fourth of them acts, again and again, until each was refused after the event.
    async fn act(&self, world: &World, first: usize) {
        loop {
            let last_round = self.over.load(Ordering::SeqCst);
            for (worker, token) in self.workers.iter().skip(first).step_by(4) {
                let begun_after = self.over.load(Ordering::SeqCst);
                let reply = world.narrow(worker, token, &[("requested_lifetime", "30")]).await;
                match reply.body["remit_code"].as_str() {
                    None => {
                        assert!(!begun_after, "a call after the event was let through: {}", reply.text);
                        self.allowed.fetch_add(1, Ordering::SeqCst);
                    }
                    Some("sign_in_ended") => {
                        self.refused.fetch_add(usize::from(begun_after), Ordering::SeqCst);
                    }
                    Some(_) => panic!("{}", reply.text),
                }
                tokio::task::yield_now().await;
            }
            if last_round {
                return;
            }
        }
    }

    /// They act while the event happens; not one call that begins after it is let through.
    pub(crate) async fn until(&self, world: &World, event: impl Future<Output = ()>) {
        let event = async {
            while self.allowed.load(Ordering::SeqCst) < 100 {
                tokio::task::yield_now().await;
            }
            event.await;
            self.over.store(true, Ordering::SeqCst);
        };
        tokio::join!(event, self.act(world, 0), self.act(world, 1), self.act(world, 2), self.act(world, 3));
        assert!(self.refused.load(Ordering::SeqCst) >= self.workers.len(), "each was refused at least once");
    }
}

#[tokio::test]
async fn dc_13_of_five_hundred_agents_none_acts_once_a_logout_is_answered() {
    let (world, corp) = corp().await;
    let crowd = Crowd::of(&world, &corp).await;
    crowd.until(&world, async { taken(&deliver(&world, &logout_token(&world, &corp, |_, _| {})).await) }).await;
    assert_eq!(ends(&world).await.len(), 1);
}
