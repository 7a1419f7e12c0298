//! Passkeys: made, used to sign in, asked for beside a password, and used to sign what a page showed.

use crate::{flow::*, world::*};
use axum::http::StatusCode;
use remit_authority::{Settings, accounts};
use remit_insight::{custody, replay};
use remit_ledger::{
    Reader,
    record::{Draft, ProducerKind, RecordType},
    vault::Subject,
};
use remit_model::{Human, Passkeys, TenantId, ToolClass};
use remit_store::{Batch, Change};
use remit_testkit::Authenticator;
use serde_json::Value;

/// What an authenticator says wrongly.
type Lie = fn(&mut Authenticator);

const SITE: &str = "http://localhost:8420";

pub(crate) async fn world() -> World {
    let world = World::at(SITE, Settings::default()).await;
    world.record_registrations().await;
    world
}

/// The value of an attribute of the page's form.
fn attribute(page: &Reply, name: &str) -> String {
    let (_, rest) = page.text.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("no {name} in {}", page.text));
    rest.split_once('"').unwrap().0.to_owned()
}

pub(crate) fn challenge_of(page: &Reply) -> String {
    attribute(page, "data-challenge")
}

/// Sends an authenticator's answer on the form that the page holds.
pub(crate) async fn answer(
    world: &World,
    browser: &mut Browser,
    page: &Reply,
    path: &str,
    answer: &Value,
    more: &[(&str, &str)],
) -> Reply {
    let mut form = hidden(&page.text, &["request"]);
    form.extend(fields(&[("passkey", &answer.to_string())]));
    form.extend(fields(more));
    browser.post(world, path, &form).await
}

/// The page of someone who just signed in with their password.
async fn own_page(world: &World, browser: &mut Browser, user: &str) -> Reply {
    let login = browser.get(world, "/account/passkeys").await;
    let signed_in = browser.sign_in(world, &login, user, PASSWORD).await;
    assert_eq!(signed_in.headers["location"], "/account/passkeys");
    browser.get(world, "/account/passkeys").await
}

/// The page on which passkeys are changed, of someone who has one and used it for that.
async fn confirmed_page(world: &World, browser: &mut Browser, user: &str, authenticator: &mut Authenticator) -> Reply {
    let page = own_page(world, browser, user).await;
    confirm(world, browser, &page, authenticator).await
}

async fn confirm(world: &World, browser: &mut Browser, page: &Reply, authenticator: &mut Authenticator) -> Reply {
    let signed = authenticator.sign(&challenge_of(page));
    answer(world, browser, page, "/account/passkeys", &signed, &[]).await
}

pub(crate) async fn enrol(world: &World, user: &str, authenticator: &mut Authenticator) {
    let mut browser = Browser::default();
    let page = own_page(world, &mut browser, user).await;
    let made = authenticator.make(&challenge_of(&page));
    let done = answer(world, &mut browser, &page, "/account/passkeys", &made, &[("label", "Laptop")]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
}

/// A sign-in page and the answer to it.
async fn sign_in(world: &World, browser: &mut Browser, authenticator: &mut Authenticator) -> Reply {
    let login = browser.begin(world, &request()).await;
    let signed = authenticator.sign(&challenge_of(&login));
    answer(world, browser, &login, "/oauth/login", &signed, &[]).await
}

async fn demand(world: &World, user: &str) {
    let known = world.store.snapshot().human(user).unwrap().clone();
    let passkeys = Passkeys { demanded: true, ..known.passkeys.clone() };
    world.change(Change::PutHuman(Human { passkeys, ..Human::clone(&known) })).await;
}

#[tokio::test]
async fn a_passkey_signs_in_alone_and_says_so_in_tokens_and_records() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let mut browser = Browser::default();
    let page = sign_in(&world, &mut browser, &mut key).await;
    assert!(is_consent(&page), "{}", page.text);
    let opened = world.last_record().await;
    assert_eq!(opened["record_type"], "session_open");
    assert_eq!((&opened["chain"][0]["auth"]["method"], &opened["chain"][0]["auth"]["acr"]), (&"passkey".into(), &"phr".into()));
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    let token = world.redeem(&world.planner, &code, &[]).await.access_token();
    assert_eq!((&claims(&token)["acr"], &claims(&token)["amr"]), (&"phr".into(), &serde_json::json!(["hwk", "mfa"])));
    // A hop copies how the person signed in, and never improves it.
    let child = world.hand(&world.planner, &token, &world.summarizer, &[]).await.access_token();
    assert_eq!((&claims(&child)["acr"], &claims(&child)["amr"]), (&claims(&token)["acr"], &claims(&token)["amr"]));
}

