//! The bridge itself: JSON-RPC lines on standard input become DPoP-signed POSTs; answers and streams become lines.
//!
//! It speaks for MCP clients of every era: it mirrors the body into the headers that 2026-07-28 wants, and keeps the
//! session id and opens the server's stream for 2025-11-25 and older. It never changes a message. A session that the server
//! has forgotten is begun again; a message is repeated only when it cannot have run.

use super::{
    lines::{self, LINE_LIMIT},
    session::Session,
    sse::Events,
    unsigned::SignInPrompt,
};
use crate::client::{agent_client::AgentClient, http_client::is_connect_error, sign_in::SignInNeeded};
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use remit_clock::Clock;
use remit_model::json::{DEPTH_CAP, Limits, Numbers, parse_repaired};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
};

/// The error code the bridge answers with when the server cannot be reached (application range, MG-07).
const UNREACHABLE: i32 = -31_500;
/// JSON-RPC: the text is not JSON.
const PARSE_ERROR: i32 = -32_700;
/// Waits before a message that did not reach the server is sent again; a server that restarts is back within them.
const RESEND_AFTER: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Shortest and longest wait before the server's stream is opened again.
const REOPEN_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A stream that lasted this long did not fail at once.
const LASTED_NS: u64 = 10_000_000_000;
/// Longest wait for the end of a session when the bridge stops.
const GOODBYE: Duration = Duration::from_secs(2);

/// One bridge for one server.
#[derive(Debug)]
struct Bridge {
    client: AgentClient,
    endpoint: String,
    prompt: Option<SignInPrompt>,
    clock: Clock,
    session: Mutex<Session>,
    /// Held while a session is begun again.
    renewing: tokio::sync::Mutex<()>,
    out: mpsc::Sender<String>,
}

