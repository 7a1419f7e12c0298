//! The provider's ID token as the evidence of a chain's root: what is kept of a sign-in, and what an auditor makes of it.

use crate::{
    flow::*,
    provider::{corp, local_name, offer, records, rules},
    stand_in::{Signer, StandIn},
    world::*,
};
use axum::http::StatusCode;
use remit_authority::provider::ProviderSettings;
use remit_insight::{CustodyReport, PinnedKeys, RootProof, custody, custody_with};
use remit_ledger::Reader;
use serde_json::{Value, json};

/// What the person agrees to becomes the planner's first token.
async fn agreed(world: &World, browser: &mut Browser, page: &Reply) -> Reply {
    assert!(is_consent(page), "{}", page.text);
    let code = query(&browser.decide(world, page, "allow").await.location(), "code").unwrap();
    let reply = world.redeem(&world.planner, &code, &[]).await;
    reply.access_token();
    reply
}

/// The whole way, for these parameters.
async fn signed_in(world: &World, corp: &StandIn, parameters: &[(String, String)]) -> Browser {
    let mut browser = Browser::default();
    let page = browser.through(world, corp, parameters).await;
    agreed(world, &mut browser, &page).await;
    browser
}

fn people(report: &CustodyReport) -> Vec<(RootProof, u64)> {
    assert!(report.ok(), "{report}");
    report.people.iter().map(|(proof, count)| (*proof, *count)).collect()
}

async fn audit(world: &World) -> Vec<(RootProof, u64)> {
    people(&custody(&world.audited().await))
}

async fn stated(world: &World) -> Vec<Value> {
    let all = records(world).await.into_iter().filter(|record| record["record_type"] == "delegation");
    all.map(|record| record["ext"]["token"]["sign_in"].clone()).collect()
}

/// Another request of the same agent: every request has a PKCE challenge of its own.
fn another() -> Vec<(String, String)> {
    request_with(&[("code_challenge", &"C".repeat(43))])
}

#[tokio::test]
async fn dc_04_an_auditor_sees_that_the_provider_signed_the_person_in_for_what_was_asked() {
    let (world, corp) = corp().await;
    let asked = request_with(&[
        ("purpose", "Close ticket T-1"),
        ("requested_lifetime", "600"),
        ("scope", "helpdesk:tickets_read openid"),
    ]);
    signed_in(&world, &corp, &asked).await;
    let report = custody(&world.audited().await);
    assert_eq!(people(&report), [(RootProof::Provider, 1)]);
    let [key] = report.keys.as_slice() else { panic!("{:?}", report.keys) };
    assert_eq!((&key.issuer, key.pinned, key.records), (&corp.behaviour().issuer, None, 1));

    let facts = &stated(&world).await[0];
    assert_eq!(
        (&facts["kind"], &facts["provider"], &facts["client"]),
        (&json!("requested"), &json!("corp"), &json!("remit-at-corp"))
    );
    assert_eq!(facts["key"]["kty"], "EC");
    let side = world.last_side().await.to_string();
    assert!(!side.contains("248289761001"), "the ID token is sealed with the person's key");
    let plain = records(&world).await;
    assert!(!plain.iter().any(|record| record.to_string().contains("id_token\":\"ey")), "no token is in plain");
}

#[tokio::test]
async fn every_way_to_ask_is_within_what_the_nonce_commits_to() {
    let (world, corp) = corp().await;
    let details = json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["refund_create"], "arguments": {"/amount": {"max": 20}}}]);
    let asked = [
        request(),
        request_with(&[("resource", "")]),
        request_with(&[("scope", "openid")]),
        request_with(&[("scope", "helpdesk:tickets_read helpdesk:tickets_search")]),
        request_with(&[("authorization_details", &details.to_string())]),
        request_with(&[("authorization_details", &entitlements().to_string()), ("resource", "")]),
        request_with(&[("purpose", "x"), ("requested_lifetime", "60")]),
    ];
    for asked in &asked {
        let mut browser = Browser::default();
        let page = browser.through(&world, &corp, asked).await;
        assert!(is_consent(&page), "{}", page.text);
        let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
        let more: &[(&str, &str)] =
            if asked.iter().any(|(name, _)| name == "resource") { &[] } else { &[("resource", HELPDESK)] };
        let reply = world.redeem(&world.planner, &code, more).await;
        assert_eq!(reply.status, StatusCode::OK, "{asked:?}: {}", reply.body);
    }
    assert_eq!(audit(&world).await, [(RootProof::Provider, 7)]);
}