#[tokio::test]
async fn an_account_that_asks_for_a_passkey_is_not_entered_by_password_alone() {
    let (world, mut key, mut other) = (world().await, Authenticator::new(1), Authenticator::new(2));
    enrol(&world, "alice", &mut key).await;
    enrol(&world, "bob", &mut other).await;
    demand(&world, "alice").await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &request()).await;
    assert!(!is_consent(&page) && page.text.contains("Confirm with your passkey"), "{}", page.text);
    assert_eq!(attribute(&page, "data-allow"), key.id());
    let again = browser.begin(&world, &request()).await;
    assert!(is_sign_in(&again), "the password opened no session");
    let stolen = answer(&world, &mut browser, &page, "/oauth/login", &other.sign(&challenge_of(&page)), &[]).await;
    assert!(stolen.text.contains("passkey_invalid"), "another person's passkey: {}", stolen.text);
    let entered = answer(&world, &mut browser, &page, "/oauth/login", &key.sign(&challenge_of(&page)), &[]).await;
    assert!(is_consent(&entered), "{}", entered.text);
    let code = query(&browser.decide(&world, &entered, "allow").await.location(), "code").unwrap();
    let token = world.redeem(&world.planner, &code, &[]).await.access_token();
    assert_eq!(claims(&token)["amr"], serde_json::json!(["pwd", "hwk", "mfa"]));
    let record = world.last_record().await;
    assert_eq!(record["record_type"], "delegation");
    // One who needs a passkey and has none is told what to do.
    world.change(Change::PutHuman(human("carol"))).await;
    demand(&world, "carol").await;
    let page = Browser::default().consent_page(&world, "carol", &request()).await;
    assert!(page.status == StatusCode::FORBIDDEN && page.text.contains("remit account passkey link"), "{}", page.text);
}

#[tokio::test]
async fn an_answer_that_is_wrong_in_one_thing_signs_no_one_in() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let lies: [(&str, Lie); 8] = [
        ("another site's page", |key| key.origin = "http://localhost:8421".to_owned()),
        ("another site", |key| key.origin = "https://evil.example".to_owned()),
        ("another site's passkey", |key| key.rp = "evil.example".to_owned()),
        ("inside another page", |key| key.cross_origin = true),
        ("no one present", |key| key.flags = 4),
        ("no one verified", |key| key.flags = 1),
        ("another ceremony", |key| key.kind = Some("webauthn.create")),
        ("counter back", |key| key.counter = 0),
    ];
    for (what, lie) in lies {
        let mut liar = Authenticator::new(1);
        liar.counter = 100;
        lie(&mut liar);
        let reply = sign_in(&world, &mut Browser::default(), &mut liar).await;
        assert!(!is_consent(&reply) && reply.status == StatusCode::FORBIDDEN, "{what}: {}", reply.text);
    }
    let mut unknown = Authenticator::new(9);
    let reply = sign_in(&world, &mut Browser::default(), &mut unknown).await;
    assert!(reply.text.contains("not known here"), "{}", reply.text);
    // The passkey's id with another key.
    let mut browser = Browser::default();
    let login = browser.begin(&world, &request()).await;
    let mut forged = unknown.sign(&challenge_of(&login));
    forged["credential"] = key.id().into();
    let reply = answer(&world, &mut browser, &login, "/oauth/login", &forged, &[]).await;
    assert!(reply.text.contains("does not verify"), "{}", reply.text);
    assert!(is_consent(&sign_in(&world, &mut Browser::default(), &mut key).await), "after all that the passkey still works");
}

