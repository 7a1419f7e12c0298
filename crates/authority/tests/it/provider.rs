//! Signing in through an identity provider: what a person notices, and what an attacker does not get.

use crate::{
    flow::*,
    stand_in::{CLIENT, SECRET, Signer, StandIn},
    world::*,
};
use axum::http::StatusCode;
use remit_authority::provider::{ClientCredential, Demand, EntitlementRule, ProviderSettings, SignInMethods};
use remit_model::{Human, HumanStatus, Identity, UnixTime};
use remit_store::Change;
use remit_testkit::key_named;
use remit_token::{Algorithm, KeySet};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) fn rule(when: &[(&str, &str)], details: &Value) -> EntitlementRule {
    EntitlementRule {
        when: when.iter().map(|(claim, value)| ((*claim).to_owned(), (*value).to_owned())).collect(),
        authority: grants(details),
    }
}

/// Support may do what Alice may, staff may read files.
pub(crate) fn rules() -> Vec<EntitlementRule> {
    vec![
        rule(&[("groups", "/staff/support")], &entitlements()),
        rule(&[("groups", "/staff")], &json!([{"type": "tool_access", "locations": [FILES], "actions": ["read"]}])),
    ]
}

pub(crate) fn offer(world: &World, providers: Vec<ProviderSettings>) {
    let providers = providers.into_iter().map(Arc::new).collect();
    world.server.set_sign_in_methods(SignInMethods { providers, local: true });
}

/// A world with one provider.
pub(crate) async fn corp() -> (World, StandIn) {
    let world = World::new().await;
    let corp = StandIn::start("corp", "/realms/staff", &world.clock).await;
    offer(&world, vec![corp.settings(rules())]);
    (world, corp)
}

/// The local name of the stand-in's person.
pub(crate) fn local_name(corp: &StandIn, subject: &str) -> String {
    let issuer = corp.behaviour().issuer.clone();
    Identity { issuer, subject: subject.to_owned(), withdrawn: false, provisioned: None }.local_name("corp")
}

/// The address that the page leads on to.
pub(crate) fn leads_to(page: &Reply) -> String {
    let (_, rest) = page.text.split_once("<a href=\"").unwrap_or_else(|| panic!("no link in {}", page.text));
    rest.split_once('"').unwrap().0.replace("&#38;", "&").replace("&amp;", "&")
}

impl Browser {
    /// Chooses the provider on the sign-in page that `page` is.
    pub(crate) async fn choose(&mut self, world: &World, page: &Reply, provider: &str) -> Reply {
        let mut form = fields(&[("provider", provider)]);
        form.extend(hidden(&page.text, &["request"]));
        self.post(world, "/oauth/provider", &form).await
    }

    /// Begins, and goes to the provider: the address that the browser is sent to.
    pub(crate) async fn go(&mut self, world: &World, provider: &str, parameters: &[(String, String)]) -> String {
        let page = self.begin(world, parameters).await;
        let leaving = self.choose(world, &page, provider).await;
        assert_eq!(leaving.status, StatusCode::OK, "{}", leaving.text);
        leads_to(&leaving)
    }

    /// Follows a redirect of the provider back to us.
    pub(crate) async fn back(&mut self, world: &World, url: &url::Url) -> Reply {
        self.get(world, &format!("{}?{}", url.path(), url.query().unwrap())).await
    }

    /// The whole way to the consent page.
    pub(crate) async fn through(&mut self, world: &World, corp: &StandIn, parameters: &[(String, String)]) -> Reply {
        let url = self.go(world, corp.name, parameters).await;
        let back = corp.agree(&url);
        self.back(world, &back).await
    }
}

pub(crate) async fn records(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for index in 0..world.store.len() {
        all.push(serde_json::from_slice(&world.store.record(index).await.unwrap().unwrap().bytes).unwrap());
    }
    all
}

async fn provisioned(world: &World) -> Vec<Value> {
    records(world).await.into_iter().filter(|record| record["action"]["name"] == "account.sign_in").collect()
}

/// The sign-in page again, with the code; no one is signed in, and no account was made.
async fn no_entry(world: &World, browser: &mut Browser, reply: &Reply, status: StatusCode, code: &str, word: &str) {
    assert_eq!(reply.status, status, "{word}: {}", reply.text);
    assert!(reply.text.contains(code) && reply.text.contains(word), "{word}: {}", reply.text);
    assert!(is_sign_in(reply), "another way in is offered");
    assert!(provisioned(world).await.is_empty(), "{word}");
    assert!(world.store.snapshot().humans().all(|human| human.identity.is_none()), "{word}");
    let next = browser.begin(world, &request()).await;
    assert!(is_sign_in(&next), "{word}: signed in after all");
}

