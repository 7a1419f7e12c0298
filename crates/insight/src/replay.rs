//! Decision replay: every recorded decision is made again from its pinned policies and its committed question, and must
//! come out the same. SPEC: record.md §1.8 (R2), CE-04, CE-05.

use crate::{
    recorded_question::{Pins, READ_FIELD, Stop, question},
    side_values::written,
};
use remit_ledger::{Reader, Record};
use remit_model::{Code, UnixTime};
use remit_policy::{Bundle, Decision, Effect, Question};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;

/// How far a question's `now` may lie before its record: the request had to be answered first.
const DELAY_SECS: i64 = 600;

/// The outcome of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Decisions that policies took part in: one of a record, and one for each class of fields of its answer.
    pub decisions: u64,
    /// Decided again with the same result.
    pub agree: u64,
    /// Alarms.
    pub mismatches: Vec<Mismatch>,
    /// The question is withheld or erased, so there is nothing to decide on.
    pub undisclosed: u64,
    /// Records whose decision was made without policies: refused before they were asked, or nothing to ask.
    pub without_policy: u64,
    /// How often each policy set decided.
    pub policy_sets: std::collections::BTreeMap<String, u64>,
    /// Things worth knowing that are no alarm: another engine version decided then.
    pub notes: Vec<String>,
}

/// One decision that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    pub index: u64,
    pub detail: String,
}

/// Replays every decision in the log.
pub fn replay(reader: &Reader) -> ReplayReport {
    let mut replay = Replay { reader, pins: Pins::new(reader), report: ReplayReport::default() };
    for index in 0..reader.len() {
        match reader.record(index) {
            Ok(record) => replay.visit(index, &record),
            Err(error) => replay.alarm(index, error.to_string()),
        }
    }
    replay.report
}

struct Replay<'r> {
    reader: &'r Reader,
    pins: Pins<'r>,
    report: ReplayReport,
}

impl Replay<'_> {
    fn visit(&mut self, index: u64, record: &Record) {
        let Some(recorded) = record.decision() else { return };
        if recorded.get("policy_set_digest").is_none() {
            self.report.without_policy += 1;
            return;
        }
        self.report.decisions += 1;
        match self.decide_again(index, record, recorded) {
            Ok(fields) => {
                self.report.decisions += fields;
                self.report.agree += 1 + fields;
            }
            Err(Stop::Undisclosed) => self.report.undisclosed += 1,
            Err(Stop::Alarm(why)) => self.alarm(index, why),
        }
    }

    /// Makes the decision of a record again, and those about the classified fields of its answer: how many of them.
    fn decide_again(&mut self, index: u64, record: &Record, recorded: &Value) -> Result<u64, Stop> {
        let question = question(self.reader, index, record, recorded)?;
        belongs(&question, record).map_err(Stop::Alarm)?;
        let bundle = self.pins.bundle(recorded).map_err(Stop::Alarm)?;
        *self.report.policy_sets.entry(bundle.digest().to_owned()).or_default() += 1;

        let decision = bundle.decide(&question);
        let mut differences = differences(&decision, recorded);
        let fields = fields_again(&bundle, &question, record).unwrap_or_else(|why| {
            differences.push(why);
            0
        });
        if differences.is_empty() {
            self.note_engine(&decision, recorded);
            return Ok(fields);
        }
        Err(Stop::Alarm(differences.join("; ")))
    }

    fn note_engine(&mut self, decision: &Decision, recorded: &Value) {
        let then = recorded.pointer("/engine/version").and_then(Value::as_str).unwrap_or("unknown");
        if then != decision.engine_version {
            let now = &decision.engine_version;
            let note = format!("decisions of {} {then} were repeated with {now}", decision.engine_name);
            if !self.report.notes.contains(&note) {
                self.report.notes.push(note);
            }
        }
    }

    fn alarm(&mut self, index: u64, detail: String) {
        self.report.mismatches.push(Mismatch { index, detail });
    }
}

/// Decides again about each class of the answer's fields. Its question is that of the call about this class, so nothing but
/// the class is recorded.
fn fields_again(bundle: &Bundle, question: &Question, record: &Record) -> Result<u64, String> {
    let Some(recorded) = record.ext(READ_FIELD) else { return Ok(0) };
    let recorded = recorded.as_array().ok_or_else(|| format!("ext.{READ_FIELD} is not a list"))?;
    for field in recorded {
        let class = field.get("class").and_then(Value::as_str);
        let class = class.ok_or_else(|| format!("an item of ext.{READ_FIELD} names no class"))?;
        let decision = bundle.decide(&question.about_fields(class));
        let mut differences = same_policies(&decision, field);
        let result = field.get("result").and_then(Value::as_str).unwrap_or_default();
        if result != field_result(&decision) {
            differences.push(format!("recorded `{result}`, decided again `{}`", field_result(&decision)));
        }
        if !differences.is_empty() {
            return Err(format!("fields of class `{class}`: {}", differences.join("; ")));
        }
    }
    Ok(u64::try_from(recorded.len()).unwrap_or(u64::MAX))
}

/// What a record states of a decision about fields. No later check has a say in it.
fn field_result(decision: &Decision) -> &'static str {
    match decision.effect {
        Effect::Permit => "allow",
        _ if !decision.errors.is_empty() => "error_fail_closed",
        Effect::Deny => "deny",
        Effect::StepUp => "step_up",
    }
}