#[tokio::test]
async fn an_answer_is_for_one_page_of_one_browser_and_good_once() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let (mut mine, mut theirs) = (Browser::default(), Browser::default());
    let (login, other) = (mine.begin(&world, &request()).await, theirs.begin(&world, &request()).await);
    let signed = key.sign(&challenge_of(&login));
    let moved = answer(&world, &mut theirs, &other, "/oauth/login", &signed, &[]).await;
    assert!(moved.text.contains("another challenge"), "on another page: {}", moved.text);
    let carried = answer(&world, &mut theirs.clone(), &login, "/oauth/login", &signed, &[]).await;
    assert!(carried.text.contains("session_foreign"), "in another browser: {}", carried.text);
    let before = mine.clone();
    assert!(is_consent(&answer(&world, &mut mine, &login, "/oauth/login", &signed, &[]).await));
    let again = answer(&world, &mut before.clone(), &login, "/oauth/login", &signed, &[]).await;
    assert!(!is_consent(&again), "a second time: {}", again.text);
    world.advance(601);
    let late = key.sign(&challenge_of(&other));
    let late = answer(&world, &mut theirs, &other, "/oauth/login", &late, &[]).await;
    assert!(late.text.contains("session_foreign"), "too late: {}", late.text);
}

#[tokio::test]
async fn two_uses_of_one_counter_are_never_both_counted() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let mut copy = Authenticator::new(1);
    copy.counter = key.counter;
    assert!(is_consent(&sign_in(&world, &mut Browser::default(), &mut key).await));
    let reply = sign_in(&world, &mut Browser::default(), &mut copy).await;
    assert!(reply.text.contains("may have been copied"), "{}", reply.text);
}

#[tokio::test]
async fn passkeys_are_changed_by_their_person_on_a_fresh_page_alone() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let record = world.last_record().await;
    assert_eq!((&record["record_type"], &record["ext"]["passkey"]["event"]), (&"config_change".into(), &"enrolled".into()));
    assert!(
        !record.to_string().contains(&key.id()) && !record.to_string().contains("alice"),
        "nothing personal is in the record"
    );
    // Another browser cannot send the page's form, and a page cannot be sent after its session is old.
    let (mut browser, mut second) = (Browser::default(), Authenticator::new(2));
    let page = confirmed_page(&world, &mut browser, "alice", &mut key).await;
    assert!(page.text.contains("Laptop"), "{}", page.text);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let made = second.make(&challenge_of(&page));
    let foreign = answer(&world, &mut Browser::default(), &page, "/account/passkeys", &made, &[]).await;
    assert!(foreign.text.contains("session_foreign"), "{}", foreign.text);
    let twice = key.make(&challenge_of(&page));
    let refused = answer(&world, &mut browser, &page, "/account/passkeys", &twice, &[]).await;
    assert_ne!(refused.status, StatusCode::SEE_OTHER, "one credential belongs to one passkey: {}", refused.text);
    for (label, good) in [("x".repeat(65), false), ("a\u{202e}b".to_owned(), false), ("Second".to_owned(), true)] {
        let page = browser.get(&world, "/account/passkeys").await;
        let page = confirm(&world, &mut browser, &page, &mut key).await;
        let made = second.make(&challenge_of(&page));
        let reply = answer(&world, &mut browser, &page, "/account/passkeys", &made, &[("label", &label)]).await;
        assert_eq!(reply.status == StatusCode::SEE_OTHER, good, "{label}: {}", reply.text);
    }
    world.advance(601);
    assert!(is_sign_in(&browser.get(&world, "/account/passkeys").await), "the sign-in is not fresh any more");
    let page = confirmed_page(&world, &mut browser, "alice", &mut key).await;
    let mut form = hidden(&page.text, &["request"]);
    form.extend(fields(&[("remove", &second.id())]));
    assert_eq!(browser.post(&world, "/account/passkeys", &form).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.last_record().await["ext"]["passkey"]["event"], "removed");
    let reply = sign_in(&world, &mut Browser::default(), &mut second).await;
    assert!(reply.text.contains("not known here"), "a removed passkey: {}", reply.text);
    // The last one of an account that asks for one stays.
    demand(&world, "alice").await;
    form.retain(|(name, _)| name == "request");
    form.extend(fields(&[("remove", &key.id())]));
    let kept = browser.post(&world, "/account/passkeys", &form).await;
    assert!(kept.text.contains("add another one first"), "{}", kept.text);
}

