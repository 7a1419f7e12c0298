//! A small world that writes a ledger as the authorization server and the gateway do: same members, same order.
//! Every key is Ed25519 and all randomness is counted, so equal worlds write equal bytes.

use remit_decide::facts;
use remit_ledger::{
    Reader, Sealed, Sealer, Writer,
    dir::Published,
    note::SigningKey,
    record::{
        DecisionFacts, DecisionResult, Draft, Edge, EffectConfirmed, Environment, Identity, OutcomeStatus, Party, Pepper,
        ProducerKind, Protocol, RecordKey, RecordType, Resource, TokenFacts, Tool,
    },
};
use remit_model::{
    Authority, Chain, ClockStatus, EdgeProof, Hop, Moment, Principal, PrincipalKind, ServerId, TenantId, TimeSource, ToolClass,
    UnixTime, json,
};
use remit_policy::{Action, Bundle, Party as PolicyParty, Question, ToolFacts};
use remit_token::{Algorithm, Delegation, KeySet, PrivateKey, access, assertion, dpop, id_token, nested_act, statement};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, ops::Deref, path::Path};
use tempfile::TempDir;

pub(crate) const ISS: &str = "https://remit.example";
pub(crate) const HELPDESK: &str = "https://remit.example/mcp/helpdesk";
/// Where the summarizer is called by other agents.
pub(crate) const ENDPOINT: &str = "https://summarizer.example/tasks";
const BEGIN: i64 = 1_795_321_800;

/// How a hop is proved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Named,
    /// The proof at the token endpoint carries no delegation.
    Unstated,
    Statement,
    Call,
}

#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) claims: access::Claims,
    pub(crate) chain: Chain,
}

/// A hop that is about to be recorded, for tests to spoil.
pub(crate) struct Proposal {
    pub(crate) chain: Chain,
    pub(crate) claims: access::Claims,
    /// Further claims.
    pub(crate) more: Map<String, Value>,
    pub(crate) facts: Map<String, Value>,
    pub(crate) assertion: Option<String>,
}

pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) bundle: Bundle,
    /// Pinned objects that go into the directory.
    pub(crate) objects: Vec<Vec<u8>>,
    sealer: Sealer,
    entries: Vec<Sealed>,
    drawn: u64,
}

pub(crate) fn authority(details: &Value) -> Authority {
    Authority::parse(details).unwrap()
}

/// What Alice hands to the planner.
pub(crate) fn broad() -> Authority {
    authority(&json!([{
        "type": "tool_access", "locations": [HELPDESK], "actions": ["refund_create", "tickets_read"],
        "arguments": {"/amount": {"max": 50}}, "delegate": {"to": ["agent:summarizer"], "depth": 1}
    }]))
}

/// What the planner hands to the summarizer.
pub(crate) fn narrow() -> Authority {
    authority(&json!([{
        "type": "tool_access", "locations": [HELPDESK], "actions": ["tickets_read"],
        "arguments": {"/amount": {"max": 50}}, "fields": ["/id", "/subject"]
    }]))
}

pub(crate) fn key(name: &str) -> PrivateKey {
    remit_testkit::key_named(Algorithm::Ed25519, name)
}

fn agent(name: &str) -> Principal {
    Principal::local(ISS, format!("agent:{name}"))
}

pub(crate) fn jkt(name: &str) -> String {
    key(&format!("dpop {name}")).public().thumbprint().to_owned()
}

impl World {
    /// A log that begins, with two registered agents and the starter policies in force.
    pub(crate) fn new() -> Self {
        let bundle = Bundle::parse(&remit_testkit::starter()).unwrap();
        let identity = Identity {
            producer_id: "spiffe://remit.example/node/main".to_owned(),
            version: "0.1.0".to_owned(),
            build_digest: json::sha256_label(b"build"),
            env: Environment::Prod,
        };
        let record_key = RecordKey::from_seed(&[7; 32]).unwrap();
        let start = Draft::start(
            TenantId::main(),
            ProducerKind::AuthzServer,
            &record_key.jwk(),
            &log_key().public().to_string(),
            &KeySet::of([key("issuer").public()]).to_jwks(),
        );
        let mut world = Self {
            now: BEGIN,
            objects: vec![bundle.pinned(), bundle.schema().as_bytes().to_vec()],
            bundle,
            sealer: Sealer::new(identity, record_key, Pepper::new(&[9; 32]), None),
            entries: Vec::new(),
            drawn: 0,
        };
        world.record(start);
        world.register("planner");
        world.register("summarizer");
        world
    }