#[tokio::test]
async fn az_16_a_person_signs_in_at_their_provider_and_what_it_says_of_them_reaches_tokens_and_records() {
    let (world, corp) = corp().await;
    let mut browser = Browser::default();
    let sign_in = browser.begin(&world, &request()).await;
    assert!(sign_in.text.contains("Sign in with The corp") && is_sign_in(&sign_in));
    let page = browser.through(&world, &corp, &request()).await;
    assert!(is_consent(&page), "{}", page.text);
    assert!(page.text.contains("Alice Example") && !page.text.contains("alice@corp.example"));
    let name = local_name(&corp, "248289761001");
    assert!(page.text.contains(&format!("user:{name}")), "{}", page.text);
    let human = world.store.snapshot().human(&name).cloned().unwrap();
    assert_eq!(human.entitlements, grants(&entitlements()), "of the one group that has a rule");
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    let reply = world.redeem(&world.planner, &code, &[]).await;
    let claims = claims(&reply.access_token());
    assert_eq!((&claims["sub"], &claims["auth_time"]), (&json!(format!("user:{name}")), &json!(START - 5)));
    assert_eq!((&claims["acr"], &claims["amr"]), (&json!("1"), &json!(["pwd"])));

    let all = records(&world).await;
    let opened = all.iter().find(|record| record["record_type"] == "session_open").unwrap();
    assert_eq!(opened["ext"]["token"]["provider"], "corp");
    assert_eq!(opened["chain"][0]["auth"]["method"], "sso");
    let made = provisioned(&world).await;
    assert_eq!((made.len(), &made[0]["ext"]["account"]["change"]), (1, &json!("created")));
    assert!(!all.iter().any(|record| record.to_string().contains("Alice") || record.to_string().contains("248289761001")));

    // The next time nothing is new; after a change of groups less may be given, and that is recorded.
    Browser::default().through(&world, &corp, &request()).await;
    assert_eq!(provisioned(&world).await.len(), 1);
    corp.behaviour().claims["groups"] = json!(["/staff"]);
    let mut browser = Browser::default();
    let page = browser.through(&world, &corp, &request_with(&[("resource", FILES)])).await;
    assert!(is_consent(&page) && page.text.contains("read"), "{}", page.text);
    let made = provisioned(&world).await;
    assert_eq!((made.len(), &made[1]["ext"]["account"]["change"]), (2, &json!("entitlements")));
    let refused = world.redeem(&world.planner, &world.code("alice", &request()).await, &[]).await;
    assert!(refused.body["access_token"].is_string(), "a local account goes on");
}

#[tokio::test]
async fn people_are_told_apart_by_issuer_and_subject_and_by_nothing_else() {
    let world = World::new().await;
    let corp = StandIn::start("corp", "", &world.clock).await;
    let other = StandIn::start("other", "", &world.clock).await;
    offer(&world, vec![corp.settings(rules()), other.settings(rules())]);
    for stand_in in [&corp, &other] {
        assert!(is_consent(&Browser::default().through(&world, stand_in, &request()).await));
    }
    corp.behaviour().claims["sub"] = json!("another");
    assert!(is_consent(&Browser::default().through(&world, &corp, &request()).await));
    let snapshot = world.store.snapshot();
    let people: Vec<_> = snapshot.humans().filter(|human| human.identity.is_some()).collect();
    assert_eq!(people.len(), 3, "the same name and e-mail address three times");
    let issuers: BTreeMap<&str, usize> = people.iter().fold(BTreeMap::new(), |mut all, human| {
        *all.entry(human.identity.as_ref().unwrap().issuer.as_str()).or_default() += 1;
        all
    });
    assert_eq!(issuers.len(), 2);
}

#[tokio::test]
async fn j_10_rs256_and_a_private_key_of_the_client_work_too() {
    let (world, corp) = corp().await;
    let key = key_named(Algorithm::Es256, "client key");
    {
        let mut corp = corp.behaviour();
        corp.signer = Signer::rsa("rsa-1");
        corp.publish();
        corp.client_key = Some(KeySet::of([key.public()]));
    }
    let credential = ClientCredential::Key { key: Arc::new(key), at_token_endpoint: false };
    offer(&world, vec![ProviderSettings { credential, ..corp.settings(rules()) }]);
    let page = Browser::default().through(&world, &corp, &request()).await;
    assert!(is_consent(&page), "{}", page.text);
}

