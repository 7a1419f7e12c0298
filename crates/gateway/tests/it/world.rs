//! A gateway on loopback with everything real but the clock, and clients that sign what they send.

use crate::fake::Fake;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, body::Incoming};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use remit_clock::{Clock, Entropy};
use remit_gateway::{Captures, Denials, Gateway, Parts, Route, Settings, Upstream, UpstreamHeaders, router};
use remit_model::{
    AgentId, AgentStatus, Authority, Chain, EdgeProof, Hop, Human, Principal, SubjectRule, TenantId, ToolClass, ToolRule,
    UnixTime,
};
use remit_store::{Batch, Change, Config, Revocation, Store, StoredToken};
pub(crate) use remit_testkit::{agent, eventually, key};
use remit_token::{
    Actor, KeySet, PeerCertificate, PrivateKey, access,
    dpop::{self, Nonces, WINDOW_SECS, nonce},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

pub(crate) const NOW: i64 = remit_testkit::NOW.0;
pub(crate) const MODERN: &str = "2026-07-28";
pub(crate) const LEGACY: &str = "2025-11-25";

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) gate: Arc<Gateway>,
    pub(crate) clock: Clock,
    pub(crate) base: String,
    pub(crate) location: String,
    pub(crate) issuer_key: PrivateKey,
    pub(crate) fake: Fake,
    counter: AtomicU64,
    _dir: TempDir,
}

/// How a test wants its world.
pub(crate) struct Wish {
    pub(crate) fake: Fake,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) headers: UpstreamHeaders,
    pub(crate) settings: Box<dyn FnOnce(&mut Settings)>,
    pub(crate) policy: Vec<(String, String)>,
    pub(crate) captures: Captures,
    pub(crate) denials: Denials,
    pub(crate) list_requestable: bool,
    pub(crate) tools: BTreeMap<String, ToolRule>,
}

impl Wish {
    pub(crate) fn new(modern: bool) -> Self {
        Self {
            fake: Fake::new(modern, false),
            upstream: None,
            headers: UpstreamHeaders::default(),
            settings: Box::new(|_| {}),
            policy: vec![("all.cedar".into(), remit_testkit::PERMIT_ALL.into())],
            captures: Captures::default(),
            denials: Denials::default(),
            list_requestable: false,
            tools: tools(),
        }
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut Settings) + 'static) -> Self {
        self.settings = Box::new(change);
        self
    }

    pub(crate) async fn build(self) -> World {
        World::build(self).await
    }
}

fn tools() -> BTreeMap<String, ToolRule> {
    let rule = |class, classification: Option<&str>| ToolRule {
        class,
        classification: classification.map(str::to_owned),
        ..ToolRule::default()
    };
    let about = |class, classification| ToolRule {
        subject: Some(SubjectRule { kind: "customer".into(), argument: "/customer".into() }),
        ..rule(class, classification)
    };
    let read = || rule(ToolClass::Read, None);
    let card = || ToolRule {
        fields: [("/customer/email", "secret"), ("/customer/name", "pii")].map(|(at, class)| (at.into(), class.into())).into(),
        ..read()
    };
    BTreeMap::from([
        ("ticket_read".to_owned(), rule(ToolClass::Read, Some("pii"))),
        ("customer_read".to_owned(), about(ToolClass::Read, Some("phi"))),
        ("customer.change".to_owned(), about(ToolClass::Write, Some("internal"))),
        ("refund".to_owned(), rule(ToolClass::Payment, None)),
        ("slow".to_owned(), card()),
        ("prose".to_owned(), read()),
        ("error".to_owned(), card()),
        ("ask".to_owned(), ToolRule { class: ToolClass::default(), ..card() }),
    ])
}

/// The header in which a test says which certificate its connection has; the listener does that otherwise.
pub(crate) const CERTIFICATE: &str = "x-test-certificate";

async fn certified(mut request: axum::extract::Request) -> axum::extract::Request {
    if let Some(shown) = request.headers_mut().remove(CERTIFICATE) {
        request.extensions_mut().insert(PeerCertificate::new(shown.as_bytes().to_vec(), Vec::new()));
    }
    request
}

impl World {
    pub(crate) async fn new(modern: bool) -> Self {
        Wish::new(modern).build().await
    }

