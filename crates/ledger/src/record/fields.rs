//! What was done, to what, why, and how it went: the parts of a draft.
//!
//! INVARIANT: whatever is `Serialize` declares its fields in the order of their names, as a record's canonical form has
//! them.

use remit_model::ToolClass;
use serde::Serialize;
use serde_json::Value;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor_digest: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_digest: Option<String>,
    pub server_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Mcp {
    pub method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Http {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    pub method: String,
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
    /// Whether what is classified so is about a person, who can ask to be forgotten.
    pub fn is_personal(self) -> bool {
        matches!(self, Self::Pii | Self::Phi)
    }

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
    /// A resource by its type and, where it has one, its identifier. The record holds a pseudonym of the identifier.
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
    pub how: Mask,
    pub ptr: String,
    pub rule_id: String,
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
    /// The facts of a decision of which only the result is known.
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
    pub digest: String,
    pub effect: String,
    pub id: String,
    pub version: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct PolicyFailure {
    pub message: String,
    pub policy_id: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Engine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_digest: Option<String>,
    pub name: String,
    pub version: String,
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
    pub flags: String,
    pub span_id: String,
    pub trace_id: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Purpose {
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_ref: Option<String>,
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
        Self { class: "standard".to_owned(), keep_days: 400, legal_hold: false }
    }
}
