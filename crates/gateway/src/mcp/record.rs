//! How the record of an MCP request begins: the message and its trace, and who sent it.

use crate::{
    gateway::Gateway,
    mcp::{envelope::Request, mcp_call::McpCall, revision::Revision},
    road::record::RequestRecord,
};
use remit_ledger::record::Mcp;
use remit_model::time::Moment;
use serde_json::Value;

/// Begins the record of a request.
pub(crate) fn open(gateway: &Gateway, call: &McpCall, now: &Moment) -> RequestRecord {
    let mut record = RequestRecord::open(&gateway.settings, &call.mount.server, &call.origin, now);
    record.caller(&call.caller, &gateway.store.snapshot());
    note(&mut record, &call.request, call.revision);
    record
}

/// Notes the message in the record of its request.
pub(crate) fn note(record: &mut RequestRecord, request: &Request, revision: Revision) {
    let id = request.id.as_str().map_or_else(|| request.id.to_string(), str::to_owned);
    let message =
        Mcp { method: request.method.clone(), request_id: Some(id), protocol_version: Some(revision.as_str().to_owned()) };
    let parent = request.params.get("_meta").and_then(|meta| meta.get("traceparent")).and_then(Value::as_str);
    record.message(message, parent);
}
