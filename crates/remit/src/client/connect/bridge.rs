//! The bridge itself: JSON-RPC lines on standard input become DPoP-signed POSTs; answers and streams become lines.
//!
//! It speaks for MCP clients of every era: it mirrors the body into the headers that 2026-07-28 wants, and keeps the
//! session id and opens the server's stream for 2025-11-25 and older. It never changes a message.

use crate::client::AgentClient;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    sync::mpsc,
    task::JoinSet,
};

/// Longest message taken from standard input, in bytes.
const LINE_LIMIT: usize = 8 << 20;
/// The error code the bridge answers with when the server cannot be reached (application range, MG-07).
const UNREACHABLE: i32 = -31_500;

/// What the bridge remembers of a stateful (2025-era) session.
#[derive(Debug, Default)]
struct Session {
    id: Option<String>,
    version: Option<String>,
}

/// One bridge for one server.
#[derive(Debug)]
pub(crate) struct Bridge {
    caller: AgentClient,
    endpoint: String,
    session: Mutex<Session>,
    out: mpsc::Sender<String>,
}

/// Carries messages until standard input ends.
///
/// # Errors
/// When standard input or output break.
pub(crate) async fn run(caller: AgentClient, endpoint: String) -> Result<()> {
    let (out, lines) = mpsc::channel(64);
    let writer = tokio::spawn(write_lines(lines));
    let bridge = Arc::new(Bridge { caller, endpoint, session: Mutex::default(), out });
    let mut input = BufReader::new(tokio::io::stdin());
    let mut tasks = JoinSet::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).await.context("cannot read standard input")? == 0 {
            break;
        }
        while tasks.try_join_next().is_some() {}
        let message = line.trim_ascii().to_vec();
        if message.is_empty() {
            continue;
        }
        // Order matters only until the session stands: `initialize` is answered before the next message leaves.
        let head: Value = serde_json::from_slice(&message).unwrap_or(Value::Null);
        let task = Arc::clone(&bridge).carry(message, head.clone());
        if matches!(head.get("method").and_then(Value::as_str), Some("initialize" | "notifications/initialized")) {
            task.await;
            if head.get("method").and_then(Value::as_str) == Some("notifications/initialized") {
                tokio::spawn(Arc::clone(&bridge).listen());
            }
        } else {
            tasks.spawn(task);
        }
    }
    while tasks.join_next().await.is_some() {}
    bridge.leave().await;
    drop(bridge);
    // The server's stream may still hold a sender; the client is gone, so nothing more is owed to it.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(200), writer).await;
    Ok(())
}

async fn write_lines(mut lines: mpsc::Receiver<String>) {
    let mut out = tokio::io::stdout();
    while let Some(line) = lines.recv().await {
        let whole = format!("{line}\n");
        if out.write_all(whole.as_bytes()).await.is_err() || out.flush().await.is_err() {
            break;
        }
    }
}

impl Bridge {
    async fn carry(self: Arc<Self>, message: Vec<u8>, head: Value) {
        let sent = if message.len() > LINE_LIMIT {
            Err(anyhow::anyhow!("the message has {} bytes; the limit is {LINE_LIMIT}", message.len()))
        } else {
            self.post(message, &head).await
        };
        if let Err(error) = sent {
            tracing::warn!("{error:#}");
            if let Some(id) = head.get("id").filter(|_| head.get("method").is_some()) {
                self.say(
                    json!({"jsonrpc": "2.0", "id": id, "error": {"code": UNREACHABLE, "message": format!("{error:#}")}})
                        .to_string(),
                )
                .await;
            }
        }
    }

    async fn post(&self, message: Vec<u8>, head: &Value) -> Result<()> {
        let mut headers = mirrored(head);
        {
            let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(id) = &session.id {
                headers.push(("mcp-session-id".to_owned(), id.clone()));
            }
            if let Some(version) =
                session.version.as_ref().filter(|_| !headers.iter().any(|(name, _)| name == "mcp-protocol-version"))
            {
                headers.push(("mcp-protocol-version".to_owned(), version.clone()));
            }
        }
        headers.push(("content-type".into(), "application/json".into()));
        headers.push(("accept".into(), "application/json, text/event-stream".into()));
        let answer = self.caller.call(Method::POST, &self.endpoint, &headers, Bytes::from(message)).await?;
        let initialize = head.get("method").and_then(Value::as_str) == Some("initialize");
        if initialize && let Some(id) = answer.headers().get("mcp-session-id").and_then(|value| value.to_str().ok()) {
            self.session.lock().unwrap_or_else(PoisonError::into_inner).id = Some(id.to_owned());
        }
        self.relay(answer, head, initialize).await
    }

    async fn relay(&self, answer: http::Response<Incoming>, head: &Value, initialize: bool) -> Result<()> {
        let status = answer.status();
        let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        if kind.starts_with("text/event-stream") {
            return self.stream(answer.into_body()).await;
        }
        let body = answer.into_body().collect().await.context("cannot read the answer")?.to_bytes();
        if status == StatusCode::ACCEPTED || (status.is_success() && body.is_empty()) {
            return Ok(());
        }
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        match parsed {
            Some(message) if message.get("jsonrpc").is_some() => {
                if initialize && let Some(version) = message.pointer("/result/protocolVersion").and_then(Value::as_str) {
                    self.session.lock().unwrap_or_else(PoisonError::into_inner).version = Some(version.to_owned());
                }
                self.say(with_id(message, head).to_string()).await;
                Ok(())
            }
            Some(problem) => anyhow::bail!("the server answered {status}: {problem}"),
            None => anyhow::bail!(
                "the server answered {status}: {}",
                String::from_utf8_lossy(&body).chars().take(300).collect::<String>()
            ),
        }
    }