/// SPEC: AZ-11
#[tokio::test]
async fn who_has_only_the_password_of_an_account_with_a_passkey_can_neither_add_one_nor_remove_the_persons() {
    let (world, mut key, mut thiefs) = (world().await, Authenticator::new(1), Authenticator::new(2));
    enrol(&world, "alice", &mut key).await;
    enrol(&world, "bob", &mut thiefs).await;
    let mut thief = Browser::default();
    let page = own_page(&world, &mut thief, "alice").await;
    assert!(page.text.contains("Confirm with your passkey") && !page.text.contains("Laptop"), "{}", page.text);
    assert_eq!(attribute(&page, "data-allow"), key.id());
    let made = Authenticator::new(3).make(&challenge_of(&page));
    let mut removing = hidden(&page.text, &["request"]);
    removing.extend(fields(&[("remove", &key.id())]));
    let stolen = thiefs.sign(&challenge_of(&page));
    for reply in [
        answer(&world, &mut thief, &page, "/account/passkeys", &made, &[("label", "Mine")]).await,
        thief.post(&world, "/account/passkeys", &removing).await,
        answer(&world, &mut thief, &page, "/account/passkeys", &stolen, &[]).await,
    ] {
        assert!(reply.text.contains("Confirm with your passkey") && reply.text.contains("role=\"alert\""), "{}", reply.text);
    }
    let alice = world.store.snapshot().human("alice").unwrap().clone();
    assert_eq!(alice.passkeys.enrolled.iter().map(|passkey| passkey.id.clone()).collect::<Vec<_>>(), [key.id()]);
    // A page is confirmed once: what was seen on the way confirms nothing again.
    let page = thief.get(&world, "/account/passkeys").await;
    let signed = key.sign(&challenge_of(&page));
    let confirmed = answer(&world, &mut thief, &page, "/account/passkeys", &signed, &[]).await;
    assert!(confirmed.text.contains("Laptop"), "{}", confirmed.text);
    assert_eq!(world.last_record().await["ext"]["passkey"]["event"], "confirmed");
    let again = answer(&world, &mut thief, &page, "/account/passkeys", &signed, &[]).await;
    assert!(!again.text.contains("Laptop"), "{}", again.text);
}

/// SPEC: AZ-11
#[tokio::test]
async fn a_page_that_was_opened_before_the_first_passkey_neither_adds_nor_removes_one_afterwards() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    let mut thief = Browser::default();
    let early = own_page(&world, &mut thief, "alice").await;
    let made = Authenticator::new(3).make(&challenge_of(&early));
    enrol(&world, "alice", &mut key).await;
    let mut removing = hidden(&early.text, &["request"]);
    removing.extend(fields(&[("remove", &key.id())]));
    for reply in [
        answer(&world, &mut thief, &early, "/account/passkeys", &made, &[("label", "Mine")]).await,
        thief.post(&world, "/account/passkeys", &removing).await,
    ] {
        assert!(reply.text.contains("Confirm with your passkey") && reply.text.contains("role=\"alert\""), "{}", reply.text);
    }
    let alice = world.store.snapshot().human("alice").unwrap().clone();
    assert_eq!(alice.passkeys.enrolled.iter().map(|passkey| passkey.id.clone()).collect::<Vec<_>>(), [key.id()]);
}

