//! A whole authorization server in one process: real store, real keys, a clock that moves by hand.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::BodyExt;
use remit_authority::{Parts, Server, Settings, WorkloadTrust, hash_password, router};
use remit_clock::{Clock, Entropy};
use remit_ledger::record::{Draft, ProducerKind, RecordType};
use remit_model::{Agent, AgentId, AgentStatus, Authority, Human, TenantId, ToolClass, ToolRule, UnixTime, json};
use remit_outbound::{Outbound, Rules};
use remit_store::{Batch, Change, Config, Store};
use remit_testkit::key_named;
use remit_token::{
    Algorithm, Delegation, PeerCertificate, PrivateKey, SigningKeys, assertion,
    dpop::{self, ProofFor},
    statement,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const START: i64 = remit_testkit::NOW.0;
pub(crate) const ISSUER: &str = "http://127.0.0.1:8420";
pub(crate) const TOKEN: &str = "http://127.0.0.1:8420/oauth/token";
pub(crate) const HELPDESK: &str = "http://127.0.0.1:8420/mcp/helpdesk";
pub(crate) const FILES: &str = "http://127.0.0.1:8420/mcp/files";
pub(crate) const DESK: &str = "https://desk.example/agent";
pub(crate) const REDIRECT: &str = "https://app.example/cb";
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const VERIFIER: &str = "0123456789012345678901234567890123456789abc";
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

const POLICY: &str = r#"
@id("may-delegate") @reason("Delegation is allowed here.")
permit (principal, action == Action::"delegate", resource);
@id("never-for-mischief") @title("No mischief") @reason("This purpose is not allowed.")
forbid (principal, action == Action::"delegate", resource) when { context has purpose && context.purpose == "mischief" };
@id("signed-payments") @reason("Payments need the person's signature.")
forbid (principal, action == Action::"delegate", resource) when { context has purpose && context.purpose == "payments" }
unless { context.root_signed };
"#;

static HASH: LazyLock<String> = LazyLock::new(|| hash_password(PASSWORD, &Entropy::seeded(9)).unwrap());
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A value no other test step uses.
pub(crate) fn fresh() -> String {
    format!("fresh-{:06}-padding", COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// An agent's keys: one to authenticate with, one for its proofs.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) sub: String,
    pub(crate) auth: PrivateKey,
    pub(crate) dpop: PrivateKey,
}

impl Actor {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            sub: format!("agent:{name}"),
            auth: key_named(Algorithm::Ed25519, &format!("{name} auth")),
            dpop: key_named(Algorithm::Es256, &format!("{name} dpop")),
        }
    }

    pub(crate) fn jkt(&self) -> &str {
        self.dpop.public().thumbprint()
    }
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) server: Arc<Server>,
    policy: Arc<remit_policy::Live>,
    pub(crate) app: Router,
    pub(crate) signing: PrivateKey,
    pub(crate) keys: SigningKeys,
    pub(crate) planner: Actor,
    pub(crate) summarizer: Actor,
    pub(crate) scribe: Actor,
    pub(crate) public: Actor,
    pub(crate) issuer: &'static str,
    settings: Settings,
    outbound: Outbound,
    trust: WorkloadTrust,
    seed: u64,
    dir: TempDir,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

pub(crate) fn grants(details: &Value) -> Authority {
    Authority::parse(details).unwrap()
}

/// What Alice may do, and so the most anyone may do for her.
pub(crate) fn entitlements() -> Value {
    json!([
        {"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read", "tickets_search"],
         "fields": ["/id", "/subject", "/customer/name"],
         "delegate": {"to": ["agent:summarizer", "agent:scribe"], "depth": 3}},
        {"type": "tool_access", "locations": [HELPDESK], "actions": ["refund_create"],
         "arguments": {"/amount": {"max": 50}}, "limits": {"calls": 10},
         "delegate": {"to": ["agent:summarizer"], "depth": 1}},
        {"type": "tool_access", "locations": [FILES], "actions": ["read"]},
    ])
}

fn ceiling() -> Value {
    json!([
        {"type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read", "tickets_search", "refund_create"],
         "delegate": {"to": ["*"], "depth": 7}},
        {"type": "tool_access", "locations": [FILES], "actions": ["read"]},
    ])
}

pub(crate) fn agent(actor: &Actor, public: bool) -> Agent {
    let mut labels = BTreeMap::new();
    if actor.sub == "agent:summarizer" {
        labels.insert("endpoint".to_owned(), DESK.to_owned());
    }
    Agent {
        display_name: format!("The {}", actor.sub),
        owner: "user:olga".to_owned(),
        keys: if public { Vec::new() } else { vec![actor.auth.public().to_jwk()] },
        redirect_uris: vec![REDIRECT.to_owned(), "http://127.0.0.1/cb".to_owned()],
        labels,
        ..remit_testkit::agent(actor.sub.trim_start_matches("agent:"), grants(&ceiling()))
    }
}

