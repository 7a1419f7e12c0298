//! A sign-in that is too weak or too old for what is asked: what the client is told, and what the person is asked for.
//! SPEC: IJ-06, AZ-15, AZ-16, RFC 9470

use crate::{
    flow::*,
    id_jag::{self, ID_TOKEN, assertion, signed_in},
    passkeys::{self, answer, challenge_of, enrol},
    world::*,
};
use axum::http::StatusCode;
use remit_testkit::Authenticator;
use serde_json::json;

/// Delegating needs a passkey, or a sign-in of the last five minutes, as this policy says.
const STRONG: &str = r#"
@id("strong") @effect("step_up") @reason("This needs a passkey.") @acr_values("phr phrh") @max_age("300")
forbid (principal, action == Action::"delegate", resource) unless { context has acr && context.acr == "phr" };"#;

/// The same, without a word about the sign-in that would be enough.
const SILENT: &str = r#"
@id("silent") @effect("step_up") @reason("Not like this.")
forbid (principal, action == Action::"delegate", resource) unless { context has acr && context.acr == "phr" };"#;

#[tokio::test]
async fn ij_06_an_assertion_that_needs_a_better_sign_in_names_the_sign_in_that_would_be_enough() {
    let world = id_jag::world(false).await;
    let body = signed_in(&world).await;
    world.add_policy(STRONG);
    let reply = assertion(&world, &world.planner, text(&body, "id_token"), ID_TOKEN, &[("scope", "events.read")]).await;
    reply.refused("insufficient_user_authentication", "step_up_required");
    assert_eq!((&reply.body["acr_values"], &reply.body["max_age"]), (&json!("phr phrh"), &json!(300)));
    let record = world.last_record().await;
    assert_eq!((&record["decision"]["result"], &record["outcome"]["status"]), (&json!("step_up"), &json!("denied")));
}

#[tokio::test]
async fn ij_06_nothing_is_invented_where_the_policy_does_not_say_what_would_be_enough() {
    let world = id_jag::world(false).await;
    let body = signed_in(&world).await;
    world.add_policy(SILENT);
    let reply = assertion(&world, &world.planner, text(&body, "id_token"), ID_TOKEN, &[("scope", "events.read")]).await;
    reply.refused("insufficient_user_authentication", "step_up_required");
    assert!(reply.body.get("acr_values").is_none() && reply.body.get("max_age").is_none(), "{}", reply.text);
}

#[tokio::test]
async fn a_plain_no_of_a_policy_asks_for_no_sign_in() {
    let world = id_jag::world(false).await;
    let body = signed_in(&world).await;
    world.add_policy("@id(\"never\") forbid (principal, action == Action::\"delegate\", resource);");
    let reply = assertion(&world, &world.planner, text(&body, "id_token"), ID_TOKEN, &[("scope", "events.read")]).await;
    reply.refused("invalid_grant", "policy_denied");
    assert!(reply.body.get("acr_values").is_none() && reply.body.get("max_age").is_none(), "{}", reply.text);
}

/// SPEC: RFC 9470 §5
#[tokio::test]
async fn az_16_a_person_whose_sign_in_is_too_weak_for_a_policy_is_asked_for_their_passkey() {
    let (world, mut key) = (passkeys::world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let mut browser = Browser::default();
    let consent = browser.consent_page(&world, "alice", &request()).await;
    assert!(is_consent(&consent), "a password is enough as yet: {}", consent.text);
    world.add_policy(STRONG);
    let again = browser.begin(&world, &request()).await;
    assert!(is_sign_in(&again), "{}", again.text);
    let second = browser.sign_in(&world, &again, "alice", PASSWORD).await;
    assert!(second.text.contains("Confirm with your passkey"), "{}", second.text);
    let signed = key.sign(&challenge_of(&second));
    let page = answer(&world, &mut browser, &second, "/oauth/login", &signed, &[]).await;
    assert!(is_consent(&page), "{}", page.text);
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    let token = world.redeem(&world.planner, &code, &[]).await.access_token();
    assert_eq!(claims(&token)["acr"], "phr");
}

#[tokio::test]
async fn az_16_a_person_who_cannot_sign_in_better_is_asked_once_and_then_told() {
    let world = passkeys::world().await;
    world.add_policy(STRONG);
    let mut browser = Browser::default();
    let again = browser.consent_page(&world, "alice", &request()).await;
    assert!(is_sign_in(&again), "asked for a better sign-in: {}", again.text);
    let back = browser.sign_in(&world, &again, "alice", PASSWORD).await.location();
    assert_eq!(
        (query(&back, "error").as_deref(), query(&back, "remit_code").as_deref()),
        (Some("interaction_required"), Some("step_up_required"))
    );
}

#[tokio::test]
async fn az_16_a_client_that_wants_a_class_has_the_person_asked_for_it_and_reads_in_the_token_what_was_reached() {
    let (world, mut key) = (passkeys::world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let wanted = request_with(&[("acr_values", "phr")]);
    let mut browser = Browser::default();
    let second = browser.consent_page(&world, "alice", &wanted).await;
    assert!(second.text.contains("Confirm with your passkey"), "{}", second.text);
    let signed = key.sign(&challenge_of(&second));
    let page = answer(&world, &mut browser, &second, "/oauth/login", &signed, &[]).await;
    assert!(is_consent(&page), "{}", page.text);
    assert!(is_consent(&browser.begin(&world, &wanted).await), "reached already");
    // A wish: who has no passkey is not kept out, and the token does not say that they had one.
    let code = world.code("bob", &wanted).await;
    let token = world.redeem(&world.planner, &code, &[]).await.access_token();
    assert!(claims(&token).get("acr").is_none());
    // A class that no sign-in here can reach asks for no passkey either.
    let page = Browser::default().consent_page(&world, "alice", &request_with(&[("acr_values", "urn:example:gold")])).await;
    assert!(is_consent(&page), "{}", page.text);
}

#[tokio::test]
async fn az_15_a_request_with_a_hundred_classes_is_refused() {
    let world = passkeys::world().await;
    let classes = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    let reply = Browser::default().begin(&world, &request_with(&[("acr_values", &classes)])).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    assert_eq!(query(&reply.location(), "error").as_deref(), Some("invalid_request"));
}
