//! The desk as an MCP server over streamable HTTP, without sessions.
//!
//! Revision 2026-07-28 carries its version and the client's capabilities in every request, mirrored in headers;
//! 2025-11-25 and 2025-06-18 say `initialize` first. Both are served at once, told apart by what the request carries.
//! Does not do: server-sent requests, subscriptions, resources, prompts.

use crate::{
    Desk,
    error::DeskError,
    progress::Progress,
    tools::{self, tools},
};
use axum::{
    body::Bytes,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

const MODERN: &str = "2026-07-28";
const LEGACY: [&str; 2] = ["2025-11-25", "2025-06-18"];
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const SERVER_KEY: &str = "io.modelcontextprotocol/serverInfo";

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL_ERROR: i64 = -32603;
const HEADER_MISMATCH: i64 = -32020;
const UNSUPPORTED_VERSION: i64 = -32022;

/// How a request is to be read and answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    Legacy,
    Modern,
}

/// A JSON-RPC error on its way out, with the HTTP status it travels under.
struct Wrong {
    status: StatusCode,
    code: i64,
    message: String,
    data: Option<Value>,
}

impl Wrong {
    fn bad(code: i64, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into(), data: None }
    }

    fn in_band(code: i64, message: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, ..Self::bad(code, message) }
    }

    fn answer(self, id: &Value) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(data), Some(members)) = (self.data, error.as_object_mut()) {
            members.insert("data".to_owned(), data);
        }
        reply(self.status, &json!({ "jsonrpc": "2.0", "id": id, "error": error }))
    }
}

pub(crate) async fn post(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_local(&headers) {
        return Wrong { status: StatusCode::FORBIDDEN, ..Wrong::bad(INVALID_REQUEST, "this Origin may not ask") }
            .answer(&Value::Null);
    }
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return Wrong::bad(PARSE_ERROR, "not JSON").answer(&Value::Null);
    };
    let Some(method) = message.get("method").and_then(Value::as_str) else {
        return Wrong::bad(INVALID_REQUEST, "not a JSON-RPC request").answer(&Value::Null);
    };
    let params = message.get("params").cloned().unwrap_or_else(|| json!({}));
    let name = params.get("name").and_then(Value::as_str);
    desk.note(if method == "tools/call" { name.unwrap_or(method) } else { method }, &headers);
    let id = match message.get("id") {
        Some(id) if id.is_string() || id.is_i64() || id.is_u64() => id.clone(),
        Some(_) => return Wrong::bad(INVALID_REQUEST, "id must be a string or an integer").answer(&Value::Null),
        // A notification: nothing here needs one.
        None => return StatusCode::ACCEPTED.into_response(),
    };
    let era = match era_of(method, &params, &headers) {
        Ok(era) => era,
        Err(wrong) => return wrong.answer(&id),
    };
    if method == "tools/call" {
        return call(desk, era, id, params, &headers).await;
    }
    match answer(era, method, &params) {
        Ok(result) => reply(StatusCode::OK, &json!({ "jsonrpc": "2.0", "id": id, "result": result })),
        Err(wrong) => wrong.answer(&id),
    }
}

/// Everything but `tools/call`.
fn answer(era: Era, method: &str, params: &Value) -> Result<Value, Wrong> {
    match (era, method) {
        (Era::Legacy, "initialize") => Ok(initialize(params)),
        (Era::Legacy, "ping") => Ok(json!({})),
        (Era::Legacy, "tools/list") => Ok(listing()),
        (Era::Modern, "tools/list") => Ok(complete(cacheable(listing()))),
        (Era::Modern, "server/discover") => Ok(complete(cacheable(json!({
            "supportedVersions": [MODERN],
            "capabilities": { "tools": {} },
            "instructions": INSTRUCTIONS,
        })))),
        (Era::Legacy, _) => Err(Wrong::in_band(METHOD_NOT_FOUND, format!("there is no method {method}"))),
        (Era::Modern, _) => {
            Err(Wrong { status: StatusCode::NOT_FOUND, ..Wrong::bad(METHOD_NOT_FOUND, format!("there is no method {method}")) })
        }
    }
}

const INSTRUCTIONS: &str =
    "Support tickets, customers and refunds of a small shop. Ticket ids look like T-1001, customer ids like C-001.";

fn initialize(params: &Value) -> Value {
    let asked = params.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
    let version = LEGACY.into_iter().find(|known| *known == asked).unwrap_or("2025-11-25");
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": {} },
        "serverInfo": server_info(),
        "instructions": INSTRUCTIONS,
    })
}

fn listing() -> Value {
    json!({ "tools": tools().iter().map(tools::Tool::definition).collect::<Vec<_>>() })
}

