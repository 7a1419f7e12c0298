//! Clients whose `client_id` is the URL of their metadata document. SPEC: CM-01 to CM-07, AZ-09, AZ-10

use crate::{
    document_host::{DocumentHost, reply},
    flow::*,
    world::*,
};
use axum::http::StatusCode;
use remit_authority::{Admission, ClientRules, Settings};
use remit_insight::custody;
use remit_ledger::Reader;
use remit_model::{Acts, Agent, AgentId, AgentStatus, Registration, TenantId, UnixTime};
use remit_store::{Batch, Change, JtiKind};
use remit_token::{
    PublicKey, assertion,
    dpop::{self, ProofFor},
};
use serde_json::{Value, json};
use std::sync::Arc;

const PATH: &str = "/oauth/client.json";
const BACK: &str = "http://127.0.0.1:49152/callback";

pub(crate) fn rules(documents: Admission) -> ClientRules {
    ClientRules {
        documents,
        owner: "user:bob".to_owned(),
        ceiling: grants(&json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"]}])),
        ..ClientRules::default()
    }
}

struct Setting {
    host: DocumentHost,
    world: World,
    url: String,
    /// The client's keys; it is public unless its document lists one.
    client: Actor,
}

impl Setting {
    async fn new(documents: Admission) -> Self {
        Self::with(|_| rules(documents)).await
    }

    async fn with(rules: impl FnOnce(&DocumentHost) -> ClientRules) -> Self {
        let host = DocumentHost::new().await;
        let settings = Settings { clients: rules(&host), ..Settings::default() };
        let world = World::reaching(settings, host.outbound()).await;
        let url = host.url(PATH);
        let mut client = Actor::new("document client");
        client.sub.clone_from(&url);
        let setting = Self { host, world, url, client };
        setting.describe(&json!({}));
        setting
    }

    /// Serves the document with these changes.
    fn describe(&self, changes: &Value) {
        let mut document = json!({
            "client_id": self.url, "client_name": "Example Desk", "redirect_uris": ["http://127.0.0.1/callback"],
            "token_endpoint_auth_method": "none", "application_type": "native",
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        self.host.serve(PATH, &document);
    }

    fn request(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut all = vec![("client_id", self.url.as_str()), ("redirect_uri", BACK)];
        all.extend_from_slice(changes);
        request_with(&all)
    }

    async fn consent(&self, user: &str) -> Reply {
        Browser::default().consent_page(&self.world, user, &self.request(&[])).await
    }

    async fn code(&self, user: &str, changes: &[(&str, &str)]) -> String {
        self.world.code(user, &self.request(changes)).await
    }

    /// A request of the client as a public one.
    async fn token(&self, more: &[(&str, &str)]) -> Reply {
        let jti = fresh();
        let proof = ProofFor { method: "POST", url: TOKEN, now: self.world.now(), jti: &jti, ..ProofFor::default() };
        let mut form = fields(&[("client_id", &self.url)]);
        form.extend(fields(more));
        self.world.post("/oauth/token", &form, &[("dpop", dpop::create(&self.client.dpop, &proof).unwrap())]).await
    }

    async fn redeem(&self, code: &str) -> Reply {
        let grant = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", BACK), ("code_verifier", VERIFIER)];
        self.token(&grant).await
    }

    async fn refresh(&self, token: &str) -> Reply {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    fn agents(&self) -> Vec<Arc<Agent>> {
        let snapshot = self.world.store.snapshot();
        let found = snapshot.agents().filter_map(|(_, agent)| agent);
        found.filter(|agent| agent.client.registration != Registration::Administrator).collect()
    }

    fn agent(&self) -> Arc<Agent> {
        let mut all = self.agents();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

#[tokio::test]
async fn az_09_a_client_with_a_document_is_an_agent_once_a_person_consents() {
    let setting = Setting::new(Admission::Admit).await;
    let mut browser = Browser::default();
    let page =
        browser.consent_page(&setting.world, "alice", &setting.request(&[("scope", "openid helpdesk:tickets_read")])).await;
    assert!(is_consent(&page), "{}", page.text);
    for shown in
        ["Example Desk", "<code class=\"data\">localhost</code>", "127.0.0.1:49152", "user:bob", "Any program on this computer"]
    {
        assert!(page.text.contains(shown), "{shown} in {}", page.text);
    }
    assert!(setting.agents().is_empty(), "looking registers nothing");
    let code = query(&browser.decide(&setting.world, &page, "allow").await.location(), "code").unwrap();
    let agent = setting.agent();
    assert_eq!((agent.status, agent.acts, agent.is_public()), (AgentStatus::Active, Acts::OnBehalf, true));
    assert_eq!(agent.client.registration, Registration::MetadataDocument { url: setting.url.clone() });
    let reply = setting.redeem(&code).await;
    let access = claims(&reply.access_token());
    assert_eq!(access["client_id"], setting.url);
    assert_eq!(access["act"]["sub"], agent.id.subject());
    assert_eq!(claims(text(&reply.body, "id_token"))["aud"], setting.url, "the client knows itself by its URL");
    setting.refresh(text(&reply.body, "refresh_token")).await.access_token();
    assert!(!setting.world.active(&setting.world.planner, &reply.access_token()).await, "it is no concern of others");

    setting.world.store.publish().await.unwrap();
    let report = custody(&Reader::open(setting.world.store.ledger_dir()).unwrap());
    assert!(report.ok(), "{report:?}");
}

#[tokio::test]
async fn the_document_is_the_only_name_of_its_client() {
    let setting = Setting::new(Admission::Admit).await;
    setting.code("alice", &[]).await;
    let subject = setting.agent().id.subject();
    let page = Browser::default().begin(&setting.world, &setting.request(&[("client_id", &subject)])).await;
    assert!(page.text.contains("client_unknown"), "{}", page.text);
    let form = fields(&[("client_id", &subject), ("grant_type", "refresh_token"), ("refresh_token", "guess")]);
    setting.world.post("/oauth/token", &form, &[]).await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn a_person_who_refuses_registers_nothing() {
    let setting = Setting::new(Admission::Admit).await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&setting.world, "alice", &setting.request(&[])).await;
    let back = browser.decide(&setting.world, &page, "deny").await.location();
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert!(setting.agents().is_empty());
}

#[tokio::test]
async fn in_quarantine_an_administrator_lets_the_client_in() {
    let setting = Setting::new(Admission::Quarantine).await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&setting.world, "alice", &setting.request(&[])).await;
    let back = browser.decide(&setting.world, &page, "allow").await.location();
    assert_eq!(query(&back, "remit_code").as_deref(), Some("agent_quarantined"));
    let agent = setting.agent();
    assert!(query(&back, "error_description").unwrap().contains(&format!("remit agent activate {}", agent.id)), "{back}");
    assert_eq!(agent.status, AgentStatus::Quarantined);
    let again = browser.begin(&setting.world, &setting.request(&[])).await.location();
    assert_eq!(query(&again, "error").as_deref(), Some("unauthorized_client"));
    setting.world.change(Change::SetAgentStatus { agent: agent.id.clone(), status: AgentStatus::Active }).await;
    let code = setting.code("alice", &[]).await;
    setting.redeem(&code).await.access_token();
    setting.world.change(Change::SetAgentStatus { agent: agent.id.clone(), status: AgentStatus::Quarantined }).await;
    let form = fields(&[("client_id", &setting.url), ("grant_type", "refresh_token"), ("refresh_token", "guess")]);
    setting.world.post("/oauth/token", &form, &[]).await.refused("invalid_grant", "agent_quarantined");
}

#[tokio::test]
async fn cm_07_in_quarantine_a_client_that_changes_waits_for_the_administrator_again() {
    let setting = Setting::new(Admission::Quarantine).await;
    let mut browser = Browser::default();
    let page = browser.consent_page(&setting.world, "alice", &setting.request(&[])).await;
    browser.decide(&setting.world, &page, "allow").await.location();
    let id = setting.agent().id.clone();
    setting.world.change(Change::SetAgentStatus { agent: id.clone(), status: AgentStatus::Active }).await;
    let code = setting.code("alice", &[]).await;
    setting.redeem(&code).await.access_token();
    setting.describe(&json!({"redirect_uris": ["http://127.0.0.1/callback", "https://evil.example/cb"]}));
    setting.world.advance(3_700);
    let mut browser = Browser::default();
    let page = browser.consent_page(&setting.world, "bob", &setting.request(&[])).await;
    let back = browser.decide(&setting.world, &page, "allow").await.location();
    assert_eq!((query(&back, "code"), query(&back, "remit_code").as_deref()), (None, Some("agent_quarantined")), "{back}");
    let agent = setting.world.store.snapshot().agent(&id).cloned().unwrap();
    assert_eq!(agent.status, AgentStatus::Quarantined, "what the administrator looked at is not what would act now");
}

#[tokio::test]
async fn cm_05_switched_off_nothing_is_fetched_and_the_metadata_says_so() {
    let setting = Setting::new(Admission::Off).await;
    let page = Browser::default().begin(&setting.world, &setting.request(&[])).await;
    assert!(page.text.contains("client_unknown") && page.headers.get("location").is_none(), "{}", page.text);
    assert_eq!(setting.host.asked(), 0);
    let metadata = setting.world.get("/.well-known/oauth-authorization-server").await.body;
    assert_eq!(metadata["client_id_metadata_document_supported"], false);
    let on = Setting::new(Admission::Quarantine).await;
    let metadata = on.world.get("/.well-known/oauth-authorization-server").await.body;
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
}

#[tokio::test]
async fn cm_05_hosts_that_the_operator_does_not_take_are_not_asked() {
    for (allow, deny) in [(vec!["other.example".to_owned()], vec![]), (vec![], vec!["localhost".to_owned()])] {
        let setting = Setting::with(|_| ClientRules { allow_hosts: allow, deny_hosts: deny, ..rules(Admission::Admit) }).await;
        let page = Browser::default().begin(&setting.world, &setting.request(&[])).await;
        assert!(
            page.text.contains("localhost is not a host whose programs") && page.text.contains("clients.hosts"),
            "{}",
            page.text
        );
        assert_eq!(setting.host.asked(), 0);
    }
}

#[tokio::test]
async fn cm_05_strangers_make_no_state_with_any_number_of_documents() {
    let setting = Setting::new(Admission::Admit).await;
    let (agents, records) = (setting.world.store.snapshot().agent_count(), setting.world.store.len());
    for n in 0..90 {
        let url = setting.host.url(&format!("/{n}"));
        let document = json!({"client_id": url, "client_name": "x", "redirect_uris": ["http://127.0.0.1/callback"]});
        setting.host.serve(&format!("/{n}"), &document);
        let page = Browser::default().begin(&setting.world, &setting.request(&[("client_id", &url)])).await;
        assert!(is_sign_in(&page), "{}", page.text);
    }
    assert_eq!(setting.world.store.snapshot().agent_count(), agents);
    assert_eq!(setting.world.store.len(), records, "and nothing is recorded: nothing happened");
}

#[tokio::test]
async fn n_cm_01_n_cm_02_n_cm_03_a_document_that_cannot_be_used_ends_at_a_page_of_ours() {
    let setting = Setting::new(Admission::Admit).await;
    let other = setting.host.url("/other.json");
    let moved = format!("301 Moved Permanently\r\nlocation: {}", setting.host.url("/new.json"));
    let long = json!({"client_id": setting.url, "client_name": "x".repeat(6_000), "redirect_uris": [BACK]});
    setting.host.serve("/new.json", &json!({"client_id": setting.url, "client_name": "x", "redirect_uris": [BACK]}));
    for (answer, what) in [
        (reply("200 OK", &json!({"client_id": other, "client_name": "x", "redirect_uris": [BACK]}).to_string()), "client_id"),
        (
            reply(
                "200 OK",
                &json!({"client_id": setting.url, "client_name": "x", "redirect_uris": [BACK], "client_secret": "s"}).to_string(),
            ),
            "client_secret",
        ),
        (reply(&moved, "{}"), "301"),
        (reply("404 Not Found", "{}"), "404"),
        (reply("200 OK", &long.to_string()), "5120"),
        (reply("200 OK", "not json"), "cannot be used"),
        (reply("200 OK", "{\"client_id\":1,\"client_id\":2}"), "cannot be used"),
    ] {
        setting.host.answer(PATH, &answer);
        let page = Browser::default().begin(&setting.world, &setting.request(&[])).await;
        assert!(page.headers.get("location").is_none() && page.text.contains("client_unknown"), "{what}: {}", page.text);
        assert!(page.text.contains(what), "{what}: {}", page.text);
        // Past the time for which a fetch is not repeated, and for which a document is used.
        setting.world.advance(100_000);
    }
}

#[tokio::test]
async fn n_cm_05_keys_at_a_private_address_are_refused() {
    let setting = Setting::new(Admission::Admit).await;
    for uri in ["https://169.254.169.254/keys", "https://10.0.0.7/keys", "https://[::1]/keys", "http://keys.example/keys"] {
        setting.describe(&json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri}));
        let page = Browser::default().begin(&setting.world, &setting.request(&[])).await;
        assert!(page.text.contains("client_unknown"), "{uri}: {}", page.text);
        setting.world.advance(100_000);
    }
}

#[tokio::test]
async fn n_cm_06_a_failure_is_forgotten_soon_and_a_good_document_is_kept() {
    let setting = Setting::new(Admission::Admit).await;
    let begin = async || Browser::default().begin(&setting.world, &setting.request(&[])).await;
    setting.host.answer(PATH, &reply("404 Not Found", "{}"));
    for _ in 0..5 {
        assert!(begin().await.text.contains("404"));
    }
    assert_eq!(setting.host.asked(), 1, "a flood asks the host once");
    setting.describe(&json!({}));
    setting.world.advance(11);
    for _ in 0..5 {
        assert!(is_sign_in(&begin().await));
    }
    assert_eq!(setting.host.asked(), 2);
}

#[tokio::test]
async fn n_cm_07_a_client_with_a_key_must_use_it_at_every_token_call() {
    let setting = Setting::new(Admission::Admit).await;
    let keys =
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [setting.client.auth.public().to_jwk()]}});
    setting.describe(&keys);
    let code = setting.code("alice", &[]).await;
    setting.redeem(&code).await.refused("invalid_client", "client_unauthenticated");
    let grant = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", BACK), ("code_verifier", VERIFIER)];
    // The claimed identity must be the URL, and the key the document's.
    let forged = Actor { auth: Actor::new("mallory").auth, ..Actor::new("document client") };
    let forged = Actor { sub: setting.url.clone(), ..forged };
    setting.world.token(&forged, &grant).await.refused("invalid_client", "client_unauthenticated");
    let reply = setting.world.token(&setting.client, &grant).await;
    assert_eq!(claims(&reply.access_token())["client_id"], setting.url);
    let own = setting.world.token(&setting.client, &[("grant_type", "client_credentials"), ("resource", HELPDESK)]).await;
    own.refused("unauthorized_client", "client_not_allowed");
    let other = assertion::create(&setting.client.auth, &setting.agent().id.subject(), ISSUER, &fresh(), setting.world.now());
    let form = fields(&[("client_assertion_type", assertion::ASSERTION_TYPE), ("client_assertion", &other.unwrap())]);
    setting.world.post("/oauth/token", &form, &[]).await.refused("invalid_client", "client_unauthenticated");
}

