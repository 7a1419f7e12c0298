//! Drafts: what a part of Remit states about an act, before the writer seals it as a record.
//!
//! Every field is public and has an honest default: an unset outcome is `unknown`, an unset human is `none`.
//! Personal values may be put here in plain form ([`Party::subject`], [`Resource::id`], [`Draft::owner`],
//! [`Draft::committed`]); sealing replaces them by pseudonyms and commitments.

use super::{
    Action, DecisionFacts, EffectConfirmed, Http, HumanInLoop, Mcp, Outcome, OutcomeStatus, Party, Protocol, Purpose, Resource,
    Retention, Session, Tool, Trace,
};
use remit_model::{Principal, TenantId, ToolClass};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{fmt, net::IpAddr};

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

impl RecordType {
    /// Every type, in the order of the format's documentation.
    pub const ALL: [Self; 17] = [
        Self::Intent,
        Self::Decision,
        Self::Effect,
        Self::Token,
        Self::Lease,
        Self::Approval,
        Self::Delegation,
        Self::PolicyChange,
        Self::ConfigChange,
        Self::SessionOpen,
        Self::SessionClose,
        Self::Redaction,
        Self::LogAccess,
        Self::LogControl,
        Self::Heartbeat,
        Self::Reconcile,
        Self::Sandbox,
    ];

    /// As a record spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Decision => "decision",
            Self::Effect => "effect",
            Self::Token => "token",
            Self::Lease => "lease",
            Self::Approval => "approval",
            Self::Delegation => "delegation",
            Self::PolicyChange => "policy_change",
            Self::ConfigChange => "config_change",
            Self::SessionOpen => "session_open",
            Self::SessionClose => "session_close",
            Self::Redaction => "redaction",
            Self::LogAccess => "log_access",
            Self::LogControl => "log_control",
            Self::Heartbeat => "heartbeat",
            Self::Reconcile => "reconcile",
            Self::Sandbox => "sandbox",
        }
    }
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
    /// Address the request came from; recorded as a pseudonym and committed under `/net/src_ip`.
    pub src_ip: Option<IpAddr>,
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

/// What only the writer of the log knows of a draft, when its turn comes. It takes the place of what the draft says.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// Place of the record in its session.
    pub session_seq: Option<u64>,
    /// Days the record's class is kept.
    pub keep_days: u32,
    /// Whether anyone it is about is on legal hold.
    pub legal_hold: bool,
    /// Plain facts besides those of [`Draft::ext`], without numbers; the same name takes the place of a drafted one.
    pub ext: Map<String, Value>,
}

impl Turn {
    /// Adds nothing to the draft.
    pub fn of(draft: &Draft) -> Self {
        let Retention { keep_days, legal_hold, .. } = draft.retention;
        Self { session_seq: draft.session_seq, keep_days, legal_hold, ext: Map::new() }
    }
}

impl Draft {
    /// A draft with nothing but what every record has. Its outcome is `unknown` until [`Draft::outcome`] states it.
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
            src_ip: None,
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

    /// States what was done, and its class.
    #[must_use]
    pub fn action(mut self, name: impl Into<String>, class: ToolClass) -> Self {
        self.action = Action { name: name.into(), class };
        self
    }

    /// States the protocol that the action came by.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// States the parties, the origin first and the caller last.
    #[must_use]
    pub fn chain(mut self, chain: Vec<Party>) -> Self {
        self.chain = chain;
        self
    }

    /// States the person who is accountable.
    #[must_use]
    pub fn owner(mut self, owner: Principal) -> Self {
        self.owner = Some(owner);
        self
    }

    /// States what was decided, and by which policies.
    #[must_use]
    pub fn decision(mut self, decision: DecisionFacts) -> Self {
        self.decision = Some(decision);
        self
    }

    /// States how the action ended, and how certain that is.
    #[must_use]
    pub fn outcome(mut self, status: OutcomeStatus, effect: EffectConfirmed) -> Self {
        self.outcome.status = status;
        self.outcome.effect_confirmed = effect;
        self
    }

    /// Adds a resource that the action is about.
    #[must_use]
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resources.push(resource);
        self
    }

    /// States the purpose by its code.
    #[must_use]
    pub fn purpose(mut self, code: impl Into<String>) -> Self {
        self.purpose = Some(Purpose { code: code.into(), ..Purpose::default() });
        self
    }

    /// Adds the `record_id` of a record that led to this one.
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
