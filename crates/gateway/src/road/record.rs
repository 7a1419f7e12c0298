//! What is recorded of a request: who, what, why and how it went. Every road ends in exactly one final record.
//!
//! SPEC: record.md §1.11. Values that may be personal (arguments, the policy's input, reasons that quote an argument) are
//! committed and kept beside the log; the record itself holds names, codes and digests.

use crate::{
    road::{
        act::Act,
        answer::{Answer, End},
        identify::Caller,
        kept::Kept,
        rejection::Rejection,
        request_origin::RequestOrigin,
        verified_token::VerifiedToken,
    },
    settings::{Capture, Settings},
};
use remit_decide::{Asked, FieldDecision, Principals, Verdict, facts, rule_of};
use remit_ledger::record::{
    Classification, DecisionFacts, DecisionResult, Draft, EffectConfirmed, GrantFacts, Http, Mask, Masked, Mcp, Outcome,
    OutcomeStatus, Party, PartyKind, ProducerKind, Purpose, RecordType, Resource, Tool, Trace,
};
use remit_model::{
    Permit,
    mask::Rules,
    refusal::{Code, Refusal},
    resource::{Named, Server, SubjectRule},
    time::Moment,
};
use remit_store::Snapshot;
use serde_json::{Value, json};

/// SHA-256 of a tool's definition and of its input schema, as the upstream last stated them.
pub(crate) type Described = (String, Option<String>);

/// The record of one request as it grows along the road.
#[derive(Debug)]
pub(crate) struct RequestRecord {
    draft: Draft,
    resource: Resource,
    /// Whom the call is about, as its tool's rule says.
    subject: Option<Resource>,
    decision: Option<DecisionFacts>,
    mutates: bool,
    /// `record_id` of the durable intent, once there is one.
    intent: Option<String>,
    /// `record_id` of the opening of a stream.
    stream: Option<String>,
    /// The request was handed to the upstream.
    dispatched: bool,
    /// It goes on with an earlier request.
    retry: bool,
    /// What is kept of the bodies.
    kept: Option<Kept>,
    began_ns: u64,
    fields: Option<Vec<String>>,
    rule: String,
    /// What the policies said of the classified fields of the answer.
    classes: Vec<FieldDecision>,
}

impl RequestRecord {
    /// Begins a record for a request at a server.
    pub(crate) fn open(settings: &Settings, server: &Server, origin: &RequestOrigin, now: &Moment) -> Self {
        let endpoint = &origin.endpoint;
        let mut draft = Draft::new(settings.tenant.clone(), ProducerKind::Gateway, RecordType::Decision)
            .protocol(endpoint.protocol)
            .action(endpoint.action, endpoint.class);
        draft.src_ip = origin.peer;
        draft.http = Some(Http { method: origin.method.to_string(), route: Some(endpoint.route.to_owned()), ..Http::default() });
        draft.tool = Some(Tool { server_id: server.id.to_string(), name: String::new(), ..Tool::default() });
        Self {
            draft,
            resource: Resource::new(endpoint.resource, Some(server.location.clone())),
            subject: None,
            decision: None,
            mutates: false,
            intent: None,
            stream: None,
            dispatched: false,
            retry: false,
            kept: None,
            began_ns: now.wall_ns,
            fields: None,
            rule: String::new(),
            classes: Vec::new(),
        }
    }

    /// What the tool was when its list was last seen.
    pub(crate) fn described(&mut self, digests: Option<Described>) {
        if let (Some(tool), Some((descriptor, schema))) = (&mut self.draft.tool, digests) {
            tool.descriptor_digest = Some(descriptor);
            tool.schema_digest = schema;
        }
    }

    /// A caller whose token did not verify.
    pub(crate) fn anonymous(&mut self) {
        let mut party = Party::new(PartyKind::ExternalAgent, "urn:remit:unknown", "unidentified");
        party.grant = GrantFacts::default();
        self.draft.chain = vec![party];
    }

    /// The chain as the token tells it, with the proof that was shown.
    pub(crate) fn token(&mut self, token: &VerifiedToken, proof: Option<&remit_token::dpop::Proof>, snapshot: &Snapshot) {
        self.draft.chain = token.chain().to_vec();
        if let Some(caller) = self.draft.chain.last_mut() {
            caller.proof = proof.map(|proof| proof.compact().to_owned());
        }
        self.draft.txn = Some(token.txn.clone());
        self.draft.owner = Principals::new(&token.iss, snapshot).owner(token.holder());
        self.draft.purpose = token.purpose.clone().map(|code| Purpose { code, ..Purpose::default() });
    }

