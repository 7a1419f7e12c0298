//! Execution replay: what the gateway did with a captured call, done again with the upstream's answer read back from the
//! ledger. SPEC: record.md §1.8 (R3). Nothing is called: live re-execution does not exist.
//!
//! For every call whose answer was captured whole: the arguments are read strictly, the authority of the token that an
//! earlier record issued covers the call, the policies decide as they did, and masking the upstream's answer with the
//! granted fields gives what the caller got. Members that only tell protocol eras apart (`resultType`, `ttlMs`,
//! `cacheScope`, the server's own name in `_meta`) are outside the comparison. Ceilings and entitlements that narrowed the
//! token at the time are in the ledger as a digest only, so covering is shown for the token's authority, which is wider.

use crate::{
    recorded_question::{Pins, READ_FIELD, Stop, question},
    replay::{Mismatch, by_policies},
    side_values::opened,
};
use remit_ledger::{Reader, Record, Side};
use remit_model::{
    Authority, Call, UnixTime, display,
    json::{self, Limits},
    mask::{self, Withheld},
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{collections::HashMap, fmt};

const UPSTREAM: &str = "/response/upstream";
const BODY: &str = "/response/body";
const ARGUMENTS: &str = "/call/arguments";

/// The outcome of an execution replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionReport {
    /// Calls that were answered.
    pub calls: u64,
    /// Done again with the same answer.
    pub agree: u64,
    /// Alarms.
    pub mismatches: Vec<Mismatch>,
    /// Their answers were not captured, or as a digest only.
    pub not_captured: u64,
    /// They were captured, and are not with this copy.
    pub undisclosed: u64,
}

/// Repeats every captured call of the log.
pub fn execution(reader: &Reader) -> ExecutionReport {
    let mut run = Execution {
        reader,
        pins: Pins::new(reader),
        tokens: HashMap::new(),
        intents: HashMap::new(),
        report: ExecutionReport::default(),
    };
    for index in 0..reader.len() {
        match reader.record(index) {
            Ok(record) => run.visit(index, record),
            Err(error) => run.alarm(index, error.to_string()),
        }
    }
    run.report
}

struct Execution<'r> {
    reader: &'r Reader,
    pins: Pins<'r>,
    /// Authority and audience of each token, by the hash of its `jti`.
    tokens: HashMap<String, (Authority, String)>,
    /// Intents that no effect has named yet.
    intents: HashMap<String, (u64, Record)>,
    report: ExecutionReport,
}

impl Execution<'_> {
    fn visit(&mut self, index: u64, record: Record) {
        match record.record_type() {
            "token" | "delegation" => self.learn(index, &record),
            "intent" => {
                self.intents.insert(record.record_id().to_owned(), (index, record));
            }
            "effect" | "decision" => self.answered(index, &record),
            _ => {}
        }
    }

    fn learn(&mut self, index: u64, record: &Record) {
        let Some(jti) = record.text("/ext/token/jti_hash") else { return };
        let Ok(Some(side)) = opened(self.reader, index, record) else { return };
        let Some(claims) = side.value("/token/access") else { return };
        let authority = claims.get("authorization_details").map(Authority::parse);
        let audience = claims.get("aud").and_then(Value::as_str);
        if let (Some(Ok(authority)), Some(audience)) = (authority, audience) {
            self.tokens.insert(jti.to_owned(), (authority, audience.to_owned()));
        }
    }

    fn answered(&mut self, index: u64, record: &Record) {
        let intent = record.intent_id().and_then(|id| self.intents.remove(id));
        if !matches!(record.outcome(), "success" | "failure") || record.text("/mcp/method").is_none_or(|method| !gated(method)) {
            return;
        }
        if record.outcome() == "failure" && record.text("/outcome/error_type") != Some("tool_error") {
            return;
        }
        self.report.calls += 1;
        if record.text("/ext/capture/class") != Some("full") {
            self.report.not_captured += 1;
            return;
        }
        let outcome = match &intent {
            Some((at, asked)) => self.again(*at, asked, index, record),
            None => self.again(index, record, index, record),
        };
        match outcome {
            Ok(true) => self.report.agree += 1,
            Ok(false) => self.report.not_captured += 1,
            Err(Stop::Undisclosed) => self.report.undisclosed += 1,
            Err(Stop::Alarm(why)) => self.alarm(index, why),
        }
    }

    /// `false` when the answer was too large to be kept. The question is in record `at`, the answer in record `index`.
    fn again(&mut self, at: u64, asked: &Record, index: u64, answer: &Record) -> Result<bool, Stop> {
        let side = self.side(index, answer)?;
        let too_large =
            |path: &str| answer.value().pointer("/ext/capture/too_large").is_some_and(|kept| kept.get(path).is_some());
        if too_large(UPSTREAM) || too_large(BODY) || !side.fields.contains_key(UPSTREAM) || !side.fields.contains_key(BODY) {
            return Ok(false);
        }
        let upstream = side.value(UPSTREAM).ok_or(Stop::Undisclosed)?;
        let shown = side.value(BODY).ok_or(Stop::Undisclosed)?;
        let arguments = self.side(at, asked)?.value(ARGUMENTS).ok_or(Stop::Undisclosed)?;
        self.covered(asked, &arguments)?;
        self.decided(at, asked)?;
        let again = masked(answer, &arguments, upstream);
        if json::is_same(&core(again), &core(shown)) {
            return Ok(true);
        }
        Err(Stop::Alarm("the upstream's answer, masked again, is not what the caller got".to_owned()))
    }

    fn side(&self, index: u64, record: &Record) -> Result<Side, Stop> {
        opened(self.reader, index, record).map_err(|why| Stop::Alarm(why.to_string()))?.ok_or(Stop::Undisclosed)
    }

    fn covered(&self, record: &Record, arguments: &Value) -> Result<(), Stop> {
        let jti = record.chain().last().and_then(|caller| caller.pointer("/token/jti_hash")).and_then(Value::as_str);
        let (authority, audience) = jti.and_then(|jti| self.tokens.get(jti)).ok_or(Stop::Undisclosed)?;
        let now = crate::replay::decided_at(record).unwrap_or_else(|| crate::side_values::written(record));
        let call = Call { location: audience, action: record.action(), arguments, now: UnixTime(now.0) };
        let refused = |refusal| Stop::Alarm(format!("the call was answered, and its token does not cover it: {refusal}"));
        authority.permits(&call).map(|_| ()).map_err(refused)
    }

    fn decided(&mut self, index: u64, record: &Record) -> Result<(), Stop> {
        let Some(recorded) = record.decision().filter(|recorded| recorded.get("policy_set_digest").is_some()) else {
            return Err(Stop::Alarm("the call was answered without a decision of policies".to_owned()));
        };
        let question = question(self.reader, index, record, recorded)?;
        let decision = self.pins.bundle(recorded).map_err(Stop::Alarm)?.decide(&question);
        if decision.permits() && decision.effect == by_policies(recorded) {
            return Ok(());
        }
        Err(Stop::Alarm(format!("the call was answered, and the policies decide {:?}", decision.effect)))
    }

    fn alarm(&mut self, index: u64, detail: String) {
        self.report.mismatches.push(Mismatch { index, detail });
    }
}