#[tokio::test]
async fn a_later_consent_of_the_same_session_rests_on_an_earlier_sign_in_and_says_so() {
    let (world, corp) = corp().await;
    let mut browser = signed_in(&world, &corp, &request()).await;
    let page = browser.begin(&world, &another()).await;
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    assert_eq!(world.redeem(&world.planner, &code, &[("code_verifier", "x")]).await.status, StatusCode::BAD_REQUEST);
    // The same request once more: what the sign-in was for is used up.
    for _ in 0..2 {
        let page = browser.begin(&world, &request()).await;
        agreed(&world, &mut browser, &page).await;
    }
    assert_eq!(audit(&world).await, [(RootProof::Provider, 1), (RootProof::EarlierSignIn, 2)]);
    // Hours later it is still the sign-in of this session.
    world.advance(7 * 3_600);
    let page = browser.begin(&world, &request()).await;
    agreed(&world, &mut browser, &page).await;
    assert_eq!(audit(&world).await, [(RootProof::Provider, 1), (RootProof::EarlierSignIn, 3)]);
}

#[tokio::test]
async fn a_sign_in_for_the_persons_own_account_proves_no_request() {
    let (world, corp) = corp().await;
    let mut browser = Browser::default();
    let page = browser.get(&world, "/account/passkeys").await;
    let leaving = browser.choose(&world, &page, "corp").await;
    let back = corp.agree(&crate::provider::leads_to(&leaving));
    browser.back(&world, &back).await;
    let page = browser.begin(&world, &request()).await;
    agreed(&world, &mut browser, &page).await;
    assert_eq!(audit(&world).await, [(RootProof::EarlierSignIn, 1)]);
}

#[tokio::test]
async fn a_local_account_is_this_servers_statement() {
    let (world, _corp) = corp().await;
    let code = world.code("alice", &request()).await;
    world.redeem(&world.planner, &code, &[]).await.access_token();
    assert_eq!(audit(&world).await, [(RootProof::Server, 1)]);
    assert_eq!(stated(&world).await, [Value::Null]);
}

fn each(corp: &StandIn) -> ProviderSettings {
    ProviderSettings { prove_each_consent: true, ..corp.settings(rules()) }
}

#[tokio::test]
async fn where_each_consent_is_proved_the_person_goes_to_the_provider_each_time() {
    let (world, corp) = corp().await;
    offer(&world, vec![each(&corp)]);
    let mut browser = signed_in(&world, &corp, &request()).await;
    let page = browser.begin(&world, &another()).await;
    assert!(is_sign_in(&page), "{}", page.text);
    let none = browser.begin(&world, &[another(), fields(&[("prompt", "none")])].concat()).await;
    assert_eq!(query(&none.location(), "error").as_deref(), Some("login_required"));
    let url = browser.go(&world, "corp", &request_with(&[("state", "s-2"), ("purpose", "Another")])).await;
    let back = corp.agree(&url);
    let page = browser.back(&world, &back).await;
    agreed(&world, &mut browser, &page).await;
    assert_eq!(audit(&world).await, [(RootProof::Provider, 2)]);
    // A local account is not asked to.
    assert!(is_consent(&Browser::default().consent_page(&world, "alice", &request()).await));
}

#[tokio::test]
async fn where_each_consent_is_proved_one_sign_in_proves_one() {
    let (world, corp) = corp().await;
    offer(&world, vec![each(&corp)]);
    let mut browser = Browser::default();
    let pages = [browser.through(&world, &corp, &request()).await, browser.begin(&world, &request()).await];
    agreed(&world, &mut browser, &pages[0]).await;
    // The very same request in another tab: the sign-in names it, and it is used up.
    let refused = browser.decide(&world, &pages[1], "allow").await.location();
    assert_eq!(query(&refused, "remit_code").as_deref(), Some("login_required"), "{refused}");
    assert_eq!(audit(&world).await, [(RootProof::Provider, 1)]);
    let page = browser.through(&world, &corp, &request()).await;
    agreed(&world, &mut browser, &page).await;
    assert_eq!(audit(&world).await, [(RootProof::Provider, 2)]);
}

#[tokio::test]
async fn keys_that_the_auditor_pins_tell_a_made_up_key_from_the_providers() {
    let (world, corp) = corp().await;
    signed_in(&world, &corp, &request()).await;
    let issuer = corp.behaviour().issuer.clone();
    let published: Vec<Value> = corp.behaviour().published.values().cloned().collect();
    let pin = |issuer: &str, keys: &[Value]| PinnedKeys::parse(json!({issuer: {"keys": keys}}).to_string().as_bytes()).unwrap();
    let reader = world.audited().await;
    let report = custody_with(&reader, Some(&pin(&issuer, &published)));
    assert_eq!((people(&report), report.keys[0].pinned), (vec![(RootProof::Provider, 1)], Some(true)));
    for other in [pin(&issuer, &[]), pin(&format!("{issuer}/"), &published), PinnedKeys::default()] {
        let report = custody_with(&reader, Some(&other));
        let [failure] = report.failures.as_slice() else { panic!("{report}") };
        assert!(failure.detail.contains("not among those that are pinned"), "{}", failure.detail);
        assert_eq!(report.keys[0].pinned, Some(false));
    }
    // A key that comes later is another key.
    {
        let mut corp = corp.behaviour();
        corp.signer = Signer::rsa("rsa-1");
        corp.publish();
    }
    world.advance(11);
    signed_in(&world, &corp, &request()).await;
    let reader = world.audited().await;
    let report = custody_with(&reader, Some(&pin(&issuer, &published)));
    assert_eq!((report.failures.len(), report.keys.len()), (1, 2), "{report}");
    assert_eq!(people(&custody(&reader)), [(RootProof::Provider, 2)]);
}

