//! One request to another machine, within limits.

use crate::{OutboundError, address::is_public};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use remit_model::json;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde_json::Value;
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use url::{Host, Url};

/// Longest wait for a connection. SPEC: F-03
const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for the whole answer.
const TOTAL: Duration = Duration::from_secs(5);
/// Longest address, in bytes.
const URL_LIMIT: usize = 2_048;
/// What is asked for: a Kubernetes API server gives its keys as the media type of RFC 7517 §8.5 alone, and answers 406 otherwise.
const ACCEPT: &str = "application/json, application/jwk-set+json";
/// Nesting of a fetched JSON document.
const DEPTH: usize = 32;
/// Members and items of a fetched document: one for so many bytes of its limit, and this many at least. A kept document takes
/// memory by its members, however short they are.
const BYTES_A_MEMBER: usize = 64;
const MEMBERS: usize = 256;

type Connections = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// Who named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The configuration, or a document that a configured address serves. It may be a private address; without TLS only
    /// loopback.
    Operator,
    /// Anybody: https to public addresses only.
    Stranger,
}

/// Exceptions that an operator makes.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `host:port` pairs that may be reached whatever their address is, without TLS as well, even if a stranger names them.
    pub allow: Vec<String>,
    /// Certificates, as PEM, of authorities that are trusted besides those of the system.
    pub trusted: Vec<u8>,
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub usize);

impl Limit {
    /// A client metadata document.
    pub const CLIENT: Self = Self(5 * 1_024);
    /// A set of keys.
    pub const KEYS: Self = Self(64 * 1_024);
    /// Metadata of a server, a trust bundle, an answer of an endpoint.
    pub const METADATA: Self = Self(256 * 1_024);
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub method: Method,
    pub url: &'a str,
    pub source: Source,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub limit: Limit,
}

impl<'a> Request<'a> {
    /// A GET of a JSON document.
    pub fn get(url: &'a str, source: Source, limit: Limit) -> Self {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(ACCEPT))]);
        Self { method: Method::GET, url, source, headers, body: Bytes::new(), limit }
    }

    /// A POST of a form that answers JSON.
    pub fn form(url: &'a str, source: Source, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request = Self::get(url, source, Limit::METADATA);
        request.method = Method::POST;
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.body = body.into();
        request
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    url: String,
    limit: Limit,
}

impl Answer {
    /// The body as strict JSON: each member once, whatever the status.
    ///
    /// # Errors
    /// `Unusable` for another media type or a text that is not JSON.
    pub fn json(&self) -> Result<Value, OutboundError> {
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json" && !(essence.starts_with("application/") && essence.ends_with("+json")) {
            return Err(OutboundError::unusable(&self.url, "its media type is not JSON"));
        }
        let limits = json::Limits {
            bytes: self.body.len().max(1),
            depth: DEPTH,
            members: (self.limit.0 / BYTES_A_MEMBER).max(MEMBERS),
            numbers: json::Numbers::Doubles,
        };
        json::parse(&self.body, &limits).map_err(|refusal| OutboundError::unusable(&self.url, refusal.reason))
    }

    /// For how many seconds `Cache-Control` lets it be used; `None` when it does not say, 0 when it forbids it.
    pub fn max_age(&self) -> Option<i64> {
        let stated = self.headers.get(header::CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
        let mut directives = stated.split(',').map(str::trim);
        if directives.clone().any(|directive| matches!(directive, "no-store" | "no-cache")) {
            return Some(0);
        }
        directives.find_map(|directive| directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok())
    }
}

/// Sends requests. Clones share their connections.
#[derive(Clone)]
pub struct Outbound {
    /// Any address: what the operator names, and what the operator allows.
    configured: Connections,
    /// Public addresses alone.
    public: Connections,
    allow: std::sync::Arc<[String]>,
}

impl Outbound {
    /// Reads the system's certificate authorities, and those of `rules`.
    ///
    /// # Errors
    /// `Unusable` when a certificate of `rules` cannot be read.
    pub fn new(rules: Rules) -> Result<Self, OutboundError> {
        let tls = tls(&rules.trusted)?;
        let allow: std::sync::Arc<[String]> = rules.allow.into();
        let connections = |source| {
            let mut tcp = HttpConnector::new_with_resolver(Resolver { source });
            tcp.set_connect_timeout(Some(CONNECT));
            tcp.set_nodelay(true);
            tcp.enforce_http(false);
            let connector =
                HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1().enable_http2();
            Client::builder(TokioExecutor::new())
                .pool_idle_timeout(Duration::from_secs(30))
                .pool_max_idle_per_host(4)
                .build(connector.wrap_connector(tcp))
        };
        Ok(Self { configured: connections(Source::Operator), public: connections(Source::Stranger), allow: allow.clone() })
    }

