//! OpenTelemetry logs as OTLP/JSON: one `ExportLogsServiceRequest` for a batch of records, joined to the request's trace.
//!
//! Attributes follow the GenAI and MCP conventions (status: development). Arguments and results are never attributes,
//! not even where they were captured. SPEC: N-EX-03.

use super::Item;
use serde_json::{Value, json};

/// The request for these records, one line with its newline; all must be of one producer, as the records of a log are.
pub fn request(items: &[Item<'_>]) -> Vec<u8> {
    let Some(first) = items.first() else { return Vec::new() };
    let resource = [
        ("service.name", json!("remit")),
        ("service.version", json!(first.text("/producer/version"))),
        ("service.instance.id", json!(first.record.producer_id())),
        ("deployment.environment.name", json!(first.text("/env"))),
    ];
    let records: Vec<Value> = items.iter().map(log_record).collect();
    let request = json!({"resourceLogs": [{
        "resource": {"attributes": attributes(resource.into_iter().map(|(key, value)| (key, Some(value))))},
        "scopeLogs": [{"scope": {"name": "agent.audit.v1", "version": first.text("/producer/version")}, "logRecords": records}],
    }]});
    let mut line = request.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn log_record(item: &Item<'_>) -> Value {
    let (number, word) = match item.record.outcome() {
        "success" => (9, "INFO"),
        "unknown" | "partial" | "denied" | "cancelled" => (13, "WARN"),
        _ => (17, "ERROR"),
    };
    let wall = item.record.wall_ns().to_string();
    let mut record = json!({
        "timeUnixNano": wall,
        "observedTimeUnixNano": wall,
        "severityNumber": number,
        "severityText": word,
        "eventName": format!("agent.audit.{}", item.record.record_type()),
        "body": {"stringValue": item.summary()},
        "attributes": attributes(facts(item)),
    });
    // In OTLP/JSON ids are hexadecimal, other than in the protobuf mapping.
    let trace = (item.record.text("/trace/trace_id"), item.record.text("/trace/span_id"));
    if let (Value::Object(members), (Some(trace), Some(span))) = (&mut record, trace) {
        members.insert("traceId".to_owned(), json!(trace.to_ascii_lowercase()));
        members.insert("spanId".to_owned(), json!(span.to_ascii_lowercase()));
        let flags = item.record.text("/trace/flags").and_then(|flags| u32::from_str_radix(flags, 16).ok());
        members.insert("flags".to_owned(), json!(flags.unwrap_or(0)));
    }
    record
}

fn facts(item: &Item<'_>) -> Vec<(&'static str, Option<Value>)> {
    let text = |pointer: &str| item.record.text(pointer).filter(|text| !text.is_empty()).map(|text| json!(text));
    let called = item.record.text("/mcp/method") == Some("tools/call");
    vec![
        ("remit.record.id", text("/record_id")),
        ("remit.record.type", text("/record_type")),
        ("remit.record.hash", text("/record_hash")),
        ("remit.log.origin", Some(json!(item.origin))),
        ("remit.log.index", Some(json!(item.index))),
        ("remit.time.error_bound_ns", item.record.error_bound_ns().map(|bound| json!(bound))),
        ("remit.time.clock_status", text("/time/clock_status")),
        ("remit.tenant.id", text("/tenant_id")),
        ("remit.delegation.id", text("/txn")),
        ("remit.chain.depth", Some(json!(item.record.chain().len()))),
        ("remit.action.name", text("/action/name")),
        ("remit.action.class", text("/action/class")),
        ("remit.decision.result", text("/decision/result")),
        ("remit.decision.reason_code", text("/decision/reason_code")),
        ("remit.outcome.status", text("/outcome/status")),
        ("remit.outcome.effect_confirmed", text("/outcome/effect_confirmed")),
        ("mcp.method.name", text("/mcp/method")),
        ("mcp.protocol.version", text("/mcp/protocol_version")),
        ("jsonrpc.request.id", text("/mcp/request_id")),
        ("gen_ai.operation.name", called.then(|| json!("execute_tool"))),
        ("gen_ai.tool.name", text("/tool/name").filter(|_| called)),
        ("gen_ai.agent.id", item.caller_text("/agent/uid").map(|uid| json!(uid))),
        ("error.type", text("/outcome/error_type").or_else(|| item.code().map(|code| json!(code)))),
        ("user.hash", text("/chain/0/subject_ref")),
        ("user.name", item.names.at(0).map(|name| json!(name))),
    ]
}

/// Key-value pairs of OTLP; what is absent is left out.
fn attributes(facts: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Vec<Value> {
    let value = |value: Value| match value {
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        other => json!({"stringValue": other.to_string()}),
    };
    facts.into_iter().filter_map(|(key, fact)| Some(json!({"key": key, "value": value(fact?)}))).collect()
}
