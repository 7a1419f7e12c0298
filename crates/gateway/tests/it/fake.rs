//! An upstream MCP server for tests: either era, answering in JSON or in events, and remembering all it received.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::{Notify, mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

#[derive(Clone)]
pub(crate) struct Fake(Arc<State_>);

pub(crate) struct State_ {
    pub(crate) modern: bool,
    /// Answers of the older era come as events.
    pub(crate) events: bool,
    pub(crate) seen: Mutex<Vec<Seen>>,
    /// Lets `slow` go on.
    pub(crate) release: Notify,
    /// `hang` noticed that the caller no longer waits.
    pub(crate) abandoned: AtomicBool,
    /// Forget the session at the next call.
    pub(crate) forget: AtomicBool,
    sessions: AtomicU64,
    /// Answers of the client to our questions.
    pub(crate) answers: Mutex<Vec<Value>>,
    pub(crate) answered: Notify,
    /// What `tools/list` answers instead of the usual.
    pub(crate) listed: Mutex<Option<Value>>,
    /// What tools answer instead of the usual, by name.
    pub(crate) results: Mutex<HashMap<String, Value>>,
    /// Sends on the latest stream of a session that belongs to no request.
    pub(crate) standing: Mutex<Option<mpsc::Sender<Value>>>,
    /// The same as JSON text, passed on to the byte.
    pub(crate) texts: Mutex<HashMap<String, String>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) text: String,
}

impl std::ops::Deref for Fake {
    type Target = State_;
    fn deref(&self) -> &State_ {
        &self.0
    }
}

impl Fake {
    pub(crate) fn new(modern: bool, events: bool) -> Self {
        Self(Arc::new(State_ {
            modern,
            events,
            seen: Mutex::default(),
            release: Notify::new(),
            abandoned: AtomicBool::new(false),
            forget: AtomicBool::new(false),
            sessions: AtomicU64::new(0),
            answers: Mutex::default(),
            answered: Notify::new(),
            listed: Mutex::default(),
            results: Mutex::default(),
            standing: Mutex::default(),
            texts: Mutex::default(),
        }))
    }

    /// Serves it on loopback and gives its URL.
    pub(crate) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let router = Router::new().route("/mcp", any(endpoint)).route("/elsewhere", any(elsewhere)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    /// Requests with this JSON-RPC method.
    pub(crate) fn received(&self, method: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.body["method"] == method).cloned().collect()
    }

    pub(crate) fn calls(&self) -> usize {
        self.received("tools/call").len()
    }
}

async fn elsewhere(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    fake.seen.lock().unwrap().push(Seen { headers: parts.headers, body: json!({"method": "elsewhere"}), text: String::new() });
    StatusCode::OK.into_response()
}

async fn endpoint(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    fake.seen.lock().unwrap().push(Seen { headers: parts.headers.clone(), body: body.clone(), text });
    match parts.method {
        Method::GET => return if fake.modern { StatusCode::METHOD_NOT_ALLOWED.into_response() } else { standing_stream(&fake) },
        Method::DELETE => return StatusCode::OK.into_response(),
        _ => {}
    }
    let id = body["id"].clone();
    if body.get("method").is_none() {
        fake.answers.lock().unwrap().push(body);
        fake.answered.notify_one();
        return StatusCode::ACCEPTED.into_response();
    }
    if id.is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let method = body["method"].as_str().unwrap_or_default().to_owned();
    let session = parts.headers.get("mcp-session-id").cloned();
    if fake.modern {
        if let Some(response) = modern_rules(&parts.headers, &body, &method) {
            return response;
        }
    } else if method == "initialize" {
        let n = fake.sessions.fetch_add(1, Ordering::Relaxed);
        let result = json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "fake", "version": "1"}, "instructions": "Be kind.",
            "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}, "prompts": {}, "logging": {}, "tasks": {}}});
        return ([("mcp-session-id", format!("up-{n}"))], axum::Json(json!({"jsonrpc": "2.0", "id": id, "result": result})))
            .into_response();
    } else if session.is_none() {
        return rpc(
            StatusCode::BAD_REQUEST,
            json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "no session"}}),
        );
    } else if fake.forget.swap(false, Ordering::Relaxed) {
        return rpc(
            StatusCode::NOT_FOUND,
            json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "Session not found"}}),
        );
    }
    dispatch(&fake, id, &method, &body)
}

