//! What the operator decides about the gateway: where requests may come from, how large and how long things may be.

use crate::authzen::point::Authzen;
use http::{HeaderMap, HeaderName, HeaderValue};
use remit_ledger::record::Retention;
use remit_model::{Rate, Server, TenantId};
use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// The gateway's configuration, handed in whole; nothing here is read from the environment.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
#[derive(Clone, Debug)]
pub struct Settings {
    pub tenant: TenantId,
    /// Issuer of the access tokens we accept, and the authorization server our metadata names.
    pub issuer: String,
    /// `Host` values (with port when not the scheme's default) a request may carry. MG-03: stops DNS rebinding.
    pub hosts: Vec<String>,
    /// `Origin` values a browser may send; an `Origin` outside this list is refused, none at all is accepted.
    pub origins: Vec<String>,
    /// Largest request body in bytes. X-10.
    pub request_bytes: usize,
    /// Deepest nesting of a request's JSON. X-10.
    pub request_depth: usize,
    /// Largest upstream answer (one JSON body, or one event of a stream) in bytes. MG-21.
    pub response_bytes: usize,
    /// How far a DPoP proof's `iat` may be from our clock, in seconds. DP-08.
    pub proof_window: i64,
    /// Proofs remembered against replay: two windows' worth at some thousand calls a second.
    pub remembered_proofs: usize,
    /// Allowance for other clocks when reading a token's times, in seconds. J-06.
    pub skew: i64,
    /// Demand a server nonce in every DPoP proof (DP-07). Proofs older than this process need one in any case.
    pub nonce_required: bool,
    /// Most legacy sessions at once, over all servers.
    pub sessions: usize,
    /// A session that was not used for this long is closed.
    pub session_idle: Duration,
    /// Most open links (HTTP sessions or child processes) to one upstream.
    pub links: usize,
    /// How long to wait for an upstream to accept a connection or start.
    pub connect_timeout: Duration,
    /// How long an upstream may take for one call without sending anything.
    pub call_timeout: Duration,
    /// How often an open stream looks whether its token still stands. MG-12.
    pub recheck: Duration,
    /// How long a read before or after a change may take (see [`BeforeAfter`]).
    pub capture_timeout: Duration,
    /// Silence after which a waiting stream sends a comment so that intermediaries keep it open.
    pub keep_alive: Duration,
    /// Requests of one client. MG-21.
    pub rate: Rate,
    /// Accept access tokens that are bound to no key, of agents that are registered so.
    pub danger_bearer: bool,
    /// Whether certificates of clients are seen here, so that tokens can be bound to them (RFC 8705 §3).
    pub client_certificates: bool,
    /// Refuse mutations when the clock's state is unknown (record.md §1.5).
    pub clock_required: bool,
    /// The program that guards stdio servers, run with the argument `guard`: it ends their process groups when this
    /// process dies without doing so. `None` runs no guard.
    pub guard: Option<PathBuf>,
    /// Answer evaluations of the AuthZEN API; `None` leaves its paths out.
    pub authzen: Option<Authzen>,
}

impl Settings {
    /// Whether some access tokens are sent with the `Bearer` scheme: those bound to nothing, and those bound to a certificate.
    pub fn takes_bearer_scheme(&self) -> bool {
        self.danger_bearer || self.client_certificates
    }

    /// The defaults for an issuer such as `http://127.0.0.1:8420`: its own authority is the only host and origin.
    pub fn new(issuer: &str) -> Self {
        let authority = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
        let host = authority.split('/').next().unwrap_or(authority).to_owned();
        let scheme = issuer.split_once("://").map_or("https", |(scheme, _)| scheme);
        Self {
            tenant: TenantId::main(),
            issuer: issuer.to_owned(),
            origins: vec![format!("{scheme}://{host}")],
            hosts: vec![host],
            request_bytes: 1024 * 1024,
            request_depth: 64,
            response_bytes: 8 * 1024 * 1024,
            proof_window: 300,
            remembered_proofs: 4_000_000,
            skew: 30,
            nonce_required: false,
            sessions: 10_000,
            session_idle: Duration::from_mins(30),
            links: 256,
            connect_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_mins(5),
            recheck: Duration::from_millis(500),
            capture_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            rate: Rate::UNLIMITED,
            danger_bearer: false,
            client_certificates: false,
            clock_required: false,
            guard: None,
            authzen: None,
        }
    }
}

/// One protected resource and where its calls go.
#[derive(Clone, Debug)]
pub struct Route {
    pub server: Arc<Server>,
    pub upstream: Upstream,
    pub captures: Captures,
    /// Serve calls that change nothing while the ledger is in trouble, as long as they can be recorded.
    pub reads_in_outage: bool,
    /// How long a link to this upstream may take to open; `None` leaves it at [`Settings::connect_timeout`].
    pub start_timeout: Option<Duration>,
    pub denials: Denials,
    /// List tools that the caller does not hold but could be granted, marked as such.
    pub list_requestable: bool,
}

/// How a refused tool call is answered once its caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Denials {
    /// A tool result with `isError: true`: the model reads the reason.
    #[default]
    Result,
    /// A JSON-RPC error.
    Error,
    /// HTTP 403 `insufficient_scope` where a wider token would be enough, so that the client asks a person for it; a tool result
    /// otherwise. SPEC: MG-01
    StepUp,
}