    async fn build(wish: Wish) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = remit_testkit::clock();
        let issuer_key = key(1);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let location = format!("{base}/mcp/helpdesk");
        let keys = KeySet::of([issuer_key.public()]);
        let store = Store::open(config(&dir, &clock, &keys)).unwrap();
        let mut settings = Settings::new(&base);
        settings.recheck = Duration::from_millis(20);
        settings.response_bytes = 10_000;
        (wish.settings)(&mut settings);
        let url = wish.fake.serve().await;
        let upstream = wish.upstream.unwrap_or(Upstream::Http { url, headers: wish.headers });
        let tools = wish.tools;
        let server = |name: &str| Arc::new(remit_testkit::server(name, &format!("{base}/mcp/{name}"), tools.clone()));
        let routes = ["helpdesk", "other"].map(|name| Route {
            server: server(name),
            upstream: upstream.clone(),
            captures: wish.captures.clone(),
            reads_in_outage: false,
            denials: wish.denials,
            start_timeout: None,
            list_requestable: wish.list_requestable,
        });
        let policy = remit_testkit::live(&wish.policy);
        let gate = Gateway::new(Parts {
            store: store.clone(),
            policy,
            clock: clock.clone(),
            entropy: Entropy::system(),
            routes: routes.into(),
            // Proofs made before this moment may have been accepted by an earlier process.
            nonces: Arc::new(
                Nonces::new(&[8; 32], nonce::PERIOD_SECS).after_restart(UnixTime(NOW - 1 - WINDOW_SECS), WINDOW_SECS),
            ),
            settings,
        });
        let app = router(Arc::clone(&gate)).layer(axum::middleware::map_request(certified));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let world =
            Self { store, gate, clock, base, location, issuer_key, fake: wish.fake, counter: AtomicU64::new(0), _dir: dir };
        world.people().await;
        world
    }

    async fn people(&self) {
        let all = self.grant(json!({"actions": ["*"]}));
        let human = Human { display_name: "Alice".into(), ..remit_testkit::human("alice", all.clone()) };
        let mut batch = Batch::new(TenantId::main()).change(Change::PutHuman(human));
        for name in ["planner", "helper"] {
            batch = batch.change(Change::PutAgent(agent(name, all.clone())));
        }
        self.store.apply(batch).await.unwrap();
    }

    /// An authority of one grant at the helpdesk.
    pub(crate) fn grant(&self, grant: Value) -> Authority {
        self.grants(&[grant])
    }

    pub(crate) fn grants(&self, grants: &[Value]) -> Authority {
        let details = grants.iter().cloned().map(|mut grant| {
            grant["type"] = json!("tool_access");
            grant["locations"] = json!([self.location]);
            if grant["actions"] == json!(["*"]) {
                grant.as_object_mut().unwrap().insert("actions".into(), json!(["*"]));
            }
            grant
        });
        Authority::parse(&details.collect::<Value>()).unwrap()
    }

    /// What the planner holds for Alice.
    pub(crate) fn claims(&self, authority: Authority, jkt: &str) -> access::Claims {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        access::Claims {
            iss: self.base.clone(),
            sub: "user:alice".into(),
            aud: self.location.clone(),
            client_id: "agent:planner".into(),
            scope: String::new(),
            jti: format!("jti-{n}"),
            iat: UnixTime(NOW),
            exp: UnixTime(NOW + 600),
            auth_time: Some(UnixTime(NOW - 60)),
            acr: None,
            amr: vec![],
            cnf_jkt: Some(jkt.to_owned()),
            cnf_x5t: None,
            act: Some(actor(&self.base, "agent:planner", None)),
            authority,
            txn: "chain-1".into(),
            ancestors: vec![],
            ancestor_keys: vec![],
            ancestor_jkts: Vec::new(),
            purpose: Some("support".into()),
            signed: None,
        }
    }

    /// A client of the planner with this authority.
    pub(crate) fn planner(&self, authority: Authority) -> Client<'_> {
        let key = key(7);
        let claims = self.claims(authority, key.public().thumbprint());
        self.client(key, &claims)
    }

    /// A client that may do everything at the helpdesk.
    pub(crate) fn all(&self) -> Client<'_> {
        self.planner(self.grant(json!({"actions": ["*"]})))
    }

    pub(crate) fn client(&self, key: PrivateKey, claims: &access::Claims) -> Client<'_> {
        let token = access::mint(&self.issuer_key, claims).unwrap();
        Client {
            world: self,
            key,
            token,
            url: self.location.clone(),
            session: None,
            http: http(),
            accept: "application/json, text/event-stream",
        }
    }

    /// A sub-agent's client: helper, acting for planner, acting for Alice.
    pub(crate) fn helper(&self, authority: Authority) -> Client<'_> {
        let key = key(8);
        let mut claims = self.claims(authority, key.public().thumbprint());
        claims.client_id = "agent:helper".into();
        claims.ancestors = vec!["parent-jti".into()];
        claims.act = Some(actor(&self.base, "agent:helper", Some(actor(&self.base, "agent:planner", None))));
        self.client(key, &claims)
    }

    /// The planner's token of this id, as the authorization server stored it.
    pub(crate) async fn issued(&self, jti: &str, authority: &Authority) {
        let planner = Principal::local(&self.base, "agent:planner");
        let root = Principal::local(&self.base, "user:alice");
        let mut chain = Chain::new("chain-1".into(), root.clone());
        chain.hops.push(Hop {
            delegator: root,
            delegate: planner,
            jkt: None,
            x5t: None,
            authority: authority.clone(),
            purpose: None,
            expires: UnixTime(NOW + 600),
            jti: jti.into(),
            edge: EdgeProof::IdToken(String::new()),
            signed: None,
        });
        let token = StoredToken {
            jti: jti.into(),
            chain,
            authority: authority.clone(),
            parent: None,
            client: "agent:planner".into(),
            jkt: None,
            audience: self.location.clone(),
            issued: UnixTime(NOW),
            expires: UnixTime(NOW + 600),
            family: None,
            keys: Vec::new(),
        };
        self.store.apply(Batch::new(TenantId::main()).change(Change::IssueToken(Arc::new(token)))).await.unwrap();
    }

    pub(crate) async fn quarantine(&self, name: &str) {
        let change = Change::SetAgentStatus { agent: AgentId::parse(name).unwrap(), status: AgentStatus::Quarantined };
        self.store.apply(Batch::new(TenantId::main()).change(change)).await.unwrap();
    }

    pub(crate) async fn revoke(&self, what: Revocation) {
        let change = Change::Revoke { what, until: UnixTime(NOW + 10_000) };
        self.store.apply(Batch::new(TenantId::main()).change(change)).await.unwrap();
    }

    /// All records after the start record.
    pub(crate) async fn records(&self) -> Vec<Value> {
        let records = self.store.records(1, 1000).await.unwrap();
        records.iter().map(|record| serde_json::from_slice(&record.bytes).unwrap()).collect()
    }

    pub(crate) async fn last(&self) -> Value {
        self.records().await.pop().unwrap()
    }

    pub(crate) fn unique(&self) -> String {
        format!("unique-{}", self.counter.fetch_add(1, Ordering::Relaxed))
    }
}