/// A second client, at this path, that lists these keys.
fn second(setting: &Setting, path: &str, keys: &[&Value]) -> String {
    let url = setting.host.url(path);
    let document = json!({
        "client_id": url, "client_name": "Second", "redirect_uris": ["http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": keys},
    });
    setting.host.serve(path, &document);
    url
}

async fn redeem_with_key(setting: &Setting, client: &Actor, code: &str) -> Reply {
    let grant = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", BACK), ("code_verifier", VERIFIER)];
    setting.world.token(client, &grant).await
}

fn listing(keys: &[&Value]) -> Value {
    json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": keys}})
}

#[tokio::test]
async fn a_key_that_another_client_has_signed_with_is_not_taken() {
    let setting = Setting::new(Admission::Admit).await;
    let key = setting.client.auth.public().to_jwk();
    setting.describe(&listing(&[&key]));
    let code = setting.code("alice", &[]).await;
    redeem_with_key(&setting, &setting.client, &code).await.access_token();
    // The same key in other words is the same key.
    let mut other_words = key.clone();
    other_words.as_object_mut().unwrap().extend(json!({"kid": "mine", "use": "sig"}).as_object().unwrap().clone());
    for (path, listed) in [("/second.json", &key), ("/third.json", &other_words)] {
        let url = second(&setting, path, &[listed]);
        let mut browser = Browser::default();
        let page = browser.consent_page(&setting.world, "alice", &setting.request(&[("client_id", &url)])).await;
        let back = browser.decide(&setting.world, &page, "allow").await.location();
        assert!(query(&back, "error_description").unwrap().contains("belongs"), "{back}");
    }
    assert_eq!(setting.agents().len(), 1);
}

