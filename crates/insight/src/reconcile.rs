//! Double entry: what one part wrote down against what another did. SPEC: record.md §1.9 (5).
//!
//! Three pairs: tokens with their uses at the gateway, by the hash of their `jti`; intents with their effects; and the
//! gateway's calls with an upstream's own log, by the call's id and the digest of the request. The id is the intent's
//! `record_id`, or for a call without intent the `ext.call` of its record; the gateway sends it as `remit/record` in
//! `_meta`. A call in the upstream's log that no record stands behind went past the gateway, or its line was forged.

use crate::side_values::opened;
use remit_ledger::{Reader, Record, dir::ReadError};
use remit_model::{display, json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

/// Longest line of an upstream's log, in bytes.
const LINE_LIMIT: usize = 64 << 10;
/// Most findings of one kind that are listed; all are counted.
const LISTED: usize = 1000;

/// A call as an upstream wrote it down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct UpstreamCall {
    /// What the call carried as `remit/record`; `None` when it carried nothing.
    #[serde(default)]
    pub call: Option<String>,
    /// `sha-256:` and the SHA-256 of the JCS of `{"arguments", "name"}`.
    pub digest: String,
    /// The tool's name.
    #[serde(default)]
    pub name: Option<String>,
}

/// A line of an upstream's log that cannot be read. The first line is 1.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamLogError {
    #[error("line {number} is longer than {LINE_LIMIT} bytes")]
    TooLong { number: u64 },
    #[error("line {number}: {error}")]
    Line { number: u64, error: serde_json::Error },
}

/// What of the ledger to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only calls at this server; the upstream's log is this server's.
    pub server: Option<String>,
    /// Only records since then, in nanoseconds since 1970.
    pub since_ns: Option<u64>,
}

/// What belongs together and what does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// Entries of the ledger that were compared.
    pub size: u64,
    pub tokens: Tokens,
    pub intents: Intents,
    /// `None` when no upstream log was given.
    pub upstream: Option<Calls>,
}

/// Tokens and their uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Uses at the gateway of a token that an earlier record issued.
    pub matched: u64,
    /// Tokens that were issued and not used there (yet).
    pub token_service_only: u64,
    /// Records of uses of a token that no earlier record issued.
    pub gateway_only: Vec<u64>,
}

/// Intents and effects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Intents {
    pub matched: u64,
    /// Records of intents without an effect: whether it happened is not known.
    pub unknown_outcome: Vec<u64>,
    /// Records of effects whose intent is not in the ledger.
    pub effect_only: Vec<u64>,
}

/// The gateway's calls and the upstream's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// The same id and the same request.
    pub matched: u64,
    /// Of these, by the id alone: the arguments are withheld from this copy.
    pub matched_by_id_only: u64,
    /// Calls that the ledger says were answered, and the upstream does not know.
    pub ledger_only: Vec<Finding>,
    /// Calls that the upstream served and no record stands behind.
    pub upstream_only: Vec<Finding>,
    /// Calls that may or may not have reached the upstream, and are not in its log.
    pub unknown_outcome: Vec<Finding>,
    /// Findings beyond the first 1000 of each kind.
    pub unlisted: u64,
    /// How many there are of each kind, listed or not.
    pub counts: Alone,
}

/// How many calls stand alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Alone {
    pub ledger_only: u64,
    pub upstream_only: u64,
    pub unknown_outcome: u64,
}

/// A call that stands alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Index of the record, or line of the upstream's log, first is 1.
    pub at: u64,
    pub name: String,
    pub why: String,
}

/// Reads an upstream's log: one JSON object a line; members besides `call`, `digest` and `name` are its own business.
///
/// # Errors
/// The first line that is too long, or no such object.
pub fn upstream_log(text: &str) -> Result<Vec<UpstreamCall>, UpstreamLogError> {
    let lines = (1_u64..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            if line.len() > LINE_LIMIT {
                return Err(UpstreamLogError::TooLong { number });
            }
            serde_json::from_str(line).map_err(|error| UpstreamLogError::Line { number, error })
        })
        .collect()
}