pub(crate) fn actor(iss: &str, sub: &str, inner: Option<Actor>) -> Actor {
    Actor { iss: iss.into(), sub: sub.into(), sub_profile: "ai_agent".into(), act: inner.map(Box::new) }
}

fn http() -> Http<HttpConnector, Full<Bytes>> {
    Http::builder(TokioExecutor::new()).build_http()
}

fn config(dir: &TempDir, clock: &Clock, keys: &KeySet) -> Config {
    Config { issuer_jwks: keys.to_jwks(), ..remit_testkit::quiet_config(dir.path(), clock.clone()) }
}

pub(crate) struct Client<'w> {
    pub(crate) world: &'w World,
    pub(crate) key: PrivateKey,
    pub(crate) token: String,
    pub(crate) url: String,
    pub(crate) session: Option<String>,
    pub(crate) http: Http<HttpConnector, Full<Bytes>>,
    pub(crate) accept: &'static str,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    /// The stable code of a refusal.
    pub(crate) fn code(&self) -> &str {
        let code = self.body["error"]["data"]["code"].as_str().or_else(|| self.body["result"]["_meta"]["remit/code"].as_str());
        code.unwrap_or_else(|| panic!("not refused: {} {}", self.status, self.body))
    }

    pub(crate) fn result(&self) -> &Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        let refused = self.body["result"]["_meta"].get("remit/code");
        self.body.get("result").filter(|_| refused.is_none()).unwrap_or_else(|| panic!("refused: {}", self.body))
    }

    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
    }
}

