//! Upstreams that forget sessions, hang up in the middle of an answer, or speak both eras.

use crate::world::{Client, Reply, Wish, World};
use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, StatusCode, header};
use remit_gateway::{Upstream, UpstreamHeaders};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

/// How an upstream says that it does not know a session.
#[derive(Clone, Copy, Debug)]
enum Unknown {
    /// As the specification has it.
    NotFound,
    /// As the reference servers have it: with the id of the request.
    BadRequestWithId,
    BadRequestNullId,
    BadRequestText,
}

#[derive(Clone)]
struct Server(Arc<Inner>);

struct Inner {
    unknown: Unknown,
    stateless: bool,
    /// The session that is known; a restart knows none.
    session: AtomicU64,
    calls: AtomicU64,
    initialized: AtomicU64,
    /// `Last-Event-ID` of each resumed stream.
    resumed: Mutex<Vec<String>>,
}

impl Server {
    async fn world(unknown: Unknown, stateless: bool) -> (Self, World) {
        let server = Self(Arc::new(Inner {
            unknown,
            stateless,
            session: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            initialized: AtomicU64::new(0),
            resumed: Mutex::default(),
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let router = Router::new().route("/mcp", any(serve)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let upstream = Some(Upstream::Http { url, headers: UpstreamHeaders::default() });
        (server, Wish { upstream, ..Wish::new(true) }.build().await)
    }

    fn restart(&self) {
        self.0.session.fetch_add(1_000, Ordering::SeqCst);
    }

    fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn refuse(&self, id: &Value) -> Response {
        let error = |id: &Value| {
            axum::Json(json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "No valid session ID"}}))
        };
        match self.0.unknown {
            Unknown::NotFound => (StatusCode::NOT_FOUND, error(&Value::Null)).into_response(),
            Unknown::BadRequestWithId => (StatusCode::BAD_REQUEST, error(id)).into_response(),
            Unknown::BadRequestNullId => (StatusCode::BAD_REQUEST, error(&Value::Null)).into_response(),
            Unknown::BadRequestText => (StatusCode::BAD_REQUEST, "No valid session ID").into_response(),
        }
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let known = self.0.session.load(Ordering::SeqCst).to_string();
        headers.get("mcp-session-id").is_some_and(|session| session == known.as_str())
    }
}

async fn serve(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let id = body["id"].clone();
    let answer = |result: Value| axum::Json(json!({"jsonrpc": "2.0", "id": id, "result": result})).into_response();
    let method = body["method"].as_str().unwrap_or_default();
    if method == "initialize" {
        server.0.initialized.fetch_add(1, Ordering::SeqCst);
        let session = server.0.session.fetch_add(1, Ordering::SeqCst) + 1;
        let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "resources": {"subscribe": true}},
            "serverInfo": {"name": "s", "version": "1"}});
        return ([("mcp-session-id", session.to_string())], answer(result)).into_response();
    }
    if server.0.stateless && parts.headers.get("mcp-protocol-version").is_some_and(|version| version == "2026-07-28") {
        return match method {
            "server/discover" => answer(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})),
            _ => answer(json!({"resultType": "complete", "content": [], "structuredContent": {"era": "stateless"}})),
        };
    }
    if parts.method == Method::DELETE {
        return StatusCode::OK.into_response();
    }
    if !server.knows(&parts.headers) {
        return server.refuse(&id);
    }
    if parts.method == Method::GET {
        return resumed(&server, &parts.headers);
    }
    if id.is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    match method {
        "ping" | "resources/subscribe" => answer(json!({})),
        "tools/call" => {
            server.0.calls.fetch_add(1, Ordering::SeqCst);
            called(&body, &answer)
        }
        _ => answer(json!({"tools": []})),
    }
}

