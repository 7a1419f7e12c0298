//! One in-flight HTTP request to an upstream.
//!
//! It makes progress only while polled; it owns no task and no queue. An upstream that sends faster than the client reads
//! waits in its own connection.

use super::{
    http_client::{HttpEndpoint, Resumption, is_event_stream, mirror},
    message::{ExchangeEvent, LinkFailure, Outgoing, arrival, limits, own_progress},
    sse,
};
use crate::mcp::{
    envelope::{self, Message},
    revision,
};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming as Body;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json};
use std::{collections::VecDeque, fmt, pin::Pin, sync::Arc, time::Duration};
use tokio::runtime::Handle;

/// A request under way. Dropping it before its end cancels it, at any point.
pub(crate) struct HttpExchange {
    inner: Arc<HttpEndpoint>,
    id: u64,
    /// The client's own progress token.
    progress: Option<Value>,
    stage: Stage,
    resumption: Resumption,
    /// Tell the upstream when the caller no longer waits.
    cancels: bool,
}

enum Stage {
    /// Until the response is there: all of it, unless it comes as events.
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Events(Box<Events>),
    Over,
}

enum Opened {
    Last(ExchangeEvent),
    Events(Body),
}

/// A response that comes in pieces.
struct Events {
    body: Body,
    reader: sse::Reader,
    /// Read, but not asked for yet.
    waiting: VecDeque<sse::Event>,
}

impl HttpExchange {
    pub(super) fn start(inner: Arc<HttpEndpoint>, mut message: Outgoing<'_>) -> Self {
        let id = inner.number();
        let progress = own_progress(&mut message.params, id);
        let mut extra = HeaderMap::new();
        if inner.modern {
            extra = mirror(&message);
            revision::add_envelope(&mut message.params, message.client);
        }
        let body = body(id, &message);
        let link = Arc::clone(&inner);
        let opening = async move {
            match link.post(body, extra).await {
                Ok(response) => open(&link, response, id).await,
                Err(broken) => Opened::Last(ExchangeEvent::Failed(broken)),
            }
        };
        Self { inner, id, progress, stage: Stage::Opening(Box::pin(opening)), resumption: Resumption::default(), cancels: true }
    }

    /// Reads a response that has begun.
    pub(super) fn receive(inner: Arc<HttpEndpoint>, response: Response<Body>, id: u64) -> Self {
        let link = Arc::clone(&inner);
        let opening = async move { open(&link, response, id).await };
        let stage = Stage::Opening(Box::pin(opening));
        Self { inner, id, progress: None, stage, resumption: Resumption::default(), cancels: false }
    }

    pub(super) fn renew_progress(&mut self, token: Option<Value>) {
        self.progress = token;
    }

    /// What comes next; a failure after the answer. Cancel-safe: dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> ExchangeEvent {
        loop {
            match &mut self.stage {
                Stage::Opening(opening) => match opening.as_mut().await {
                    Opened::Last(last) => {
                        self.stage = Stage::Over;
                        return last;
                    }
                    Opened::Events(body) => {
                        let reader = sse::Reader::new(limits(self.inner.settings()).bytes);
                        self.stage = Stage::Events(Box::new(Events { body, reader, waiting: VecDeque::new() }));
                    }
                },
                Stage::Events(events) => {
                    let came = events.next(&self.inner, self.id, self.progress.as_ref(), &mut self.resumption).await;
                    let arrived = match came {
                        Ok(arrived) => arrived,
                        Err(ended) => match self.resumption.next(&events.reader).filter(|_| !self.inner.modern) {
                            Some((pause, last)) => {
                                self.stage = Stage::Opening(Box::pin(resume(Arc::clone(&self.inner), pause, last)));
                                continue;
                            }
                            None => ExchangeEvent::Failed(LinkFailure::Unavailable(ended)),
                        },
                    };
                    if !matches!(arrived, ExchangeEvent::Message(_)) {
                        self.stage = Stage::Over;
                    }
                    return arrived;
                }
                Stage::Over => return ExchangeEvent::Failed(LinkFailure::Unavailable("the connection ended".to_owned())),
            }
        }
    }
}