#[tokio::test]
async fn what_is_withheld_is_not_checked_and_not_passed() {
    let (world, corp) = corp().await;
    signed_in(&world, &corp, &request()).await;
    world.audited().await;
    let sealed = Reader::open(world.store.ledger_dir()).unwrap();
    let report = custody(&sealed);
    assert_eq!((people(&report), report.undisclosed), (vec![(RootProof::NotChecked, 1)], 1));
    let pinned = custody_with(&sealed, Some(&PinnedKeys::default()));
    assert_eq!(pinned.failures.len(), 1, "the key stands in plain: {pinned}");
}

#[tokio::test]
async fn a_provider_whose_clock_is_far_behind_proves_less_or_nothing() {
    let (world, corp) = corp().await;
    corp.tweak(|_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 700));
    signed_in(&world, &corp, &request()).await;
    assert_eq!(audit(&world).await, [(RootProof::EarlierSignIn, 1)], "too long ago to be for this request");
    corp.tweak(|_, claims| claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 40_000));
    signed_in(&world, &corp, &request()).await;
    assert_eq!(audit(&world).await, [(RootProof::EarlierSignIn, 1), (RootProof::Server, 1)]);
    let later = |_: &mut Value, claims: &mut Value| {
        let now = claims["iat"].as_i64().unwrap();
        claims["iat"] = json!(now - 100);
        claims["nbf"] = json!(now);
    };
    corp.tweak(later);
    signed_in(&world, &corp, &request()).await;
    assert_eq!(audit(&world).await, [(RootProof::EarlierSignIn, 1), (RootProof::Server, 2)], "an auditor could not check it");
}

#[tokio::test]
async fn the_person_of_the_evidence_is_the_one_of_the_chain() {
    let (world, corp) = corp().await;
    signed_in(&world, &corp, &request()).await;
    corp.behaviour().claims["sub"] = json!("another");
    signed_in(&world, &corp, &request()).await;
    assert_eq!(audit(&world).await, [(RootProof::Provider, 2)]);
    let names: Vec<String> = ["248289761001", "another"].map(|subject| local_name(&corp, subject)).to_vec();
    assert!(names.iter().all(|name| world.store.snapshot().human(name).is_some()));
}

#[tokio::test]
async fn what_is_asked_for_in_two_ways_must_fit_into_one_authority() {
    let (world, corp) = corp().await;
    let detail = |n: usize| json!({"type": "tool_access", "locations": [HELPDESK], "actions": ["refund_create"], "arguments": {"/amount": {"in": [n]}}});
    let details = |count: usize| Value::Array((0..count).map(detail).collect()).to_string();
    let asked = |count, scope| request_with(&[("authorization_details", &details(count)), ("scope", scope)]);
    let mut browser = Browser::default();
    let refused = browser.begin(&world, &asked(64, "helpdesk:tickets_read")).await;
    assert_eq!(query(&refused.location(), "remit_code").as_deref(), Some("authorization_details_invalid"), "{}", refused.text);
    // What fits is asked for, and an auditor sees that the person was asked for it.
    for asked in [asked(4, "helpdesk:tickets_read"), asked(4, "openid")] {
        signed_in(&world, &corp, &asked).await;
    }
    assert_eq!(audit(&world).await, [(RootProof::Provider, 2)]);
}

#[tokio::test]
async fn a_person_who_authenticated_in_the_future_is_not_signed_in() {
    let (world, corp) = corp().await;
    for later in [|iat: i64| iat + 61, |iat: i64| iat * 1_000, |iat: i64| iat + 86_400] {
        corp.tweak(move |_, claims| claims["auth_time"] = json!(later(claims["iat"].as_i64().unwrap())));
        let page = Browser::default().through(&world, &corp, &request()).await;
        assert!(is_sign_in(&page), "{}", page.text);
        assert!(page.text.contains("auth_time"), "{}", page.text);
    }
    corp.tweak(|_, claims| claims["auth_time"] = json!(claims["iat"].as_i64().unwrap() + 20));
    signed_in(&world, &corp, &request()).await;
    assert_eq!(audit(&world).await, [(RootProof::Provider, 1)]);
}