/// Whether the question is the one this record is about.
fn belongs(question: &Question, record: &Record) -> Result<(), String> {
    if question.tenant.as_str() != record.tenant() {
        return Err(format!("the question is of tenant {}, the record of {}", question.tenant, record.tenant()));
    }
    if question.txn.as_deref() != record.txn() {
        return Err("the question is about another chain than the record".to_owned());
    }
    let tool = question.tool.as_ref().map(|tool| tool.name.as_str());
    if tool.is_some() && record.text("/tool/name").is_some() && tool != record.text("/tool/name") {
        return Err("the question is about another tool than the record".to_owned());
    }
    let written = written(record);
    let delay = written.since(question.now);
    // A stream is recorded when it ends, long after it was decided on; then the record states the time of the decision.
    let in_time = decided_at(record).map_or(delay <= DELAY_SECS, |stated| stated == question.now);
    if delay < -1 || !in_time {
        return Err(format!("the question's time {} does not fit the record's {written}", question.now));
    }
    Ok(())
}

/// The `now` the decision was made with, where the record states it.
pub(crate) fn decided_at(record: &Record) -> Option<UnixTime> {
    let stated = record.decision()?.get("nondet")?.as_array()?;
    stated.iter().find(|input| input.get("name").and_then(Value::as_str) == Some("now"))?.get("value")?.as_i64().map(UnixTime)
}

/// What came out differently, in words.
fn differences(decision: &Decision, recorded: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let result = recorded.get("result").and_then(Value::as_str).unwrap_or_default();
    if !fits(decision, recorded) {
        found.push(format!("recorded `{result}`, decided again {:?}", decision.effect));
    }
    found.extend(same_policies(decision, recorded));
    for (name, digest) in [("policy_set_digest", &decision.policy_set_digest), ("schema_digest", &decision.schema_digest)] {
        if recorded.get(name).and_then(Value::as_str) != Some(digest) {
            found.push(format!("the {name} differs"));
        }
    }
    found
}

/// Which determining policies or errors came out differently, in words.
fn same_policies(decision: &Decision, recorded: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let policies: Value = decision
        .policies
        .iter()
        .map(|policy| json!({ "id": policy.id, "effect": policy.effect.name(), "digest": policy.digest }))
        .collect();
    let recorded_policies = members(recorded, "policies", &["id", "effect", "digest"]);
    if policies != recorded_policies {
        found.push(format!("recorded determining policies {recorded_policies}, decided again {policies}"));
    }
    let errors: Value = decision.errors.iter().map(|error| json!({ "policy_id": error.id, "message": error.message })).collect();
    let recorded_errors = members(recorded, "errors", &["policy_id", "message"]);
    if errors != recorded_errors {
        found.push(format!("recorded errors {recorded_errors}, decided again {errors}"));
    }
    found
}

/// What policies permit may still be refused by a later check, which then gives its own code; what they deny is never
/// recorded as anything else.
fn fits(decision: &Decision, recorded: &Value) -> bool {
    let text = |name: &str| recorded.get(name).and_then(Value::as_str).unwrap_or_default();
    let codes = [Code::PolicyDenied, Code::PolicyError, Code::StepUpRequired];
    let by_policy = codes.iter().any(|code| code.as_str() == text("reason_code"));
    match decision.effect {
        Effect::Permit => matches!(text("result"), "allow" | "mask" | "quota") || (text("result") != "step_up" && !by_policy),
        Effect::Deny => matches!(text("result"), "deny" | "error_fail_closed") && by_policy,
        Effect::StepUp => text("result") == "step_up",
    }
}

/// What policies decided, as far as the record tells: a later check may have refused what they permitted.
pub(crate) fn by_policies(recorded: &Value) -> Effect {
    let text = |name: &str| recorded.get(name).and_then(Value::as_str).unwrap_or_default();
    let denied = [Code::PolicyDenied, Code::PolicyError].iter().any(|code| code.as_str() == text("reason_code"));
    match text("result") {
        "step_up" => Effect::StepUp,
        "deny" | "error_fail_closed" if denied => Effect::Deny,
        _ => Effect::Permit,
    }
}

/// The named members of each item of a list, for comparison.
fn members(recorded: &Value, list: &str, names: &[&str]) -> Value {
    let items = recorded.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let pick = |item: &Value| -> Value {
        names.iter().map(|name| ((*name).to_owned(), item.get(name).cloned().unwrap_or_default())).collect()
    };
    items.iter().map(pick).collect()
}

impl ReplayReport {
    /// Whether every decision that could be repeated came out the same.
    pub fn ok(&self) -> bool {
        self.mismatches.is_empty()
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.ok() { "ok  " } else { "FAIL" };
        write!(f, "{mark} replay: {} of {} decisions came out the same", self.agree, self.decisions)?;
        if self.undisclosed > 0 {
            write!(f, ", {} undisclosed", self.undisclosed)?;
        }
        writeln!(f)?;
        for mismatch in &self.mismatches {
            writeln!(f, "FAIL replay record {}: {}", mismatch.index, mismatch.detail)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note {note}"))
    }
}