impl Events {
    /// What comes next, or how the stream ended without an answer.
    async fn next(
        &mut self,
        inner: &HttpEndpoint,
        id: u64,
        progress: Option<&Value>,
        resumption: &mut Resumption,
    ) -> Result<ExchangeEvent, String> {
        loop {
            while let Some(event) = self.waiting.pop_front() {
                resumption.saw(&event);
                if event.data.is_empty() {
                    continue;
                }
                match envelope::parse_incoming(&event.data, &limits(inner.settings())) {
                    Ok(message) => {
                        if let Some(arrived) = arrival(message, id, progress) {
                            return Ok(arrived);
                        }
                    }
                    Err(refusal) => return Ok(ExchangeEvent::Failed(LinkFailure::Malformed(refusal.to_string()))),
                }
            }
            let bytes = match self.body.frame().await {
                None => return Err("the stream ended without an answer".to_owned()),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            match self.reader.push(&bytes) {
                Ok(events) => self.waiting.extend(events),
                Err(sse::TooLarge) => {
                    return Ok(ExchangeEvent::Failed(LinkFailure::Malformed("an event is too large".to_owned())));
                }
            }
        }
    }
}

/// Goes on with a stream that broke off. The request is not repeated: the upstream has it.
async fn resume(inner: Arc<HttpEndpoint>, pause: Duration, last: String) -> Opened {
    let Some(body) = inner.resumed(pause, &last).await else {
        let reason = "the stream ended without an answer and was not resumed".to_owned();
        return Opened::Last(ExchangeEvent::Failed(LinkFailure::Unavailable(reason)));
    };
    Opened::Events(body)
}

impl Drop for HttpExchange {
    /// Closing the stream cancels in the stateless era; the older one wants to be told.
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Over) || !self.cancels || self.inner.modern {
            return;
        }
        let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": self.id, "reason": "the caller went away"}});
        let inner = Arc::clone(&self.inner);
        // Outside a runtime the process is at its end, and the upstream sees the connection close.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _ = inner.post(note.to_string().into(), HeaderMap::new()).await;
            });
        }
    }
}

impl fmt::Debug for HttpExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The message as it leaves, written once from where its parts lie.
fn body(id: u64, message: &Outgoing<'_>) -> Bytes {
    let mut text = Vec::with_capacity(512);
    let call = Call { jsonrpc: "2.0", id, method: message.method, params: Params(&message.params, message.arguments) };
    // Writing JSON that is in memory into memory cannot fail.
    let _ = serde_json::to_writer(&mut text, &call);
    Bytes::from(text)
}

#[derive(Serialize)]
struct Call<'a> {
    jsonrpc: &'a str,
    id: u64,
    method: &'a str,
    params: Params<'a>,
}

/// The parameters, and the arguments as one more of them.
struct Params<'a>(&'a Map<String, Value>, Option<&'a Value>);

impl Serialize for Params<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        if let Some(arguments) = self.1 {
            map.serialize_entry("arguments", arguments)?;
        }
        map.end()
    }
}

async fn open(inner: &HttpEndpoint, response: Response<Body>, id: u64) -> Opened {
    let status = response.status();
    if inner.is_forgotten(status) || (status == StatusCode::BAD_REQUEST && inner.lost().await) {
        // Refused before it was run, whatever the body says.
        return Opened::Last(ExchangeEvent::Failed(LinkFailure::Forgotten));
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        return Opened::Last(ExchangeEvent::Failed(LinkFailure::Busy(after)));
    }
    if status.is_success() && is_event_stream(&response) {
        return Opened::Events(response.into_body());
    }
    Opened::Last(match whole(inner, response).await {
        Ok(bytes) => whole_answer(inner, status, &bytes, id),
        Err(broken) => ExchangeEvent::Failed(broken),
    })
}

fn whole_answer(inner: &HttpEndpoint, status: StatusCode, bytes: &[u8], id: u64) -> ExchangeEvent {
    match envelope::parse_incoming(bytes, &limits(inner.settings())) {
        Ok(Message::Response(response)) if response.id.as_u64() == Some(id) => ExchangeEvent::Answer(response.outcome),
        Ok(_) if status.is_success() => {
            ExchangeEvent::Failed(LinkFailure::Malformed("the body is not the answer to our request".to_owned()))
        }
        Err(refusal) if status.is_success() => ExchangeEvent::Failed(LinkFailure::Malformed(refusal.to_string())),
        // A refusal outside JSON-RPC, or with `id: null`: the era is wrong, the credentials are, or the server is down.
        _ if status.is_client_error() && status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN => {
            ExchangeEvent::Failed(LinkFailure::Malformed(format!("HTTP {status}")))
        }
        _ => ExchangeEvent::Failed(LinkFailure::Unavailable(format!("HTTP {status}"))),
    }
}

async fn whole(inner: &HttpEndpoint, response: Response<Body>) -> Result<Bytes, LinkFailure> {
    let body = Limited::new(response.into_body(), inner.settings().response_bytes).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| LinkFailure::Malformed(error.to_string()))
}