    pub(crate) fn record(&mut self, draft: Draft) -> u64 {
        self.now += 1;
        let moment = Moment {
            error_bound_ns: 1_500_000,
            status: ClockStatus::Synchronized,
            source: TimeSource::Ntp,
            ..Moment::at(self.now)
        };
        let drawn = &mut self.drawn;
        let entropy = |bytes: &mut [u8]| {
            *drawn += 1;
            let block = json::sha256(&drawn.to_be_bytes());
            bytes.iter_mut().zip(block.iter().cycle()).for_each(|(byte, drawn)| *byte = *drawn);
        };
        self.entries.push(self.sealer.seal(draft, &moment, entropy).unwrap());
        self.entries.len() as u64 - 1
    }

    fn register(&mut self, name: &str) {
        self.keys("agent.add", name, &format!("client {name}"));
    }

    /// The agent's key is replaced by another; [`own`](Self::own) still signs with the first.
    pub(crate) fn rotate(&mut self, name: &str) {
        self.keys("agent.rotate_key", name, &format!("second client {name}"));
    }

    /// The issuer's keys change: these are published from here on, and the last of them until then.
    pub(crate) fn issuer_keys(&mut self, names: &[&str], until: Option<i64>, revoked: Option<&str>) {
        let kid = |name: &str| key(name).public().thumbprint().to_owned();
        let keys: Vec<PrivateKey> = names.iter().map(|name| key(name)).collect();
        let ends: Map<String, Value> =
            until.iter().zip(names.last()).map(|(end, name)| (kid(name), json!(end.to_string()))).collect();
        let mut stated = json!({"issuer": KeySet::of(keys.iter().map(PrivateKey::public)).to_jwks(), "issuer_until": ends});
        if let Some(name) = revoked {
            stated.as_object_mut().unwrap().insert("revoked".to_owned(), json!(kid(name)));
        }
        let draft = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
            .action("keys.rotate", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .ext("keys", stated);
        self.record(draft);
    }

    /// Whatever this person signed in for before this second has ended.
    pub(crate) fn end_sign_ins(&mut self, person: &str, before: i64, spoil: impl FnOnce(&mut Draft)) {
        let mut draft = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
            .action("account.end_sign_ins", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .owner(Principal::human(ISS, person))
            .ext("sign_in", json!({"ended_before": before, "provider": "corp", "cause": "backchannel_logout"}));
        spoil(&mut draft);
        self.record(draft);
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now += seconds;
    }

    /// What the agent's tokens are bound to from now on.
    pub(crate) fn bind(&mut self, name: &str, binding: &str) {
        let draft = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
            .action("agent.update", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .ext("config", json!({"agent": format!("agent:{name}"), "client": {"binding": binding}}));
        self.record(draft);
    }

    fn keys(&mut self, action: &str, name: &str, seed: &str) {
        let keys = json!([key(seed).public().to_jwk()]);
        let draft = Draft::new(TenantId::main(), ProducerKind::AuthzServer, RecordType::ConfigChange)
            .action(action, ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .ext("config", json!({"agent": format!("agent:{name}"), "keys": keys}));
        self.record(draft);
    }

    pub(crate) fn fresh(&mut self, what: &str) -> String {
        self.drawn += 1;
        format!("{what}-{}", self.drawn)
    }

    /// Alice signs in and agrees; the planner gets its first token.
    pub(crate) fn login(&mut self, spoil: impl FnOnce(&mut Proposal)) -> Token {
        self.login_with(broad(), spoil)
    }

    /// The same, where Alice agrees to this.
    pub(crate) fn login_with(&mut self, authority: Authority, spoil: impl FnOnce(&mut Proposal)) -> Token {
        let expires = UnixTime(self.now + 7200);
        let human = Principal::human(ISS, "alice");
        let planner = agent("planner");
        let consent = id_token::consent_digest(&planner.sub, &authority.to_value(), expires, Some("Close ticket T-1"));
        let id_token = id_token::mint(
            &key("issuer"),
            &id_token::Claims {
                iss: ISS.to_owned(),
                sub: human.sub.clone(),
                aud: planner.sub.clone(),
                nonce: None,
                jti: None,
                iat: UnixTime(self.now),
                exp: UnixTime(self.now + 300),
                auth_time: Some(UnixTime(self.now)),
                acr: None,
                amr: Vec::new(),
                consent: Some(consent),
            },
        );
        let jti = self.fresh("jti");
        let hop = Hop {
            delegator: human.clone(),
            delegate: planner,
            jkt: Some(jkt("planner")),
            x5t: None,
            authority: authority.clone(),
            purpose: Some("Close ticket T-1".to_owned()),
            expires,
            jti: jti.clone(),
            edge: EdgeProof::IdToken(id_token.unwrap()),
            signed: None,
        };
        let chain = Chain::new(self.fresh("txn"), human).extend(hop, 4).unwrap();
        let exp = UnixTime(self.now + 3600);
        self.issue(RecordType::Delegation, chain, authority, &jti, exp, None, spoil)
    }

    /// An agent on its own account.
    pub(crate) fn own(&mut self, name: &str, spoil: impl FnOnce(&mut Proposal)) -> Token {
        let id = self.fresh("jti");
        let jws = assertion::create(&key(&format!("client {name}")), &format!("agent:{name}"), ISS, &id, UnixTime(self.now));
        let chain = Chain::new(self.fresh("txn"), agent(name));
        let jti = self.fresh("jti");
        let exp = UnixTime(self.now + 3600);
        let with_assertion = |proposal: &mut Proposal| {
            proposal.assertion = Some(jws.unwrap());
            spoil(proposal);
        };
        self.issue(RecordType::Token, chain, broad(), &jti, exp, None, with_assertion)
    }

    /// The parent hands a part on to the summarizer.
    pub(crate) fn hand(&mut self, way: Way, parent: &Token, spoil: impl FnOnce(&mut Proposal)) -> Token {
        let for_endpoint = (way == Way::Call && parent.claims.aud != ENDPOINT).then(|| self.again_for(parent, true, ENDPOINT));
        let parent = for_endpoint.as_ref().unwrap_or(parent);
        let (authority, expires) = (narrow(), UnixTime(parent.claims.exp.0 - 60));
        let delegation = Delegation {
            delegate: "agent:summarizer".to_owned(),
            jkt: jkt("summarizer"),
            parent: parent.claims.jti.clone(),
            authority: authority.clone(),
            expires,
            purpose: None,
        };
        let subject = format!("token {}", parent.claims.jti);
        let edge = self.edge(way, parent, &delegation, &subject);
        let jti = self.fresh("jti");
        let hop = Hop {
            delegator: parent.chain.holder().clone(),
            delegate: agent("summarizer"),
            jkt: Some(jkt("summarizer")),
            x5t: None,
            authority: authority.clone(),
            purpose: None,
            expires,
            jti: jti.clone(),
            edge,
            signed: None,
        };
        let mut chain = parent.chain.clone();
        chain.hops.push(hop);
        self.issue(RecordType::Delegation, chain, authority, &jti, expires, Some(parent), |proposal| {
            proposal.facts.insert("subject_token_hash".to_owned(), json!(json::sha256_label(subject.as_bytes())));
            spoil(proposal);
        })
    }

    fn edge(&mut self, way: Way, parent: &Token, delegation: &Delegation, subject: &str) -> EdgeProof {
        let holder = parent.chain.holder().sub.trim_start_matches("agent:").to_owned();
        let key = key(&format!("dpop {holder}"));
        let (jti, now) = (self.fresh("proof"), UnixTime(self.now));
        let endpoint = format!("{ISS}/oauth/token");
        let at_token = dpop::ProofFor { method: "POST", url: &endpoint, now, jti: &jti, ..dpop::ProofFor::default() };
        match way {
            Way::Named => {
                let proof = dpop::ProofFor { delegation: Some(delegation), ..at_token };
                EdgeProof::DpopAtToken(dpop::create(&key, &proof).unwrap())
            }
            Way::Unstated => EdgeProof::DpopAtToken(dpop::create(&key, &at_token).unwrap()),
            Way::Statement => {
                let statement = statement::create(&key, &parent.chain.holder().sub, ISS, &jti, now, delegation);
                EdgeProof::Statement(statement.unwrap())
            }
            Way::Call => {
                let proof = dpop::ProofFor { url: ENDPOINT, access_token: Some(subject), ..at_token };
                EdgeProof::DpopAtCall(dpop::create(&key, &proof).unwrap())
            }
        }
    }

    /// The same holder gets another token: a narrower copy of one it has, or a refreshed one.
    pub(crate) fn again(&mut self, of: &Token, narrowed: bool) -> Token {
        self.again_for(of, narrowed, HELPDESK)
    }

    pub(crate) fn again_for(&mut self, of: &Token, narrowed: bool, audience: &str) -> Token {
        let jti = self.fresh("jti");
        let exp = UnixTime(of.claims.exp.0 - 1);
        let parent = narrowed.then_some(of);
        self.issue(RecordType::Token, of.chain.clone(), of.claims.authority.clone(), &jti, exp, parent, |proposal| {
            audience.clone_into(&mut proposal.claims.aud);
        })
    }

    /// A narrower copy of the token, spoiled.
    pub(crate) fn again_with(&mut self, of: &Token, spoil: impl FnOnce(&mut Proposal)) -> Token {
        let jti = self.fresh("jti");
        self.issue(RecordType::Token, of.chain.clone(), of.claims.authority.clone(), &jti, of.claims.exp, Some(of), spoil)
    }

    /// A narrower copy of the token, with the authority that `of` says.
    pub(crate) fn reissue(&mut self, of: &Token) -> Token {
        self.again_with(of, |_| {})
    }

    #[expect(clippy::too_many_arguments, reason = "a fixture")]
    fn issue(
        &mut self,
        kind: RecordType,
        chain: Chain,
        authority: Authority,
        jti: &str,
        exp: UnixTime,
        parent: Option<&Token>,
        spoil: impl FnOnce(&mut Proposal),
    ) -> Token {
        let holder = chain.holder().sub.trim_start_matches("agent:").to_owned();
        let ancestors = parent.map(|parent| [&[parent.claims.jti.clone()][..], &parent.claims.ancestors].concat());
        let x5t = chain.hops.last().and_then(|hop| hop.x5t.clone());
        let claims = access::Claims {
            iss: ISS.to_owned(),
            sub: chain.root.sub.clone(),
            aud: HELPDESK.to_owned(),
            client_id: chain.holder().sub.clone(),
            scope: "helpdesk:tickets_read".to_owned(),
            jti: jti.to_owned(),
            iat: UnixTime(self.now),
            exp,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            cnf_jkt: x5t.is_none().then(|| jkt(&holder)),
            cnf_x5t: x5t,
            act: nested_act(&chain),
            authority,
            txn: chain.id.clone(),
            ancestors: ancestors.unwrap_or_default(),
            ancestor_keys: Vec::new(),
            ancestor_jkts: Vec::new(),
            purpose: None,
            signed: None,
        };
        let mut proposal = Proposal { chain, claims, more: Map::new(), facts: Map::new(), assertion: None };
        spoil(&mut proposal);
        let draft = issued(kind, &proposal);
        self.record(draft);
        Token { claims: proposal.claims, chain: proposal.chain }
    }

    /// A call at the gateway, decided by the policies in force.
    pub(crate) fn call(
        &mut self,
        token: &Token,
        tool: &str,
        class: ToolClass,
        arguments: &Value,
        spoil: impl FnOnce(&mut Draft),
    ) -> u64 {
        let question = self.question(token, tool, class, arguments);
        self.asked(token, &question, spoil)
    }

    /// The same for a question that is there already.
    pub(crate) fn asked(&mut self, token: &Token, question: &Question, spoil: impl FnOnce(&mut Draft)) -> u64 {
        let tool = question.tool.clone().unwrap();
        let (tool, class, arguments) = (tool.name.as_str(), tool.class, &question.arguments);
        let decision = self.bundle.decide(question);
        let mut facts = facts::decision(question, &decision, 4_000);
        if let Some(engine) = &mut facts.engine {
            "4.14.1".clone_into(&mut engine.version);
        }
        let status = if decision.permits() { OutcomeStatus::Success } else { OutcomeStatus::Denied };
        let mut draft = Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision)
            .protocol(Protocol::Mcp)
            .action(tool, class)
            .chain(presented(token))
            .decision(facts)
            .outcome(status, EffectConfirmed::None)
            .resource(Resource::new("mcp.tool", Some(tool.to_owned())))
            .request(arguments.clone());
        draft.txn = Some(token.claims.txn.clone());
        draft.owner = Some(Principal::human(ISS, "alice"));
        draft.tool = Some(Tool { server_id: "helpdesk".to_owned(), name: tool.to_owned(), ..Tool::default() });
        draft.outcome.code = decision.code().map(|code| code.as_str().to_owned());
        spoil(&mut draft);
        self.record(draft)
    }

    pub(crate) fn question(&self, token: &Token, tool: &str, class: ToolClass, arguments: &Value) -> Question {
        let party = |principal: &Principal| PolicyParty {
            kind: principal.kind(),
            sub: principal.sub.clone(),
            iss: principal.iss.clone(),
            owner: (principal.kind() == PrincipalKind::Agent).then(|| "user:alice".to_owned()),
            labels: BTreeMap::new(),
            binding: remit_model::Binding::default(),
        };
        Question {
            tenant: TenantId::main(),
            issuer: ISS.to_owned(),
            principal: party(token.chain.holder()),
            on_behalf_of: party(&token.chain.root),
            chain: token.chain.hops.iter().map(|hop| hop.delegate.sub.clone()).collect(),
            txn: Some(token.claims.txn.clone()),
            action: Action::Call,
            server: Some(ServerId::parse("helpdesk").unwrap()),
            tool: Some(ToolFacts { name: tool.to_owned(), class, classification: None }),
            arguments: arguments.clone(),
            authority_digest: token.claims.authority.digest(),
            purpose: None,
            now: UnixTime(self.now),
            auth_age: Some(30),
            acr: None,
            amr: Vec::new(),
            root_signed: false,
        }
    }

    /// Publishes what was recorded.
    pub(crate) fn publish(&self) -> Log {
        let dir = TempDir::new().unwrap();
        let mut writer = Writer::open(dir.path(), log_key()).unwrap();
        let sides: Vec<Vec<u8>> = self.entries.iter().map(|sealed| sealed.side.to_bytes()).collect();
        let entries: Vec<Published<'_>> =
            self.entries.iter().zip(&sides).map(|(sealed, side)| Published { entry: &sealed.bytes, side: Some(side) }).collect();
        writer.publish(0, &entries).unwrap();
        for object in &self.objects {
            writer.put_object(object).unwrap();
        }
        Log { dir }
    }
}

/// A published log.
pub(crate) struct Log {
    dir: TempDir,
}

/// Its reader, and the directory as long as that is needed.
pub(crate) struct Opened {
    reader: Reader,
    _dir: TempDir,
}

impl Deref for Opened {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Log {
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn reader(self) -> Opened {
        Opened { reader: Reader::open(self.path()).unwrap(), _dir: self.dir }
    }

    /// Withholds every side value.
    pub(crate) fn withhold(&self) {
        std::fs::remove_dir_all(self.path().join("side")).unwrap();
    }

    /// Replaces text in the side values.
    pub(crate) fn rewrite_side(&self, from: &str, to: &str) {
        let path = self.path().join("side/000");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "`{from}` is not in the side values");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }
}

fn log_key() -> SigningKey {
    SigningKey::from_seed("remit.example/main", &[8; 32]).unwrap()
}

/// The record of a token, as the authorization server writes it.
fn issued(kind: RecordType, proposal: &Proposal) -> Draft {
    let Proposal { chain, claims, more, facts, assertion } = proposal;
    let mut parties = facts::delegated(chain);
    if let (Some(assertion), Some(root)) = (assertion, parties.first_mut()) {
        root.edge = Some(Edge::Proof(EdgeProof::ClientAssertion(assertion.clone())));
    }
    if let Some(last) = parties.last_mut() {
        last.bound(claims.confirmation().as_ref());
    }
    let mut token = facts.clone();
    token.insert("jti_hash".to_owned(), json!(json::sha256_label(claims.jti.as_bytes())));
    token.insert("audience".to_owned(), json!(claims.aud));
    token.insert("scope".to_owned(), json!(claims.scope));
    token.insert("authority_digest".to_owned(), json!(claims.authority.digest()));
    let mut shown = json!({
        "iss": claims.iss, "sub": claims.sub, "aud": claims.aud, "jti": claims.jti, "iat": claims.iat, "exp": claims.exp,
        "cnf": claims.confirmation().map_or_else(|| json!({"jkt": null}), |to| to.to_value()), "act": claims.act, "authorization_details": claims.authority.to_value(),
        "txn": claims.txn, "urn:remit:ancestors": claims.ancestors,
    });
    shown.as_object_mut().unwrap().extend(more.clone());
    let mut draft = Draft::new(TenantId::main(), ProducerKind::AuthzServer, kind)
        .action("token", ToolClass::Identity)
        .protocol(Protocol::Http)
        .chain(parties)
        .decision(DecisionFacts::new(DecisionResult::Allow))
        .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
        .ext("token", Value::Object(token))
        .commit("/delegation/chain", serde_json::to_value(chain).unwrap())
        .commit("/token/access", shown);
    draft.txn = Some(chain.id.clone());
    draft
}

/// The chain as the gateway reads it from a token.
fn presented(token: &Token) -> Vec<Party> {
    let principals = std::iter::once(&token.chain.root).chain(token.chain.hops.iter().map(|hop| &hop.delegate));
    let mut parties: Vec<Party> = principals.map(Party::of).collect();
    if let Some(last) = parties.last_mut() {
        last.bound(token.claims.confirmation().as_ref());
        last.proof = token.claims.cnf_jkt.is_some().then(|| "a proof".to_owned());
        last.token = Some(TokenFacts {
            jti: Some(token.claims.jti.clone()),
            audience: vec![HELPDESK.to_owned()],
            unbound: !token.claims.is_bound(),
            ..TokenFacts::default()
        });
    }
    parties
}
