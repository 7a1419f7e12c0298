//! A link over streamable HTTP, as the client of the upstream.
//!
//! SPEC: MCP "Streamable HTTP" of both eras.

use super::{
    http_client::{Dialer, HttpEndpoint, Resumption, SESSION, Target, insert, is_event_stream},
    http_exchange::HttpExchange,
    message::{self, About, BACKLOG, ExchangeEvent, LinkFailure, Listening, Outgoing},
    sse,
};
use crate::mcp::{
    envelope::{self, Incoming, Message, Notification},
    revision::{self, ClientProfile, Era, Revision},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming as Body;
use serde_json::{Map, Value, json};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::{mpsc, oneshot};

/// One link: a session of the older era, or none.
#[derive(Debug)]
pub(crate) struct HttpLink(Arc<HttpEndpoint>);

impl HttpLink {
    /// Opens a link in the first of these eras that the upstream speaks.
    pub(crate) async fn open(target: Target, dialer: &Dialer, client: &ClientProfile, eras: &[Era]) -> Result<Self, LinkFailure> {
        let mut failure = LinkFailure::Malformed(format!("the upstream does not speak {}", Revision::V2026July.as_str()));
        for era in eras {
            match era {
                Era::Stateless => {
                    if let Some(link) = Self::discover(target.clone(), dialer).await {
                        return Ok(link);
                    }
                }
                Era::Session => match Self::initialize(target.clone(), dialer, client).await {
                    Ok(link) => return Ok(link),
                    Err(broken) => failure = broken,
                },
            }
        }
        Err(failure)
    }

    async fn discover(target: Target, dialer: &Dialer) -> Option<Self> {
        let mut inner = HttpEndpoint::new(target, dialer, true);
        let probe = Outgoing::bare("server/discover", Map::new());
        let mut exchange = HttpExchange::start(Arc::new(inner.clone_for_probe()), probe);
        loop {
            match exchange.next().await {
                ExchangeEvent::Answer(Ok(result)) => {
                    let speaks = result
                        .get("supportedVersions")
                        .and_then(Value::as_array)
                        .is_some_and(|versions| versions.iter().any(|version| version == Revision::V2026July.as_str()));
                    inner.about = About::read(&result);
                    return speaks.then(|| Self(Arc::new(inner)));
                }
                ExchangeEvent::Message(_) => {}
                // Older servers refuse the question in many ways; one that is not there refuses `initialize` as well.
                ExchangeEvent::Answer(Err(_)) | ExchangeEvent::Failed(_) => return None,
            }
        }
    }

    async fn initialize(target: Target, dialer: &Dialer, client: &ClientProfile) -> Result<Self, LinkFailure> {
        let mut inner = HttpEndpoint::new(target, dialer, false);
        let capabilities = if client.capabilities.is_object() { client.capabilities.clone() } else { json!({}) };
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": Revision::LEGACY_LATEST.as_str(), "capabilities": capabilities, "clientInfo": revision::implementation()}});
        let response = inner.post(body.to_string().into(), HeaderMap::new()).await?;
        let session = response.headers().get(SESSION).cloned();
        let mut exchange = HttpExchange::receive(Arc::new(inner.clone_for_probe()), response, 0);
        let result = loop {
            match exchange.next().await {
                ExchangeEvent::Answer(Ok(result)) => break result,
                ExchangeEvent::Answer(Err(error)) => {
                    return Err(LinkFailure::Unavailable(format!("initialize was refused: {}", error.message)));
                }
                ExchangeEvent::Failed(broken) => return Err(broken),
                ExchangeEvent::Message(_) => {}
            }
        };
        inner.about = About::read(&result);
        let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        if version >= Revision::V2026July.as_str() {
            return Err(LinkFailure::Malformed(format!("`initialize` agreed on version {version}")));
        }
        if let Ok(version) = HeaderValue::from_str(version) {
            let _ = inner.version.set(version);
        }
        if let Some(session) = session {
            let _ = inner.session.set(session);
        }
        let link = Self(Arc::new(inner));
        let ready = Notification { method: "notifications/initialized".to_owned(), params: Map::new() };
        link.post(&ready.to_value()).await?;
        Ok(link)
    }

    pub(crate) fn is_modern(&self) -> bool {
        self.0.modern
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Relaxed)
    }

    pub(crate) fn about(&self) -> &About {
        &self.0.about
    }

    pub(crate) fn send(&self, message: Outgoing<'_>) -> HttpExchange {
        HttpExchange::start(Arc::clone(&self.0), message)
    }

    /// Sends something that has no answer.
    pub(crate) async fn post(&self, message: &Value) -> Result<(), LinkFailure> {
        let mut extra = HeaderMap::new();
        if self.0.modern
            && let Some(method) = message.get("method").and_then(Value::as_str)
        {
            insert(&mut extra, "mcp-method", method);
        }
        let response = self.0.post(message.to_string().into(), extra).await?;
        if response.status().is_success() { Ok(()) } else { Err(LinkFailure::Unavailable(format!("HTTP {}", response.status()))) }
    }

    /// The stream of a session that belongs to no request. `None` when the upstream has none.
    pub(crate) async fn listen(&self) -> Result<Option<Listening>, LinkFailure> {
        if self.0.modern {
            return Ok(None);
        }
        let response = self.0.resume(None).await?;
        if self.0.is_forgotten(response.status()) || (response.status() == StatusCode::BAD_REQUEST && self.0.lost().await) {
            return Err(LinkFailure::Forgotten);
        }
        if response.status() != StatusCode::OK || !is_event_stream(&response) {
            return Ok(None);
        }
        let (sender, messages) = mpsc::channel(BACKLOG);
        let (stop, stopped) = oneshot::channel::<()>();
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            tokio::select! {
                () = pour(&inner, response, &sender) => {}
                _ = stopped => {}
            }
        });
        Ok(Some(Listening { messages, _stop: Some(stop) }))
    }

    pub(crate) async fn close(&self) {
        self.0.open.store(false, Ordering::Relaxed);
        if self.0.session.get().is_some() {
            let request = self.0.request(Method::DELETE, Bytes::new(), HeaderMap::new());
            let _ = tokio::time::timeout(self.0.target.settings.connect_timeout, self.0.dialer.request(request)).await;
        }
    }
}

/// Passes the messages of a stream on until it ends for good. SPEC: SEP-1699: a stream that ends after an event with an id
/// is resumed.
async fn pour(inner: &HttpEndpoint, response: Response<Body>, sender: &mpsc::Sender<Incoming>) {
    let limits = message::limits(&inner.target.settings);
    let mut resumption = Resumption::default();
    let mut body = response.into_body();
    loop {
        let mut reader = sse::Reader::new(limits.bytes);
        while let Some(Ok(frame)) = body.frame().await {
            let Some(bytes) = frame.data_ref() else { continue };
            let Ok(events) = reader.push(bytes) else { return };
            for event in events {
                resumption.saw(&event);
                let message = match envelope::parse_incoming(&event.data, &limits) {
                    Ok(Message::Notification(note)) => Incoming::Notification(note),
                    Ok(Message::Request(request)) => Incoming::Request(request),
                    Ok(Message::Response(_)) | Err(_) => continue,
                };
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        }
        match resumption.next(&reader) {
            Some((pause, id)) => match inner.resumed(pause, &id).await {
                Some(next) => body = next,
                None => return,
            },
            None => return,
        }
    }
}