#[tokio::test]
async fn j_01_an_id_token_that_is_not_exactly_ours_lets_no_one_in() {
    type Change = fn(&mut Value, &mut Value);
    let wrong: [(&str, Change); 17] = [
        ("issuer", |_, claims| claims["iss"] = json!("http://127.0.0.1:1")),
        ("issuer", |_, claims| claims["iss"] = json!(format!("{}/", claims["iss"].as_str().unwrap()))),
        ("nonce", |_, claims| claims["nonce"] = json!("another")),
        ("nonce", |_, claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
        ("another client", |_, claims| claims["aud"] = json!("another")),
        ("one audience", |_, claims| claims["aud"] = json!([CLIENT, "another"])),
        ("aud", |_, claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        ("another client", |_, claims| claims["azp"] = json!("another")),
        ("expired", |_, claims| claims["exp"] = json!(START - 31)),
        ("future", |_, claims| claims["iat"] = json!(START + 31)),
        ("longer than 86400", |_, claims| claims["exp"] = json!(START + 86_401)),
        ("sub", |_, claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        ("sub", |_, claims| claims["sub"] = json!("x".repeat(256))),
        ("at_hash", |_, claims| claims["at_hash"] = json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ("typ", |header, _| header["typ"] = json!("at+jwt")),
        ("jku", |header, _| header["jku"] = json!("https://evil.example/keys")),
        ("fewer claims", |_, claims| claims["groups"] = json!(vec!["x".repeat(100); 100])),
    ];
    let (world, corp) = corp().await;
    for (word, change) in wrong {
        corp.tweak(change);
        let mut browser = Browser::default();
        let reply = browser.through(&world, &corp, &request()).await;
        no_entry(&world, &mut browser, &reply, StatusCode::FORBIDDEN, "provider_answer_invalid", word).await;
    }
    corp.behaviour().tweak = None;
    assert!(is_consent(&Browser::default().through(&world, &corp, &request()).await), "the stand-in is good otherwise");
}

#[tokio::test]
async fn j_02_an_id_token_without_the_providers_signature_lets_no_one_in() {
    let (world, corp) = corp().await;
    let jwk = corp.behaviour().published.values().next().unwrap().to_string();
    let wrong = [
        Signer::Unsigned("none"),
        Signer::Unsigned("None"),
        Signer::Unsigned("NONE"),
        Signer::Unsigned("ES256"),
        Signer::Hmac("corp-key-1".to_owned(), jwk.into_bytes()),
        Signer::Hmac("corp-key-1".to_owned(), SECRET.as_bytes().to_vec()),
        // The right name, another key.
        Signer::Ours("corp-key-1".to_owned(), key_named(Algorithm::Es256, "attacker")),
        Signer::Ours("corp-key-1".to_owned(), key_named(Algorithm::Ed25519, "attacker")),
    ];
    for signer in wrong {
        corp.behaviour().signer = signer;
        let mut browser = Browser::default();
        let reply = browser.through(&world, &corp, &request()).await;
        no_entry(&world, &mut browser, &reply, StatusCode::FORBIDDEN, "provider_answer_invalid", "cannot be accepted").await;
    }
}

#[tokio::test]
async fn az_14_an_answer_counts_once_in_the_browser_and_from_the_provider_that_was_asked() {
    let world = World::new().await;
    let corp = StandIn::start("corp", "", &world.clock).await;
    let evil = StandIn::start("evil", "", &world.clock).await;
    offer(&world, vec![corp.settings(rules()), evil.settings(rules())]);
    let mut browser = Browser::default();
    let back = corp.agree(&browser.go(&world, "corp", &request()).await);
    let stopped = |reply: &Reply| {
        assert!(reply.text.contains("session_foreign"), "{}", reply.text);
        assert!(!is_consent(reply));
    };
    // Another browser, one that began a sign-in of its own, and the answer of a state that no one began.
    stopped(&Browser::default().back(&world, &back).await);
    let mut victim = Browser::default();
    victim.go(&world, "corp", &request()).await;
    stopped(&victim.back(&world, &back).await);
    let mut unknown = back.clone();
    unknown.set_query(Some("code=code-1&state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    stopped(&browser.back(&world, &unknown).await);
    let mut no_state = back.clone();
    no_state.set_query(Some("code=code-1"));
    stopped(&browser.back(&world, &no_state).await);
    // Mix-up: the state of one provider at the address of another. SPEC: RFC 9700 §4.4
    let mut mixed = back.clone();
    mixed.set_path("/oauth/callback/evil");
    stopped(&browser.clone().back(&world, &mixed).await);
    let mut nowhere = back.clone();
    nowhere.set_path("/oauth/callback/unknown");
    assert_eq!(browser.clone().back(&world, &nowhere).await.status, StatusCode::NOT_FOUND);

    let page = browser.back(&world, &back).await;
    assert!(is_consent(&page), "{}", page.text);
    stopped(&browser.back(&world, &back).await);
    // Too late.
    let mut slow = Browser::default();
    let back = corp.agree(&slow.go(&world, "corp", &request()).await);
    world.advance(601);
    stopped(&slow.back(&world, &back).await);
}

/// A stolen answer with the cookies of the sign-in: the provider would take the code again, we do not take the state.
#[tokio::test]
async fn az_14_a_state_is_used_up_even_if_the_provider_gives_another_code_for_it() {
    let (world, corp) = corp().await;
    let mut browser = Browser::default();
    let url = browser.go(&world, "corp", &request()).await;
    let mut copy = browser.clone();
    let (first, second) = (corp.agree(&url), corp.agree(&url));
    assert!(is_consent(&browser.back(&world, &first).await));
    let again = copy.back(&world, &second).await;
    assert!(again.text.contains("session_foreign") && !is_consent(&again), "{}", again.text);
}

/// What becomes of the parameters of an answer.
type Altered = fn(&mut BTreeMap<String, String>);

#[tokio::test]
async fn the_answer_names_its_issuer_and_an_error_is_an_answer() {
    let (world, corp) = corp().await;
    let cases: [(&str, Altered); 5] = [
        ("another issuer", |query| drop(query.insert("iss".into(), "https://evil.example".into()))),
        ("does not name its issuer", |query| drop(query.remove("iss"))),
        ("access_denied", |query| {
            query.remove("code");
            query.insert("error".into(), "access_denied".into());
        }),
        ("neither a code nor an error", |query| drop(query.remove("code"))),
        ("invalid_grant", |query| drop(query.insert("code".into(), "another".into()))),
    ];
    for (word, change) in cases {
        let mut browser = Browser::default();
        let mut back = corp.agree(&browser.go(&world, "corp", &request()).await);
        let mut query: BTreeMap<String, String> = back.query_pairs().into_owned().collect();
        change(&mut query);
        back.query_pairs_mut().clear().extend_pairs(&query);
        let reply = browser.back(&world, &back).await;
        no_entry(&world, &mut browser, &reply, StatusCode::FORBIDDEN, "provider_answer_invalid", word).await;
        assert!(!reply.text.contains("words"), "a provider's text is not for our page");
    }
    // Where the metadata says nothing of it, an answer without `iss` is taken; a wrong one never.
    corp.behaviour().metadata = json!({"authorization_response_iss_parameter_supported": null});
    world.advance(3_601);
    let mut browser = Browser::default();
    let mut back = corp.agree(&browser.go(&world, "corp", &request()).await);
    let query: Vec<(String, String)> = back.query_pairs().into_owned().filter(|(name, _)| name != "iss").collect();
    back.query_pairs_mut().clear().extend_pairs(&query);
    let page = browser.back(&world, &back).await;
    assert!(is_consent(&page), "{}", page.text);
}

#[tokio::test]
async fn metadata_is_found_wherever_a_standard_puts_it_and_taken_only_from_the_very_issuer() {
    for place in [
        "/realms/staff/.well-known/openid-configuration",
        "/.well-known/openid-configuration/realms/staff",
        "/.well-known/oauth-authorization-server/realms/staff",
        "/realms/staff/.well-known/oauth-authorization-server",
    ] {
        let (world, corp) = corp().await;
        corp.behaviour().places = vec![place.to_owned()];
        let page = Browser::default().through(&world, &corp, &request()).await;
        assert!(is_consent(&page), "{place}: {}", page.text);
    }
    let issuer = |corp: &StandIn| corp.behaviour().issuer.clone();
    for (wrong, word) in [
        (json!({"issuer": "https://evil.example"}), "evil.example"),
        (json!({"issuer": null}), "issuer"),
        (json!({"token_endpoint": null}), "token_endpoint"),
        // SPEC: F-07
        (json!({"authorization_endpoint": "http://idp.internal/authorize"}), "only https"),
        (json!({"authorization_endpoint": "javascript:alert(1)"}), "cannot be accepted"),
    ] {
        let (world, corp) = corp().await;
        corp.behaviour().metadata = wrong.clone();
        let mut browser = Browser::default();
        let page = browser.begin(&world, &request()).await;
        let reply = browser.choose(&world, &page, "corp").await;
        assert!(reply.status.is_client_error() || reply.status.is_server_error(), "{wrong}");
        assert!(reply.text.contains("provider_") && reply.text.contains(word), "{wrong}: {}", reply.text);
        assert!(is_sign_in(&reply));
    }
    let (world, corp) = corp().await;
    let settings = corp.settings(rules());
    offer(&world, vec![ProviderSettings { issuer: format!("{}/", issuer(&corp)), ..settings }]);
    let mut browser = Browser::default();
    let page = browser.begin(&world, &request()).await;
    let reply = browser.choose(&world, &page, "corp").await;
    assert!(reply.text.contains("not exactly"), "J-07: {}", reply.text);
}

#[tokio::test]
async fn f_05_a_new_key_is_fetched_once_and_a_flood_of_unknown_ones_fetches_nothing_more() {
    let (world, corp) = corp().await;
    assert!(is_consent(&Browser::default().through(&world, &corp, &request()).await));
    assert_eq!(corp.behaviour().key_fetches, 1);
    world.advance(20);
    {
        let mut corp = corp.behaviour();
        corp.signer = Signer::named("corp-key-2");
        corp.publish();
    }
    assert!(is_consent(&Browser::default().through(&world, &corp, &request()).await), "rotated without a restart");
    assert_eq!(corp.behaviour().key_fetches, 2);
    assert!(is_consent(&Browser::default().through(&world, &corp, &request()).await));
    assert_eq!(corp.behaviour().key_fetches, 2);
    for n in 0..8 {
        corp.behaviour().signer = Signer::named(&format!("unknown-{n}"));
        let page = Browser::default().through(&world, &corp, &request()).await;
        assert!(page.text.contains("provider_answer_invalid"));
    }
    assert_eq!(corp.behaviour().key_fetches, 2, "N-F-06");
    // The old key, withdrawn: dead with the next fetch.
    world.advance(3_601);
    {
        let mut corp = corp.behaviour();
        corp.published.remove("corp-key-1");
        corp.signer = Signer::named("corp-key-1");
    }
    let page = Browser::default().through(&world, &corp, &request()).await;
    assert!(page.text.contains("provider_answer_invalid"), "{}", page.text);
}

#[tokio::test]
async fn a_provider_that_is_down_lets_no_one_in_and_throws_no_one_out() {
    let (world, corp) = corp().await;
    let mut signed_in = Browser::default();
    let page = signed_in.through(&world, &corp, &request()).await;
    let code = query(&signed_in.decide(&world, &page, "allow").await.location(), "code").unwrap();
    let body = world.redeem(&world.planner, &code, &[]).await.body;

    let mut half_way = Browser::default();
    let back = corp.agree(&half_way.go(&world, "corp", &request()).await);
    corp.behaviour().down = true;
    let reply = half_way.back(&world, &back).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text);
    assert!(reply.text.contains("provider_unreachable") && is_sign_in(&reply), "{}", reply.text);
    // Its metadata is still fresh, and no person is sent to where no server answers.
    world.advance(11);
    let mut sent = Browser::default();
    let page = sent.begin(&world, &request()).await;
    let reply = sent.choose(&world, &page, "corp").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text);
    assert!(reply.text.contains("provider_unreachable") && is_sign_in(&reply), "{}", reply.text);
    world.advance(7_300);
    let mut new = Browser::default();
    let page = new.begin(&world, &request()).await;
    let reply = new.choose(&world, &page, "corp").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.text.contains("provider_unreachable"), "{}", reply.text);
    // Local accounts work, and so does who was in.
    assert!(is_consent(&new.sign_in(&world, &reply, "alice", PASSWORD).await));
    assert!(is_consent(&signed_in.begin(&world, &request()).await));
    assert!(world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await.body["access_token"].is_string());
    // And back again, without a restart.
    corp.behaviour().down = false;
    world.advance(11);
    assert!(is_consent(&Browser::default().through(&world, &corp, &request()).await));
}

#[tokio::test]
async fn az_16_what_was_demanded_is_asked_for_and_checked_because_providers_answer_with_less() {
    let (world, corp) = corp().await;
    let demand = Demand { acr: vec!["2".into()], amr: vec!["otp".into()], max_age: Some(600) };
    offer(&world, vec![ProviderSettings { demand, ..corp.settings(rules()) }]);
    let says = |acr: Value, amr: Value, age: i64| {
        corp.tweak(move |_, claims| {
            claims["acr"] = acr.clone();
            claims["amr"] = amr.clone();
        });
        corp.behaviour().age = age;
    };
    for (acr, amr, age, word) in [
        (json!("1"), json!(["pwd", "otp"]), 5, "class `2`"),
        (json!("0"), json!(["pwd", "otp"]), 5, "class `2`"),
        (json!("2"), json!([]), 5, "method `otp`"),
        (json!("2"), json!(["pwd"]), 5, "method `otp`"),
        (json!("2"), json!(["pwd", "otp"]), 631, "631 seconds"),
    ] {
        says(acr, amr, age);
        let mut browser = Browser::default();
        let reply = browser.through(&world, &corp, &request()).await;
        no_entry(&world, &mut browser, &reply, StatusCode::FORBIDDEN, "sign_in_too_weak", word).await;
    }
    let asked = corp.behaviour().asked.clone();
    assert_eq!((asked["acr_values"].as_str(), asked["max_age"].as_str()), ("2", "600"));
    assert_eq!(serde_json::from_str::<Value>(&asked["claims"]).unwrap()["id_token"]["acr"]["essential"], true);
    says(json!("2"), json!(["pwd", "otp"]), 5);
    let page = Browser::default().through(&world, &corp, &request()).await;
    assert!(is_consent(&page), "{}", page.text);

    // What the program asks for is demanded as well.
    says(json!("2"), json!(["pwd", "otp"]), 300);
    let mut browser = Browser::default();
    let reply = browser.through(&world, &corp, &request_with(&[("max_age", "60")])).await;
    assert!(reply.text.contains("sign_in_too_weak"), "{}", reply.text);
    assert_eq!(corp.behaviour().asked["max_age"], "60");
    let reply = browser.through(&world, &corp, &request_with(&[("prompt", "login")])).await;
    assert!(reply.text.contains("sign_in_too_weak"), "{}", reply.text);
    assert_eq!(corp.behaviour().asked["prompt"], "login");
}

#[tokio::test]
async fn dc_13_what_was_ended_begins_again_only_with_a_new_authentication_at_the_provider() {
    let (world, corp) = corp().await;
    let mut browser = Browser::default();
    let page = browser.through(&world, &corp, &request()).await;
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    let body = world.redeem(&world.planner, &code, &[]).await.body;
    let name = local_name(&corp, "248289761001");
    world.advance(100);
    world.change(Change::EndHuman { name: name.clone(), before: world.now() }).await;
    let dead = world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await;
    assert_eq!(dead.body["remit_code"], "sign_in_ended", "{}", dead.text);

    // The session at the provider is the old one: the person is asked to authenticate anew, and then it counts or not.
    corp.behaviour().age = 150;
    let mut browser = Browser::default();
    let again = browser.through(&world, &corp, &request()).await;
    let back = corp.agree(&leads_to(&again));
    assert_eq!(corp.behaviour().asked["prompt"], "login");
    let reply = browser.back(&world, &back).await;
    assert!(reply.text.contains("sign_in_too_weak") || reply.text.contains("sign_in_ended"), "{}", reply.text);
    let again = browser.through(&world, &corp, &request()).await;
    corp.behaviour().age = 0;
    world.advance(3);
    let page = browser.back(&world, &corp.agree(&leads_to(&again))).await;
    assert!(is_consent(&page), "{}", page.text);
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    assert!(world.redeem(&world.planner, &code, &[]).await.body["access_token"].is_string());
    let dead = world.refresh(&world.planner, text(&body, "refresh_token"), &[]).await;
    assert_eq!(dead.body["remit_code"], "sign_in_ended", "what died stays dead");
}

#[tokio::test]
async fn az_16_a_provider_that_does_not_say_when_the_person_signed_in_satisfies_no_demand_of_a_time() {
    let silent = |_: &mut Value, claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("auth_time"));
    for asked in [("prompt", "login"), ("max_age", "60")] {
        let (world, corp) = corp().await;
        corp.tweak(silent);
        let mut browser = Browser::default();
        let reply = browser.through(&world, &corp, &request_with(&[asked])).await;
        no_entry(&world, &mut browser, &reply, StatusCode::FORBIDDEN, "sign_in_too_weak", "`auth_time`").await;
    }
    // Nor does it begin again what was ended.
    let (world, corp) = corp().await;
    corp.tweak(silent);
    let mut browser = Browser::default();
    assert!(is_consent(&browser.through(&world, &corp, &request()).await), "where no time is asked for it is enough");
    world.advance(100);
    let name = local_name(&corp, "248289761001");
    world.change(Change::EndHuman { name, before: world.now() }).await;
    world.advance(5);
    let mut browser = Browser::default();
    let again = browser.through(&world, &corp, &request()).await;
    let reply = browser.back(&world, &corp.agree(&leads_to(&again))).await;
    assert_eq!(corp.behaviour().asked["max_age"], "0");
    assert!(!is_consent(&reply) && reply.text.contains("sign_in_too_weak"), "{}", reply.text);
}

#[tokio::test]
async fn a_clock_that_is_ahead_makes_no_authentication_later_than_its_end() {
    let (world, corp) = corp().await;
    // The provider says that the person authenticated 20 seconds from now.
    corp.behaviour().age = -20;
    let mut browser = Browser::default();
    let page = browser.through(&world, &corp, &request()).await;
    let code = query(&browser.decide(&world, &page, "allow").await.location(), "code").unwrap();
    let reply = world.redeem(&world.planner, &code, &[]).await;
    assert_eq!(claims(&reply.access_token())["auth_time"], START);
    world.advance(10);
    let name = local_name(&corp, "248289761001");
    world.change(Change::EndHuman { name, before: UnixTime(START + 10) }).await;
    let dead = world.refresh(&world.planner, text(&reply.body, "refresh_token"), &[]).await;
    assert_eq!(dead.body["remit_code"], "sign_in_ended", "{}", dead.text);
}

#[tokio::test]
async fn a_disabled_person_is_not_let_in_by_their_provider_and_an_account_of_another_kind_is_never_taken_over() {
    let (world, corp) = corp().await;
    assert!(is_consent(&Browser::default().through(&world, &corp, &request()).await));
    let name = local_name(&corp, "248289761001");
    let known = Human::clone(world.store.snapshot().human(&name).unwrap());
    world.change(Change::PutHuman(Human { status: HumanStatus::Disabled, ..known.clone() })).await;
    let reply = Browser::default().through(&world, &corp, &request()).await;
    assert!(reply.text.contains("human_disabled") && !is_consent(&reply), "{}", reply.text);

    // A local account that somehow bears the name, and one bound to another issuer.
    for identity in [None, known.identity.clone().map(|identity| Identity { issuer: "https://elsewhere".into(), ..identity })] {
        world.change(Change::PutHuman(Human { identity, ..known.clone() })).await;
        let reply = Browser::default().through(&world, &corp, &request()).await;
        assert!(!is_consent(&reply) && reply.text.contains("internal"), "{}", reply.text);
    }
}

#[tokio::test]
async fn two_tabs_do_not_disturb_each_other_and_a_large_request_is_refused_with_advice() {
    let (world, corp) = corp().await;
    let mut browser = Browser::default();
    let one = corp.agree(&browser.go(&world, "corp", &request()).await);
    let two = corp.agree(&browser.go(&world, "corp", &request_with(&[("state", "s-2")])).await);
    // The first to come back begins a new session, which the second tab's sign-in does not belong to; it may begin again.
    assert!(is_consent(&browser.clone().back(&world, &two).await));
    assert!(is_consent(&browser.back(&world, &one).await));
    let value = "x".repeat(100);
    let details: Vec<Value> = (0..60)
        .map(|n| json!({"type": "tool_access", "locations": [HELPDESK], "actions": [format!("tickets_read_{n}_{value}")]}))
        .collect();
    let mut browser = Browser::default();
    let page = browser.begin(&world, &request_with(&[("authorization_details", &Value::Array(details).to_string())])).await;
    let reply = browser.choose(&world, &page, "corp").await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", reply.text);
    assert!(reply.text.contains("request_too_large") && reply.text.contains("fewer grants"), "{}", reply.text);
}