    pub(crate) fn caller(&mut self, caller: &Caller, snapshot: &Snapshot) {
        self.token(&caller.token, caller.proof.as_deref(), snapshot);
        self.draft.ext.insert("authority".to_owned(), json!(caller.authority.digest));
    }

    pub(crate) fn session(&mut self, id: &str) {
        self.draft.session.id = Some(id.to_owned());
    }

    /// The message that carries the act, and the trace it belongs to.
    pub(crate) fn message(&mut self, message: Mcp, traceparent: Option<&str>) {
        self.draft.action.name = format!("mcp:{}", message.method);
        self.draft.mcp = Some(message);
        self.draft.trace = traceparent.and_then(trace);
    }

    /// The act that is asked for.
    pub(crate) fn act(&mut self, act: &Act, server: &Server) {
        self.mutates = act.class.mutates();
        self.draft.action.name.clone_from(&act.action);
        self.draft.action.class = act.class;
        self.target(act, server);
        self.draft.committed.push(("/call/arguments".to_owned(), act.arguments.clone()));
    }

    /// What an act is about, whether it is done or only asked about.
    pub(crate) fn target(&mut self, act: &Act, server: &Server) {
        if let Some(tool) = &mut self.draft.tool {
            tool.name.clone_from(&act.action);
        }
        let (kind, id) = &act.resource;
        self.resource = Resource::new(*kind, Some(id.clone()));
        let rule = server.tools.get(&act.action);
        let word = rule.and_then(|rule| rule.classification.as_deref());
        self.resource.classification = word.and_then(Classification::parse).unwrap_or_default();
        if let Some(rule) = rule.and_then(|rule| rule.subject.as_ref()) {
            self.about(rule, &act.arguments);
        }
    }

    /// Whom the call is about: the store seals its values under that person's key too, so that they go with the key.
    fn about(&mut self, rule: &SubjectRule, arguments: &Value) {
        match rule.named(arguments) {
            Named::No => {}
            Named::Subject(id) => {
                let mut subject = Resource::new(&rule.kind, Some(id));
                subject.classification =
                    Some(self.resource.classification).filter(|class| class.is_personal()).unwrap_or(Classification::Pii);
                self.subject = Some(subject);
            }
            Named::Unusable(why) => {
                self.draft.ext.insert("subject".to_owned(), json!({"type": rule.kind, "not_named": why}));
            }
        }
    }

    pub(crate) fn permit(&mut self, permit: &Permit) {
        self.fields.clone_from(&permit.fields);
        self.rule = permit.grants.first().cloned().unwrap_or_default();
        self.draft.ext.insert("grants".to_owned(), json!(permit.grants));
        if !permit.charges.is_empty() && !self.retry {
            self.draft.ext.insert("charges".to_owned(), json!(permit.charges));
        }
        if let Some(fields) = &permit.fields {
            self.resource.fields.clone_from(fields);
        }
    }

    /// What the decision point said, as far as it came.
    pub(crate) fn verdict(&mut self, verdict: &Verdict, latency_ns: u64) {
        if let Some(current) = &verdict.effective {
            self.draft.ext.insert("authority".to_owned(), json!(current.effective.digest));
        }
        if let Some(permit) = &verdict.covered {
            self.permit(permit);
        }
        if let Some(asked) = &verdict.asked {
            self.decided(asked, latency_ns);
        }
        self.fields_decided(&verdict.fields);
    }

    /// What the policies said of the classified fields of the answer.
    pub(crate) fn fields_decided(&mut self, fields: &[FieldDecision]) {
        if fields.is_empty() {
            return;
        }
        self.draft.ext.insert(facts::READ_FIELD.to_owned(), facts::fields(fields));
        if let Some(facts) = &mut self.decision
            && fields.iter().any(FieldDecision::withholds)
        {
            facts.result = DecisionResult::Mask;
        }
        self.classes = fields.to_vec();
    }

    /// What the policies were asked and what they said.
    pub(crate) fn decided(&mut self, asked: &Asked, latency_ns: u64) {
        self.decision = Some(facts::decision(&asked.question, &asked.decision, latency_ns));
    }

