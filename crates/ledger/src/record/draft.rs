//! What a part of Remit says happened, before it becomes a record.
//!
//! Every field is public and has an honest default: an unset outcome is `unknown`, an unset human is `none`.
//! Personal values may be put here in plain form ([`Party::subject`], [`Resource::id`], [`Draft::owner`],
//! [`Draft::committed`]); sealing replaces them by pseudonyms and commitments.

use remit_model::{Chain, EdgeProof, Principal, PrincipalKind, TenantId, ToolClass, UnixTime};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt;

/// What kind of fact a record states. SPEC: record.md §1.11 `record_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordType {
    Intent,
    Decision,
    Effect,
    Token,
    Lease,
    Approval,
    Delegation,
    PolicyChange,
    ConfigChange,
    SessionOpen,
    SessionClose,
    Redaction,
    LogAccess,
    LogControl,
    Heartbeat,
    Reconcile,
    Sandbox,
}

/// Which part of Remit wrote the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProducerKind {
    Gateway,
    AuthzServer,
    Broker,
    Sandbox,
    Sdk,
    Resource,
}

/// One fact, drafted. Start with [`Draft::new`] and set what you know.
#[derive(Clone)]
pub struct Draft {
    pub record_type: RecordType,
    pub tenant: TenantId,
    pub producer: ProducerKind,
    /// Index 0 is the human or root workload, the last is the caller. Empty means the producer itself acted.
    pub chain: Vec<Party>,
    /// (issuer, subject) of the human accountable for the acting agent; recorded as `owner_ref`.
    pub owner: Option<Principal>,
    /// Id of the delegation chain (`txn` of the token).
    pub txn: Option<String>,
    pub session: Session,
    pub session_seq: Option<u64>,
    pub protocol: Protocol,
    pub action: Action,
    pub tool: Option<Tool>,
    pub mcp: Option<Mcp>,
    pub http: Option<Http>,
    pub resources: Vec<Resource>,
    pub decision: Option<DecisionFacts>,
    pub outcome: Outcome,
    pub human_in_loop: HumanInLoop,
    /// `record_id` of the intent this effect belongs to.
    pub intent_id: Option<String>,
    /// `record_id`s that led to this record.
    pub caused_by: Vec<String>,
    pub trace: Option<Trace>,
    pub purpose: Option<Purpose>,
    /// Begin and end of the effect, nanoseconds since the Unix epoch.
    pub span_ns: Option<(u64, u64)>,
    pub retention: Retention,
    /// Plain facts that are neither personal nor secret, by name (`delegation`, `token`, `config`, `limits`, …).
    pub ext: Map<String, Value>,
    /// Values that are committed to and kept beside the log: (path, value), each path at most once.
    pub committed: Vec<(String, Value)>,
}

impl Draft {
    pub fn new(tenant: TenantId, producer: ProducerKind, record_type: RecordType) -> Self {
        Self {
            record_type,
            tenant,
            producer,
            chain: Vec::new(),
            owner: None,
            txn: None,
            session: Session::default(),
            session_seq: None,
            protocol: Protocol::Internal,
            action: Action::default(),
            tool: None,
            mcp: None,
            http: None,
            resources: Vec::new(),
            decision: None,
            outcome: Outcome::default(),
            human_in_loop: HumanInLoop::None,
            intent_id: None,
            caused_by: Vec::new(),
            trace: None,
            purpose: None,
            span_ns: None,
            retention: Retention::default(),
            ext: Map::new(),
            committed: Vec::new(),
        }
    }

    #[must_use]
    pub fn action(mut self, name: impl Into<String>, class: ToolClass) -> Self {
        self.action = Action { name: name.into(), class };
        self
    }

    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    #[must_use]
    pub fn chain(mut self, chain: Vec<Party>) -> Self {
        self.chain = chain;
        self
    }

    #[must_use]
    pub fn owner(mut self, owner: Principal) -> Self {
        self.owner = Some(owner);
        self
    }

    #[must_use]
    pub fn decision(mut self, decision: DecisionFacts) -> Self {
        self.decision = Some(decision);
        self
    }