/// Methods whose answers are masked by fields, and nothing else.
fn gated(method: &str) -> bool {
    matches!(method, "tools/call" | "resources/read" | "prompts/get")
}

/// Masks as the gateway does, with the fields that the record says were granted.
fn masked(record: &Record, arguments: &Value, upstream: Value) -> Value {
    // The number of parts withheld is stated exactly when only some fields were granted.
    let restricted = record.ext("withheld").is_some();
    let listed = record.value().pointer("/resource/0/fields").and_then(Value::as_array);
    let fields: Vec<String> = listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let asked = arguments.get("uri").and_then(Value::as_str);
    let method = record.text("/mcp/method").unwrap_or_default();
    let granted = restricted.then_some(fields.as_slice());
    let rules = record.ext("masking").and_then(Value::as_u64).and_then(mask::Rules::numbered).unwrap_or(mask::Rules::First);
    mask::project_by(rules, method, asked, upstream, granted, &withheld(record), &Limits::RESPONSE).value
}

/// What the record says that policies withheld.
fn withheld(record: &Record) -> Withheld {
    let decided = record.ext(READ_FIELD).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let allows = |field: &&Value| field.get("result").and_then(Value::as_str) == Some("allow");
    let (allowed, refused): (Vec<&Value>, Vec<&Value>) = decided.iter().partition(allows);
    let pointers = |fields: &[&Value]| -> Vec<String> {
        let listed = fields.iter().filter_map(|field| field.get("fields")?.as_array()).flatten();
        listed.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let rest = refused.iter().any(|field| field.get("rest").and_then(Value::as_bool) == Some(true));
    Withheld { fields: pointers(&refused), only: rest.then(|| pointers(&allowed)) }
}

/// Without what only tells protocol eras apart, and without the order of members in text that is JSON: a record keeps the
/// structured content in canonical form, and text is built from it.
fn core(mut value: Value) -> Value {
    for item in value.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
        let parsed = item.get("text").and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let (Some(parsed), Some(text)) =
            (parsed.filter(|parsed| parsed.is_object() || parsed.is_array() || parsed.is_number()), item.get_mut("text"))
        {
            *text = parsed;
        }
    }
    if let Value::Object(members) = &mut value {
        for outside in ["resultType", "ttlMs", "cacheScope"] {
            members.shift_remove(outside);
        }
        if let Some(Value::Object(meta)) = members.get_mut("_meta") {
            meta.shift_remove("io.modelcontextprotocol/serverInfo");
        }
        if members.get("_meta").and_then(Value::as_object).is_some_and(Map::is_empty) {
            members.shift_remove("_meta");
        }
    }
    value
}

impl ExecutionReport {
    /// Whether every call that could be repeated came out the same.
    pub fn ok(&self) -> bool {
        self.mismatches.is_empty()
    }
}

impl fmt::Display for ExecutionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match (self.ok(), self.agree) {
            (false, _) => "FAIL",
            // Nothing speaks against it, and nothing for it either.
            (true, 0) => "note",
            (true, _) => "ok  ",
        };
        let Self { calls, agree, not_captured, undisclosed, .. } = self;
        writeln!(
            f,
            "{mark} execution: {agree} of {calls} answered calls agree, {not_captured} not captured, {undisclosed} undisclosed"
        )?;
        if mark == "note" {
            writeln!(f, "note nothing was replayed: no call whose answer was captured whole is with this copy")?;
        }
        self.mismatches.iter().try_for_each(|mismatch| {
            writeln!(f, "FAIL execution at record {}: {}", mismatch.index, display::escape(&mismatch.detail))
        })
    }
}