impl Client<'_> {
    pub(crate) fn proof(&self, method: &str, url: &str) -> String {
        let jti = self.world.unique();
        let now = self.world.clock.unix();
        let request =
            dpop::ProofFor { method, url, now, jti: &jti, access_token: Some(&self.token), ..dpop::ProofFor::default() };
        dpop::create(&self.key, &request).unwrap()
    }

    /// The headers of an honest request.
    pub(crate) fn headers(&self, method: &Method) -> Vec<(String, String)> {
        let mut headers = vec![
            ("authorization".to_owned(), format!("DPoP {}", self.token)),
            ("dpop".to_owned(), self.proof(method.as_str(), &self.url)),
            ("content-type".to_owned(), "application/json".to_owned()),
            ("accept".to_owned(), self.accept.to_owned()),
        ];
        if let Some(session) = &self.session {
            headers.push(("mcp-session-id".to_owned(), session.clone()));
            headers.push(("mcp-protocol-version".to_owned(), LEGACY.to_owned()));
        }
        headers
    }

    pub(crate) async fn raw(&self, method: Method, headers: Vec<(String, String)>, body: &str) -> hyper::Response<Incoming> {
        let mut request = Request::builder().method(method).uri(&self.url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.http.request(request.body(Full::from(body.to_owned())).unwrap()).await.unwrap()
    }

    pub(crate) async fn send(&self, headers: Vec<(String, String)>, body: &Value) -> Reply {
        whole(self.raw(Method::POST, headers, &body.to_string()).await).await
    }

    /// A request of the stateless era.
    pub(crate) fn modern_request(&self, method: &str, mut params: Value) -> (Vec<(String, String)>, Value) {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"}, "progressToken": "mine"});
        params["_meta"] = meta;
        let mut headers = self.headers(&Method::POST);
        headers.push(("mcp-protocol-version".into(), MODERN.into()));
        headers.push(("mcp-method".into(), method.into()));
        if let Some(name) = params.get("name").or_else(|| params.get("uri")).and_then(Value::as_str) {
            headers.push(("mcp-name".into(), name.into()));
        }
        (headers, json!({"jsonrpc": "2.0", "id": 11, "method": method, "params": params}))
    }

    pub(crate) async fn modern(&self, method: &str, params: Value) -> Reply {
        let (headers, body) = self.modern_request(method, params);
        self.send(headers, &body).await
    }

    /// Calls a tool, statelessly.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.modern("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Opens a session of the older era.
    pub(crate) async fn initialize(&mut self) -> Reply {
        let params = json!({"protocolVersion": LEGACY, "capabilities": {"elicitation": {}}, "clientInfo": {"name": "test", "version": "1"}});
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let reply = self.send(self.headers(&Method::POST), &body).await;
        self.session = reply.headers.get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        reply
    }

    pub(crate) async fn legacy(&self, method: &str, params: Value) -> Reply {
        let body = json!({"jsonrpc": "2.0", "id": 12, "method": method, "params": params});
        self.send(self.headers(&Method::POST), &body).await
    }

    pub(crate) async fn legacy_call(&self, tool: &str, arguments: Value) -> Reply {
        self.legacy("tools/call", json!({"name": tool, "arguments": arguments})).await
    }
}

/// Reads a response to its end; of a stream, the last event.
pub(crate) async fn whole(response: hyper::Response<Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let events = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    let body = serde_json::from_str(events.unwrap_or(&text)).unwrap_or(Value::Null);
    Reply { status: parts.status, headers: parts.headers, body }
}

/// Reads the next event of a stream.
pub(crate) async fn next_event(body: &mut Incoming) -> Option<Value> {
    loop {
        let frame =
            tokio::time::timeout(Duration::from_secs(10), body.frame()).await.unwrap_or_else(|_| panic!("no event in time"))?;
        let text = String::from_utf8(frame.ok()?.into_data().ok()?.to_vec()).unwrap();
        if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
            return Some(serde_json::from_str(data).unwrap());
        }
    }
}