    pub(crate) fn mutates(&self) -> bool {
        self.mutates
    }

    /// The intent, to be durable before the upstream hears of it.
    pub(crate) fn intent(&self) -> Draft {
        let mut draft = self.draft.clone();
        draft.record_type = RecordType::Intent;
        draft.decision.clone_from(&self.decision);
        draft.resources = vec![self.resource.clone()];
        draft.resources.extend(self.subject.clone());
        draft.outcome = Outcome::default();
        draft
    }

    pub(crate) fn intended(&mut self, record_id: &str) {
        self.intent = Some(record_id.to_owned());
    }

    /// A stream that is about to open, to be durable before it does.
    pub(crate) fn opening(&self) -> Draft {
        Draft { record_type: RecordType::SessionOpen, ..self.intent() }
    }

    pub(crate) fn opened(&mut self, record_id: &str) {
        self.stream = Some(record_id.to_owned());
        self.dispatched = true;
    }

    /// The rule by which bodies of this call are kept.
    pub(crate) fn capture(&mut self, rule: &Capture) {
        if let Some(retention) = &rule.retention {
            self.draft.retention = retention.clone();
        }
        self.kept = Some(Kept::new(rule.clone()));
    }

    pub(crate) fn kept(&mut self) -> Option<&mut Kept> {
        self.kept.as_mut()
    }

    /// What the upstream answered, before anything is taken away.
    pub(crate) fn answered(&mut self, answer: &Value) {
        if let Some(kept) = &mut self.kept {
            kept.upstream(answer);
        }
    }

    pub(crate) fn was_dispatched(&self) -> bool {
        self.dispatched
    }

    /// The id by which the upstream's own log can be compared with this record: the intent's, or a fresh one.
    pub(crate) fn call(&mut self, fresh: impl FnOnce() -> String) -> String {
        if let Some(intent) = &self.intent {
            return intent.clone();
        }
        let known = self.draft.ext.get("call").and_then(Value::as_str).map(str::to_owned);
        let id = known.unwrap_or_else(fresh);
        self.draft.ext.insert("call".to_owned(), json!(id));
        id
    }

    /// The request goes on with an earlier one, whose budget it shares.
    pub(crate) fn retry(&mut self) {
        self.retry = true;
        self.draft.ext.insert("retry".to_owned(), json!(true));
        self.draft.ext.remove("charges");
    }

    pub(crate) fn is_retry(&self) -> bool {
        self.retry
    }

    /// The call at the upstream that the request goes on with, by its id in the ledger.
    pub(crate) fn continues(&mut self, call: &str) {
        self.draft.ext.insert("continues".to_owned(), json!(call));
    }

    /// How many members of the request's metadata were not passed on.
    pub(crate) fn meta_dropped(&mut self, count: usize) {
        if count > 0 {
            self.draft.ext.insert("meta_dropped".to_owned(), json!(count));
        }
    }

    pub(crate) fn dispatched(&mut self) {
        self.dispatched = true;
    }

    /// The final record.
    pub(crate) fn close(mut self, outcome: Result<&Answer, &Rejection>, now: &Moment) -> Draft {
        if let Some(intent) = self.intent.take() {
            // The decision and its inputs are in the intent; this says what became of it.
            self.draft.record_type = RecordType::Effect;
            self.draft.intent_id = Some(intent.clone());
            self.draft.caused_by.push(intent);
            self.draft.committed.clear();
            self.decision = None;
            self.draft.span_ns = Some((self.began_ns, now.wall_ns.max(self.began_ns)));
        }
        if let Some(opening) = self.stream.take() {
            self.draft.record_type = RecordType::SessionClose;
            self.draft.caused_by.push(opening);
            self.draft.committed.clear();
            self.decision = None;
        }
        match outcome {
            Ok(answer) => self.succeeded(answer),
            Err(rejection) => self.failed(rejection),
        }
        if let Some(kept) = self.kept.take() {
            kept.finish(&mut self.draft);
        }
        self.draft.decision = self.decision;
        self.draft.resources.push(self.resource);
        self.draft.resources.extend(self.subject);
        self.draft
    }