    #[must_use]
    pub fn outcome(mut self, status: OutcomeStatus, effect: EffectConfirmed) -> Self {
        self.outcome.status = status;
        self.outcome.effect_confirmed = effect;
        self
    }

    #[must_use]
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resources.push(resource);
        self
    }

    #[must_use]
    pub fn purpose(mut self, code: impl Into<String>) -> Self {
        self.purpose = Some(Purpose { code: code.into(), ..Purpose::default() });
        self
    }

    #[must_use]
    pub fn caused_by(mut self, record_id: impl Into<String>) -> Self {
        self.caused_by.push(record_id.into());
        self
    }

    /// A plain fact under `ext.<name>`; never personal, never a secret.
    #[must_use]
    pub fn ext(mut self, name: &str, value: Value) -> Self {
        self.ext.insert(name.to_owned(), value);
        self
    }

    /// A value kept beside the log, committed to under `path` (for instance `/decision/input`).
    #[must_use]
    pub fn commit(mut self, path: impl Into<String>, value: Value) -> Self {
        self.committed.push((path.into(), value));
        self
    }

    /// The request's arguments, committed under `/call/arguments`; `request.hash` is that commitment's leaf.
    #[must_use]
    pub fn request(self, arguments: Value) -> Self {
        self.commit("/call/arguments", arguments)
    }

    /// The response, or its digest as a string, committed under `/response/body`; `response.hash` is the leaf.
    #[must_use]
    pub fn response(self, body: Value) -> Self {
        self.commit("/response/body", body)
    }

    /// The first record of every start of a producer: the keys everything after it is checked with.
    ///
    /// `record_key` is the producer's public JWK ([`super::RecordKey::jwk`]), `log` the vkey of the checkpoints,
    /// `issuer` the issuer's JWKS.
    pub fn start(tenant: TenantId, producer: ProducerKind, record_key: &Value, log: &str, issuer: &Value) -> Self {
        Self::new(tenant, producer, RecordType::LogControl)
            .action("start", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .ext("keys", json!({ "record": record_key, "log": log, "issuer": issuer }))
    }

    /// The last record of a clean stop.
    pub fn stop(tenant: TenantId, producer: ProducerKind) -> Self {
        Self::new(tenant, producer, RecordType::LogControl)
            .action("stop", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
    }
}

/// Says what was drafted and nothing personal: drafts end up in error messages.
impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("record_type", &self.record_type)
            .field("tenant", &self.tenant)
            .field("action", &self.action.name)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartyKind {
    Human,
    Agent,
    Subagent,
    Workload,
    Service,
    ExternalAgent,
}

/// One node of the chain of custody.
#[derive(Clone, Debug)]
pub struct Party {
    pub kind: PartyKind,
    pub issuer: String,
    /// Plain subject; recorded as a pseudonym (`subject_ref`) and committed under `/chain/N/subject`.
    pub subject: String,
    pub agent: Option<AgentFacts>,
    pub auth: Auth,
    pub token: Option<TokenFacts>,
    /// RFC 7638 thumbprint of the key this party proved.
    pub jkt: Option<String>,
    /// The DPoP proof seen, compact; only its hash is recorded.
    pub proof: Option<String>,
    pub grant: GrantFacts,
    /// How this party came by its authority, signed by the delegator; `None` at index 0 or when not at hand.
    pub edge: Option<Edge>,
}

impl Party {
    pub fn new(kind: PartyKind, issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            kind,
            issuer: issuer.into(),
            subject: subject.into(),
            agent: None,
            auth: Auth::default(),
            token: None,
            jkt: None,
            proof: None,
            grant: GrantFacts::default(),
            edge: None,
        }
    }

    pub fn of(principal: &Principal) -> Self {
        let kind = match principal.kind() {
            PrincipalKind::Human => PartyKind::Human,
            PrincipalKind::Agent => PartyKind::Agent,
        };
        Self::new(kind, &principal.iss, &principal.sub)
    }

    /// The whole chain of custody as the token service knows it: the root, then one party for each hop.
    pub fn chain(chain: &Chain) -> Vec<Self> {
        let mut parties = vec![Self::of(&chain.root)];
        let mut parent: Option<&str> = None;
        for (depth, hop) in chain.hops.iter().enumerate() {
            let mut party = Self::of(&hop.delegate);
            if depth > 0 {
                party.kind = PartyKind::Subagent;
            }
            party.jkt = Some(hop.jkt.clone());
            party.token = Some(TokenFacts {
                jti: Some(hop.jti.clone()),
                expires: Some(hop.expires),
                authorization_details_hash: Some(hop.authority.digest()),
                ..TokenFacts::default()
            });
            party.grant = GrantFacts {
                id: hop.jti.clone(),
                kind: if depth == 0 { GrantKind::Login } else { GrantKind::TokenExchange },
                parent_jti: parent.map(str::to_owned),
            };
            party.edge = Some(Edge::Proof(hop.edge.clone()));
            parent = Some(&hop.jti);
            parties.push(party);
        }
        parties
    }
}