pub(crate) fn human(name: &str) -> Human {
    Human {
        display_name: format!("{name} Example"),
        password_hash: Some(HASH.clone()),
        ..remit_testkit::human(name, grants(&entitlements()))
    }
}

fn server(name: &str, location: &str, tools: &[(&str, ToolClass)]) -> Arc<remit_model::Server> {
    let rule = |(tool, class): &(&str, ToolClass)| {
        let title = (*tool == "tickets_read").then(|| "Read a ticket".to_owned());
        ((*tool).to_owned(), ToolRule { class: *class, title, ..ToolRule::default() })
    };
    Arc::new(remit_testkit::server(name, location, tools.iter().map(rule)))
}

fn open_store(dir: &TempDir, clock: &Clock, entropy: &Entropy, keys: &SigningKeys) -> Store {
    Store::open(Config {
        issuer_jwks: keys.set().to_jwks(),
        entropy: entropy.clone(),
        ..remit_testkit::quiet_config(dir.path(), clock.clone())
    })
    .unwrap()
}

fn servers() -> Vec<Arc<remit_model::Server>> {
    vec![
        server(
            "helpdesk",
            HELPDESK,
            &[
                ("tickets_read", ToolClass::Read),
                ("tickets_search", ToolClass::Read),
                ("refund_create", ToolClass::Payment),
                ("admin_reset", ToolClass::Admin),
            ],
        ),
        server("files", FILES, &[("read", ToolClass::Read)]),
    ]
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::made(ISSUER, settings, Outbound::new(Rules::default()).unwrap(), WorkloadTrust::default()).await
    }

    /// A server of this address: passkeys need one that is a name.
    pub(crate) async fn at(issuer: &'static str, settings: Settings) -> Self {
        Self::made(issuer, settings, Outbound::new(Rules::default()).unwrap(), WorkloadTrust::default()).await
    }

    /// A server that fetches from other machines in this way.
    pub(crate) async fn reaching(settings: Settings, outbound: Outbound) -> Self {
        Self::made(ISSUER, settings, outbound, WorkloadTrust::default()).await
    }

    /// A server that trusts these issuers and trust domains.
    pub(crate) async fn trusting(trust: WorkloadTrust) -> Self {
        Self::trusting_with(Settings::default(), trust).await
    }

    pub(crate) async fn trusting_with(settings: Settings, trust: WorkloadTrust) -> Self {
        Self::made(ISSUER, settings, Outbound::new(Rules::default()).unwrap(), trust).await
    }

    async fn made(issuer: &'static str, settings: Settings, outbound: Outbound, trust: WorkloadTrust) -> Self {
        let world = Self::open(issuer, tempfile::tempdir().unwrap(), remit_testkit::clock(), settings, outbound, trust, 7);
        let batch = Batch::new(TenantId::main())
            .change(Change::PutHuman(human("alice")))
            .change(Change::PutHuman(human("bob")))
            .change(Change::PutAgent(agent(&world.planner, false)))
            .change(Change::PutAgent(agent(&world.summarizer, false)))
            .change(Change::PutAgent(agent(&world.scribe, false)))
            .change(Change::PutAgent(agent(&world.public, true)));
        world.store.apply(batch).await.unwrap();
        world
    }

    /// The same server after a stop and a start: the same store, and an empty memory.
    pub(crate) async fn restart(self) -> Self {
        self.store.close().await.unwrap();
        let Self { issuer, dir, clock, settings, outbound, trust, seed, store, server, app, .. } = self;
        drop((store, server, app));
        Self::open(issuer, dir, clock, settings, outbound, trust, seed + 1)
    }

    /// Why the same server does not start again with the key that it had first.
    pub(crate) async fn restart_error(self) -> String {
        self.store.close().await.unwrap();
        let Self { dir, clock, store, server, app, signing, .. } = self;
        drop((store, server, app));
        let issuer_jwks = SigningKeys::new(signing).set().to_jwks();
        Store::open(Config { issuer_jwks, ..remit_testkit::quiet_config(dir.path(), clock) }).unwrap_err().to_string()
    }

    pub(crate) fn data_dir(&self) -> std::path::PathBuf {
        remit_testkit::quiet_config(self.dir.path(), self.clock.clone()).data_dir
    }

    fn open(
        issuer: &'static str,
        dir: TempDir,
        clock: Clock,
        settings: Settings,
        outbound: Outbound,
        trust: WorkloadTrust,
        seed: u64,
    ) -> Self {
        let entropy = Entropy::seeded(seed);
        let signing = || PrivateKey::from_seed(Algorithm::Es256, &[5; 32]).unwrap();
        let keys = SigningKeys::new(signing());
        let store = open_store(&dir, &clock, &entropy, &keys);
        let nonces = dpop::Nonces::new(&[u8::try_from(seed).unwrap(); 32], dpop::nonce::PERIOD_SECS);
        let nonces = if store.is_continued() { nonces.after_restart(clock.unix(), dpop::WINDOW_SECS) } else { nonces };
        let policy = remit_testkit::live(&[("test.cedar".to_owned(), POLICY.to_owned())]);
        let server = Arc::new(Server::new(Parts {
            store: store.clone(),
            policy: Arc::clone(&policy),
            clock: clock.clone(),
            entropy,
            issuer: issuer.to_owned(),
            keys: keys.clone(),
            servers: servers(),
            nonces: Arc::new(nonces),
            outbound: outbound.clone(),
            sign_in: remit_authority::provider::SignInMethods { providers: Vec::new(), local: true },
            workload: trust.clone(),
            settings: settings.clone(),
        }));
        Self {
            app: router(Arc::clone(&server)),
            server,
            policy,
            store,
            clock,
            signing: signing(),
            keys,
            planner: Actor::new("planner"),
            summarizer: Actor::new("summarizer"),
            scribe: Actor::new("scribe"),
            public: Actor::new("public"),
            issuer,
            settings,
            outbound,
            trust,
            seed,
            dir,
        }
    }

    /// What an auditor reads who was given the keys of the committed values.
    pub(crate) async fn audited(&self) -> remit_ledger::Reader {
        self.store.publish().await.unwrap();
        let config = remit_testkit::quiet_config(self.dir.path(), self.clock.clone());
        let keys = remit_store::keyring(&config.data_dir, config.vault.expose()).unwrap();
        remit_ledger::Reader::open(self.store.ledger_dir()).unwrap().with_keys(keys)
    }

    /// Records how an agent proves itself, as the admin API does when it registers one.
    pub(crate) async fn record_registration(&self, agent: &Agent) {
        let mut facts = json!({"agent": agent.id.subject(), "keys": agent.keys});
        if agent.client != remit_model::ClientProfile::default() {
            facts["client"] = json!(agent.client);
        }
        let record = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
            .action("agent.add", ToolClass::Admin)
            .ext("config", facts);
        self.store.apply(Batch::new(TenantId::main()).record(record)).await.unwrap();
    }

    /// Records the agents' keys, as the admin API does when it registers them.
    pub(crate) async fn record_registrations(&self) {
        for actor in [&self.planner, &self.summarizer, &self.scribe] {
            let record = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
                .action("agent.add", ToolClass::Admin)
                .ext("config", json!({"agent": actor.sub, "keys": [actor.auth.public().to_jwk()]}));
            self.store.apply(Batch::new(TenantId::main()).record(record)).await.unwrap();
        }
    }

    /// Puts a policy beside those that are in force.
    pub(crate) fn add_policy(&self, text: &str) {
        let file = ("test.cedar".to_owned(), format!("{POLICY}{text}"));
        assert!(self.policy.replace(remit_policy::Bundle::parse(&[file]), self.now()));
    }

    /// Where the database and the ledger are.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.clock.unix()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn change(&self, change: Change) {
        remit_testkit::change(&self.store, change).await;
    }

    pub(crate) async fn set_status(&self, actor: &Actor, status: AgentStatus) {
        self.change(Change::SetAgentStatus { agent: AgentId::from_subject(&actor.sub).unwrap(), status }).await;
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status: parts.status, headers: parts.headers, text, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// A form over a connection of this certificate.
    pub(crate) async fn post_over(
        &self,
        certificate: Option<&PeerCertificate>,
        path: &str,
        fields: &[(String, String)],
        headers: &[(&str, String)],
    ) -> Reply {
        let mut request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(Body::from(encode(fields))).unwrap();
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        self.send(request).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(String, String)], headers: &[(&str, String)]) -> Reply {
        let mut request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.send(request.body(Body::from(encode(fields))).unwrap()).await
    }

    pub(crate) fn assertion(&self, actor: &Actor) -> String {
        assertion::create(&actor.auth, &actor.sub, self.issuer, &fresh(), self.now()).unwrap()
    }

    pub(crate) fn proof(&self, key: &PrivateKey) -> String {
        self.proof_with(key, None)
    }

    pub(crate) fn proof_with(&self, key: &PrivateKey, delegation: Option<&Delegation>) -> String {
        let (jti, url) = (fresh(), format!("{}/oauth/token", self.issuer));
        dpop::create(key, &ProofFor { method: "POST", url: &url, now: self.now(), jti: &jti, delegation, ..ProofFor::default() })
            .unwrap()
    }

    /// The form fields with which this agent authenticates.
    pub(crate) fn authenticated(&self, actor: &Actor) -> Vec<(String, String)> {
        fields(&[("client_assertion_type", assertion::ASSERTION_TYPE), ("client_assertion", &self.assertion(actor))])
    }

    /// A token request by an agent with its keys.
    pub(crate) async fn token(&self, actor: &Actor, more: &[(&str, &str)]) -> Reply {
        self.token_with(actor, &self.proof(&actor.dpop), more).await
    }

    pub(crate) async fn token_with(&self, actor: &Actor, proof: &str, more: &[(&str, &str)]) -> Reply {
        let mut form = self.authenticated(actor);
        form.extend(fields(more));
        self.post("/oauth/token", &form, &[("dpop", proof.to_owned())]).await
    }

    /// The agent's own token for one resource.
    pub(crate) async fn own_token(&self, actor: &Actor, more: &[(&str, &str)]) -> String {
        let mut all = vec![("grant_type", "client_credentials")];
        all.extend_from_slice(more);
        self.token(actor, &all).await.access_token()
    }

    /// The token with which a sub-agent shows itself.
    pub(crate) async fn identity(&self, actor: &Actor) -> String {
        self.own_token(actor, &[("resource", self.issuer)]).await
    }

    /// Exchanges the parent's token for a token of a named child.
    pub(crate) async fn hand(&self, parent: &Actor, token: &str, child: &Actor, more: &[(&str, &str)]) -> Reply {
        let actor_token = self.identity(child).await;
        let mut all = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", ACCESS_TOKEN),
            ("actor_token", actor_token.as_str()),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        all.extend_from_slice(more);
        self.token(parent, &all).await
    }

    pub(crate) async fn narrow(&self, holder: &Actor, token: &str, more: &[(&str, &str)]) -> Reply {
        let mut all = vec![("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
        all.extend_from_slice(more);
        self.token(holder, &all).await
    }

    pub(crate) fn statement(&self, parent: &Actor, token: &str, child: &Actor, details: &Value) -> String {
        let delegation = Delegation {
            delegate: child.sub.clone(),
            jkt: child.jkt().to_owned(),
            parent: claims(token)["jti"].as_str().unwrap().to_owned(),
            authority: grants(details),
            expires: self.now().plus(300),
            purpose: Some("summaries".to_owned()),
        };
        statement::create(&parent.dpop, &parent.sub, ISSUER, &fresh(), self.now(), &delegation).unwrap()
    }

    /// The parent's proof of a call to the child's endpoint.
    pub(crate) fn call_proof(&self, parent: &Actor, token: &str, url: &str) -> String {
        let jti = fresh();
        let request =
            ProofFor { method: "POST", url, now: self.now(), jti: &jti, access_token: Some(token), ..ProofFor::default() };
        dpop::create(&parent.dpop, &request).unwrap()
    }

    pub(crate) async fn introspect(&self, caller: &Actor, token: &str) -> Reply {
        let mut form = self.authenticated(caller);
        form.extend(fields(&[("token", token)]));
        self.post("/oauth/introspect", &form, &[]).await
    }

    pub(crate) async fn active(&self, caller: &Actor, token: &str) -> bool {
        self.introspect(caller, token).await.body["active"].as_bool().unwrap()
    }

    /// The newest record, as the ledger holds it.
    pub(crate) async fn last_record(&self) -> Value {
        let record = self.store.record(self.store.len() - 1).await.unwrap().unwrap();
        serde_json::from_slice(&record.bytes).unwrap()
    }

    /// The values the newest record commits to, by path.
    pub(crate) async fn last_side(&self) -> Value {
        let record = self.store.record(self.store.len() - 1).await.unwrap().unwrap();
        let side = record.side.unwrap();
        Value::Object(side.fields.keys().map(|path| (path.clone(), side.value(path).unwrap())).collect())
    }
}

impl Reply {
    #[track_caller]
    pub(crate) fn access_token(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.body["access_token"].as_str().unwrap().to_owned()
    }

    /// Asserts a refusal with this OAuth error and this code of ours.
    #[track_caller]
    pub(crate) fn refused(&self, error: &str, code: &str) {
        assert!(self.status.is_client_error(), "{} {}", self.status, self.text);
        assert_eq!((self.body["error"].as_str(), self.body["remit_code"].as_str()), (Some(error), Some(code)), "{}", self.text);
        assert_eq!(self.headers["cache-control"], "no-store");
    }

    #[track_caller]
    pub(crate) fn location(&self) -> url::Url {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text);
        url::Url::parse(self.headers["location"].to_str().unwrap()).unwrap()
    }

    pub(crate) fn record_id(&self) -> &str {
        self.body["remit_record"].as_str().unwrap()
    }
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn encode(fields: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// What a token says; the tests of signatures are elsewhere.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

pub(crate) fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(json::sha256(VERIFIER.as_bytes()))
}

pub(crate) fn query(url: &url::Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
