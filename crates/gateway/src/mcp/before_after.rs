//! Reads the state of what a call changes, before and after the change, through the upstream's own read tools.
//!
//! The gateway makes these reads in its own name; their results go into the record (`road/kept.rs`) and to no caller.

use crate::{
    gateway::Gateway,
    mcp::{
        envelope::RpcError,
        forward,
        mcp_call::McpCall,
        relay,
        revision::name_call,
        rpc_code::HEADER_MISMATCH,
        upstream::{
            link::{Exchange, Link},
            message::{ExchangeEvent, LinkFailure, Outgoing},
        },
    },
    road::{act::Act, record::RequestRecord, rejection::Rejection},
    settings::BeforeAfter,
};
use remit_model::refusal::{Code, Refusal};
use serde_json::{Map, Value, json};
use std::sync::Arc;

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

/// Reads the state of what is about to be changed, if the tool's rule says so.
///
/// # Errors
/// `capture_failed` when the rule demands the state and it cannot be read.
pub(crate) async fn before(gateway: &Gateway, call: &McpCall, act: &Act, record: &mut RequestRecord) -> Result<(), Rejection> {
    match read(gateway, call, act, record, Side::Before).await {
        Some(plan) if plan.required => {
            let reason = "what this would change could not be read first, and the tool's rule demands that";
            Err(Refusal::new(Code::CaptureFailed, reason).into())
        }
        _ => Ok(()),
    }
}

/// Reads the state after the change, whatever the upstream said of it; nothing to do for a call that never left.
pub(crate) async fn after(gateway: &Gateway, call: &McpCall, act: &Act, record: &mut RequestRecord) {
    if record.was_dispatched() {
        read(gateway, call, act, record, Side::After).await;
    }
}

/// Runs the configured read and keeps its result. Gives back the plan when it failed.
async fn read(gateway: &Gateway, call: &McpCall, act: &Act, record: &mut RequestRecord, side: Side) -> Option<BeforeAfter> {
    if !act.class.mutates() {
        return None;
    }
    let kept = record.kept()?;
    let plan = kept.before_after()?.clone();
    let limit = gateway.settings.capture_timeout;
    // The upstream's own log is compared with the record by this id.
    let id = gateway.entropy.token(16);
    let read = match plan_arguments(&plan, &act.arguments) {
        Some(arguments) => {
            tokio::time::timeout(limit, fetch(gateway, call, &plan.tool, arguments, &id)).await.unwrap_or(Err("timeout"))
        }
        None => Err("argument_missing"),
    };
    let outcome = read.as_ref().map_or_else(|why| *why, |_| "success");
    let facts = json!({"at": side.word(), "call": id, "tool": plan.tool, "outcome": outcome});
    kept.state(side.word(), read.as_ref().ok(), facts);
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

/// Calls a tool at the upstream in the gateway's own name: questions are declined and no message is passed on.
async fn fetch(gateway: &Gateway, call: &McpCall, tool: &str, arguments: Value, id: &str) -> Result<Value, &'static str> {
    for _ in 0..TRIES {
        let (key, link) = forward::link(gateway, call).await.map_err(|_| "unavailable")?;
        let mut params = Map::from_iter([("name".to_owned(), json!(tool))]);
        name_call(&mut params, id);
        let mirrored = if link.is_modern() { call.mount.declared(tool) } else { None };
        let message = Outgoing { arguments: Some(&arguments), mirrored, ..Outgoing::bare("tools/call", params) };
        let exchange = link.send(message).await.map_err(|_| "unavailable")?;
        match answer(&link, exchange).await {
            Ok(Ok(result)) if result.get("isError").and_then(Value::as_bool) == Some(true) => return Err("tool_error"),
            Ok(Ok(result)) if result.get("resultType").and_then(Value::as_str).is_none_or(|kind| kind == "complete") => {
                return Ok(result);
            }
            Ok(Ok(_)) => return Err("input_required"),
            Ok(Err(error)) if error.code == HEADER_MISMATCH && link.is_modern() => forward::relearn(call, &link).await,
            Ok(Err(_)) => return Err("upstream_error"),
            Err(LinkFailure::Forgotten) => call.mount.pool.forget(&key, &link),
            Err(LinkFailure::Unavailable(_) | LinkFailure::Busy(_)) => return Err("unavailable"),
            Err(LinkFailure::Malformed(_)) => return Err("malformed"),
        }
    }
    Err("unavailable")
}

async fn answer(link: &Arc<Link>, mut exchange: Exchange) -> Result<Result<Value, RpcError>, LinkFailure> {
    loop {
        match exchange.next().await {
            ExchangeEvent::Answer(answer) => return Ok(answer),
            ExchangeEvent::Failed(broken) => return Err(broken),
            ExchangeEvent::Message(message) => relay::decline(link, message).await,
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
}