#[tokio::test]
async fn a_person_who_signed_in_with_a_passkey_changes_passkeys_without_another_touch() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let mut browser = Browser::default();
    assert!(is_consent(&sign_in(&world, &mut browser, &mut key).await));
    let page = browser.get(&world, "/account/passkeys").await;
    assert!(page.text.contains("Laptop"), "{}", page.text);
}

#[tokio::test]
async fn dc_13_a_link_of_before_a_person_was_ended_adds_nothing_afterwards() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    let entropy = remit_clock::Entropy::seeded(3);
    let make =
        || remit_authority::passkey_link(&world.store, &entropy, SITE, "alice", (world.now(), world.now().plus(3600))).unwrap();
    let link = make();
    let path = link.strip_prefix(SITE).unwrap();
    let mut opened = Browser::default();
    let page = opened.get(&world, path).await;
    world.advance(10);
    world.change(Change::EndHuman { name: "alice".to_owned(), before: world.now() }).await;
    let made = key.make(&challenge_of(&page));
    let late = answer(&world, &mut opened, &page, "/account/passkeys", &made, &[]).await;
    assert!(late.status.is_client_error(), "a page that was open before: {}", late.text);
    assert!(world.get(path).await.status.is_client_error());
    assert!(world.store.snapshot().human("alice").unwrap().passkeys.enrolled.is_empty());
    assert!(world.get(make().strip_prefix(SITE).unwrap()).await.text.contains("Add a passkey"), "a new link is good");
}

#[tokio::test]
async fn a_link_adds_one_passkey_once_before_it_expires() {
    let (world, mut key, mut second) = (world().await, Authenticator::new(1), Authenticator::new(2));
    let entropy = remit_clock::Entropy::seeded(3);
    let make =
        || remit_authority::passkey_link(&world.store, &entropy, SITE, "alice", (world.now(), world.now().plus(3600))).unwrap();
    let (link, late) = (make(), make());
    let path = link.strip_prefix(SITE).unwrap();
    let (mut browser, mut thief) = (Browser::default(), Browser::default());
    let (page, stolen) = (browser.get(&world, path).await, thief.get(&world, path).await);
    assert!(page.text.contains("Add a passkey") && !page.text.contains("Remove"), "{}", page.text);
    let made = key.make(&challenge_of(&page));
    let done = answer(&world, &mut browser, &page, "/account/passkeys", &made, &[]).await;
    assert!(done.text.contains("Your passkey was added"), "{}", done.text);
    let made = second.make(&challenge_of(&stolen));
    let again = answer(&world, &mut thief, &stolen, "/account/passkeys", &made, &[]).await;
    assert!(again.text.contains("was used before"), "{}", again.text);
    let mut form = hidden(&stolen.text, &["request"]);
    form.extend(fields(&[("remove", &key.id())]));
    assert!(thief.post(&world, "/account/passkeys", &form).await.status.is_client_error(), "a link removes nothing");
    assert!(is_consent(&sign_in(&world, &mut Browser::default(), &mut key).await));
    for bad in [format!("{path}x"), "/account/passkeys/new?link=x".to_owned(), "/account/passkeys/new".to_owned()] {
        assert!(world.get(&bad).await.status.is_client_error(), "{bad}");
    }
    world.advance(3601);
    assert!(world.get(late.strip_prefix(SITE).unwrap()).await.status.is_client_error(), "the link has expired");
    let nowhere = remit_authority::passkey_link(&world.store, &entropy, ISSUER, "alice", (world.now(), world.now().plus(3600)));
    assert!(nowhere.unwrap_err().reason.contains("public_url"), "an IP address has no passkeys");
}

