//! A link over streamable HTTP, as the client of the upstream.
//!
//! SPEC: MCP "Streamable HTTP" of both eras; MG-02 (only configured credentials), N-HG-04 (redirects are not followed).

use super::{About, Arrival, BACKLOG, Broken, Exchange, Listening, Outgoing, arrival, limits, own_progress, sse};
use crate::{
    mcp::{
        Incoming, Message, Notification, Revision, envelope,
        era::{self, ClientFace},
        headers,
    },
    settings::Settings,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming as Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Map, Value, json};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::{mpsc, oneshot};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Opens connections. It follows no redirect, keeps no cookie and adds no header.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    plain: Client<HttpConnector, Full<Bytes>>,
    /// `None` when the system's root certificates cannot be read; then no `https` upstream is reachable.
    tls: Option<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

impl Dialer {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        tcp.set_nodelay(true);
        let plain = Client::builder(TokioExecutor::new()).build(tcp.clone());
        tcp.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_native_roots().ok().map(|roots| {
            Client::builder(TokioExecutor::new()).build(roots.https_only().enable_http1().enable_http2().wrap_connector(tcp))
        });
        Self { plain, tls }
    }

    async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, Broken> {
        let sent = match (request.uri().scheme_str(), &self.tls) {
            (Some("http"), _) => self.plain.request(request).await,
            (Some("https"), Some(tls)) => tls.request(request).await,
            _ => return Err(Broken::Unavailable("no TLS roots, or neither http nor https".to_owned())),
        };
        sent.map_err(|error| Broken::Unavailable(format!("{error:?}")))
    }
}

/// Where to, and with which fixed headers.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    url: Uri,
    headers: HeaderMap,
    settings: Arc<Settings>,
}

impl Target {
    pub(crate) fn new(url: &str, headers: &[(String, String)], settings: &Arc<Settings>) -> Result<Self, Broken> {
        let bad = |what: &str| Broken::Unavailable(format!("the configured {what} is not valid"));
        let url: Uri = url.parse().map_err(|_| bad("url"))?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| bad("header name"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| bad("header value"))?;
            value.set_sensitive(true);
            map.append(name, value);
        }
        Ok(Self { url, headers: map, settings: Arc::clone(settings) })
    }
}

/// One link: a session of the older era, or none.
#[derive(Debug)]
pub(crate) struct HttpLink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    target: Target,
    dialer: Dialer,
    modern: bool,
    /// The upstream's session id, legacy only.
    session: OnceLock<HeaderValue>,
    version: OnceLock<HeaderValue>,
    about: About,
    open: AtomicBool,
    next: AtomicU64,
}

impl HttpLink {
    /// Asks `server/discover` first, unless the era is known, and falls back to `initialize`.
    pub(crate) async fn open(target: Target, dialer: &Dialer, face: &ClientFace, known: Option<bool>) -> Result<Self, Broken> {
        if known != Some(false)
            && let Some(link) = Self::discover(target.clone(), dialer).await
        {
            return Ok(link);
        }
        Self::initialize(target, dialer, face).await
    }

    async fn discover(target: Target, dialer: &Dialer) -> Option<Self> {
        let mut inner = Inner::new(target, dialer, true);
        let probe = Outgoing {
            method: "server/discover".to_owned(),
            params: Map::new(),
            face: ClientFace::silent(),
            mirrored: Vec::new(),
        };
        let mut exchange = start(Arc::new(inner.clone_for_probe()), probe);
        loop {
            match exchange.next().await {
                Arrival::Answer(Ok(result)) => {
                    let speaks = result
                        .get("supportedVersions")
                        .and_then(Value::as_array)
                        .is_some_and(|versions| versions.iter().any(|version| version == Revision::V2026July.as_str()));
                    inner.about = About::read(&result);
                    return speaks.then(|| Self(Arc::new(inner)));
                }
                Arrival::Message(_) => {}
                // Older servers refuse the question in many ways; one that is not there refuses `initialize` as well.
                Arrival::Answer(Err(_)) | Arrival::Broken(_) => return None,
            }
        }
    }

