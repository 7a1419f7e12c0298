//! OCSF events: one JSON object a line, of the class that fits the record. SPEC: standards §13.1.
//!
//! What OCSF 1.8 has no place for (the proof, the policies, the chain) stands in `unmapped`. The 1.9 names (`ai_agent`
//! of the profile `ai_operation`, `attestation_list` of `record_integrity`) are used only when asked for: that version
//! is not released.

use super::Item;
use serde_json::{Map, Value, json};

/// Which names are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// 1.8.0.
    Current,
    /// The names of 1.9.0-dev.
    Next,
}

/// The class and activity of a record.
#[derive(Clone, Copy)]
struct Class {
    uid: u64,
    name: &'static str,
    category: (u64, &'static str),
    activity: (u64, &'static str),
}

const IAM: (u64, &str) = (3, "Identity & Access Management");
const APPLICATION: (u64, &str) = (6, "Application Activity");

const fn class(uid: u64, name: &'static str, category: (u64, &'static str), activity: (u64, &'static str)) -> Class {
    Class { uid, name, category, activity }
}

/// One line with its newline.
pub fn line(item: &Item<'_>, edition: Edition) -> Vec<u8> {
    let class = classify(item);
    let mut event = common(item, class, edition);
    let particular = match class.uid {
        6003 => api_activity(item),
        6002 => json!({"app": {"name": "Remit", "uid": item.record.producer_id()}}),
        3004 => entity(item, class),
        3003 => json!({"user": user(item), "privileges": privileges(item), "session": session(item), "actor": actor(item)}),
        3005 => json!({"user": user(item), "privileges": privileges(item), "actor": actor(item)}),
        _ => json!({"user": user(item), "service": service(item), "actor": actor(item)}),
    };
    if let Value::Object(particular) = particular {
        event.extend(particular);
    }
    if edition == Edition::Next {
        event.extend(next(item));
    }
    let mut line = Value::Object(event).to_string().into_bytes();
    line.push(b'\n');
    line
}

fn classify(item: &Item<'_>) -> Class {
    let gateway = item.text("/producer/kind") == "gateway";
    let action = item.record.action();
    match item.record.record_type() {
        "log_control" if action == "start" => class(6002, "Application Lifecycle", APPLICATION, (3, "Start")),
        "log_control" if action == "stop" => class(6002, "Application Lifecycle", APPLICATION, (4, "Stop")),
        "log_control" | "heartbeat" | "reconcile" => class(6002, "Application Lifecycle", APPLICATION, (99, "Other")),
        "policy_change" | "config_change" => class(3004, "Entity Management", IAM, changed(action)),
        "redaction" => class(3004, "Entity Management", IAM, (4, "Delete")),
        "delegation" => class(3005, "User Access Management", IAM, (1, "Assign Privileges")),
        "session_open" if !gateway => class(3003, "Authorize Session", IAM, (1, "Assign Privileges")),
        "approval" if !gateway => class(3002, "Authentication", IAM, (1, "Logon")),
        "token" if action.contains("revoke") => class(3005, "User Access Management", IAM, (2, "Revoke Privileges")),
        "token" | "decision" if action.starts_with("authority.") => {
            class(3002, "Authentication", IAM, (3, "Authentication Ticket"))
        }
        _ => class(6003, "API Activity", APPLICATION, accessed(item)),
    }
}

fn accessed(item: &Item<'_>) -> (u64, &'static str) {
    match item.text("/action/class") {
        "read" => (2, "Read"),
        "write" => (3, "Update"),
        "delete" => (4, "Delete"),
        _ => (99, "Other"),
    }
}

fn changed(action: &str) -> (u64, &'static str) {
    match action.rsplit(['.', ':']).next().unwrap_or_default() {
        "add" | "create" | "register" => (1, "Create"),
        "retire" | "remove" | "delete" => (4, "Delete"),
        "quarantine" => (12, "Suspend"),
        "activate" => (10, "Activate"),
        _ => (3, "Update"),
    }
}

fn common(item: &Item<'_>, class: Class, edition: Edition) -> Map<String, Value> {
    let (status_id, status) = match item.record.outcome() {
        "success" => (1, "Success"),
        "failure" | "denied" | "timeout" | "cancelled" => (2, "Failure"),
        "unknown" => (0, "Unknown"),
        other => (99, other),
    };
    let (severity_id, severity) = match item.record.outcome() {
        "success" | "unknown" | "partial" => (1, "Informational"),
        "denied" => (3, "Medium"),
        _ => (2, "Low"),
    };
    let mut event = object(json!({
        "activity_id": class.activity.0,
        "activity_name": class.activity.1,
        "category_uid": class.category.0,
        "category_name": class.category.1,
        "class_uid": class.uid,
        "class_name": class.name,
        "type_uid": class.uid * 100 + class.activity.0,
        "type_name": format!("{}: {}", class.name, class.activity.1),
        "time": item.record.wall_ns() / 1_000_000,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": item.summary(),
        "metadata": metadata(item, edition),
        "unmapped": unmapped(item),
    }));
    put(&mut event, "status_code", item.code());
    put(&mut event, "status_detail", item.record.text("/decision/explanation"));
    if let (Some(start), Some(end)) = (item.record.number("/time/start_ns"), item.record.number("/time/end_ns")) {
        event.insert("start_time".to_owned(), json!(start / 1_000_000));
        event.insert("end_time".to_owned(), json!(end / 1_000_000));
    }
    if let Some(trace) = item.record.text("/trace/trace_id") {
        event.insert("trace".to_owned(), json!({"uid": trace}));
    }
    event
}

fn metadata(item: &Item<'_>, edition: Edition) -> Value {
    let mut profiles = Vec::new();
    if item.record.text("/trace/trace_id").is_some() {
        profiles.push("trace");
    }
    if edition == Edition::Next {
        profiles.extend(["ai_operation", "record_integrity"]);
    }
    let mut metadata = object(json!({
        "version": if edition == Edition::Next { "1.9.0-dev" } else { "1.8.0" },
        "product": {"name": "Remit", "vendor_name": "Remit", "version": item.text("/producer/version")},
        "uid": item.record.record_id(),
        "tenant_uid": item.record.tenant(),
        "log_name": item.origin,
        "log_version": item.text("/schema"),
        "event_code": item.record.record_type(),
        "original_time": item.text("/time/wall"),
        "profiles": profiles,
    }));
    put(&mut metadata, "correlation_uid", item.record.txn());
    if let Ok(sequence) = i32::try_from(item.index) {
        metadata.insert("sequence".to_owned(), json!(sequence));
    }
    Value::Object(metadata)
}

fn api_activity(item: &Item<'_>) -> Value {
    let method = item.record.text("/mcp/request_id").unwrap_or_else(|| item.record.record_id());
    let mut api = object(json!({"operation": item.record.action(), "service": service(item), "request": {"uid": method}}));
    put(&mut api, "version", item.record.text("/mcp/protocol_version"));
    if let Some(code) = item.code() {
        api.insert("response".to_owned(), json!({"error": code, "message": item.record.outcome()}));
    }
    let resources = item.record.value().get("resource").and_then(Value::as_array);
    let resources: Vec<Value> = resources.into_iter().flatten().map(resource).collect();
    let mut activity = object(json!({"api": api, "actor": actor(item), "src_endpoint": endpoint(item)}));
    if !resources.is_empty() {
        activity.insert("resources".to_owned(), Value::Array(resources));
    }
    Value::Object(activity)
}

fn resource(node: &Value) -> Value {
    let member = |name: &str| node.get(name).and_then(Value::as_str);
    let mut resource = object(json!({"type": member("type").unwrap_or_default()}));
    match member("id_ref") {
        Some(id) => put(&mut resource, "uid", Some(id)),
        None => put(&mut resource, "name", Some(member("type").unwrap_or("unnamed"))),
    }
    let labels: Vec<String> = member("classification").map(|word| format!("classification:{word}")).into_iter().collect();
    resource.insert("labels".to_owned(), json!(labels));
    Value::Object(resource)
}

/// Where the caller is, as far as we say: its key, or its pseudonym.
fn endpoint(item: &Item<'_>) -> Value {
    let key =
        item.caller_text("/cnf/jkt").or_else(|| item.caller_text("/cnf/x5t#S256")).or_else(|| item.caller_text("/subject_ref"));
    json!({"uid": key.unwrap_or("unknown"), "svc_name": item.caller_text("/agent/uid").unwrap_or("unknown")})
}

/// Who is accountable: the origin of the chain; and the program that acts for them.
fn actor(item: &Item<'_>) -> Value {
    let mut actor = object(json!({"user": user(item)}));
    put(&mut actor, "app_uid", item.caller_text("/agent/uid"));
    if item.record.text("/session/id").is_some() || item.caller_text("/token/jti_hash").is_some() {
        actor.insert("session".to_owned(), session(item));
    }
    Value::Object(actor)
}

fn session(item: &Item<'_>) -> Value {
    let mut session = Map::new();
    let uid = item.caller_text("/token/jti_hash").or_else(|| item.record.txn());
    put(&mut session, "uid", uid);
    put(&mut session, "issuer", item.caller_text("/issuer"));
    Value::Object(session)
}

/// The origin of the chain, by pseudonym.
fn user(item: &Item<'_>) -> Value {
    let (type_id, kind) = match item.text("/chain/0/kind") {
        "human" => (1, "User"),
        "service" | "workload" => (4, "Service"),
        _ => (99, "Other"),
    };
    let mut user = object(json!({"uid": item.text("/chain/0/subject_ref"), "type_id": type_id, "type": kind}));
    put(&mut user, "name", item.names.at(0));
    Value::Object(user)
}

fn service(item: &Item<'_>) -> Value {
    let server = item.record.text("/tool/server_id").filter(|name| !name.is_empty());
    json!({"name": server.unwrap_or("remit"), "uid": item.record.producer_id()})
}

fn privileges(item: &Item<'_>) -> Value {
    let scopes = item.scopes();
    if scopes.is_empty() { json!([item.record.action()]) } else { json!(scopes) }
}

fn entity(item: &Item<'_>, class: Class) -> Value {
    let id = item.record.text("/resource/0/id_ref").unwrap_or_else(|| item.record.action());
    let kind = item.record.text("/resource/0/type").unwrap_or_else(|| item.record.record_type());
    let comment = format!("{} by {}", class.activity.1, item.text("/chain/0/subject_ref"));
    json!({"entity": {"uid": id, "type": kind, "name": item.record.action()}, "actor": actor(item), "comment": comment})
}

/// What OCSF has no place for: the chain of custody, the decision's pins, and what proves the record.
fn unmapped(item: &Item<'_>) -> Value {
    let record = item.record.value();
    let mut rest = Map::new();
    for name in
        ["record_type", "chain_depth", "owner_ref", "producer", "seq", "session_seq", "prev_hash", "chain_uid", "record_hash"]
    {
        if let Some(value) = record.get(name) {
            rest.insert(name.to_owned(), value.clone());
        }
    }
    for name in ["commit", "sigs", "retention", "human_in_loop", "intent_id", "caused_by", "purpose", "outcome", "decision"] {
        if let Some(value) = record.get(name) {
            rest.insert(name.to_owned(), value.clone());
        }
    }
    let clock = record.get("time").cloned().unwrap_or_default();
    let hops = item.record.chain().iter().map(|node| {
        json!({"kind": node.get("kind"), "subject_ref": node.get("subject_ref"), "agent": node.get("agent"), "edge_proof": node.get("edge_proof")})
    });
    rest.insert("chain".to_owned(), hops.collect());
    rest.insert("time".to_owned(), clock);
    rest.insert(
        "log".to_owned(),
        json!({"origin": item.origin, "index": item.index.to_string(), "checkpoint_size": item.size.to_string(), "leaf_hash": item.leaf}),
    );
    Value::Object(rest)
}

/// The members that 1.9 adds.
fn next(item: &Item<'_>) -> Map<String, Value> {
    let fingerprint =
        |hash: &str| json!({"algorithm_id": 3, "algorithm": "SHA-256", "value": hash.trim_start_matches("sha-256:")});
    let mut added = Map::new();
    let caller = item.caller().filter(|node| matches!(node.get("kind").and_then(Value::as_str), Some("agent" | "subagent")));
    if let Some(node) = caller {
        let member = |name: &str| node.pointer(&format!("/agent/{name}")).and_then(Value::as_str);
        let mut ai_agent = Map::new();
        // A record names its agents by pseudonym.
        put(&mut ai_agent, "uid", member("uid").or_else(|| node.get("subject_ref")?.as_str()));
        for (to, from) in [("instance_uid", "instance_uid"), ("version", "version"), ("charter", "charter_digest")] {
            put(&mut ai_agent, to, member(from));
        }
        added.insert("ai_agent".to_owned(), Value::Object(ai_agent));
    }
    let attestation = json!({
        "uid": item.record.record_id(),
        "authority_uid": item.origin,
        "chain_uid": item.text("/chain_uid"),
        "fingerprint": fingerprint(item.text("/record_hash")),
        "prev_event": {"fingerprint": fingerprint(item.text("/prev_hash"))},
    });
    added.insert("attestation_list".to_owned(), json!([attestation]));
    added
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn put(members: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), json!(value));
    }
}
