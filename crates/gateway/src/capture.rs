//! What of a call is kept for the auditor besides the decision: its result as it came and as it was shown, and the state
//! of a thing before and after a change.
//!
//! Kept values are committed and leave the record itself untouched; the store encrypts them. What is too large is kept as
//! its digest, and the record says so in `ext.capture`: nothing is left out silently. Messages on the way (progress, logs,
//! questions) and open streams are not kept.

use crate::{
    call::Ask,
    error::No,
    forward,
    gate::Gateway,
    mcp::{RpcError, era::name_call, method::Act},
    record::Entry,
    settings::{BeforeAfter, CAPTURE_LIMIT, Capture, CaptureLevel},
    upstream::{Arrival, Broken, Exchange, Link, Outgoing},
};
use remit_ledger::record::Draft;
use remit_model::{
    json,
    mask::Shown,
    refusal::{Code, Refusal},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const UPSTREAM: &str = "/response/upstream";
const BODY: &str = "/response/body";
/// How often the upstream is asked anew when it did not know our session or wants parameter headers.
const TRIES: usize = 3;

/// Which side of a change a read is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// What was kept of one call so far.
#[derive(Debug)]
pub(crate) struct Kept {
    rule: Capture,
    values: Vec<(String, Value)>,
    /// Paths of what was too large, with the size in bytes.
    too_large: Map<String, Value>,
    /// Paths of what is not kept although the level says so.
    omitted: Vec<&'static str>,
    reads: Vec<Value>,
}

impl Kept {
    pub(crate) fn new(mut rule: Capture) -> Self {
        rule.max_bytes = rule.max_bytes.min(CAPTURE_LIMIT);
        Self { rule, values: Vec::new(), too_large: Map::new(), omitted: Vec::new(), reads: Vec::new() }
    }

    /// The upstream's result or error, before masking.
    pub(crate) fn upstream(&mut self, answer: &Result<Value, RpcError>) {
        match answer {
            Ok(result) => self.keep(UPSTREAM, result),
            Err(error) => self.keep(UPSTREAM, &json!({"error": error.to_value()})),
        }
    }

    /// The result as the caller gets it.
    pub(crate) fn shown(&mut self, shown: &Shown) {
        if shown.value.get("resultType").and_then(Value::as_str) == Some("input_required") {
            // It holds our sealed state, which only the caller may have.
            self.omitted.push(BODY);
        } else {
            self.keep(BODY, &shown.value);
        }
    }

    fn keep(&mut self, path: &str, value: &Value) {
        let kept = match self.rule.level {
            CaptureLevel::None => return,
            CaptureLevel::Digest => digest(value),
            CaptureLevel::Full => {
                let size = size(value);
                if size > self.rule.max_bytes {
                    self.too_large.insert(path.to_owned(), json!(size.to_string()));
                    digest(value)
                } else {
                    value.clone()
                }
            }
        };
        self.values.push((path.to_owned(), kept));
    }

    /// Puts what was kept into the record; says nothing where nothing was tried.
    pub(crate) fn finish(self, draft: &mut Draft) {
        if self.values.is_empty() && self.reads.is_empty() && self.omitted.is_empty() {
            return;
        }
        let mut says = Map::new();
        says.insert("class".to_owned(), json!(self.rule.level.as_str()));
        if !self.too_large.is_empty() {
            says.insert("too_large".to_owned(), Value::Object(self.too_large));
        }
        if !self.omitted.is_empty() {
            says.insert("not_kept".to_owned(), json!(self.omitted));
        }
        if !self.reads.is_empty() {
            says.insert("reads".to_owned(), Value::Array(self.reads));
        }
        draft.ext.insert("capture".to_owned(), Value::Object(says));
        draft.committed.extend(self.values);
    }
}

/// Stands for a value: the SHA-256 of its canonical JSON. It is committed under a salt like any value, so that a short
/// one cannot be guessed from the record.
fn digest(value: &Value) -> Value {
    Value::String(json::digest(value))
}

/// Bytes the value takes up beside the log at most: as text inside a JSON string, should its numbers need that.
fn size(value: &Value) -> usize {
    let text = value.to_string();
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

/// Reads the state of what is about to be changed, if the tool's rule says so.
///
/// # Errors
/// `capture_failed` when the rule demands the state and it cannot be read.
pub(crate) async fn before(gate: &Gateway, ask: &Ask, act: &Act, entry: &mut Entry) -> Result<(), No> {
    match read(gate, ask, act, entry, Side::Before).await {
        Some(plan) if plan.required => {
            let reason = "what this would change could not be read first, and the tool's rule demands that";
            Err(Refusal::new(Code::CaptureFailed, reason).into())
        }
        _ => Ok(()),
    }
}

/// Reads the state after the change, whatever the upstream said of it; nothing to do for a call that never left.
pub(crate) async fn after(gate: &Gateway, ask: &Ask, act: &Act, entry: &mut Entry) {
    if entry.was_dispatched() {
        read(gate, ask, act, entry, Side::After).await;
    }
}

/// Runs the configured read and keeps its result. Gives back the plan when it failed.
async fn read(gate: &Gateway, ask: &Ask, act: &Act, entry: &mut Entry, side: Side) -> Option<BeforeAfter> {
    if !act.class.mutates() {
        return None;
    }
    let kept = entry.kept()?;
    let plan = kept.rule.before_after.clone()?;
    let limit = gate.settings.capture_timeout;
    // The upstream's own log is compared with the record by this id.
    let call = gate.entropy.token(16);
    let read = match plan_arguments(&plan, &act.arguments) {
        Some(arguments) => {
            tokio::time::timeout(limit, fetch(gate, ask, &plan.tool, arguments, &call)).await.unwrap_or(Err("timeout"))
        }
        None => Err("argument_missing"),
    };
    let outcome = match &read {
        Ok(result) => {
            kept.keep(&format!("/change/{}", side.word()), result);
            "success"
        }
        Err(why) => *why,
    };
    kept.reads.push(json!({"at": side.word(), "call": call, "tool": plan.tool, "outcome": outcome}));
    read.is_err().then_some(plan)
}

/// The read's arguments, taken from those of the change; `None` when one is not there.
fn plan_arguments(plan: &BeforeAfter, arguments: &Value) -> Option<Value> {
    let mut built = json!({});
    for (target, source) in &plan.arguments {
        let mut place = &mut built;
        for token in target.strip_prefix('/')?.split('/') {
            let token = token.replace("~1", "/").replace("~0", "~");
            place = place.as_object_mut()?.entry(token).or_insert_with(|| json!({}));
        }
        *place = arguments.pointer(source)?.clone();
    }
    Some(built)
}

/// Calls a tool at the upstream in our own name: nobody's question is answered and no message is passed on.
async fn fetch(gate: &Gateway, ask: &Ask, tool: &str, arguments: Value, call: &str) -> Result<Value, &'static str> {
    for _ in 0..TRIES {
        let (key, link) = forward::link(gate, ask).await.map_err(|_| "unavailable")?;
        let mut params = Map::from_iter([("name".to_owned(), json!(tool))]);
        name_call(&mut params, call);
        let mirrored = if link.is_modern() { ask.mount.declared(tool) } else { None };
        let message = Outgoing { arguments: Some(&arguments), mirrored, ..Outgoing::bare("tools/call", params) };
        let exchange = link.send(message).await.map_err(|_| "unavailable")?;
        match answer(&link, exchange).await {
            Ok(Ok(result)) if result.get("isError").and_then(Value::as_bool) == Some(true) => return Err("tool_error"),
            Ok(Ok(result)) if result.get("resultType").and_then(Value::as_str).is_none_or(|kind| kind == "complete") => {
                return Ok(result);
            }
            Ok(Ok(_)) => return Err("input_required"),
            Ok(Err(error)) if error.code == forward::HEADER_MISMATCH && link.is_modern() => forward::relearn(ask, &link).await,
            Ok(Err(_)) => return Err("upstream_error"),
            Err(Broken::Forgotten) => ask.mount.pool.forget(&key),
            Err(Broken::Unavailable(_)) => return Err("unavailable"),
            Err(Broken::Malformed(_)) => return Err("malformed"),
        }
    }
    Err("unavailable")
}

async fn answer(link: &Arc<Link>, mut exchange: Exchange) -> Result<Result<Value, RpcError>, Broken> {
    loop {
        match exchange.next().await {
            Arrival::Answer(answer) => return Ok(answer),
            Arrival::Broken(broken) => return Err(broken),
            Arrival::Message(message) => forward::decline(link, message).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn plan(arguments: &[(&str, &str)]) -> BeforeAfter {
        let arguments: BTreeMap<_, _> = arguments.iter().map(|(to, from)| ((*to).to_owned(), (*from).to_owned())).collect();
        BeforeAfter { tool: "get".into(), arguments, required: false }
    }

    #[test]
    fn a_reads_arguments_come_from_the_change_and_from_nowhere_else() {
        let call = json!({"ticket_id": "T-1", "deep": {"a/b": [1, {"c": null}]}});
        let built = plan_arguments(&plan(&[("/id", "/ticket_id"), ("/x/y~1z", "/deep/a~1b/1/c")]), &call);
        assert_eq!(built, Some(json!({"id": "T-1", "x": {"y/z": null}})));
        assert_eq!(plan_arguments(&plan(&[("/id", "/nothing")]), &call), None);
        assert_eq!(plan_arguments(&plan(&[("id", "/ticket_id")]), &call), None);
        assert_eq!(plan_arguments(&plan(&[("/a", "/ticket_id"), ("/a/b", "/ticket_id")]), &call), None);
    }

    #[test]
    fn what_is_too_large_becomes_a_digest_that_is_announced() {
        let rule = Capture { level: CaptureLevel::Full, max_bytes: 20, ..Capture::default() };
        let mut kept = Kept::new(rule);
        kept.keep("/a", &json!("0123456789012345"));
        kept.keep("/b", &json!("\"\"\"\"\"\"\"\""));
        kept.keep("/c", &json!({"short": 1}));
        let names: Vec<_> = kept.too_large.keys().collect();
        assert_eq!(names, ["/b"], "quotes count as what they cost beside the log");
        assert!(kept.values[1].1.as_str().unwrap().starts_with("sha-256:"));
        assert_eq!(kept.values[2].1, json!({"short": 1}));
    }
}