#[tokio::test]
async fn a_stranger_who_lists_the_key_of_another_takes_nothing_from_it() {
    let setting = Setting::new(Admission::Admit).await;
    let key = setting.client.auth.public().to_jwk();
    let thief = second(&setting, "/thief.json", &[&key]);
    let stolen = setting.code("alice", &[("client_id", &thief)]).await;
    // The owner of the key comes later, and is let in and served.
    setting.describe(&listing(&[&key]));
    let code = setting.code("alice", &[]).await;
    redeem_with_key(&setting, &setting.client, &code).await.access_token();
    let as_thief = Actor { sub: thief, ..Actor::new("document client") };
    redeem_with_key(&setting, &as_thief, &stolen).await.refused("invalid_client", "client_unauthenticated");
}

/// What builds before wrote when a person consented to a client with this key.
async fn claimed_at_consent(setting: &Setting, key: &Value) {
    let claim = format!("agent key {}", PublicKey::from_jwk(key).unwrap().thumbprint());
    let batch = Batch::new(TenantId::main()).once(JtiKind::Other, claim, UnixTime(253_402_300_799));
    setting.world.store.apply(batch).await.unwrap();
}

#[tokio::test]
async fn a_client_whose_key_was_claimed_at_consent_keeps_it_and_no_other_gets_it() {
    let setting = Setting::new(Admission::Admit).await;
    let key = setting.client.auth.public().to_jwk();
    let thief = second(&setting, "/thief.json", &[&key]);
    let stolen = setting.code("alice", &[("client_id", &thief)]).await;
    setting.describe(&listing(&[&key]));
    let code = setting.code("alice", &[]).await;
    claimed_at_consent(&setting, &key).await;
    redeem_with_key(&setting, &setting.client, &code).await.access_token();
    let again = setting.code("alice", &[]).await;
    redeem_with_key(&setting, &setting.client, &again).await.access_token();
    // The very key, in the name of the other client that lists it.
    // The same name makes the same keys.
    let as_thief = Actor { sub: thief, ..Actor::new("document client") };
    redeem_with_key(&setting, &as_thief, &stolen).await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn a_client_does_not_get_a_claimed_key_that_an_administrator_registered() {
    let setting = Setting::new(Admission::Admit).await;
    let key = setting.client.auth.public().to_jwk();
    setting.describe(&listing(&[&key]));
    let code = setting.code("alice", &[]).await;
    claimed_at_consent(&setting, &key).await;
    let snapshot = setting.world.store.snapshot();
    let (_, planner) = snapshot.agents().find(|(id, _)| id.to_string() == "planner").unwrap();
    let planner = Agent { keys: vec![key], ..Agent::clone(planner.as_ref().unwrap()) };
    setting.world.change(Change::PutAgent(planner)).await;
    redeem_with_key(&setting, &setting.client, &code).await.refused("invalid_client", "client_unauthenticated");
}

#[tokio::test]
async fn a_client_may_come_back_to_a_key_that_it_had_before() {
    let setting = Setting::new(Admission::Admit).await;
    let second_key = Actor { sub: setting.url.clone(), ..Actor::new("the second key") };
    for client in [&setting.client, &second_key, &setting.client] {
        setting.describe(&listing(&[&client.auth.public().to_jwk()]));
        setting.world.advance(3_700);
        let code = setting.code("alice", &[]).await;
        redeem_with_key(&setting, client, &code).await.access_token();
    }
    // None of them is free for others now.
    let url = second(&setting, "/second.json", &[&second_key.auth.public().to_jwk()]);
    let mut browser = Browser::default();
    let page = browser.consent_page(&setting.world, "alice", &setting.request(&[("client_id", &url)])).await;
    let back = browser.decide(&setting.world, &page, "allow").await.location();
    assert!(query(&back, "error_description").unwrap().contains("belongs"), "{back}");
}

#[tokio::test]
async fn par_07_a_flood_for_a_host_keeps_no_client_out_whose_document_is_known() {
    let setting = Setting::new(Admission::Admit).await;
    setting.code("alice", &[]).await;
    let mut flood = 0;
    for n in 0..150 {
        let url = setting.host.url(&format!("/flood/{n}"));
        let page = Browser::default().begin(&setting.world, &setting.request(&[("client_id", &url)])).await;
        flood += usize::from(page.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(flood > 0);
    let page = Browser::default().begin(&setting.world, &setting.request(&[])).await;
    assert!(is_sign_in(&page), "{}", page.text);
}

#[tokio::test]
async fn cm_07_a_document_that_was_taken_away_counts_an_hour_more_at_most_and_one_whose_host_is_down_six() {
    let setting = Setting::new(Admission::Admit).await;
    let begin = async || Browser::default().begin(&setting.world, &setting.request(&[])).await;
    assert!(is_sign_in(&begin().await));
    setting.host.answer(PATH, &reply("503 Service Unavailable", "{}"));
    setting.world.advance(3_601);
    assert!(is_sign_in(&begin().await), "a host that is down says nothing");
    setting.world.advance(6 * 3_600);
    assert!(begin().await.text.contains("503"));
    for gone in ["404 Not Found", "410 Gone"] {
        setting.describe(&json!({}));
        setting.world.advance(11);
        assert!(is_sign_in(&begin().await));
        setting.host.answer(PATH, &reply(gone, "{}"));
        setting.world.advance(3_601);
        let page = begin().await;
        assert!(page.text.contains("client_unknown") && page.headers.get("location").is_none(), "{gone}: {}", page.text);
    }
}

#[tokio::test]
async fn n_az_11_a_document_that_changed_is_consented_to_again() {
    let setting = Setting::new(Admission::Admit).await;
    let code = setting.code("alice", &[]).await;
    let refresh = text(&setting.redeem(&code).await.body, "refresh_token").to_owned();
    let page = setting.consent("bob").await;
    assert!(!page.text.contains("has changed"), "{}", page.text);
    setting.describe(&json!({"redirect_uris": ["http://127.0.0.1/callback", "https://evil.example/cb"]}));
    setting.world.advance(3_700);
    let page = setting.consent("bob").await;
    assert!(page.text.contains("has changed since it was last let in: where it is called back"), "{}", page.text);
    // Until a person agrees to the change, nothing is different.
    assert_eq!(setting.agent().redirect_uris.len(), 1);
    let refresh = text(&setting.refresh(&refresh).await.body, "refresh_token").to_owned();
    let code = setting.code("bob", &[]).await;
    assert_eq!(setting.agent().redirect_uris.len(), 2);
    setting.redeem(&code).await.access_token();
    setting.refresh(&refresh).await.refused("invalid_grant", "grant_invalid");
}

#[tokio::test]
async fn a_change_does_not_undo_what_an_administrator_decided() {
    let setting = Setting::new(Admission::Admit).await;
    setting.code("alice", &[]).await;
    setting.describe(&json!({"client_name": "Renamed"}));
    setting.world.advance(3_700);
    let mut browser = Browser::default();
    let page = browser.consent_page(&setting.world, "alice", &setting.request(&[])).await;
    assert!(page.text.contains("Renamed") && page.text.contains("its name"), "{}", page.text);
    let narrow = grants(&json!([{"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_search"]}]));
    let id = setting.agent().id.clone();
    setting.world.change(Change::PutAgent(Agent { ceiling: narrow.clone(), ..Agent::clone(&setting.agent()) })).await;
    browser.decide(&setting.world, &page, "allow").await.location();
    let agent = setting.world.store.snapshot().agent(&id).cloned().unwrap();
    assert_eq!((agent.display_name.as_str(), &agent.ceiling), ("Renamed", &narrow));
    setting.describe(&json!({"client_name": "Again"}));
    setting.world.advance(3_700);
    let page = browser.begin(&setting.world, &setting.request(&[("scope", "openid")])).await;
    setting.world.change(Change::SetAgentStatus { agent: id.clone(), status: AgentStatus::Quarantined }).await;
    let back = browser.decide(&setting.world, &page, "allow").await.location();
    assert_eq!(query(&back, "remit_code").as_deref(), Some("agent_quarantined"));
    let agent = setting.world.store.snapshot().agent(&id).cloned().unwrap();
    assert_eq!((agent.display_name.as_str(), agent.status), ("Renamed", AgentStatus::Quarantined));
}

#[tokio::test]
async fn two_people_who_let_in_the_same_client_share_one_agent() {
    let setting = Setting::new(Admission::Admit).await;
    let (mut first, mut second) = (Browser::default(), Browser::default());
    let one = first.consent_page(&setting.world, "alice", &setting.request(&[])).await;
    let two = second.consent_page(&setting.world, "bob", &setting.request(&[])).await;
    for (browser, page) in [(&mut first, &one), (&mut second, &two)] {
        let back = browser.decide(&setting.world, page, "allow").await.location();
        setting.redeem(&query(&back, "code").unwrap()).await.access_token();
    }
    setting.agent();
}

#[tokio::test]
async fn par_07_a_flood_of_documents_from_one_network_is_stopped_before_it_is_fetched() {
    let setting = Setting::new(Admission::Admit).await;
    let mut browser = Browser { address: Some("192.0.2.7".parse().unwrap()), ..Browser::default() };
    let mut refused = 0;
    for n in 0..150 {
        let url = setting.host.url(&format!("/flood/{n}"));
        let page = browser.begin(&setting.world, &setting.request(&[("client_id", &url)])).await;
        refused += usize::from(page.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!((refused, setting.host.asked()), (50, 100));
}

#[tokio::test]
async fn an_administrators_agent_is_never_taken_over_by_a_document() {
    let setting = Setting::new(Admission::Admit).await;
    let code = setting.code("alice", &[]).await;
    setting.redeem(&code).await.access_token();
    let id: AgentId = setting.agent().id.clone();
    let planner = agent(&Actor::new("planner"), false);
    setting.world.change(Change::PutAgent(Agent { id: id.clone(), ..planner })).await;
    let page = Browser::default().begin(&setting.world, &setting.request(&[])).await;
    assert!(page.text.contains("client_unknown"), "{}", page.text);
}

#[tokio::test]
async fn one_person_lets_in_a_bounded_number_of_new_clients_a_day() {
    let setting = Setting::new(Admission::Admit).await;
    let mut browser = Browser::default();
    browser.consent_page(&setting.world, "alice", &request()).await;
    let mut allowed = 0;
    for n in 0..52 {
        let url = setting.host.url(&format!("/{n}"));
        let document = json!({"client_id": url, "client_name": "x", "redirect_uris": ["http://127.0.0.1/callback"]});
        setting.host.serve(&format!("/{n}"), &document);
        let page = browser.begin(&setting.world, &setting.request(&[("client_id", &url)])).await;
        let back = browser.decide(&setting.world, &page, "allow").await.location();
        allowed += usize::from(query(&back, "code").is_some());
        assert!(allowed == n + 1 || query(&back, "remit_code").as_deref() == Some("rate_limited"), "{back}");
    }
    assert_eq!((allowed, setting.agents().len()), (50, 50));
}