    async fn initialize(target: Target, dialer: &Dialer, face: &ClientFace) -> Result<Self, Broken> {
        let mut inner = Inner::new(target, dialer, false);
        let capabilities = if face.capabilities.is_object() { face.capabilities.clone() } else { json!({}) };
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": Revision::LEGACY_LATEST.as_str(), "capabilities": capabilities, "clientInfo": era::implementation()}});
        let response = inner.post(&body, &HeaderMap::new()).await?;
        let session = response.headers().get(SESSION).cloned();
        let mut exchange = receive(Arc::new(inner.clone_for_probe()), response, 0, None);
        let result = loop {
            match exchange.next().await {
                Arrival::Answer(Ok(result)) => break result,
                Arrival::Answer(Err(error)) => {
                    return Err(Broken::Unavailable(format!("initialize was refused: {}", error.message)));
                }
                Arrival::Broken(broken) => return Err(broken),
                Arrival::Message(_) => {}
            }
        };
        inner.about = About::read(&result);
        let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        if version >= Revision::V2026July.as_str() {
            return Err(Broken::Malformed(format!("`initialize` agreed on version {version}")));
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

    pub(crate) fn send(&self, message: Outgoing) -> Exchange {
        start(Arc::clone(&self.0), message)
    }

    /// Sends something that has no answer.
    pub(crate) async fn post(&self, message: &Value) -> Result<(), Broken> {
        let mut extra = HeaderMap::new();
        if self.0.modern
            && let Some(method) = message.get("method").and_then(Value::as_str)
        {
            insert(&mut extra, "mcp-method", method);
        }
        let response = self.0.post(message, &extra).await?;
        if response.status().is_success() { Ok(()) } else { Err(Broken::Unavailable(format!("HTTP {}", response.status()))) }
    }

    /// The stream of a session that belongs to no request. `None` when the upstream has none.
    pub(crate) async fn listen(&self) -> Result<Option<Listening>, Broken> {
        if self.0.modern {
            return Ok(None);
        }
        let request = self.0.request(Method::GET, Bytes::new(), &HeaderMap::new());
        let response = self.0.dialer.request(request).await?;
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
            let request = self.0.request(Method::DELETE, Bytes::new(), &HeaderMap::new());
            let _ = tokio::time::timeout(self.0.target.settings.connect_timeout, self.0.dialer.request(request)).await;
        }
    }
}

impl About {
    pub(crate) fn read(result: &Value) -> Self {
        let server_info = result.get("serverInfo").or_else(|| result.get("_meta")?.get("io.modelcontextprotocol/serverInfo"));
        Self {
            capabilities: result.get("capabilities").cloned().unwrap_or_else(|| json!({})),
            instructions: result.get("instructions").filter(|text| text.is_string()).cloned(),
            server_info: server_info.cloned().unwrap_or(Value::Null),
        }
    }
}

impl Inner {
    fn new(target: Target, dialer: &Dialer, modern: bool) -> Self {
        Self {
            target,
            dialer: dialer.clone(),
            modern,
            session: OnceLock::new(),
            version: OnceLock::new(),
            about: About::default(),
            open: AtomicBool::new(true),
            next: AtomicU64::new(1),
        }
    }

    /// The same link before anything is known of the upstream.
    fn clone_for_probe(&self) -> Self {
        Self::new(self.target.clone(), &self.dialer, self.modern)
    }

    fn request(&self, method: Method, body: Bytes, extra: &HeaderMap) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        let accept = if method == Method::GET { "text/event-stream" } else { "application/json, text/event-stream" };
        *request.method_mut() = method;
        *request.uri_mut() = self.target.url.clone();
        let map = request.headers_mut();
        map.extend(self.target.headers.clone());
        map.insert(header::ACCEPT, HeaderValue::from_static(accept));
        map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.modern {
            map.insert(VERSION, HeaderValue::from_static(Revision::V2026July.as_str()));
        } else if let Some(version) = self.version.get() {
            map.insert(VERSION, version.clone());
        }
        if let Some(session) = self.session.get() {
            map.insert(SESSION, session.clone());
        }
        map.extend(extra.clone());
        request
    }

    async fn post(&self, message: &Value, extra: &HeaderMap) -> Result<Response<Body>, Broken> {
        let request = self.request(Method::POST, Bytes::from(message.to_string()), extra);
        self.dialer.request(request).await
    }
}

/// Sends a request in a task of its own, so that dropping the exchange cancels it at any point.
fn start(inner: Arc<Inner>, message: Outgoing) -> Exchange {
    let id = inner.next.fetch_add(1, Ordering::Relaxed);
    let (sender, arrivals) = mpsc::channel(BACKLOG);
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let Outgoing { method, mut params, face, mirrored } = message;
        let progress = own_progress(&mut params, id);
        let mut extra = HeaderMap::new();
        if inner.modern {
            mirror(&mut extra, &method, &params, &mirrored);
            era::add_envelope(&mut params, &face);
        }
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let work = async {
            match inner.post(&body, &extra).await {
                Ok(response) => read(&inner, response, id, progress.as_ref(), &sender).await,
                Err(broken) => deliver(&sender, Arrival::Broken(broken)).await,
            }
        };
        tokio::select! {
            () = work => {}
            _ = stopped => cancel(&inner, id).await,
        }
    });
    Exchange { arrivals, _stop: Some(stop) }
}

/// Reads a response that has begun.
fn receive(inner: Arc<Inner>, response: Response<Body>, id: u64, progress: Option<Value>) -> Exchange {
    let (sender, arrivals) = mpsc::channel(BACKLOG);
    tokio::spawn(async move { read(&inner, response, id, progress.as_ref(), &sender).await });
    Exchange { arrivals, _stop: None }
}

/// Closing the stream cancels in the stateless era; the older one wants to be told.
async fn cancel(inner: &Inner, id: u64) {
    if !inner.modern {
        let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id, "reason": "the caller went away"}});
        let _ = inner.post(&note, &HeaderMap::new()).await;
    }
}

