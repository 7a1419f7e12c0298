//! The upstream: an MCP server that gives the same answers always, in a process of its own.

use crate::fixtures::{ledger::runtime, shapes};
use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

/// The word that makes this program an upstream.
pub(crate) const WORD: &str = "upstream";

/// A running upstream; it ends with this value.
pub(crate) struct Upstream {
    child: Child,
    pub(crate) url: String,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program).arg(WORD).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until it is stopped.
pub(crate) fn serve() {
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}/mcp", listener.local_addr().unwrap());
        axum::serve(listener, Router::new().route("/mcp", post(answer))).await.unwrap();
    });
}

async fn answer(Json(request): Json<Value>) -> Json<Value> {
    let word = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let mut result = match (word("/method"), word("/params/name")) {
        ("server/discover", _) => json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
        ("tools/call", "tickets_search") => shapes::answer(),
        _ => json!({"content": [{"type": "text", "text": "done"}], "structuredContent": {"done": true}, "isError": false}),
    };
    if let Value::Object(members) = &mut result {
        members.insert("resultType".to_owned(), json!("complete"));
    }
    Json(json!({"jsonrpc": "2.0", "id": request.get("id"), "result": result}))
}