/// The delegator's signature over one hop.
#[derive(Clone, Debug)]
pub enum Edge {
    /// The proof itself: hashed into the record, committed under `/chain/N/edge`.
    Proof(EdgeProof),
    /// Only its hash (`sha-256:…`) is at hand; the delegation record holds the proof.
    Hash(String),
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentFacts {
    pub uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charter_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
}

/// How a party proved who it is. `password` and `none` are ours: the honest names for what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    Passkey,
    Mfa,
    Sso,
    SpiffeSvid,
    Wit,
    ClientAssertion,
    /// Legacy shared key.
    ApiKey,
    Password,
    /// Known only from an upstream token, or not authenticated at all.
    #[default]
    None,
}

#[derive(Clone, Debug, Default)]
pub struct Auth {
    pub method: AuthMethod,
    pub time: Option<UnixTime>,
    pub acr: Option<String>,
    pub amr: Vec<String>,
}

/// Facts of the token a party held. The token itself is never recorded; `jti` is hashed.
#[derive(Clone, Debug, Default)]
pub struct TokenFacts {
    pub jti: Option<String>,
    pub issuer: Option<String>,
    pub audience: Vec<String>,
    pub scope: Vec<String>,
    pub expires: Option<UnixTime>,
    pub issued: Option<UnixTime>,
    /// `sha-256:…` of the canonical authority.
    pub authorization_details_hash: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    #[default]
    Login,
    TokenExchange,
    Ciba,
    ClientCredentials,
    IdJag,
    TxnToken,
}

/// The grant by which a party came into the chain. An empty id means none (a party that only presented itself).
#[derive(Clone, Debug, Default)]
pub struct GrantFacts {
    pub id: String,
    pub kind: GrantKind,
    pub parent_jti: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Session {
    pub id: Option<String>,
    pub conversation: Option<String>,
    pub run: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Mcp,
    Http,
    A2a,
    Grpc,
    Sql,
    Ssh,
    Llm,
    Internal,
}

#[derive(Clone, Debug)]
pub struct Action {
    pub name: String,
    pub class: ToolClass,
}

impl Default for Action {
    fn default() -> Self {
        Self { name: "unnamed".to_owned(), class: ToolClass::default() }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Tool {
    pub server_id: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_digest: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Mcp {
    pub method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Http {
    pub method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The route's template, never a path with ids in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Classification {
    Public,
    #[default]
    Internal,
    Confidential,
    Pii,
    Phi,
    Pci,
    Secret,
}

impl Classification {
    /// Reads the word an operator writes in a tool rule; `None` when it is not one of the seven.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "public" => Self::Public,
            "internal" => Self::Internal,
            "confidential" => Self::Confidential,
            "pii" => Self::Pii,
            "phi" => Self::Phi,
            "pci" => Self::Pci,
            "secret" => Self::Secret,
            _ => return None,
        })
    }
}

/// One thing acted upon, down to its fields.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    pub kind: String,
    /// Plain id; recorded as a pseudonym (`id_ref`) and committed under `/resource/N/id`.
    pub id: Option<String>,
    /// JSON Pointers asked for.
    pub fields: Vec<String>,
    /// JSON Pointers that left, after masking.
    pub fields_returned: Vec<String>,
    pub fields_masked: Vec<Masked>,
    pub classification: Classification,
    pub record_count: Option<u64>,
    pub bytes: Option<u64>,
}

impl Resource {
    pub fn new(kind: impl Into<String>, id: Option<String>) -> Self {
        Self { kind: kind.into(), id, ..Self::default() }
    }

