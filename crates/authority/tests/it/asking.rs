//! Asking a provider at an interval: what its "no" ends, and what its silence does not.

use crate::{
    flow::*,
    logout::Crowd,
    provider::*,
    stand_in::{Refreshing, StandIn},
    world::*,
};
use axum::http::StatusCode;
use remit_authority::{
    ask_now, load_whom_to_ask,
    provider::{Check, ProviderSettings},
};
use remit_ledger::record::{Draft, ProducerKind, RecordType};
use remit_ledger::vault::Subject;
use remit_model::{TenantId, ToolClass};
use remit_testkit::{eventually, eventually_async};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;

const EVERY: u64 = 60;

/// A world whose provider gives refresh tokens in this way.
async fn asked(refreshing: Refreshing) -> (World, StandIn) {
    let (world, corp) = corp().await;
    corp.behaviour().refreshing = refreshing;
    (world, corp)
}

/// The person signs in and lets the planner act.
async fn agreed(world: &World, corp: &StandIn) -> Value {
    let mut browser = Browser::default();
    let page = browser.through(world, corp, &request()).await;
    assert!(is_consent(&page), "{}", page.text);
    let code = query(&browser.decide(world, &page, "allow").await.location(), "code").unwrap();
    let reply = world.redeem(&world.planner, &code, &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    reply.body
}

/// A whole interval passes, and the people who are due are asked about.
async fn an_interval(world: &World) {
    world.advance(EVERY);
    ask_now(&world.server).await;
}

/// Whether the planner can still act for the person; the refresh token changes with each try.
async fn acts(world: &World, body: &mut Value) -> bool {
    let reply = world.refresh(&world.planner, text(body, "refresh_token"), &[]).await;
    match reply.body["remit_code"].as_str() {
        None => {
            *body = reply.body;
            true
        }
        Some("sign_in_ended") => false,
        Some(other) => panic!("{other}: {}", reply.text),
    }
}

async fn named(world: &World, action: &str) -> Vec<Value> {
    records(world).await.into_iter().filter(|record| record["action"]["name"] == action).collect()
}

async fn ends(world: &World) -> Vec<Value> {
    named(world, "account.end_sign_ins").await
}

fn required(corp: &StandIn) -> ProviderSettings {
    ProviderSettings { check: Check { required: true, ..Check::default() }, ..corp.settings(rules()) }
}

#[tokio::test]
async fn dc_13_a_person_who_is_disabled_at_the_provider_is_ended_within_the_interval_and_stays_so() {
    let (world, corp) = asked(Refreshing::Fixed).await;
    let mut body = agreed(&world, &corp).await;
    for _ in 0..3 {
        an_interval(&world).await;
        assert!(acts(&world, &mut body).await);
    }
    assert_eq!(corp.behaviour().questions, 3, "one in each interval");
    corp.behaviour().disabled = true;
    assert!(acts(&world, &mut body).await, "nobody said so yet");
    an_interval(&world).await;
    assert!(!acts(&world, &mut body).await);
    let all = ends(&world).await;
    let [end] = all.as_slice() else { panic!("{all:?}") };
    let facts = &end["ext"]["sign_in"];
    assert_eq!(
        (&facts["cause"], &facts["answer"], &facts["check_every_s"]),
        (&json!("provider_refused"), &json!("invalid_grant"), &json!(60))
    );
    assert_eq!(facts["ended_before"], world.now().0 + 1);

    // Enabled again at the provider, where the same refresh token works again: here what died stays dead.
    corp.behaviour().disabled = false;
    let questions = corp.behaviour().questions;
    for _ in 0..3 {
        an_interval(&world).await;
        assert!(!acts(&world, &mut body).await);
    }
    assert_eq!(corp.behaviour().questions, questions, "nobody asks about what has ended");
    corp.behaviour().age = 0;
    let mut again = agreed(&world, &corp).await;
    assert!(acts(&world, &mut again).await && !acts(&world, &mut body).await, "a new sign-in begins anew");
}

#[tokio::test]
async fn silence_is_not_a_no_and_nothing_new_is_handed_out_meanwhile() {
    let (world, corp) = asked(Refreshing::Fixed).await;
    let mut browser = Browser::default();
    let page = browser.through(&world, &corp, &request()).await;
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    let mut body = world.redeem(&world.planner, &code, &[]).await.body;
    corp.behaviour().down = true;
    for _ in 0..3 {
        an_interval(&world).await;
        assert!(acts(&world, &mut body).await, "what is there lives to its end");
    }
    let page = browser.begin(&world, &request()).await;
    assert!(is_consent(&page), "the session lives to its end: {}", page.text);
    let back = browser.decide(&world, &page, "allow").await.location();
    assert_eq!(query(&back, "remit_code").as_deref(), Some("provider_unreachable"), "{back}");
    let told = named(&world, "provider.ask").await;
    assert_eq!(told.iter().map(|one| &one["ext"]["provider"]["answers"]).collect::<Vec<_>>(), [&json!(false)], "said once");

    corp.behaviour().down = false;
    for (status, error) in [
        (StatusCode::UNAUTHORIZED, "invalid_client"),
        (StatusCode::BAD_REQUEST, "unauthorized_client"),
        (StatusCode::BAD_REQUEST, "invalid_request"),
        (StatusCode::INTERNAL_SERVER_ERROR, "invalid_grant"),
        (StatusCode::TOO_MANY_REQUESTS, "slow_down"),
    ] {
        corp.behaviour().refusal = Some((status, error));
        an_interval(&world).await;
        assert!(acts(&world, &mut body).await, "{error} is about the client that we are there");
    }
    corp.behaviour().refusal = None;
    an_interval(&world).await;
    assert!(acts(&world, &mut body).await && ends(&world).await.is_empty());
    let told = named(&world, "provider.ask").await;
    assert_eq!(told.len(), 2);
    assert_eq!((&told[1]["ext"]["provider"]["answers"], &told[1]["outcome"]["status"]), (&json!(true), &json!("success")));
    let page = browser.begin(&world, &request()).await;
    let back = browser.decide(&world, &page, "allow").await.location();
    assert!(query(&back, "code").is_some(), "{back}");

    // It comes back with a no.
    corp.behaviour().down = true;
    an_interval(&world).await;
    (corp.behaviour().down, corp.behaviour().disabled) = (false, true);
    an_interval(&world).await;
    assert!(!acts(&world, &mut body).await);
}

#[tokio::test]
async fn who_hands_something_out_long_after_the_sign_in_is_asked_about_first() {
    let (world, corp) = asked(Refreshing::Fixed).await;
    let mut browser = Browser::default();
    assert!(is_consent(&browser.through(&world, &corp, &request()).await));
    for _ in 0..5 {
        an_interval(&world).await;
    }
    assert_eq!(corp.behaviour().questions, 0, "nothing was handed out, so nobody is asked about");
    corp.behaviour().disabled = true;
    let page = browser.begin(&world, &request()).await;
    let back = browser.decide(&world, &page, "allow").await.location();
    assert_eq!(query(&back, "remit_code").as_deref(), Some("sign_in_ended"), "{back}");
    assert_eq!(ends(&world).await.len(), 1);
    assert_eq!(corp.behaviour().questions, 1);
    let page = browser.begin(&world, &request()).await;
    assert!(is_sign_in(&page), "the session here is over, too");
}

#[tokio::test]
async fn a_refresh_token_that_is_replaced_is_never_sent_again_also_after_a_restart() {
    let (world, corp) = asked(Refreshing::Rotating).await;
    let mut body = agreed(&world, &corp).await;
    for _ in 0..3 {
        an_interval(&world).await;
        assert!(acts(&world, &mut body).await, "a reused refresh token would have ended it");
    }
    let world = world.restart().await;
    offer(&world, vec![corp.settings(rules())]);
    load_whom_to_ask(&world.server).await.unwrap();
    // For a while after a start, proofs need a nonce.
    for _ in 0..6 {
        an_interval(&world).await;
    }
    assert!(acts(&world, &mut body).await);
    assert_eq!(corp.behaviour().questions, 9);
    corp.behaviour().disabled = true;
    an_interval(&world).await;
    assert!(!acts(&world, &mut body).await);
    let world = world.restart().await;
    offer(&world, vec![corp.settings(rules())]);
    load_whom_to_ask(&world.server).await.unwrap();
    an_interval(&world).await;
    assert_eq!(corp.behaviour().questions, 10, "what ended is not asked about after a restart");
}

#[tokio::test]
async fn questions_end_with_what_was_handed_out() {
    let (world, corp) = asked(Refreshing::Fixed).await;
    let mut browser = Browser::default();
    let page = browser.through(&world, &corp, &request_with(&[("requested_lifetime", "200")])).await;
    assert!(query(&browser.decide(&world, &page, "allow").await.location(), "code").is_some());
    for _ in 0..10 {
        an_interval(&world).await;
    }
    assert_eq!(corp.behaviour().questions, 3, "200 seconds have three whole intervals");
}

#[tokio::test]
async fn two_looks_at_once_put_one_question() {
    let (world, corp) = asked(Refreshing::Rotating).await;
    let mut body = agreed(&world, &corp).await;
    world.advance(EVERY);
    tokio::join!(ask_now(&world.server), ask_now(&world.server), ask_now(&world.server));
    assert_eq!(corp.behaviour().questions, 1);
    assert!(acts(&world, &mut body).await);
}

#[tokio::test]
async fn without_a_refresh_token_userinfo_is_asked_for_as_long_as_the_access_token_lives() {
    for disabled in [false, true] {
        let (world, corp) = asked(Refreshing::None).await;
        corp.behaviour().offer_userinfo();
        let mut body = agreed(&world, &corp).await;
        let opened = named(&world, "authority.authorize").await;
        let opened = opened.iter().find(|record| record["record_type"] == "session_open").unwrap();
        assert_eq!(
            (&opened["ext"]["token"]["provider_check"], &opened["ext"]["token"]["provider_check_every_s"]),
            (&json!("userinfo"), &json!(60))
        );
        an_interval(&world).await;
        corp.behaviour().disabled = disabled;
        an_interval(&world).await;
        assert_eq!(acts(&world, &mut body).await, !disabled);
        assert_eq!(corp.behaviour().questions, 2);
        if disabled {
            assert_eq!(ends(&world).await[0]["ext"]["sign_in"]["answer"], "userinfo_refused");
            continue;
        }
        // The access token lives for 300 seconds; its end is no answer about the person.
        for _ in 0..5 {
            an_interval(&world).await;
        }
        assert_eq!(corp.behaviour().questions, 4, "an ended token is not shown");
        assert!(acts(&world, &mut body).await && ends(&world).await.is_empty());
    }
}

#[tokio::test]
async fn an_answer_of_userinfo_about_another_person_says_nothing() {
    let (world, corp) = asked(Refreshing::None).await;
    corp.behaviour().offer_userinfo();
    let mut body = agreed(&world, &corp).await;
    corp.behaviour().claims["sub"] = json!("somebody-else");
    an_interval(&world).await;
    assert!(acts(&world, &mut body).await);
    assert!(named(&world, "provider.ask").await.is_empty(), "the provider answers, and nobody else is concerned");
    assert!(ends(&world).await.is_empty());
}

#[tokio::test]
async fn a_userinfo_endpoint_that_refuses_for_another_reason_ends_nobody() {
    let (world, corp) = asked(Refreshing::None).await;
    corp.behaviour().offer_userinfo();
    let mut body = agreed(&world, &corp).await;
    for (status, challenge, gone) in [
        (StatusCode::FORBIDDEN, "Bearer", false),
        (StatusCode::NOT_FOUND, "Bearer", false),
        (StatusCode::UNAUTHORIZED, "Bearer error=\"insufficient_scope\"", false),
        (StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\"", true),
    ] {
        corp.behaviour().userinfo_refusal = Some((status, challenge));
        an_interval(&world).await;
        assert_eq!(acts(&world, &mut body).await, !gone, "{status} {challenge}");
    }
}

/// Alice's refresh token at the provider, and Bob, who signed in after her.
async fn alice_and_bob(world: &World, corp: &StandIn) -> (String, Value, Value) {
    let alice = agreed(world, corp).await;
    let token = corp.behaviour().refresh_tokens.iter().next().unwrap().clone();
    corp.behaviour().claims["sub"] = json!("bob");
    let bob = agreed(world, corp).await;
    (token, alice, bob)
}

#[tokio::test]
async fn dc_13_a_person_about_whom_the_provider_says_nothing_keeps_nobody_else_from_being_ended() {
    for error in ["interaction_required", "access_denied", "unauthorized_client"] {
        let (world, corp) = asked(Refreshing::Rotating).await;
        let (hers, mut alice, mut bob) = alice_and_bob(&world, &corp).await;
        corp.behaviour().refused_tokens.insert(hers.clone(), (StatusCode::BAD_REQUEST, error));
        for _ in 0..3 {
            an_interval(&world).await;
        }
        assert!(acts(&world, &mut alice).await && acts(&world, &mut bob).await, "{error}");
        assert!(named(&world, "provider.ask").await.is_empty(), "{error}: the provider answers");
        let his = corp.behaviour().refresh_tokens.iter().find(|token| **token != hers).unwrap().clone();
        corp.behaviour().refused_tokens.insert(his, (StatusCode::BAD_REQUEST, "invalid_grant"));
        an_interval(&world).await;
        assert!(!acts(&world, &mut bob).await && acts(&world, &mut alice).await, "{error}");
    }
}

#[tokio::test]
async fn dc_13_whom_a_provider_does_not_confirm_for_ten_intervals_while_it_confirms_others_is_ended() {
    for others in [true, false] {
        let (world, corp) = asked(Refreshing::Rotating).await;
        let (hers, mut alice, mut bob) = alice_and_bob(&world, &corp).await;
        let all: Vec<String> = corp.behaviour().refresh_tokens.iter().cloned().collect();
        for token in all.into_iter().filter(|token| !others || *token == hers) {
            corp.behaviour().refused_tokens.insert(token, (StatusCode::BAD_REQUEST, "interaction_required"));
        }
        for _ in 0..9 {
            an_interval(&world).await;
        }
        assert!(acts(&world, &mut alice).await && acts(&world, &mut bob).await);
        for _ in 0..2 {
            an_interval(&world).await;
        }
        assert_eq!(acts(&world, &mut alice).await, !others);
        assert!(acts(&world, &mut bob).await);
        let all = ends(&world).await;
        assert_eq!(all.len(), usize::from(others), "{all:?}");
        assert!(all.iter().all(|end| end["ext"]["sign_in"]["answer"] == "no_longer_confirmed"), "{all:?}");
    }
}

#[tokio::test]
async fn dc_13_a_provider_that_has_another_name_now_is_asked_about_its_people_as_before() {
    for restart in [false, true] {
        let (mut world, corp) = asked(Refreshing::Rotating).await;
        let mut body = agreed(&world, &corp).await;
        if restart {
            world = world.restart().await;
        }
        offer(&world, vec![ProviderSettings { name: "north".to_owned(), ..corp.settings(rules()) }]);
        if restart {
            load_whom_to_ask(&world.server).await.unwrap();
        }
        // For a while after a start, proofs need a nonce.
        for _ in 0..6 {
            an_interval(&world).await;
        }
        assert_eq!(corp.behaviour().questions, 6);
        assert!(acts(&world, &mut body).await);
        corp.behaviour().disabled = true;
        an_interval(&world).await;
        assert!(!acts(&world, &mut body).await);
        assert_eq!(ends(&world).await[0]["ext"]["sign_in"]["provider"], "north");
    }
}

#[tokio::test]
async fn what_one_issuer_gave_is_never_sent_to_another_of_the_same_name_and_nobody_is_forgotten() {
    let (world, corp) = asked(Refreshing::Rotating).await;
    let mut body = agreed(&world, &corp).await;
    let other = StandIn::start("corp", "/realms/others", &world.clock).await;
    offer(&world, vec![other.settings(rules())]);
    for _ in 0..3 {
        an_interval(&world).await;
    }
    assert_eq!((corp.behaviour().questions, other.behaviour().questions), (0, 0));
    let told = named(&world, "provider.ask").await;
    assert_eq!(told.iter().map(|one| &one["ext"]["provider"]["configured"]).collect::<Vec<_>>(), [&json!(false)], "said once");
    offer(&world, vec![corp.settings(rules())]);
    corp.behaviour().disabled = true;
    for _ in 0..2 {
        an_interval(&world).await;
    }
    assert_eq!((corp.behaviour().questions, other.behaviour().questions), (1, 0));
    assert!(!acts(&world, &mut body).await, "it is configured again, and asked");
}

#[tokio::test]
async fn a_browser_that_hangs_up_while_the_provider_replaces_the_refresh_token_loses_nothing() {
    let (world, corp) = asked(Refreshing::Rotating).await;
    let mut browser = Browser::default();
    browser.through(&world, &corp, &request()).await;
    for _ in 0..5 {
        an_interval(&world).await;
    }
    let page = browser.begin(&world, &request()).await;
    assert!(is_consent(&page), "{}", page.text);
    let hold = Arc::new(Notify::new());
    corp.behaviour().hold = Some(Arc::clone(&hold));
    let name = local_name(&corp, "248289761001");
    let before = world.store.provider_session(&name).await.unwrap().unwrap().payload;
    tokio::select! {
        reply = browser.decide(&world, &page, "allow") => panic!("{}", reply.text),
        () = eventually("the provider is asked", || corp.behaviour().questions == 1) => {}
    }
    corp.behaviour().hold = None;
    hold.notify_one();
    eventually_async("the new refresh token is kept", async || {
        world.store.provider_session(&name).await.unwrap().unwrap().payload != before
    })
    .await;
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    let mut body = world.redeem(&world.planner, &code, &[]).await.body;
    an_interval(&world).await;
    assert!(acts(&world, &mut body).await && ends(&world).await.is_empty());
}

#[tokio::test]
async fn dc_13_a_second_sign_in_without_a_refresh_token_does_not_end_the_asking() {
    for userinfo in [false, true] {
        let (world, corp) = asked(Refreshing::Fixed).await;
        if userinfo {
            corp.behaviour().offer_userinfo();
        }
        let mut body = agreed(&world, &corp).await;
        // The person takes `offline_access` out of the address.
        corp.behaviour().refreshing = Refreshing::None;
        let mut again = agreed(&world, &corp).await;
        corp.behaviour().refreshing = Refreshing::Fixed;
        for _ in 0..6 {
            an_interval(&world).await;
            assert!(acts(&world, &mut body).await && acts(&world, &mut again).await);
        }
        assert_eq!(corp.behaviour().questions, 6);
        corp.behaviour().disabled = true;
        an_interval(&world).await;
        assert!(!acts(&world, &mut body).await && !acts(&world, &mut again).await);
        assert_eq!(ends(&world).await.len(), 1);
    }
}

#[tokio::test]
async fn once_the_kept_refresh_token_is_refused_what_the_last_sign_in_gave_is_asked_with() {
    for disabled in [false, true] {
        let (world, corp) = asked(Refreshing::Fixed).await;
        corp.behaviour().offer_userinfo();
        agreed(&world, &corp).await;
        corp.behaviour().refreshing = Refreshing::None;
        let mut body = agreed(&world, &corp).await;
        // The provider ended the session of the first sign-in.
        corp.behaviour().refresh_tokens.clear();
        corp.behaviour().disabled = disabled;
        an_interval(&world).await;
        assert_eq!(acts(&world, &mut body).await, !disabled);
        assert_eq!(corp.behaviour().questions, 2, "the refresh token, then userinfo");
        if !disabled {
            an_interval(&world).await;
            assert_eq!(corp.behaviour().questions, 3, "what was refused is not shown again");
        }
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_is_named_in_the_record_and_refused_where_that_is_demanded() {
    let (world, corp) = asked(Refreshing::None).await;
    let mut body = agreed(&world, &corp).await;
    let opened = named(&world, "authority.authorize").await;
    let opened = opened.iter().find(|record| record["record_type"] == "session_open").unwrap();
    assert_eq!(opened["ext"]["token"]["provider_check"], "nothing");
    corp.behaviour().disabled = true;
    an_interval(&world).await;
    assert!(acts(&world, &mut body).await, "nobody can know");
    assert_eq!(corp.behaviour().questions, 0);

    corp.behaviour().disabled = false;
    for userinfo in [false, true] {
        if userinfo {
            corp.behaviour().offer_userinfo();
            world.advance(3_700);
        }
        offer(&world, vec![required(&corp)]);
        let reply = Browser::default().through(&world, &corp, &request()).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.text);
        assert!(reply.text.contains("provider_answer_invalid") && reply.text.contains("check_required"), "{}", reply.text);
    }
    corp.behaviour().refreshing = Refreshing::Fixed;
    assert!(is_consent(&Browser::default().through(&world, &corp, &request()).await));
}

#[tokio::test]
async fn the_refresh_token_is_in_no_file_and_goes_when_the_person_is_forgotten() {
    let (world, corp) = asked(Refreshing::Rotating).await;
    agreed(&world, &corp).await;
    an_interval(&world).await;
    let token = corp.behaviour().refresh_tokens.iter().next().unwrap().clone();
    let found = |world: &World| {
        let mut files: Vec<std::path::PathBuf> = vec![world.folder().to_owned()];
        let mut holding = Vec::new();
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if std::fs::read(&path).unwrap().windows(token.len()).any(|part| part == token.as_bytes()) {
                holding.push(path);
            }
        }
        holding
    };
    assert!(found(&world).is_empty(), "{:?}", found(&world));
    let name = local_name(&corp, "248289761001");
    assert!(world.store.provider_session(&name).await.unwrap().is_some());
    let subject = Subject::Principal { iss: ISSUER.to_owned(), sub: format!("user:{name}") };
    let asks = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
        .action("ledger.erase", ToolClass::Admin)
        .ext("redaction", json!({"legal_basis": "GDPR Art. 17"}));
    world.store.erase(&subject, asks).await.unwrap();
    assert!(world.store.provider_session(&name).await.unwrap().is_none());
    let questions = corp.behaviour().questions;
    an_interval(&world).await;
    assert_eq!(corp.behaviour().questions, questions, "nobody is asked about who was forgotten");
}

#[tokio::test]
async fn dc_13_of_five_hundred_agents_none_acts_once_the_interval_is_over() {
    let (world, corp) = asked(Refreshing::Rotating).await;
    let crowd = Crowd::of(&world, &corp).await;
    corp.behaviour().disabled = true;
    crowd.until(&world, an_interval(&world)).await;
    assert_eq!(ends(&world).await.len(), 1);
    assert_eq!(corp.behaviour().questions, 1, "one question, however many act");
}