fn modern_rules(headers: &HeaderMap, body: &Value, method: &str) -> Option<Response> {
    let meta = &body["params"]["_meta"];
    let good = headers.get("mcp-method").is_some_and(|header| header == method)
        && headers.get("mcp-protocol-version").is_some_and(|header| header == "2026-07-28")
        && meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        && meta["io.modelcontextprotocol/clientCapabilities"].is_object()
        && (method != "tools/call"
            || headers.get("mcp-name").is_some_and(|name| decoded(name.to_str().unwrap()) == body["params"]["name"]));
    let declared = body["params"]["arguments"]["region"].as_str();
    let mirrored = declared.is_none_or(|region| headers.get("mcp-param-region").is_some_and(|header| header == region));
    (!good || !mirrored).then(|| {
        let error = json!({"code": -32020, "message": "headers do not mirror the body"});
        rpc(StatusCode::BAD_REQUEST, json!({"jsonrpc": "2.0", "id": body["id"], "error": error}))
    })
}

/// A header of the stateless era as text.
fn decoded(header: &str) -> String {
    match header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap(),
        None => header.to_owned(),
    }
}

fn rpc(status: StatusCode, body: Value) -> Response {
    (status, axum::Json(body)).into_response()
}

fn ticket() -> Value {
    json!({"id": "T-1", "subject": "Broken lamp", "customer": {"name": "Ann", "email": "ann@example.com"}})
}

pub(crate) fn tools() -> Value {
    let names = ["ticket_read", "refund", "slow", "hang", "fail", "prose", "ask", "error", "regional", "secret.tool"];
    let tool = |name: &&str| {
        let region = json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
        let schema = if *name == "regional" { region } else { json!({"type": "object"}) };
        json!({"name": name, "inputSchema": schema})
    };
    json!({"tools": names.iter().map(tool).collect::<Vec<_>>()})
}

fn dispatch(fake: &Fake, id: Value, method: &str, body: &Value) -> Response {
    let complete = |mut result: Value| {
        if fake.modern {
            result["resultType"] = json!("complete");
            if method.ends_with("/list") || method == "resources/read" {
                result["ttlMs"] = json!(60_000);
                result["cacheScope"] = json!("public");
            }
        }
        result
    };
    let params = &body["params"];
    let result = match method {
        "server/discover" => {
            json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "instructions": "Be modern."})
        }
        "tools/list" => fake.listed.lock().unwrap().clone().unwrap_or_else(tools),
        "resources/list" => json!({"resources": [{"uri": "doc://a", "name": "a"}]}),
        "prompts/list" => json!({"prompts": [{"name": "p"}]}),
        "resources/read" => json!({"contents": [{"uri": params["uri"], "text": ticket().to_string()}]}),
        "prompts/get" => json!({"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}]}),
        "subscriptions/listen" => return subscription(id),
        "tools/call" => return tool(fake, id, params),
        "resources/subscribe" | "logging/setLevel" => json!({}),
        _ => return rpc(StatusCode::OK, json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "unknown"}})),
    };
    answer(fake, &id, &complete(result))
}

fn answer(fake: &Fake, id: &Value, result: &Value) -> Response {
    let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
    if fake.events { events(&message) } else { rpc(StatusCode::OK, message) }
}

fn events(message: &Value) -> Response {
    let text = format!("id: 1\ndata: \n\nevent: message\ndata: {message}\n\n");
    ([("content-type", "text/event-stream")], text).into_response()
}

/// A stream that is fed by hand.
fn stream() -> (mpsc::Sender<Bytes>, Response) {
    let (sender, receiver) = mpsc::channel(8);
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>));
    (sender, ([("content-type", "text/event-stream; charset=utf-8")], body).into_response())
}

fn event(message: &Value) -> Bytes {
    Bytes::from(format!("data: {message}\n\n"))
}

fn standing_stream(fake: &Fake) -> Response {
    let (sender, response) = stream();
    let (more, mut messages) = mpsc::channel::<Value>(8);
    *fake.standing.lock().unwrap() = Some(more);
    tokio::spawn(async move {
        let note = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
        let _ = sender.send(event(&note)).await;
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => drop(sender.send(event(&message)).await),
                    None => return sender.closed().await,
                },
                () = sender.closed() => return,
            }
        }
    });
    response
}

fn subscription(id: Value) -> Response {
    let (sender, response) = stream();
    tokio::spawn(async move {
        let meta = json!({"io.modelcontextprotocol/subscriptionId": id});
        for method in ["notifications/subscriptions/acknowledged", "notifications/tools/list_changed"] {
            let note = json!({"jsonrpc": "2.0", "method": method, "params": {"_meta": meta, "notifications": {"toolsListChanged": true}}});
            let _ = sender.send(event(&note)).await;
        }
        sender.closed().await;
    });
    response
}