/// The headers that repeat our own body. SPEC: MG-04.
fn mirror(extra: &mut HeaderMap, method: &str, params: &Map<String, Value>, mirrored: &[(String, Vec<String>)]) {
    insert(extra, "mcp-method", method);
    if let Some(name) = headers::name_source(method).and_then(|source| params.get(source)).and_then(Value::as_str) {
        insert(extra, "mcp-name", &headers::encode(name));
    }
    let arguments = params.get("arguments").unwrap_or(&Value::Null);
    for (name, path) in mirrored {
        let value = path.iter().try_fold(arguments, |value, key| value.get(key));
        if let Some(text) = value.and_then(headers::param_text) {
            insert(extra, &format!("mcp-param-{}", name.to_ascii_lowercase()), &headers::encode(&text));
        }
    }
}

fn insert(map: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        map.insert(name, value);
    }
}

async fn read(inner: &Inner, response: Response<Body>, id: u64, progress: Option<&Value>, sender: &mpsc::Sender<Arrival>) {
    let status = response.status();
    if status == StatusCode::NOT_FOUND && inner.session.get().is_some() {
        inner.open.store(false, Ordering::Relaxed);
        return deliver(sender, Arrival::Broken(Broken::Forgotten)).await;
    }
    if status.is_success() && is_event_stream(&response) {
        return read_events(inner, response, id, progress, sender).await;
    }
    let last = match whole(inner, response).await {
        Ok(bytes) => whole_answer(inner, status, &bytes, id),
        Err(broken) => Arrival::Broken(broken),
    };
    deliver(sender, last).await;
}

fn whole_answer(inner: &Inner, status: StatusCode, bytes: &[u8], id: u64) -> Arrival {
    match envelope::parse(bytes, &limits(&inner.target.settings)) {
        Ok(Message::Response(response)) if response.id.as_u64() == Some(id) => Arrival::Answer(response.outcome),
        Ok(_) if status.is_success() => {
            Arrival::Broken(Broken::Malformed("the body is not the answer to our request".to_owned()))
        }
        Err(refusal) if status.is_success() => Arrival::Broken(Broken::Malformed(refusal.to_string())),
        // A refusal outside JSON-RPC, or with `id: null`: the era is wrong, the credentials are, or the server is down.
        _ if status.is_client_error() && status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN => {
            Arrival::Broken(Broken::Malformed(format!("HTTP {status}")))
        }
        _ => Arrival::Broken(Broken::Unavailable(format!("HTTP {status}"))),
    }
}

async fn whole(inner: &Inner, response: Response<Body>) -> Result<Bytes, Broken> {
    let limit = inner.target.settings.response_bytes;
    let body = Limited::new(response.into_body(), limit).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| Broken::Malformed(error.to_string()))
}

async fn read_events(inner: &Inner, response: Response<Body>, id: u64, progress: Option<&Value>, sender: &mpsc::Sender<Arrival>) {
    let limits = limits(&inner.target.settings);
    let mut reader = sse::Reader::new(limits.bytes);
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let events = match frame.map_err(|error| Broken::Unavailable(error.to_string())) {
            Ok(frame) => frame.into_data().map_or(Ok(Vec::new()), |bytes| reader.push(&bytes)),
            Err(broken) => return deliver(sender, Arrival::Broken(broken)).await,
        };
        let Ok(events) = events else {
            return deliver(sender, Arrival::Broken(Broken::Malformed("an event is too large".to_owned()))).await;
        };
        for event in events.iter().filter(|event| !event.data.is_empty()) {
            let arrived = match envelope::parse(&event.data, &limits) {
                Ok(message) => arrival(message, id, progress),
                Err(refusal) => Some(Arrival::Broken(Broken::Malformed(refusal.to_string()))),
            };
            let Some(arrived) = arrived else { continue };
            let last = !matches!(arrived, Arrival::Message(_));
            deliver(sender, arrived).await;
            if last {
                return;
            }
        }
    }
    deliver(sender, Arrival::Broken(Broken::Unavailable("the stream ended without an answer".to_owned()))).await;
}

async fn pour(inner: &Inner, response: Response<Body>, sender: &mpsc::Sender<Incoming>) {
    let limits = limits(&inner.target.settings);
    let mut reader = sse::Reader::new(limits.bytes);
    let mut body = response.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(bytes) = frame.data_ref() else { continue };
        let Ok(events) = reader.push(bytes) else { return };
        for event in events {
            let message = match envelope::parse(&event.data, &limits) {
                Ok(Message::Notification(note)) => Incoming::Notification(note),
                Ok(Message::Request(request)) => Incoming::Request(request),
                Ok(Message::Response(_)) | Err(_) => continue,
            };
            if sender.send(message).await.is_err() {
                return;
            }
        }
    }
}

async fn deliver(sender: &mpsc::Sender<Arrival>, arrival: Arrival) {
    // Nobody is waiting any more when this fails; the task then ends by itself.
    let _ = sender.send(arrival).await;
}

fn is_event_stream(response: &Response<Body>) -> bool {
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
}