/// Carries messages until standard input ends, or SIGTERM or SIGINT comes; then ends the session.
///
/// # Errors
/// When standard input or output break.
pub(super) async fn run(client: AgentClient, endpoint: String, prompt: Option<SignInPrompt>, clock: Clock) -> Result<()> {
    let (out, said) = mpsc::channel(64);
    let writer = tokio::spawn(write_lines(said));
    let (session, renewing) = (Mutex::default(), tokio::sync::Mutex::default());
    let bridge = Arc::new(Bridge { client, endpoint, prompt, clock, session, renewing, out });
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let mut tasks = JoinSet::new();
    tokio::select! {
        read = Arc::clone(&bridge).read(&mut tasks) => {
            read?;
            while tasks.join_next().await.is_some() {}
        }
        _ = terminate.recv() => tasks.abort_all(),
        _ = interrupt.recv() => tasks.abort_all(),
        _ = hangup.recv() => tasks.abort_all(),
    }
    let _ = tokio::time::timeout(GOODBYE, bridge.leave()).await;
    drop(bridge);
    // The server's stream may still hold a sender; the client is gone, so nothing more is owed to it.
    let _ = tokio::time::timeout(Duration::from_millis(200), writer).await;
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
    /// Reads messages and carries each; those that begin a session are carried before the next is read.
    async fn read(self: Arc<Self>, tasks: &mut JoinSet<()>) -> Result<()> {
        let mut input = BufReader::new(tokio::io::stdin());
        let mut line = Vec::new();
        while lines::next(&mut input, &mut line).await.context("cannot read standard input")? {
            while tasks.try_join_next().is_some() {}
            let message = line.trim_ascii().to_vec();
            if message.is_empty() {
                continue;
            }
            let Some(head) = self.parsed(&message).await else { continue };
            let method = head.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
            let task = Arc::clone(&self).carry(message, head);
            match method.as_str() {
                "initialize" => task.await,
                "notifications/initialized" => {
                    if self.session().ready() {
                        task.await;
                        self.listen();
                    }
                }
                _ => drop(tasks.spawn(task)),
            }
        }
        Ok(())
    }

    /// The message as JSON; one that is none is answered here.
    async fn parsed(&self, message: &[u8]) -> Option<Value> {
        let wrong = if message.len() > LINE_LIMIT {
            format!("the message is longer than {LINE_LIMIT} bytes")
        } else {
            match serde_json::from_slice(message) {
                Ok(head) => return Some(head),
                Err(error) => format!("the message is not JSON: {error}"),
            }
        };
        tracing::warn!("{wrong}");
        // Without its id the client could not tell which of its requests failed, and some end the session then.
        if let Some(id) = lines::request_id(message) {
            self.say(error(&id, PARSE_ERROR, &wrong)).await;
        }
        None
    }

    async fn carry(self: Arc<Self>, message: Vec<u8>, head: Value) {
        if head.get("method").is_some_and(|method| method == "initialize") {
            self.session().asked(&head);
        }
        let Err(failed) = self.deliver(&Bytes::from(message), &head).await else { return };
        if let (true, Some(prompt)) = (failed.is::<SignInNeeded>(), &self.prompt) {
            if head.get("method").is_some_and(|method| method == "initialize") {
                self.session().answered_here();
            }
            if let Some(answer) = prompt.answer(&head).await {
                self.say(answer).await;
            }
            return;
        }
        tracing::warn!("{failed:#}");
        if let Some(id) = head.get("id").filter(|_| head.get("method").is_some()) {
            self.say(error(id, UNREACHABLE, &format!("{failed:#}"))).await;
        }
    }

    /// Sends a message and hands on its answer. In a session that the server has forgotten, the session is begun again and
    /// the message sent once more: the server answered that it did nothing with it.
    async fn deliver(self: &Arc<Self>, message: &Bytes, head: &Value) -> Result<()> {
        let initialize = head.get("method").is_some_and(|method| method == "initialize");
        let (pending, mut generation) = {
            let session = self.session();
            (session.is_pending() && !initialize, session.generation())
        };
        if pending {
            self.begin_again(generation).await?;
            self.say(json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})).await;
            generation = self.session().generation();
        }
        let in_session = self.session().has_id() && !initialize;
        let mut answer = self.post(message, head).await?;
        if in_session && answer.status() == StatusCode::NOT_FOUND {
            tracing::info!("the server has forgotten the session; beginning it again");
            self.begin_again(generation).await?;
            answer = self.post(message, head).await?;
        }
        if initialize {
            let id = answer.headers().get("mcp-session-id").and_then(|value| value.to_str().ok());
            self.session().begun(id, None);
        }
        self.relay(answer, head).await
    }

    /// Posts a message; repeats it while no connection to the server can be made, because then it has not arrived.
    async fn post(&self, message: &Bytes, head: &Value) -> Result<http::Response<Incoming>> {
        let mut headers = mirrored(head);
        headers.extend(self.session().headers(&headers));
        headers.push(("content-type".into(), "application/json".into()));
        headers.push(("accept".into(), "application/json, text/event-stream".into()));
        let mut waits = RESEND_AFTER.iter();
        loop {
            match self.client.call(Method::POST, &self.endpoint, &headers, message.clone()).await {
                Err(failed) if is_connect_error(&failed) => match waits.next() {
                    Some(wait) => tokio::time::sleep(*wait).await,
                    None => return Err(failed),
                },
                Err(failed) if head.get("method").is_some_and(|method| method == "tools/call") => {
                    return Err(failed.context("the connection broke, and the call may have run"));
                }
                done => return done,
            }
        }
    }

    /// Begins the session again with the client's own `initialize`, unless another message has done so since.
    async fn begin_again(self: &Arc<Self>, generation: u64) -> Result<()> {
        let _renewing = self.renewing.lock().await;
        let replay = {
            let mut session = self.session();
            if session.generation() != generation {
                return Ok(());
            }
            session.renew();
            session.replay()
        };
        let (id, message) = replay.context("the server has forgotten a session that the client never began")?;
        let answer = self.post(&message, &Value::Null).await?;
        let session_id = answer.headers().get("mcp-session-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = answer.status();
        let result = self.answer_to(answer, &id).await?;
        let Some(version) = result.pointer("/result/protocolVersion").and_then(Value::as_str) else {
            bail!("the session could not be begun again: {status}: {result}");
        };
        self.session().begun(session_id.as_deref(), Some(version));
        if self.session().is_initialized() {
            let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            self.post(&Bytes::from(ready.to_string()), &ready).await?;
            self.listen();
        }
        Ok(())
    }

    /// The answer to a request of the bridge's own; what else comes on its stream goes to the client.
    async fn answer_to(&self, answer: http::Response<Incoming>, id: &Value) -> Result<Value> {
        if !is_stream(&answer) {
            let body = answer.into_body().collect().await.context("cannot read the answer")?.to_bytes();
            return serde_json::from_slice(&body).context("the answer is not JSON");
        }
        let (mut events, mut body) = (Events::default(), answer.into_body());
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.context("the stream broke")?.into_data() else { continue };
            for event in events.feed(&bytes)? {
                let Some(message) = message_of(event.data.as_bytes()) else { continue };
                if message.get("id") == Some(id) {
                    return Ok(message);
                }
                self.say(message).await;
            }
        }
        bail!("the stream ended without an answer")
    }

    async fn relay(&self, answer: http::Response<Incoming>, head: &Value) -> Result<()> {
        let status = answer.status();
        let request = head.get("id").filter(|_| head.get("method").is_some());
        if is_stream(&answer) {
            let answered = self.stream(answer.into_body(), request, &mut None).await?;
            if request.is_some() && !answered {
                bail!("the server's stream ended without an answer; the request may have run");
            }
            return Ok(());
        }
        let body = answer.into_body().collect().await.context("cannot read the answer")?.to_bytes();
        if status == StatusCode::ACCEPTED || (status.is_success() && body.is_empty()) {
            return Ok(());
        }
        match message_of(&body) {
            Some(message) if message.get("jsonrpc").is_some() => {
                self.note_version(&message);
                self.say(with_id(message, head)).await;
                Ok(())
            }
            Some(problem) => bail!("the server answered {status}: {problem}"),
            None => {
                bail!("the server answered {status}: {}", String::from_utf8_lossy(&body).chars().take(300).collect::<String>())
            }
        }
    }

    /// Hands on a server-sent event stream, event by event as it comes; gives back whether `request` was answered.
    async fn stream(&self, mut body: Incoming, request: Option<&Value>, last_id: &mut Option<String>) -> Result<bool> {
        let (mut events, mut answered) = (Events::default(), false);
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.context("the stream broke")?.into_data() else { continue };
            for event in events.feed(&bytes)? {
                if event.id.is_some() {
                    *last_id = event.id;
                }
                let Some(message) = message_of(event.data.as_bytes()) else { continue };
                self.note_version(&message);
                answered |= message.get("method").is_none() && message.get("id") == request;
                self.say(message).await;
            }
        }
        Ok(answered)
    }

    fn note_version(&self, message: &Value) {
        if let Some(version) = message.pointer("/result/protocolVersion").and_then(Value::as_str) {
            self.session().agreed(version);
        }
    }

    /// Keeps open the stream on which a 2025-era server speaks first, for as long as this session lasts.
    fn listen(self: &Arc<Self>) {
        let (bridge, generation) = (Arc::clone(self), self.session().generation());
        tokio::spawn(async move { bridge.keep_listening(generation).await });
    }

    async fn keep_listening(self: Arc<Self>, generation: u64) {
        let (shortest, longest) = REOPEN_AFTER;
        let (mut wait, mut last_id) = (shortest, None);
        loop {
            let mut headers = {
                let session = self.session();
                if session.generation() != generation || !session.has_id() {
                    return;
                }
                session.headers(&[])
            };
            headers.push(("accept".to_owned(), "text/event-stream".to_owned()));
            headers.extend(last_id.clone().map(|id| ("last-event-id".to_owned(), id)));
            let began = self.clock.now().mono_ns;
            match self.client.call(Method::GET, &self.endpoint, &headers, Bytes::new()).await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    // The server ends it with the token; the next request has a fresh one.
                    if let Err(ended) = self.stream(answer.into_body(), None, &mut last_id).await {
                        tracing::debug!("the server's stream ended: {ended:#}");
                    }
                }
                // The new session has a stream of its own.
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => match self.begin_again(generation).await {
                    Ok(()) => return,
                    Err(failed) => tracing::debug!("the session could not be begun again: {failed:#}"),
                },
                Ok(answer) if answer.status() == StatusCode::METHOD_NOT_ALLOWED => return,
                Ok(answer) => tracing::debug!("no stream from the server: {}", answer.status()),
                Err(failed) => tracing::debug!("no stream from the server: {failed:#}"),
            }
            let lasted = self.clock.now().mono_ns.saturating_sub(began) >= LASTED_NS;
            wait = if lasted { shortest } else { (wait * 2).min(longest) };
            tokio::time::sleep(wait).await;
        }
    }

    async fn leave(&self) {
        let headers = self.session().leave();
        if let Some(headers) = headers {
            let _ = self.client.call(Method::DELETE, &self.endpoint, &headers, Bytes::new()).await;
        }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say(&self, message: Value) {
        let _ = self.out.send(message.to_string()).await;
    }
}

fn error(id: &Value, code: i32, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn is_stream(answer: &http::Response<Incoming>) -> bool {
    let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
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

/// One message of the server, with its numbers as the server wrote them; `None` when it is not JSON.
fn message_of(bytes: &[u8]) -> Option<Value> {
    // The server bounds what it sends.
    let limits = Limits { bytes: usize::MAX, depth: DEPTH_CAP, members: usize::MAX, numbers: Numbers::AsWritten };
    parse_repaired(bytes, &limits).ok()
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