async fn call(desk: Desk, era: Era, id: Value, params: Value, headers: &HeaderMap) -> Response {
    let token = params.pointer("/_meta/progressToken").filter(|token| token.is_string() || token.is_number()).cloned();
    if token.is_none() || !accepts_stream(headers) {
        let message = call_result(&desk, era, &id, &params, &Progress::silent()).await;
        return message.map_or_else(|wrong| wrong.answer(&id), |message| reply(StatusCode::OK, &message));
    }
    let (sender, receiver) = mpsc::channel(8);
    let progress = Progress::to(token, sender.clone());
    tokio::spawn(async move {
        tokio::select! {
            message = call_result(&desk, era, &id, &params, &progress) => {
                let message = message.unwrap_or_else(|wrong| {
                    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": wrong.code, "message": wrong.message } })
                });
                let _ = sender.send(message).await;
            }
            // The client went away: that is how it cancels.
            () = sender.closed() => {}
        }
    });
    let events = ReceiverStream::new(receiver).map(|message| Ok::<_, Infallible>(Event::default().data(message.to_string())));
    ([("x-accel-buffering", "no")], Sse::new(events)).into_response()
}

async fn call_result(desk: &Desk, era: Era, id: &Value, params: &Value, progress: &Progress) -> Result<Value, Wrong> {
    let Some(name) = params.get("name").and_then(Value::as_str) else {
        return Err(Wrong::in_band(INVALID_PARAMS, "name is missing"));
    };
    if let Err(cause) = desk.log(name, params) {
        tracing::error!(%cause, "the helpdesk cannot write its log");
        return Err(Wrong::in_band(INTERNAL_ERROR, "the helpdesk failed"));
    }
    let arguments = params.get("arguments").cloned().unwrap_or_else(|| json!({}));
    let result = match tools::call(desk, name, arguments, progress).await {
        None => return Err(Wrong::in_band(INVALID_PARAMS, format!("there is no tool {name}"))),
        Some(Err(DeskError::Storage(cause))) => {
            tracing::error!(%cause, "the helpdesk database failed");
            return Err(Wrong::in_band(INTERNAL_ERROR, "the helpdesk failed"));
        }
        Some(Err(error)) => json!({ "content": [{ "type": "text", "text": error.to_string() }], "isError": true }),
        Some(Ok(value)) => json!({
            "content": [{ "type": "text", "text": value.to_string() }],
            "structuredContent": value,
            "isError": false,
        }),
    };
    let result = if era == Era::Modern { complete(result) } else { result };
    Ok(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

/// Tells the revisions apart and checks what the newer one demands of headers and `_meta`.
// SPEC: MG-04, MG-06
fn era_of(method: &str, params: &Value, headers: &HeaderMap) -> Result<Era, Wrong> {
    let claimed = params.get("_meta").and_then(|meta| meta.get(VERSION_KEY)).and_then(Value::as_str);
    let header = text(headers, "mcp-protocol-version");
    let Some(claimed) = claimed else {
        return match header {
            None => Ok(Era::Legacy),
            Some(version) if LEGACY.contains(&version) => Ok(Era::Legacy),
            Some(MODERN) => Err(Wrong::bad(INVALID_PARAMS, format!("_meta must carry {VERSION_KEY}"))),
            Some(other) => Err(unsupported(other)),
        };
    };
    if header != Some(claimed) {
        return Err(Wrong::bad(HEADER_MISMATCH, "MCP-Protocol-Version and _meta disagree"));
    }
    if claimed != MODERN {
        return Err(unsupported(claimed));
    }
    if text(headers, "mcp-method") != Some(method) {
        return Err(Wrong::bad(HEADER_MISMATCH, "Mcp-Method and the method disagree"));
    }
    if method == "tools/call"
        && text(headers, "mcp-name").and_then(decoded).as_deref() != params.get("name").and_then(Value::as_str)
    {
        return Err(Wrong::bad(HEADER_MISMATCH, "Mcp-Name and the tool's name disagree"));
    }
    if !params.get("_meta").and_then(|meta| meta.get(CAPABILITIES_KEY)).is_some_and(Value::is_object) {
        return Err(Wrong::bad(INVALID_PARAMS, format!("_meta must carry {CAPABILITIES_KEY}")));
    }
    Ok(Era::Modern)
}

fn unsupported(version: &str) -> Wrong {
    let data = json!({ "supported": [MODERN, LEGACY[0], LEGACY[1]], "requested": version });
    Wrong { data: Some(data), ..Wrong::bad(UNSUPPORTED_VERSION, format!("protocol version {version} is not supported")) }
}

/// A mirrored header value as it was before it was made fit for a header.
fn decoded(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => Some(value.to_owned()),
        Some(encoded) => String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok(),
    }
}

/// Marks a result as the 2026-07-28 revision wants it: finished, and from whom.
fn complete(mut result: Value) -> Value {
    if let Some(members) = result.as_object_mut() {
        members.insert("resultType".to_owned(), json!("complete"));
        members.insert("_meta".to_owned(), json!({ SERVER_KEY: server_info() }));
    }
    result
}

fn cacheable(mut result: Value) -> Value {
    if let Some(members) = result.as_object_mut() {
        members.insert("ttlMs".to_owned(), json!(60_000));
        members.insert("cacheScope".to_owned(), json!("public"));
    }
    result
}

fn server_info() -> Value {
    json!({ "name": "helpdesk", "title": "Helpdesk", "version": env!("CARGO_PKG_VERSION") })
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    text(headers, header::ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream") || accept.contains("*/*"))
}

/// A browser page from elsewhere must not drive a server on this machine (DNS rebinding).
fn is_local(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    matches!(name, Some("127.0.0.1" | "localhost" | "[::1]"))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn reply(status: StatusCode, message: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], message.to_string()).into_response()
}
