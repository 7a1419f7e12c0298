//! A link over streamable HTTP, as the client of the upstream.
//!
//! SPEC: MCP "Streamable HTTP" of both eras; MG-02 (only configured credentials), N-HG-04 (redirects are not followed).

use super::{About, Arrival, BACKLOG, Broken, Exchange, Listening, Outgoing, limits, running::Running, sse};
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
use http_body_util::{BodyExt, Full};
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

/// What is known of the upstream, and the numbers of our requests to it.
#[derive(Debug)]
pub(super) struct Inner {
    target: Target,
    dialer: Dialer,
    pub(super) modern: bool,
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
        let probe = Outgoing::bare("server/discover", Map::new());
        let mut exchange = Exchange::Http(Box::new(Running::start(Arc::new(inner.clone_for_probe()), probe)));
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
        let response = inner.post(body.to_string().into(), HeaderMap::new()).await?;
        let session = response.headers().get(SESSION).cloned();
        let mut exchange = Exchange::Http(Box::new(Running::receive(Arc::new(inner.clone_for_probe()), response, 0)));
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

    pub(crate) fn send(&self, message: Outgoing<'_>) -> Exchange {
        Exchange::Http(Box::new(Running::start(Arc::clone(&self.0), message)))
    }

    /// Sends something that has no answer.
    pub(crate) async fn post(&self, message: &Value) -> Result<(), Broken> {
        let mut extra = HeaderMap::new();
        if self.0.modern
            && let Some(method) = message.get("method").and_then(Value::as_str)
        {
            insert(&mut extra, "mcp-method", method);
        }
        let response = self.0.post(message.to_string().into(), extra).await?;
        if response.status().is_success() { Ok(()) } else { Err(Broken::Unavailable(format!("HTTP {}", response.status()))) }
    }

    /// The stream of a session that belongs to no request. `None` when the upstream has none.
    pub(crate) async fn listen(&self) -> Result<Option<Listening>, Broken> {
        if self.0.modern {
            return Ok(None);
        }
        let request = self.0.request(Method::GET, Bytes::new(), HeaderMap::new());
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
            let request = self.0.request(Method::DELETE, Bytes::new(), HeaderMap::new());
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

    pub(super) fn settings(&self) -> &Settings {
        &self.target.settings
    }

    /// The id of one more request.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether this answer says that the upstream does not know our session any more; then the link is closed.
    pub(super) fn is_forgotten(&self, status: StatusCode) -> bool {
        let forgotten = status == StatusCode::NOT_FOUND && self.session.get().is_some();
        if forgotten {
            self.open.store(false, Ordering::Relaxed);
        }
        forgotten
    }

    fn request(&self, method: Method, body: Bytes, extra: HeaderMap) -> Request<Full<Bytes>> {
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
        map.extend(extra);
        request
    }

    pub(super) async fn post(&self, body: Bytes, extra: HeaderMap) -> Result<Response<Body>, Broken> {
        let request = self.request(Method::POST, body, extra);
        self.dialer.request(request).await
    }
}

/// The headers that repeat our own body. SPEC: MG-04.
pub(super) fn mirror(message: &Outgoing<'_>) -> HeaderMap {
    let mut extra = HeaderMap::new();
    insert(&mut extra, "mcp-method", message.method);
    let name = headers::name_source(message.method).and_then(|source| message.params.get(source)).and_then(Value::as_str);
    if let Some(name) = name {
        insert(&mut extra, "mcp-name", &headers::encode(name));
    }
    let arguments = message.arguments.or_else(|| message.params.get("arguments")).unwrap_or(&Value::Null);
    for (name, path) in message.mirrored.iter().flat_map(|declared| declared.iter()) {
        let value = path.iter().try_fold(arguments, |value, key| value.get(key));
        if let Some(text) = value.and_then(headers::param_text) {
            insert(&mut extra, &format!("mcp-param-{}", name.to_ascii_lowercase()), &headers::encode(&text));
        }
    }
    extra
}

fn insert(map: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        map.insert(name, value);
    }
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

pub(super) fn is_event_stream(response: &Response<Body>) -> bool {
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
}