#[tokio::test]
async fn an_account_that_is_written_again_keeps_its_passkeys_and_an_erased_one_does_not() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let listed = vec![Human { display_name: "Alice Again".to_owned(), ..human("alice") }, human("bob")];
    let batch = accounts::sync(
        Batch::new(TenantId::main()),
        &world.store.snapshot(),
        SITE,
        listed.clone(),
        &std::collections::BTreeSet::new(),
        world.now(),
    );
    world.store.apply(batch).await.unwrap();
    assert!(is_consent(&sign_in(&world, &mut Browser::default(), &mut key).await));
    let same = accounts::sync(
        Batch::new(TenantId::main()),
        &world.store.snapshot(),
        SITE,
        listed,
        &std::collections::BTreeSet::new(),
        world.now(),
    );
    assert!(same.changes.is_empty(), "what is kept is no change");
    // A batch that read the account before the passkey came does not take it away.
    world.change(Change::PutHuman(human("alice"))).await;
    assert!(is_consent(&sign_in(&world, &mut Browser::default(), &mut key).await));
    let world = world.restart().await;
    assert!(is_consent(&sign_in(&world, &mut Browser::default(), &mut key).await), "passkeys outlive a restart");
    let alice = Subject::Principal { iss: SITE.to_owned(), sub: "user:alice".to_owned() };
    let asked = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::Redaction).action("erase", ToolClass::Admin);
    world.store.erase(&alice, asked).await.unwrap();
    let reply = sign_in(&world, &mut Browser::default(), &mut key).await;
    assert!(reply.text.contains("not known here"), "{}", reply.text);
}

/// The consent page of someone with a passkey, and their signed yes.
async fn signed(world: &World, key: &mut Authenticator, changes: &[(&str, &str)]) -> String {
    let mut browser = Browser::default();
    let page = browser.consent_page(world, "alice", &request_with(changes)).await;
    let response = key.sign(&challenge_of(&page));
    let back = answer(world, &mut browser, &page, "/oauth/consent", &response, &[("decision", "allow")]).await.location();
    query(&back, "code").unwrap_or_else(|| panic!("no code in {back}"))
}

#[tokio::test]
async fn a_signed_consent_is_kept_with_everything_that_derives_from_it_and_convinces_an_auditor() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    enrol(&world, "alice", &mut key).await;
    let code = signed(&world, &mut key, &[("purpose", "triage")]).await;
    let (record, side) = (world.last_record().await, world.last_side().await);
    assert_eq!(record["record_type"], "approval");
    let digest = record["ext"]["token"]["root_signature"].as_str().unwrap().to_owned();
    assert_eq!(digest, remit_model::json::digest(&side["/approval/signature"]["document"]));
    assert!(side["/approval/page"].as_str().unwrap().contains("triage"), "the very words that were read");
    let body = world.redeem(&world.planner, &code, &[]).await.body;
    let token = text(&body, "access_token");
    assert_eq!(claims(token)["urn:remit:signed"], digest);
    let narrow = world.narrow(&world.planner, token, &[("requested_lifetime", "300")]).await.access_token();
    let child = world.hand(&world.planner, &narrow, &world.summarizer, &[]).await.access_token();
    world.advance(700);
    let renewed = world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await.access_token();
    for derived in [&narrow, &child, &renewed] {
        assert_eq!(claims(derived)["urn:remit:signed"], digest);
    }
    let unsigned = world.delegated("alice").await;
    assert_eq!(
        claims(text(&unsigned, "access_token")).get("urn:remit:signed"),
        None,
        "signing is a choice where nothing asks for it"
    );
    world.store.publish().await.unwrap();
    let keys = remit_store::keyring(&world.folder().join("data"), &[4; 32]).unwrap();
    let reader = Reader::open(world.store.ledger_dir()).unwrap().with_keys(keys);
    let report = custody(&reader);
    assert!(report.ok() && report.signed_roots == 1, "{report:?}");
    assert!(replay(&reader).ok());
}