fn tool(fake: &Fake, id: Value, params: &Value) -> Response {
    let complete = |mut result: Value| {
        if fake.modern {
            result["resultType"] = json!("complete");
        }
        result
    };
    let text = |text: &str| json!({"content": [{"type": "text", "text": text}]});
    let set = fake.results.lock().unwrap().get(params["name"].as_str().unwrap()).cloned();
    if let Some(result) = set {
        return answer(fake, &id, &complete(result));
    }
    if let Some(text) = fake.texts.lock().unwrap().get(params["name"].as_str().unwrap()) {
        return raw(&id, text);
    }
    let result = match params["name"].as_str().unwrap() {
        "ticket_read" => {
            json!({"content": [{"type": "text", "text": ticket().to_string()}], "structuredContent": ticket(), "isError": false})
        }
        "refund" | "regional" => json!({"content": [], "structuredContent": {"done": true, "arguments": params["arguments"]}}),
        "prose" => text("The customer's address is ann@example.com"),
        "fail" => json!({"content": [{"type": "text", "text": "no"}], "isError": true}),
        "error" => {
            let error = json!({"code": -32602, "message": "ann@example.com is unknown", "data": {"stack": "x"}});
            return rpc(StatusCode::OK, json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
        "slow" => return slow(fake.clone(), id, params),
        "hang" => return hang(fake.clone()),
        "ask" if fake.modern => return ask_modern(&id, params),
        "ask" => return ask_legacy(fake.clone(), id, &params["arguments"]),
        "redirect" => return (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response(),
        "duplicate" => return raw(&id, r#"{"content":[],"content":[{"type":"text","text":"other"}]}"#),
        "huge" => text(&"x".repeat(20_000)),
        "garbage" => return ([("content-type", "application/json")], "<html>").into_response(),
        "broken" => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "unauthorised" => return StatusCode::UNAUTHORIZED.into_response(),
        "busy" => return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")]).into_response(),
        "code-32021" => {
            let error = json!({"code": -32021, "message": "needs sampling", "data": {"requiredCapabilities": {"sampling": {}}}});
            return rpc(StatusCode::BAD_REQUEST, json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
        "code-32000" => {
            return rpc(StatusCode::OK, json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "old"}}));
        }
        other => text(&format!("called {other}")),
    };
    answer(fake, &id, &complete(result))
}

fn raw(id: &Value, result: &str) -> Response {
    ([("content-type", "application/json")], format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)).into_response()
}

/// One progress event, then nothing until released, then the answer.
fn slow(fake: Fake, id: Value, params: &Value) -> Response {
    let (sender, response) = stream();
    let token = params["_meta"]["progressToken"].clone();
    tokio::spawn(async move {
        let params = json!({"progressToken": token, "progress": 1, "total": 2, "message": "reading ann@example.com"});
        let note = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
        let _ = sender.send(event(&note)).await;
        tokio::select! {
            () = fake.release.notified() => {}
            () = sender.closed() => { fake.abandoned.store(true, Ordering::Relaxed); return; }
        }
        let mut result = json!({"content": [{"type": "text", "text": ticket().to_string()}]});
        if fake.modern {
            result["resultType"] = json!("complete");
        }
        let _ = sender.send(event(&json!({"jsonrpc": "2.0", "id": id, "result": result}))).await;
    });
    response
}

fn hang(fake: Fake) -> Response {
    let (sender, response) = stream();
    tokio::spawn(async move {
        let _ = sender.send(Bytes::from_static(b": hello\n\n")).await;
        sender.closed().await;
        fake.abandoned.store(true, Ordering::Relaxed);
    });
    response
}

fn ask_modern(id: &Value, params: &Value) -> Response {
    let result = if params.get("inputResponses").is_some() {
        json!({"resultType": "complete", "content": [{"type": "text", "text": format!("state was {}", params["requestState"])}]})
    } else {
        json!({"resultType": "input_required", "requestState": "upstream-state", "inputRequests": {
            "form": {"method": "elicitation/create", "params": {"message": "sure?"}},
            "sample": {"method": "sampling/createMessage", "params": {}}}})
    };
    rpc(StatusCode::OK, json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

/// Asks what the arguments say, one question after the other, and reports the last answer.
fn ask_legacy(fake: Fake, id: Value, arguments: &Value) -> Response {
    let (sender, response) = stream();
    let asked = arguments.get("ask").cloned().unwrap_or_else(|| json!(["elicitation/create"]));
    let message = arguments["pad"].as_u64().map_or_else(|| "sure?".to_owned(), |pad| "x".repeat(pad.try_into().unwrap()));
    tokio::spawn(async move {
        for (number, method) in (1..).zip(asked.as_array().unwrap()) {
            let params = json!({"message": message});
            let ask = json!({"jsonrpc": "2.0", "id": format!("q-{number}"), "method": method, "params": params});
            let _ = sender.send(event(&ask)).await;
            tokio::select! {
                () = fake.answered.notified() => {}
                () = sender.closed() => return,
            }
        }
        let answers = fake.answers.lock().unwrap().clone();
        let result = json!({"content": [{"type": "text", "text": answers.last().unwrap().to_string()}]});
        let _ = sender.send(event(&json!({"jsonrpc": "2.0", "id": id, "result": result}))).await;
    });
    response
}