/// A call that went to the upstream, as far as the ledger tells.
struct Sent {
    index: u64,
    server: String,
    name: String,
    /// `None` when the arguments are withheld.
    digest: Option<String>,
    state: State,
}

impl Sent {
    /// Whether the upstream wrote down another request; without the arguments, whether it names another tool.
    fn is_another_than(&self, call: &UpstreamCall) -> bool {
        match &self.digest {
            Some(digest) => *digest != call.digest,
            None => call.name.as_ref().is_some_and(|name| *name != self.name),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Answered,
    Unknown,
}

#[derive(Default)]
struct Books {
    tokens: HashMap<String, bool>,
    /// By `record_id`: index, and whether an effect named it.
    intents: BTreeMap<String, (u64, bool)>,
    /// Calls before the period: their effects and an upstream's lines may fall into it.
    before: HashMap<String, String>,
    sent: BTreeMap<String, Sent>,
    report: Reconciliation,
}

/// Pairs the books of a ledger with each other and with an upstream's.
///
/// # Errors
/// When a record cannot be read.
pub fn reconcile(reader: &Reader, upstream: Option<&[UpstreamCall]>, scope: &Scope) -> Result<Reconciliation, ReadError> {
    let mut books = Books::default();
    for index in 0..reader.len() {
        let record = reader.record(index)?;
        let inside = scope.since_ns.is_none_or(|since| record.wall_ns() >= since);
        match record.record_type() {
            "token" | "delegation" => {
                if let Some(jti) = record.text("/ext/token/jti_hash") {
                    books.tokens.entry(jti.to_owned()).or_insert(false);
                }
            }
            "decision" | "intent" if inside => books.used(reader, index, &record),
            "effect" if inside => books.ended(index, &record),
            "decision" | "intent" => books.before.extend(call_id(&record).map(|id| (id.to_owned(), server(&record)))),
            _ => {}
        }
    }
    let mut report = books.report;
    report.size = reader.len();
    report.tokens.token_service_only = books.tokens.values().filter(|used| !**used).count() as u64;
    report.intents.unknown_outcome = books.intents.values().filter(|(_, ended)| !ended).map(|(index, _)| *index).collect();
    report.intents.unknown_outcome.sort_unstable();
    report.upstream = upstream.map(|calls| compare(&books.sent, &books.before, calls, scope.server.as_deref()));
    Ok(report)
}

impl Books {
    fn used(&mut self, reader: &Reader, index: u64, record: &Record) {
        if record.text("/producer/kind") == Some("gateway")
            && let Some(jti) = record.chain().last().and_then(|caller| caller.pointer("/token/jti_hash")).and_then(Value::as_str)
        {
            if let Some(used) = self.tokens.get_mut(jti) {
                *used = true;
                self.report.tokens.matched += 1;
            } else {
                self.report.tokens.gateway_only.push(index);
            }
        }
        let intent = record.record_type() == "intent";
        if intent {
            self.intents.insert(record.record_id().to_owned(), (index, false));
        }
        let id = call_id(record);
        // What goes on with a call that waited for its client sends no request of its own.
        let tool = record.text("/mcp/method") == Some("tools/call") && record.text("/ext/continues").is_none();
        if let Some(id) = id.filter(|_| tool) {
            let name = record.text("/tool/name").unwrap_or_default().to_owned();
            let state = if intent { State::Unknown } else { state(record) };
            let server = server(record);
            let digest = digest(reader, index, record, &name);
            self.sent.insert(id.to_owned(), Sent { index, server, name, digest, state });
        }
    }

    fn ended(&mut self, index: u64, record: &Record) {
        // Reads before and after a change, which the gateway makes itself.
        for read in record.value().pointer("/ext/capture/reads").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| read.get(name).and_then(Value::as_str);
            if let (Some(call), Some(tool)) = (text("call"), text("tool")) {
                let state = if text("outcome") == Some("success") { State::Answered } else { State::Unknown };
                let server = server(record);
                self.sent.insert(call.to_owned(), Sent { index, server, name: tool.to_owned(), digest: None, state });
            }
        }
        let Some(intent) = record.intent_id() else { return };
        if let Some((_, ended)) = self.intents.get_mut(intent) {
            *ended = true;
            self.report.intents.matched += 1;
        } else if !self.before.contains_key(intent) {
            self.report.intents.effect_only.push(index);
        }
        if let Some(sent) = self.sent.get_mut(intent) {
            sent.state = state(record);
        }
    }
}

/// What the call carries to the upstream as `remit/record`.
fn call_id(record: &Record) -> Option<&str> {
    if record.record_type() == "intent" { Some(record.record_id()) } else { record.text("/ext/call") }
}

fn server(record: &Record) -> String {
    record.text("/tool/server_id").unwrap_or_default().to_owned()
}

/// An upstream that answered has seen the call; whether one that did not answer has seen it is unknown.
fn state(record: &Record) -> State {
    match record.outcome() {
        "success" | "partial" => State::Answered,
        "failure" if matches!(record.text("/outcome/error_type"), Some("tool_error" | "upstream_error")) => State::Answered,
        _ => State::Unknown,
    }
}

fn digest(reader: &Reader, index: u64, record: &Record, name: &str) -> Option<String> {
    let arguments = opened(reader, index, record).ok()??.value("/call/arguments")?;
    Some(request_digest(name, &arguments))
}

/// `sha-256:` and the SHA-256 of the JCS of `{"arguments", "name"}`; no arguments are the empty object.
pub fn request_digest(name: &str, arguments: &Value) -> String {
    let arguments = if arguments.is_null() { json!({}) } else { arguments.clone() };
    json::digest(&json!({"name": name, "arguments": arguments}))
}

fn compare(
    sent: &BTreeMap<String, Sent>,
    before: &HashMap<String, String>,
    upstream: &[UpstreamCall],
    server: Option<&str>,
) -> Calls {
    let mut calls = Calls::default();
    let mut seen = HashSet::new();
    for (line, call) in (1..).zip(upstream) {
        let earlier = call.call.as_deref().and_then(|id| before.get(id));
        if earlier.is_some_and(|at| server.is_none_or(|server| at == server)) {
            continue; // A call of before the period, which is not compared.
        }
        let known = call.call.as_deref().and_then(|id| sent.get(id).map(|sent| (id, sent)));
        let known = known.filter(|(_, sent)| server.is_none_or(|server| sent.server == server));
        let why = match (known, &call.call) {
            (None, None) => "the call carries no record's id".to_owned(),
            (None, Some(_)) => "no record in the ledger has its id".to_owned(),
            (Some((_, sent)), _) if sent.is_another_than(call) => {
                format!("the request is another than that of record {}", sent.index)
            }
            (Some((id, sent)), _) if !seen.insert(id) => format!("record {} is already another line's", sent.index),
            (Some((_, sent)), _) => {
                calls.matched += 1;
                calls.matched_by_id_only += u64::from(sent.digest.is_none());
                continue;
            }
        };
        let finding = Finding { at: line, name: call.name.clone().unwrap_or_default(), why };
        calls.counts.upstream_only += 1;
        list(&mut calls.upstream_only, finding, &mut calls.unlisted);
    }
    let mut alone: Vec<&Sent> = sent
        .iter()
        .filter(|(id, sent)| !seen.contains(id.as_str()) && server.is_none_or(|server| sent.server == server))
        .map(|(_, sent)| sent)
        .collect();
    alone.sort_by_key(|sent| sent.index);
    for sent in alone {
        let (into, count, why) = match sent.state {
            State::Answered => (&mut calls.ledger_only, &mut calls.counts.ledger_only, "the upstream's log has no such call"),
            State::Unknown => (
                &mut calls.unknown_outcome,
                &mut calls.counts.unknown_outcome,
                "it may not have reached the upstream, whose log does not have it",
            ),
        };
        let finding = Finding { at: sent.index, name: sent.name.clone(), why: why.to_owned() };
        *count += 1;
        list(into, finding, &mut calls.unlisted);
    }
    calls
}

fn list(findings: &mut Vec<Finding>, finding: Finding, unlisted: &mut u64) {
    if findings.len() < LISTED { findings.push(finding) } else { *unlisted += 1 }
}

impl Reconciliation {
    /// Whether every call has its partner. Unknown outcomes are reported and are no failure.
    pub fn ok(&self) -> bool {
        let calls = self.upstream.as_ref().is_none_or(|calls| calls.ledger_only.is_empty() && calls.upstream_only.is_empty());
        self.tokens.gateway_only.is_empty() && self.intents.effect_only.is_empty() && calls
    }