#[tokio::test]
async fn what_a_policy_wants_signed_is_not_given_without_a_signature() {
    let (world, mut key) = (world().await, Authenticator::new(1));
    let wants = request_with(&[("purpose", "payments")]);
    let back = Browser::default().consent_page(&world, "alice", &wants).await.location();
    assert_eq!(query(&back, "remit_code").as_deref(), Some("policy_denied"), "someone without a passkey cannot sign");
    enrol(&world, "alice", &mut key).await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&world, "alice", &wants).await;
    assert!(page.text.contains("This needs your signature.") && !page.text.contains("without signing"), "{}", page.text);
    let back = browser.decide(&world, &page, "allow").await;
    assert!(back.text.contains("passkey_required"), "{}", back.text);
    let signed = key.sign(&challenge_of(&page));
    let back = answer(&world, &mut browser, &page, "/oauth/consent", &signed, &[("decision", "allow")]).await.location();
    let code = query(&back, "code").unwrap();
    world.redeem(&world.planner, &code, &[]).await.access_token();
}

#[tokio::test]
async fn a_signature_over_anything_else_is_no_consent() {
    let (world, mut key, mut other) = (world().await, Authenticator::new(1), Authenticator::new(2));
    enrol(&world, "alice", &mut key).await;
    enrol(&world, "bob", &mut other).await;
    let (mut browser, mut second) = (Browser::default(), Browser::default());
    let page = browser.consent_page(&world, "alice", &request()).await;
    let elsewhere = second.consent_page(&world, "alice", &request_with(&[("purpose", "other")])).await;
    let (mine, theirs, wrong) = (
        key.sign(&challenge_of(&elsewhere)),
        other.sign(&challenge_of(&page)),
        key.sign("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    );
    for (what, response) in [("another page's", mine), ("another person's", theirs), ("of no page", wrong)] {
        let reply = answer(&world, &mut browser, &page, "/oauth/consent", &response, &[("decision", "allow")]).await;
        assert!(reply.text.contains("passkey_invalid"), "{what}: {}", reply.text);
        assert_eq!(world.last_record().await["decision"]["reason_code"], "passkey_invalid");
    }
    // The agent got another name meanwhile: the page that was signed is not the one that would be shown.
    let mut renamed = agent(&world.planner, false);
    renamed.display_name = "The Payer".to_owned();
    world.change(Change::PutAgent(renamed)).await;
    let signed = key.sign(&challenge_of(&page));
    let reply = answer(&world, &mut browser, &page, "/oauth/consent", &signed, &[("decision", "allow")]).await;
    assert!(reply.text.contains("session_foreign"), "{}", reply.text);
    // A refusal needs no signature, and a page is decided once.
    let page = browser.begin(&world, &request()).await;
    let signed = key.sign(&challenge_of(&page));
    let denied = answer(&world, &mut browser, &page, "/oauth/consent", &signed, &[("decision", "deny")]).await.location();
    assert_eq!(query(&denied, "error").as_deref(), Some("access_denied"));
    let late = answer(&world, &mut browser, &page, "/oauth/consent", &signed, &[("decision", "allow")]).await;
    assert!(late.text.contains("session_foreign"), "{}", late.text);
}

#[tokio::test]
async fn a_server_at_an_ip_address_offers_no_passkeys() {
    let world = World::new().await;
    let page = Browser::default().begin(&world, &request()).await;
    assert!(is_sign_in(&page) && !page.text.contains("passkey"), "{}", page.text);
    assert!(!page.headers["content-security-policy"].to_str().unwrap().contains("'unsafe"));
    let mut browser = Browser::default();
    let login = browser.get(&world, "/account/passkeys").await;
    let signed_in = browser.sign_in(&world, &login, "alice", PASSWORD).await;
    assert_eq!(signed_in.headers["location"], "/account/passkeys");
    let page = browser.get(&world, "/account/passkeys").await;
    assert!(page.text.contains("passkey_required") && page.text.contains("public_url"), "{}", page.text);
}