    /// Whether an address may be asked at all; what its name resolves to is checked when it is connected to. SPEC: F-01, F-07
    ///
    /// # Errors
    /// `Refused`, with the reason.
    pub fn check(&self, url: &str, source: Source) -> Result<Url, OutboundError> {
        let refused = |reason: &str| OutboundError::refused(url, reason);
        if url.len() > URL_LIMIT {
            return Err(refused("the address is longer than 2048 bytes"));
        }
        let parsed = Url::parse(url).map_err(|_| refused("this is no absolute URL"))?;
        if !parsed.username().is_empty() || parsed.password().is_some() || parsed.fragment().is_some() {
            return Err(refused("an address with a user name, a password or a fragment is not fetched"));
        }
        let host = parsed.host().ok_or_else(|| refused("the address has no host"))?;
        let literal = match host {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain(_) => None,
        };
        if self.is_allowed(&parsed) {
            return Ok(parsed);
        }
        let loopback = literal.map_or_else(|| parsed.host_str() == Some("localhost"), |address| address.is_loopback());
        let plain_is_fine = source == Source::Operator && loopback;
        match parsed.scheme() {
            "https" => {}
            "http" if plain_is_fine => {}
            _ => return Err(refused("only https is fetched")),
        }
        if source == Source::Stranger && literal.is_some_and(|address| !is_public(address)) {
            return Err(refused("the address is not a public one"));
        }
        Ok(parsed)
    }

    fn is_allowed(&self, url: &Url) -> bool {
        let at = match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            _ => return false,
        };
        matches!(url.scheme(), "http" | "https") && self.allow.contains(&at)
    }

    /// Sends a request and reads the answer, whatever its status. A redirect is an answer like any other: it is not followed.
    ///
    /// # Errors
    /// `Refused` before anything is sent, `Unreachable`, or `Unusable` for an answer that is too large or compressed.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, OutboundError> {
        let Request { method, url, source, headers, body, limit } = request;
        let parsed = self.check(url, source)?;
        let uri: Uri = parsed.as_str().parse().map_err(|_| OutboundError::refused(url, "this is no absolute URL"))?;
        let mut outgoing = http::Request::new(Full::new(body));
        *outgoing.method_mut() = method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = headers;
        // An exception is for its port alone, so it is looked at with the port.
        let guarded = source == Source::Stranger && !self.is_allowed(&parsed);
        let connections = if guarded { &self.public } else { &self.configured };
        let exchange = async {
            let answer = connections.request(outgoing).await.map_err(|error| OutboundError::unreachable(url, causes(&error)))?;
            let (head, body) = answer.into_parts();
            if head.headers.contains_key(header::CONTENT_ENCODING) {
                return Err(OutboundError::unusable(url, "it is compressed, which was not asked for"));
            }
            let body = Limited::new(body, limit.0).collect().await.map_err(|error| {
                let reason = format!("it is longer than {} bytes", limit.0);
                if error.is::<http_body_util::LengthLimitError>() {
                    OutboundError::unusable(url, reason)
                } else {
                    OutboundError::unreachable(url, "the answer broke off")
                }
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), url: url.to_owned(), limit })
        };
        match tokio::time::timeout(TOTAL, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(OutboundError::unreachable(url, "no whole answer within 5 seconds")),
        }
    }

    /// Fetches a JSON document: status 200, a JSON media type, each member once. SPEC: F-04
    ///
    /// # Errors
    /// As [`Outbound::send`], and `Unusable` for any other answer.
    pub async fn get_json(&self, url: &str, source: Source, limit: Limit) -> Result<(Value, Answer), OutboundError> {
        self.get_json_with(url, source, limit, &HeaderMap::new()).await
    }

    /// The same with further request headers.
    ///
    /// # Errors
    /// As [`Outbound::get_json`].
    pub async fn get_json_with(
        &self,
        url: &str,
        source: Source,
        limit: Limit,
        headers: &HeaderMap,
    ) -> Result<(Value, Answer), OutboundError> {
        let mut request = Request::get(url, source, limit);
        request.headers.extend(headers.clone());
        let answer = self.send(request).await?;
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Err(OutboundError::gone(url, answer.status.as_u16()));
        }
        if answer.status != StatusCode::OK {
            return Err(OutboundError::unusable(url, format!("its status is {}", answer.status.as_u16())));
        }
        Ok((answer.json()?, answer))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("allow", &self.allow).finish_non_exhaustive()
    }
}

fn tls(trusted: &[u8]) -> Result<ClientConfig, OutboundError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(trusted) {
        let read = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
        read.ok_or_else(|| OutboundError::unusable("the trusted certificates", "one is not a PEM certificate"))?;
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|_| OutboundError::unusable("TLS", "the provider has no usable protocol version"))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// An error with its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Resolves names. For a stranger's address it fails if any address of the name is not public; the connection is made to the
/// addresses that were checked, so a name that changes its mind between the two gains nothing. SPEC: F-01, N-F-02
#[derive(Clone)]
struct Resolver {
    source: Source,
}

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guarded = self.source == Source::Stranger;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if guarded && found.iter().any(|address| !is_public(address.ip())) {
                return Err(io::Error::other("the name resolves to an address that is not public"));
            }
            Ok(found.into_iter())
        })
    }
}