    /// The counts alone, as a `reconcile` record states them: u64 texts.
    pub fn summary(&self) -> Value {
        let count = |count: usize| json!(count.to_string());
        let mut summary = json!({
            "size": self.size.to_string(),
            "tokens_matched": self.tokens.matched.to_string(),
            "token_service_only": self.tokens.token_service_only.to_string(),
            "gateway_only": count(self.tokens.gateway_only.len()),
            "intents_matched": self.intents.matched.to_string(),
            "unknown_outcome": count(self.intents.unknown_outcome.len()),
            "effect_only": count(self.intents.effect_only.len()),
        });
        if let (Some(calls), Some(summary)) = (&self.upstream, summary.as_object_mut()) {
            summary.insert("upstream_matched".to_owned(), json!(calls.matched.to_string()));
            summary.insert("ledger_only".to_owned(), json!(calls.counts.ledger_only.to_string()));
            summary.insert("upstream_only".to_owned(), json!(calls.counts.upstream_only.to_string()));
            summary.insert("upstream_unknown".to_owned(), json!(calls.counts.unknown_outcome.to_string()));
        }
        summary
    }
}

impl fmt::Display for Reconciliation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |ok: bool| if ok { "ok  " } else { "FAIL" };
        let Tokens { matched, token_service_only, gateway_only } = &self.tokens;
        writeln!(
            f,
            "{} tokens: {matched} uses matched, {} at the gateway only, {token_service_only} tokens not used there",
            mark(gateway_only.is_empty()),
            gateway_only.len()
        )?;
        for index in gateway_only {
            writeln!(f, "FAIL gateway only, record {index}: no earlier record issued its token")?;
        }
        let Intents { matched, unknown_outcome, effect_only } = &self.intents;
        writeln!(
            f,
            "{} intents: {matched} matched, {} without an effect, so their outcome is unknown",
            mark(effect_only.is_empty()),
            unknown_outcome.len()
        )?;
        unknown_outcome.iter().try_for_each(|index| writeln!(f, "note unknown outcome, record {index}"))?;
        effect_only
            .iter()
            .try_for_each(|index| writeln!(f, "FAIL effect only, record {index}: its intent is not in the ledger"))?;
        let Some(calls) = &self.upstream else { return Ok(()) };
        writeln!(
            f,
            "{} upstream: {} matched ({} by id alone), {} ledger only, {} upstream only, {} unknown",
            mark(calls.ledger_only.is_empty() && calls.upstream_only.is_empty()),
            calls.matched,
            calls.matched_by_id_only,
            calls.counts.ledger_only,
            calls.counts.upstream_only,
            calls.counts.unknown_outcome
        )?;
        for (word, place, findings) in [
            ("FAIL ledger only", "record", &calls.ledger_only),
            ("FAIL upstream only", "line", &calls.upstream_only),
            ("note unknown", "record", &calls.unknown_outcome),
        ] {
            for finding in findings {
                writeln!(
                    f,
                    "{word}, {place} {} `{}`: {}",
                    finding.at,
                    display::escape(&finding.name),
                    display::escape(&finding.why)
                )?;
            }
        }
        if calls.unlisted > 0 { writeln!(f, "note {} more are not listed", calls.unlisted) } else { Ok(()) }
    }
}