    /// Hands on a server-sent event stream, event by event as it comes.
    async fn stream(&self, mut body: Incoming) -> Result<()> {
        let mut pending: Vec<u8> = Vec::new();
        let mut data = String::new();
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.context("the stream broke")?.into_data() else { continue };
            pending.extend_from_slice(&bytes);
            anyhow::ensure!(
                pending.len() <= LINE_LIMIT && data.len() <= LINE_LIMIT,
                "the server sent an event over {LINE_LIMIT} bytes"
            );
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                if line.is_empty() {
                    if !data.is_empty() {
                        self.event(std::mem::take(&mut data)).await;
                    }
                } else if let Some(more) = line.strip_prefix("data:") {
                    if !data.is_empty() {
                        data.push('\n');
                    }
                    data.push_str(more.strip_prefix(' ').unwrap_or(more));
                }
            }
        }
        Ok(())
    }

    async fn event(&self, data: String) {
        let Ok(message) = serde_json::from_str::<Value>(&data) else { return };
        if let Some(version) = message.pointer("/result/protocolVersion").and_then(Value::as_str) {
            self.session.lock().unwrap_or_else(PoisonError::into_inner).version.get_or_insert_with(|| version.to_owned());
        }
        self.say(message.to_string()).await;
    }

    /// The stream a 2025-era server may use to speak first; a server without one answers 405.
    async fn listen(self: Arc<Self>) {
        let headers = {
            let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(id) = session.id.clone() else { return };
            let mut headers = vec![("mcp-session-id".to_owned(), id), ("accept".to_owned(), "text/event-stream".to_owned())];
            headers.extend(session.version.clone().map(|version| ("mcp-protocol-version".to_owned(), version)));
            headers
        };
        match self.caller.call(Method::GET, &self.endpoint, &headers, Bytes::new()).await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                if let Err(error) = self.stream(answer.into_body()).await {
                    tracing::debug!("the server's stream ended: {error:#}");
                }
            }
            Ok(answer) => tracing::debug!("no stream from the server: {}", answer.status()),
            Err(error) => tracing::debug!("no stream from the server: {error:#}"),
        }
    }

    async fn leave(&self) {
        let headers = {
            let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(id) = session.id.clone() else { return };
            let mut headers = vec![("mcp-session-id".to_owned(), id)];
            headers.extend(session.version.clone().map(|version| ("mcp-protocol-version".to_owned(), version)));
            headers
        };
        let _ = self.caller.call(Method::DELETE, &self.endpoint, &headers, Bytes::new()).await;
    }

    async fn say(&self, line: String) {
        let _ = self.out.send(line).await;
    }
}

/// The headers a 2026-07-28 request mirrors from its body (MG-04); none for older requests.
fn mirrored(head: &Value) -> Vec<(String, String)> {
    let Some(version) = head.pointer("/params/_meta/io.modelcontextprotocol~1protocolVersion").and_then(Value::as_str) else {
        return Vec::new();
    };
    let mut headers = vec![("mcp-protocol-version".to_owned(), version.to_owned())];
    if let Some(method) = head.get("method").and_then(Value::as_str) {
        headers.push(("mcp-method".to_owned(), method.to_owned()));
        let named = match method {
            "tools/call" | "prompts/get" => head.pointer("/params/name"),
            "resources/read" => head.pointer("/params/uri"),
            _ => None,
        };
        if let Some(name) = named.and_then(Value::as_str) {
            headers.push(("mcp-name".to_owned(), header_text(name)));
        }
    }
    headers
}

/// Text as a header value: as it is when it is visible ASCII, else in the base64 form of MCP 2026-07-28.
fn header_text(text: &str) -> String {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| matches!(byte, 0x21..=0x7e | b' '))
        && text.trim() == text
        && !text.starts_with("=?base64?");
    if plain {
        text.to_owned()
    } else {
        format!("=?base64?{}?=", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text))
    }
}

/// An error that could not be tied to its request keeps the session alive by taking the request's id.
fn with_id(mut message: Value, head: &Value) -> Value {
    if let (Some(fields), Some(id)) = (message.as_object_mut(), head.get("id"))
        && fields.get("id").is_none_or(Value::is_null)
    {
        fields.insert("id".to_owned(), id.clone());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mg_04_headers_mirror_a_modern_body_and_leave_an_old_one_alone() {
        let modern = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "caf\u{e9}", "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}});
        assert_eq!(
            mirrored(&modern),
            [
                ("mcp-protocol-version".into(), "2026-07-28".into()),
                ("mcp-method".into(), "tools/call".into()),
                ("mcp-name".into(), "=?base64?Y2Fmw6k=?=".into())
            ]
        );
        assert!(mirrored(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).is_empty());
    }

    #[test]
    fn an_answer_without_an_id_takes_the_request_s() {
        let message = with_id(json!({"jsonrpc": "2.0", "id": null, "error": {}}), &json!({"id": 7}));
        assert_eq!(message["id"], 7);
    }
}