    fn succeeded(&mut self, answer: &Answer) {
        let Answer { shown, end, bytes } = answer;
        if let Some(kept) = &mut self.kept {
            kept.shown(shown, *end);
        }
        let failed = *end == End::Failed;
        self.draft.outcome = Outcome {
            status: match end {
                End::Failed => OutcomeStatus::Failure,
                End::InputRequired => OutcomeStatus::Partial,
                End::Complete => OutcomeStatus::Success,
            },
            effect_confirmed: match end {
                End::Complete if self.mutates => EffectConfirmed::Acked,
                // Whether it had an effect before it asked is not known.
                End::InputRequired if self.mutates => EffectConfirmed::DispatchedOnly,
                _ => EffectConfirmed::None,
            },
            error_type: failed.then(|| "tool_error".to_owned()),
            code: None,
        };
        self.resource.bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        if self.fields.is_some() {
            let resource = std::mem::take(&mut self.resource);
            self.resource = resource.projected(shown.returned.clone(), shown.masked.clone(), &self.rule);
            self.draft.ext.insert("withheld".to_owned(), json!(shown.withheld));
        }
        if self.fields.is_some() || self.classes.iter().any(FieldDecision::withholds) {
            self.draft.ext.insert("masking".to_owned(), json!(Rules::default().number()));
        }
        if self.classes.iter().any(FieldDecision::withholds) {
            self.resource.fields_returned.clone_from(&shown.returned);
            let masked =
                |ptr: &String| Masked { ptr: ptr.clone(), rule_id: rule_of(&self.classes, ptr).to_owned(), how: Mask::Drop };
            self.resource.fields_masked.extend(shown.classified.iter().map(masked));
        }
    }

    fn failed(&mut self, rejection: &Rejection) {
        let effect_confirmed =
            if self.dispatched && self.mutates { EffectConfirmed::DispatchedOnly } else { EffectConfirmed::None };
        let refusal = rejection.refusal();
        let code = refusal.code.as_str().to_owned();
        let (status, error_type) = match rejection {
            Rejection::Gone => (OutcomeStatus::Cancelled, None),
            Rejection::Busy(_) => (OutcomeStatus::Failure, Some("upstream_busy")),
            Rejection::Timeout => (OutcomeStatus::Timeout, Some("upstream_timeout")),
            Rejection::Upstream(error) => {
                self.draft.outcome.code = Some(error.code.to_string());
                (OutcomeStatus::Failure, Some("upstream_error"))
            }
            Rejection::Fault(_) => (OutcomeStatus::Failure, Some("internal")),
            Rejection::Refusal(_) if self.dispatched => (OutcomeStatus::Failure, None),
            Rejection::Refusal(_) => (OutcomeStatus::Denied, None),
        };
        self.draft.outcome = Outcome {
            status,
            effect_confirmed,
            error_type: error_type.map(str::to_owned),
            code: self.draft.outcome.code.take().or(Some(code)),
        };
        if let Rejection::Refusal(refusal) = rejection
            && !self.dispatched
        {
            self.refused(refusal);
        }
    }

    /// Why it was refused. A policy's denial is already there.
    fn refused(&mut self, refusal: &Refusal) {
        let code = refusal.code.as_str().to_owned();
        let facts = self.decision.get_or_insert_with(|| DecisionFacts::refused(refusal));
        if facts.reason_code.as_deref() != Some(code.as_str()) {
            facts.result = DecisionResult::Deny;
            facts.reason_code = Some(code);
            facts.explanation = Some(refusal.reason.clone());
        }
        if refusal.code == Code::LimitExhausted {
            facts.result = DecisionResult::Quota;
        }
        if quotes_arguments(refusal.code) {
            self.draft.committed.push(("/decision/reason".to_owned(), json!(refusal.reason)));
            facts.explanation =
                Some("The arguments are outside what was granted; the values are kept beside the log.".to_owned());
        }
    }
}

fn quotes_arguments(code: Code) -> bool {
    matches!(code, Code::ArgumentNotGranted | Code::ArgumentMalformed | Code::RequestMalformed | Code::HeaderBodyMismatch)
}

/// W3C trace context, when well-formed. SPEC: MG-15.
fn trace(parent: &str) -> Option<Trace> {
    let parts: Vec<&str> = parent.split('-').collect();
    let [_, trace_id, span_id, flags] = parts.as_slice() else { return None };
    let hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hex(trace_id, 32) && hex(span_id, 16) && hex(flags, 2)).then(|| Trace {
        trace_id: (*trace_id).to_owned(),
        span_id: (*span_id).to_owned(),
        flags: (*flags).to_owned(),
    })
}
