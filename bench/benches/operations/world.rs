//! Alice, her planner and its reader, and an asker of decisions, at a whole server: who they are, what they hold, and the requests they make.

use super::{details, details_deep, upstream::Upstream};
use crate::fixtures::{
    ledger::{config, runtime},
    people::{HELPDESK, ISSUER, NOW, ceiling, entitlements},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use remit_authority::{Parts, Server};
use remit_clock::{Clock, Entropy};
use remit_gateway::{Authzen, Captures, Denials, Gateway, Route};
use remit_model::{
    Agent, AgentId, AgentStatus, Authority, Chain, EdgeProof, Hop, Human, HumanStatus, Moment, Principal, ServerId, TenantId,
    ToolClass, ToolRule,
};
use remit_policy::{Bundle, Live};
use remit_store::{Batch, Change, Config, Store, StoredToken};
use remit_token::{
    Actor, Algorithm, PrivateKey, SigningKeys, access, assertion,
    dpop::{self, ProofFor},
};
use serde_json::{Value, json};
use std::{cell::Cell, collections::BTreeMap, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const TOKEN_URL: &str = "https://remit.example/oauth/token";
const DESK: &str = "https://remit.example/access/v1";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const REVISION: &str = "2026-07-28";

/// An agent's keys: one to authenticate with, one for its proofs.
struct Caller {
    name: &'static str,
    auth: PrivateKey,
    proof: PrivateKey,
}

impl Caller {
    fn new(name: &'static str, seed: u8) -> Self {
        let key = |algorithm, seed| PrivateKey::from_seed(algorithm, &[seed; 32]).unwrap();
        Self { name, auth: key(Algorithm::Ed25519, seed), proof: key(Algorithm::Es256, seed + 1) }
    }

    fn sub(&self) -> String {
        format!("agent:{}", self.name)
    }

    fn principal(&self) -> Principal {
        Principal::local(ISSUER, self.sub())
    }

    fn registered(&self) -> Agent {
        Agent {
            id: AgentId::parse(self.name).unwrap(),
            display_name: format!("The {}", self.name),
            owner: "user:olga".to_owned(),
            status: AgentStatus::Active,
            keys: vec![self.auth.public().to_jwk()],
            redirect_uris: Vec::new(),
            ceiling: authority(&match self.name {
                "reader" => ceiling(),
                "asker" => json!([{"type": "tool_access", "locations": [DESK], "actions": ["evaluate"]}]),
                // Everybody else may have all that Alice may hand on.
                _ => entitlements(),
            }),
            labels: BTreeMap::from([("team".to_owned(), "support".to_owned())]),
            acts: remit_model::Acts::default(),
            client: remit_model::ClientProfile::default(),
            registered: NOW,
        }
    }
}

pub(super) struct World {
    runtime: Runtime,
    authority: Router,
    gateway: Router,
    planner: Caller,
    reader: Caller,
    asker: Caller,
    /// The planner's token from Alice, the reader's own, the reader's from the planner, and the asker's.
    held: String,
    shown: String,
    handed: String,
    asking: String,
    /// The third agent of a chain, and its token.
    third: Caller,
    deep: String,
    count: Cell<u32>,
    _upstream: Upstream,
    _folder: TempDir,
}

fn authority(details: &Value) -> Authority {
    Authority::parse(details).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (runtime, upstream) = (runtime(), Upstream::start());
        let clock = Clock::manual(Moment::at(NOW.0));
        let key = || PrivateKey::from_seed(Algorithm::Es256, &[1; 32]).unwrap();
        let keys = SigningKeys::new(key());
        let issuer_jwks = keys.set().to_jwks();
        let store = Store::open(Config { issuer_jwks, ..config(folder.path()) }).unwrap();
        let (planner, reader, asker) = (Caller::new("planner", 11), Caller::new("reader", 21), Caller::new("asker", 31));
        let (second, third) = (Caller::new("second", 41), Caller::new("third", 51));
        let held = access::mint(&key(), &claims(&planner)).unwrap();
        runtime.block_on(store.apply(people(&planner, [&planner, &reader, &asker, &second, &third]))).unwrap();
        let policies = Bundle::starter().iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<Vec<_>>();
        let policy = Arc::new(Live::new(Bundle::parse(&policies).unwrap(), NOW));
        let gateway = runtime.block_on(async { gateway(&store, &policy, &clock, &upstream.url) });
        let server = Server::new(Parts {
            store,
            policy,
            clock,
            entropy: Entropy::seeded(9),
            issuer: ISSUER.to_owned(),
            keys,
            servers: vec![helpdesk(), desk()],
            nonces: nonces(),
            workload: remit_authority::WorkloadTrust::default(),
            outbound: remit_outbound::Outbound::new(remit_outbound::Rules::default()).unwrap(),
            sign_in: remit_authority::provider::SignInMethods { providers: Vec::new(), local: true },
            settings: remit_authority::Settings::default(),
        });
        let mut world = Self {
            runtime,
            authority: remit_authority::router(Arc::new(server)),
            gateway,
            planner,
            reader,
            asker,
            held,
            shown: String::new(),
            handed: String::new(),
            asking: String::new(),
            third,
            deep: String::new(),
            count: Cell::new(0),
            _upstream: upstream,
            _folder: folder,
        };
        world.shown = world.token(world.own_token(&world.reader, ISSUER));
        world.handed = world.token(world.exchange());
        world.asking = world.token(world.own_token(&world.asker, DESK));
        let [shown, next] = [&second, &world.third].map(|agent| world.token(world.own_token(agent, ISSUER)));
        let held = world.token(world.hand(&world.planner, &world.held, &shown, None));
        world.deep = world.token(world.hand(&second, &held, &next, None));
        world
    }

    /// The planner hands the reader a part of what it holds.
    pub(super) fn exchange(&self) -> Request<Body> {
        self.hand(&self.planner, &self.held, &self.shown, Some(&details()))
    }

    /// The third of a chain hands on a part of what it holds, to the reader as the fourth.
    pub(super) fn exchange_deep(&self) -> Request<Body> {
        self.hand(&self.third, &self.deep, &self.shown, Some(&details_deep()))
    }

    /// Gives what is asked for, or all that may be given, to an agent that has shown itself.
    fn hand(&self, holder: &Caller, held: &str, shown: &str, details: Option<&str>) -> Request<Body> {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", held),
            ("subject_token_type", ACCESS_TOKEN),
            ("actor_token", shown),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        form.extend(details.map(|details| ("authorization_details", details)));
        form.extend(details.is_none().then_some(("resource", HELPDESK)));
        self.form("/oauth/token", holder, &form)
    }

    /// The planner's token on its own account.
    pub(super) fn credentials(&self) -> Request<Body> {
        self.own_token(&self.planner, ISSUER)
    }

    /// The reader asks what its token is worth.
    pub(super) fn introspection(&self) -> Request<Body> {
        self.form("/oauth/introspect", &self.reader, &[("token", &self.handed)])
    }

    /// The reader calls a tool.
    pub(super) fn call(&self, tool: &str, arguments: &Value) -> Request<Body> {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": REVISION, "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"}});
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        let body = json!({"jsonrpc": "2.0", "id": 11, "method": "tools/call", "params": params});
        Request::post("/mcp/helpdesk")
            .header(header::HOST, "remit.example")
            .header(header::AUTHORIZATION, format!("DPoP {}", self.handed))
            .header("dpop", self.proof(&self.reader, HELPDESK, Some(&self.handed)))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", REVISION)
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .body(Body::from(body.to_string()))
            .unwrap()
    }

    /// Another enforcement point asks whether the reader may call a tool.
    pub(super) fn evaluation(&self) -> Request<Body> {
        let body = json!({"subject": {"type": "agent", "id": "reader"}, "action": {"name": "call"},
            "resource": {"type": "tool", "id": "helpdesk/kb_search"}, "context": {"arguments": {"query": "lamp"}}});
        Request::post("/access/v1/evaluation")
            .header(header::HOST, "remit.example")
            .header(header::AUTHORIZATION, format!("DPoP {}", self.asking))
            .header("dpop", self.proof(&self.asker, &format!("{DESK}/evaluation"), Some(&self.asking)))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap()
    }

    /// Sends a request to whom it is for, and gives the whole answer.
    pub(super) fn send(&self, request: Request<Body>) -> String {
        let router = if request.uri().path().starts_with("/oauth") { &self.authority } else { &self.gateway };
        self.runtime.block_on(async {
            let answer = router.clone().oneshot(request).await.unwrap();
            let (status, body) = (answer.status(), to_bytes(answer.into_body(), usize::MAX).await.unwrap());
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(status.is_success(), "{status} {text}");
            text
        })
    }

    fn token(&self, request: Request<Body>) -> String {
        let answer: Value = serde_json::from_str(&self.send(request)).unwrap();
        answer.get("access_token").and_then(Value::as_str).unwrap().to_owned()
    }

    fn own_token(&self, caller: &Caller, resource: &str) -> Request<Body> {
        self.form("/oauth/token", caller, &[("grant_type", "client_credentials"), ("resource", resource)])
    }

    /// A form of an agent that authenticates and proves its key.
    fn form(&self, path: &str, caller: &Caller, fields: &[(&str, &str)]) -> Request<Body> {
        let shown = assertion::create(&caller.auth, &caller.sub(), ISSUER, &self.unique(), NOW).unwrap();
        let own = [("client_assertion_type", assertion::ASSERTION_TYPE), ("client_assertion", &shown)];
        let pair = |(name, value): &(&str, &str)| {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
            let escape = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
            format!("{name}={}", value.bytes().map(escape).collect::<String>())
        };
        let body: Vec<String> = own.iter().chain(fields).map(pair).collect();
        Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("dpop", self.proof(caller, TOKEN_URL, None))
            .body(Body::from(body.join("&")))
            .unwrap()
    }

    fn proof(&self, caller: &Caller, url: &str, access_token: Option<&str>) -> String {
        let jti = self.unique();
        let request = ProofFor { method: "POST", url, now: NOW, jti: &jti, access_token, ..ProofFor::default() };
        dpop::create(&caller.proof, &request).unwrap()
    }

    fn unique(&self) -> String {
        self.count.set(self.count.get() + 1);
        format!("unique-{:010}-padding", self.count.get())
    }
}

/// What the planner holds for Alice at the helpdesk.
fn claims(planner: &Caller) -> access::Claims {
    access::Claims {
        iss: ISSUER.to_owned(),
        sub: "user:alice".to_owned(),
        aud: HELPDESK.to_owned(),
        client_id: planner.sub(),
        scope: String::new(),
        jti: "planners-token".to_owned(),
        iat: NOW,
        exp: NOW.plus(900),
        auth_time: Some(NOW.plus(-60)),
        acr: None,
        amr: vec!["pwd".to_owned()],
        cnf_jkt: Some(planner.proof.public().thumbprint().to_owned()),
        cnf_x5t: None,
        act: Some(Actor { iss: ISSUER.to_owned(), sub: planner.sub(), sub_profile: "ai_agent".to_owned(), act: None }),
        authority: authority(&entitlements()).at_location(HELPDESK),
        txn: "chain-1".to_owned(),
        ancestors: Vec::new(),
        ancestor_keys: Vec::new(),
        ancestor_jkts: Vec::new(),
        purpose: None,
        signed: None,
    }
}

/// Everybody registered, and the planner's token as it was issued.
fn people(planner: &Caller, agents: [&Caller; 5]) -> Batch {
    let claims = claims(planner);
    let alice = Principal::local(ISSUER, "user:alice");
    let jkt = planner.proof.public().thumbprint().to_owned();
    let mut chain = Chain::new(claims.txn, alice.clone());
    chain.hops.push(Hop {
        delegator: alice,
        delegate: planner.principal(),
        jkt: Some(jkt.clone()),
        x5t: None,
        authority: claims.authority.clone(),
        purpose: None,
        expires: claims.exp,
        jti: claims.jti.clone(),
        edge: EdgeProof::IdToken("an.id.token".to_owned()),
        signed: None,
    });
    let token = StoredToken {
        jti: claims.jti,
        chain,
        authority: claims.authority,
        parent: None,
        client: planner.sub(),
        jkt: Some(jkt),
        audience: HELPDESK.to_owned(),
        issued: NOW,
        expires: claims.exp,
        family: None,
        keys: Vec::new(),
    };
    let human = Human {
        name: "alice".to_owned(),
        display_name: "Alice".to_owned(),
        status: HumanStatus::Active,
        password_hash: None,
        entitlements: authority(&entitlements()),
        identity: None,
        ended_before: None,
        passkeys: remit_model::Passkeys::default(),
        managed: remit_model::Managed::default(),
    };
    let batch = Batch::new(TenantId::main()).change(Change::PutHuman(human));
    let batch = agents.into_iter().fold(batch, |batch, agent| batch.change(Change::PutAgent(agent.registered())));
    batch.change(Change::IssueToken(token.into()))
}

/// The decision point as a resource.
fn desk() -> Arc<remit_model::Server> {
    Arc::new(Authzen::resource(ISSUER).unwrap())
}

fn helpdesk() -> Arc<remit_model::Server> {
    let tools = [
        ("kb_search", ToolClass::Read),
        ("kb_read", ToolClass::Read),
        ("tickets_search", ToolClass::Read),
        ("tickets_read", ToolClass::Read),
        ("customers_read", ToolClass::Read),
        ("voucher.create", ToolClass::Write),
    ];
    Arc::new(remit_model::Server {
        id: ServerId::parse("helpdesk").unwrap(),
        title: "Helpdesk".to_owned(),
        location: HELPDESK.to_owned(),
        tools: tools.map(|(tool, class)| (tool.to_owned(), ToolRule { class, ..ToolRule::default() })).into(),
    })
}

fn gateway(store: &Store, policy: &Arc<Live>, clock: &Clock, url: &str) -> Router {
    let mut settings = remit_gateway::Settings::new(ISSUER);
    // Nothing happens by itself while something is counted.
    settings.recheck = Duration::from_hours(1);
    settings.authzen = Some(Authzen { server: desk(), reads_in_outage: false });
    remit_gateway::router(Gateway::new(remit_gateway::Parts {
        store: store.clone(),
        policy: Arc::clone(policy),
        clock: clock.clone(),
        entropy: Entropy::seeded(8),
        routes: vec![Route {
            server: helpdesk(),
            upstream: remit_gateway::Upstream::Http { url: url.to_owned(), headers: remit_gateway::UpstreamHeaders::default() },
            captures: Captures::default(),
            reads_in_outage: false,
            denials: Denials::default(),
            start_timeout: None,
            list_requestable: false,
        }],
        nonces: nonces(),
        settings,
    }))
}

fn nonces() -> Arc<dpop::Nonces> {
    Arc::new(dpop::Nonces::new(&[8; 32], dpop::nonce::PERIOD_SECS))
}