    /// The pointers a field projection returned and dropped, under one rule.
    #[must_use]
    pub fn projected(mut self, returned: Vec<String>, masked: Vec<String>, rule_id: &str) -> Self {
        self.fields_returned = returned;
        self.fields_masked = masked.into_iter().map(|ptr| Masked { ptr, rule_id: rule_id.to_owned(), how: Mask::Drop }).collect();
        self
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Masked {
    pub ptr: String,
    pub rule_id: String,
    pub how: Mask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    Drop,
    Hash,
    Partial,
    Tokenise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionResult {
    Allow,
    Deny,
    StepUp,
    Mask,
    Quota,
    ErrorFailClosed,
}

/// Why: the decision, its determining policies and the pins that let it be replayed.
#[derive(Clone, Debug)]
pub struct DecisionFacts {
    /// A UUID; sealing derives one from the record's id when empty.
    pub id: Option<String>,
    pub result: DecisionResult,
    /// A code of `remit_model::refusal::Code` when refused.
    pub reason_code: Option<String>,
    pub policies: Vec<PolicyFact>,
    pub errors: Vec<PolicyFailure>,
    pub policy_set_digest: Option<String>,
    pub schema_digest: Option<String>,
    pub entities_digest: Option<String>,
    pub engine: Option<Engine>,
    /// The exact question, committed under `/decision/input`; `decision.input_hash` is its leaf.
    pub input: Option<Value>,
    /// Inputs that a replay must read back, not recompute: (name, value).
    pub nondet: Vec<(String, Value)>,
    pub latency_ns: Option<u64>,
    /// Made from policy annotations, cut at 512 bytes.
    pub explanation: Option<String>,
}

impl DecisionFacts {
    pub fn new(result: DecisionResult) -> Self {
        Self {
            id: None,
            result,
            reason_code: None,
            policies: Vec::new(),
            errors: Vec::new(),
            policy_set_digest: None,
            schema_digest: None,
            entities_digest: None,
            engine: None,
            input: None,
            nondet: Vec::new(),
            latency_ns: None,
            explanation: None,
        }
    }

    /// A refusal that never reached the policy engine.
    pub fn refused(refusal: &remit_model::Refusal) -> Self {
        Self {
            reason_code: Some(refusal.code.as_str().to_owned()),
            explanation: Some(refusal.reason.clone()),
            ..Self::new(DecisionResult::Deny)
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct PolicyFact {
    pub id: String,
    pub version: String,
    pub effect: String,
    pub digest: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct PolicyFailure {
    pub policy_id: String,
    pub message: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Engine {
    pub name: String,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_digest: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeStatus {
    Success,
    Failure,
    Denied,
    Timeout,
    Cancelled,
    Partial,
    #[default]
    Unknown,
    Escalated,
}

/// What is known of the effect itself, as opposed to our attempt at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectConfirmed {
    Observed,
    Acked,
    DispatchedOnly,
    #[default]
    None,
}

#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub status: OutcomeStatus,
    pub effect_confirmed: EffectConfirmed,
    pub error_type: Option<String>,
    pub code: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HumanInLoop {
    #[default]
    None,
    Notified,
    Approved,
    Edited,
    BreakGlass,
}

/// W3C trace context.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trace {
    pub trace_id: String,
    pub span_id: String,
    pub flags: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Purpose {
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_by: Option<String>,
}

/// How long the record must be kept. SPEC: LG-11.
#[derive(Clone, Debug)]
pub struct Retention {
    pub class: String,
    pub keep_days: u32,
    pub legal_hold: bool,
}

impl Default for Retention {
    /// 400 days: a year (PCI DSS 10.5.1) and the month in which someone asks for it.
    fn default() -> Self {
        Self { class: "audit".to_owned(), keep_days: 400, legal_hold: false }
    }
}