fn called(body: &Value, answer: &dyn Fn(Value) -> Response) -> Response {
    match body["params"]["name"].as_str().unwrap() {
        "wrong" => {
            let error = json!({"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32602, "message": "wrong arguments"}});
            (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
        }
        // Primed: an id to go on from, and nothing else.
        "polled" => events(&format!("id: {}/0\nretry: 5\ndata: \n\n", body["id"])),
        "barren" => events("id: barren\nretry: 1\ndata: \n\n"),
        "cut" => events(": nothing to go on from\n\n"),
        _ => answer(json!({"content": [], "structuredContent": {"era": "session"}})),
    }
}

fn events(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], text.to_owned()).into_response()
}

fn resumed(server: &Server, headers: &HeaderMap) -> Response {
    let Some(last) = headers.get("last-event-id").map(|last| last.to_str().unwrap().to_owned()) else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    server.0.resumed.lock().unwrap().push(last.clone());
    match last.split_once('/') {
        Some((id, "0")) => events(&format!("id: {id}/1\nretry: 5\ndata: \n\n")),
        Some((id, _)) => {
            let answer =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"structuredContent":{{"era":"session"}}}}}}"#);
            events(&format!("id: {id}/2\ndata: {answer}\n\n"))
        }
        None => events("id: barren\nretry: 1\ndata: \n\n"),
    }
}

fn era(reply: &Reply) -> Value {
    reply.result()["structuredContent"]["era"].clone()
}

async fn legacy(world: &World) -> Client<'_> {
    let mut client = world.all();
    client.initialize().await.result();
    client
}

#[tokio::test]
async fn a_session_that_the_upstream_forgot_is_reopened_once_and_the_call_answered_once() {
    for unknown in [Unknown::NotFound, Unknown::BadRequestWithId, Unknown::BadRequestNullId, Unknown::BadRequestText] {
        let (server, world) = Server::world(unknown, false).await;
        let (modern, old) = (world.all(), legacy(&world).await);
        // Both eras of clients, twice: what was mended once can break again.
        for round in 1..=2 {
            assert_eq!(era(&modern.call("refund", json!({})).await), "session", "{unknown:?}");
            server.restart();
            assert_eq!(era(&modern.call("refund", json!({})).await), "session", "{unknown:?}");
            server.restart();
            assert_eq!(era(&old.legacy_call("refund", json!({})).await), "session", "{unknown:?}");
            assert_eq!(server.calls(), round * 3, "{unknown:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_call_in_a_living_session_is_not_repeated() {
    let (server, world) = Server::world(Unknown::BadRequestWithId, false).await;
    let client = legacy(&world).await;
    for _ in 0..2 {
        let reply = client.legacy_call("wrong", json!({})).await;
        assert!(reply.body.to_string().contains("wrong arguments"), "{}", reply.body);
    }
    assert_eq!((server.calls(), server.0.initialized.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test]
async fn a_stream_that_the_upstream_hangs_up_on_is_resumed_and_the_call_runs_once() {
    let (server, world) = Server::world(Unknown::NotFound, false).await;
    let client = world.all();
    assert_eq!(era(&client.call("polled", json!({})).await), "session");
    let resumed = server.0.resumed.lock().unwrap().clone();
    assert_eq!(resumed.iter().map(|last| last.split_once('/').unwrap().1).collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_stream_that_never_brings_anything_is_given_up() {
    let (server, world) = Server::world(Unknown::NotFound, false).await;
    let client = world.all();
    client.call("barren", json!({})).await.refused(200, "upstream_unavailable");
    let resumed = server.0.resumed.lock().unwrap().len();
    assert!((1..=10).contains(&resumed), "{resumed}");
    client.call("cut", json!({})).await.refused(200, "upstream_unavailable");
    assert_eq!((server.calls(), server.0.resumed.lock().unwrap().len()), (2, resumed));
}

#[tokio::test]
async fn an_upstream_of_both_eras_is_linked_in_the_era_of_each_client() {
    for modern_first in [true, false] {
        let (server, world) = Server::world(Unknown::NotFound, true).await;
        let modern = world.all();
        if modern_first {
            assert_eq!(era(&modern.call("refund", json!({})).await), "stateless");
        }
        let old = legacy(&world).await;
        for _ in 0..2 {
            assert_eq!(era(&old.legacy_call("refund", json!({})).await), "session");
            assert_eq!(era(&modern.call("refund", json!({})).await), "stateless");
        }
        // Only the older era has it.
        old.legacy("resources/subscribe", json!({"uri": "doc://a"})).await.result();
        assert_eq!(server.0.initialized.load(Ordering::SeqCst), 1);
    }
}