/// Largest body that may be kept whole, in bytes: four of them and their encryption fit beside one record.
pub const CAPTURE_LIMIT: usize = 384 * 1024;

/// How much of the bodies is kept beside the log. The arguments of a call always are: they are part of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CaptureLevel {
    /// Nothing of the result but its size.
    #[default]
    None,
    /// SHA-256 of the result before and after masking.
    Digest,
    /// The result before and after masking.
    Full,
}

impl CaptureLevel {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Digest => "digest",
            Self::Full => "full",
        }
    }
}

/// What is kept of the calls of one tool.
#[derive(Clone, Debug)]
pub struct Capture {
    pub level: CaptureLevel,
    /// How long the values beside the records of such a call are kept; `None` leaves it at the ordinary class.
    pub retention: Option<Retention>,
    /// A body larger than this is kept as its digest; at most [`CAPTURE_LIMIT`].
    pub max_bytes: usize,
    /// Read the thing that is changed, before and after.
    pub before_after: Option<BeforeAfter>,
}

impl Default for Capture {
    fn default() -> Self {
        Self { level: CaptureLevel::None, retention: None, max_bytes: 256 * 1024, before_after: None }
    }
}

/// A read that shows the state of what a call changes. The gateway makes it in its own name; its result is kept beside
/// the record and goes nowhere else.
#[derive(Clone, Debug)]
pub struct BeforeAfter {
    /// A tool of the same server that reads.
    pub tool: String,
    /// The read's arguments: JSON Pointer into them → JSON Pointer into the arguments of the change.
    pub arguments: BTreeMap<String, String>,
    /// Refuse the change when its state before cannot be read.
    pub required: bool,
}

/// What is kept at one server.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// For every action that `tools` does not name.
    pub default: Capture,
    pub tools: BTreeMap<String, Capture>,
}

impl Captures {
    pub(crate) fn of(&self, action: &str) -> &Capture {
        self.tools.get(action).unwrap_or(&self.default)
    }
}

/// The headers sent to one upstream. Clones share them, so a credential can be replaced while links are open: the next
/// request carries the new one.
#[derive(Clone, Default)]
pub struct UpstreamHeaders(Arc<RwLock<HeaderMap>>);

impl UpstreamHeaders {
    /// Reads names and values.
    ///
    /// # Errors
    /// A name or a value that HTTP does not allow. The value is not repeated.
    pub fn parse(headers: &[(String, String)]) -> Result<Self, String> {
        Ok(Self(Arc::new(RwLock::new(header_map(headers)?))))
    }

    /// Puts these in place of the present ones. Returns whether anything changed.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); then the present ones stay.
    pub fn replace(&self, headers: &[(String, String)]) -> Result<bool, String> {
        let new = header_map(headers)?;
        let mut present = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *present != new;
        *present = new;
        Ok(changed)
    }

    pub(crate) fn current(&self) -> HeaderMap {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for UpstreamHeaders {
    /// The values are credentials, so only the names are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.current().keys()).finish()
    }
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let parsed: HeaderName = name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| format!("the value of header `{name}` is not valid in HTTP"))?;
        value.set_sensitive(true);
        map.append(parsed, value);
    }
    Ok(map)
}

/// How to reach an MCP server. Either era of the protocol may answer; the gateway finds out which.
#[derive(Clone)]
pub enum Upstream {
    /// Streamable HTTP. `headers` are the only credentials it ever receives (MG-02).
    Http { url: String, headers: UpstreamHeaders },
    /// A child process that speaks on its standard input and output. It inherits nothing but `env`.
    Stdio { command: PathBuf, args: Vec<String>, env: BTreeMap<String, String>, cwd: Option<PathBuf> },
}

impl fmt::Debug for Upstream {
    /// Headers and environment may hold credentials, so only their names are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { url, headers } => f.debug_struct("Http").field("url", url).field("headers", headers).finish(),
            Self::Stdio { command, args, env, cwd } => {
                let names: Vec<_> = env.keys().collect();
                f.debug_struct("Stdio")
                    .field("command", command)
                    .field("args", args)
                    .field("env", &names)
                    .field("cwd", cwd)
                    .finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::UpstreamHeaders;

    fn header(value: &str) -> Vec<(String, String)> {
        vec![("authorization".to_owned(), value.to_owned())]
    }

    #[test]
    fn mg_02_a_replaced_header_is_seen_by_every_clone_and_a_bad_one_changes_nothing() {
        let headers = UpstreamHeaders::parse(&header("Bearer one")).unwrap();
        let clone = headers.clone();
        assert!(headers.replace(&header("Bearer two")).unwrap());
        assert!(!headers.replace(&header("Bearer two")).unwrap(), "nothing changed");
        let error = headers.replace(&header("Bearer\nthree")).unwrap_err();
        assert!(error.contains("authorization") && !error.contains("three"), "{error}");
        assert!(headers.replace(&[("a header".to_owned(), String::new())]).is_err());
        assert_eq!(clone.current()["authorization"], "Bearer two");
        assert!(!format!("{clone:?}").contains("two"));
    }
}
