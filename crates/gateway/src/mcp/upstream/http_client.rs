//! The HTTP client of one upstream: connections, configured headers, and the session it gave us.
//!
//! SPEC: MG-02 (only configured credentials), MG-04 (headers that mirror the body), N-HG-04 (redirects are not followed).

use super::{
    message::{About, LinkFailure, Outgoing},
    sse,
};
use crate::{
    mcp::{headers, revision::Revision},
    settings::{Settings, UpstreamHeaders},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming as Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// How long the ping may take that tells a lost session from a wrong request.
const PING_WAIT: Duration = Duration::from_secs(5);
/// Pause before a stream is resumed for which the upstream named none, and the longest one that is granted.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(30);
/// Resumed streams in a row that may end without a new event.
const BARREN: u32 = 10;

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

    pub(super) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, LinkFailure> {
        let sent = match (request.uri().scheme_str(), &self.tls) {
            (Some("http"), _) => self.plain.request(request).await,
            (Some("https"), Some(tls)) => tls.request(request).await,
            _ => return Err(LinkFailure::Unavailable("no TLS roots, or neither http nor https".to_owned())),
        };
        sent.map_err(|error| LinkFailure::Unavailable(format!("{error:?}")))
    }
}

/// Where to, and with which configured headers.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    url: Uri,
    headers: UpstreamHeaders,
    pub(super) settings: Arc<Settings>,
}

impl Target {
    pub(crate) fn new(url: &str, headers: &UpstreamHeaders, settings: &Arc<Settings>) -> Result<Self, LinkFailure> {
        let url: Uri = url.parse().map_err(|_| LinkFailure::Unavailable("the configured url is not valid".to_owned()))?;
        Ok(Self { url, headers: headers.clone(), settings: Arc::clone(settings) })
    }
}

/// An upstream's address, what is known of it, and the numbers of our requests to it.
#[derive(Debug)]
pub(super) struct HttpEndpoint {
    pub(super) target: Target,
    pub(super) dialer: Dialer,
    pub(super) modern: bool,
    /// The upstream's session id, legacy only.
    pub(super) session: OnceLock<HeaderValue>,
    pub(super) version: OnceLock<HeaderValue>,
    pub(super) about: About,
    pub(super) open: AtomicBool,
    pub(super) next: AtomicU64,
}

impl HttpEndpoint {
    pub(super) fn new(target: Target, dialer: &Dialer, modern: bool) -> Self {
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
    pub(super) fn clone_for_probe(&self) -> Self {
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

    /// Whether an HTTP 400 means that our session is lost: many servers answer so where the specification has 404, often
    /// with the id of our request. A ping tells that apart from a request that is wrong; then the link is closed.
    pub(super) async fn lost(&self) -> bool {
        if self.session.get().is_none() {
            return false;
        }
        let ping = json!({"jsonrpc": "2.0", "id": self.number(), "method": "ping"});
        let answer = tokio::time::timeout(PING_WAIT, self.post(ping.to_string().into(), HeaderMap::new())).await;
        let lost =
            matches!(answer, Ok(Ok(response)) if [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND].contains(&response.status()));
        if lost {
            self.open.store(false, Ordering::Relaxed);
        }
        lost
    }

    /// Opens the session's stream, from the event after this one if there is one.
    pub(super) async fn resume(&self, last: Option<&str>) -> Result<Response<Body>, LinkFailure> {
        let mut extra = HeaderMap::new();
        if let Some(id) = last {
            insert(&mut extra, "last-event-id", id);
        }
        self.dialer.request(self.request(Method::GET, Bytes::new(), extra)).await
    }

    /// The stream after a pause, from the event after this one; `None` when the upstream does not resume it.
    pub(super) async fn resumed(&self, pause: Duration, last: &str) -> Option<Body> {
        tokio::time::sleep(pause).await;
        let response = self.resume(Some(last)).await.ok()?;
        (response.status() == StatusCode::OK && is_event_stream(&response)).then(|| response.into_body())
    }

    pub(super) fn request(&self, method: Method, body: Bytes, extra: HeaderMap) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        let accept = if method == Method::GET { "text/event-stream" } else { "application/json, text/event-stream" };
        *request.method_mut() = method;
        *request.uri_mut() = self.target.url.clone();
        let map = request.headers_mut();
        map.extend(self.target.headers.current());
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

    pub(super) async fn post(&self, body: Bytes, extra: HeaderMap) -> Result<Response<Body>, LinkFailure> {
        let request = self.request(Method::POST, body, extra);
        self.dialer.request(request).await
    }
}

/// Where a broken stream goes on. SPEC: MCP "Streamable HTTP", resumability; SEP-1699.
#[derive(Debug, Default)]
pub(super) struct Resumption {
    last: Option<String>,
    /// Streams in a row that brought no new event.
    barren: u32,
}

impl Resumption {
    /// Notes an event that came.
    pub(super) fn saw(&mut self, event: &sse::Event) {
        if let Some(id) = event.id.as_ref().filter(|id| !id.is_empty()) {
            if self.last.as_ref() != Some(id) {
                self.barren = 0;
            }
            self.last = Some(id.clone());
        }
    }

    /// After which pause, and after which event, the stream that this reader read goes on; `None` when it does not.
    pub(super) fn next(&mut self, reader: &sse::Reader) -> Option<(Duration, String)> {
        let last = self.last.clone()?;
        self.barren += 1;
        (self.barren <= BARREN).then(|| (reader.retry().unwrap_or(RETRY).min(RETRY_MOST), last))
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

pub(super) fn insert(map: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        map.insert(name, value);
    }
}

pub(super) fn is_event_stream(response: &Response<Body>) -> bool {
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
}
