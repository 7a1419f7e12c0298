//! The only place where a "no" becomes HTTP and JSON-RPC.
//!
//! Who is calling is an HTTP matter: 401 or 403 with a challenge (RFC 6750, RFC 9449, RFC 9728). What they may do is
//! not: a denial is a JSON-RPC error under HTTP 200, because clients of both eras take a bare 4xx for the end of the
//! session. Codes stay clear of the ranges MCP reserves (MG-07).

use crate::{
    mcp::{Revision, RpcError, era},
    settings::Settings,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use remit_model::{
    refusal::{Code, Fault, Refusal},
    resource::Server,
};
use remit_store::Receipt;
use serde_json::{Map, Value, json};

/// Application codes of JSON-RPC errors; `data.code` is the stable, finer one.
pub(crate) const UNAUTHENTICATED: i64 = -31401;
pub(crate) const DENIED: i64 = -31403;
pub(crate) const NOT_FOUND: i64 = -31404;
pub(crate) const LIMITED: i64 = -31429;
pub(crate) const UPSTREAM: i64 = -31502;
pub(crate) const UNAVAILABLE: i64 = -31503;
const PARSE: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_UNKNOWN: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL: i64 = -32603;
const HEADER_MISMATCH: i64 = -32020;
const VERSION_UNSUPPORTED: i64 = -32022;

/// Why a request was not served.
#[derive(Debug)]
pub(crate) enum No {
    Refusal(Refusal),
    Fault(Fault),
    /// The upstream said no itself; its words, as far as the caller may see them.
    Upstream(RpcError),
    /// The upstream did not answer in time.
    Timeout,
    /// The client went away or cancelled.
    Gone,
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Fault> for No {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl No {
    /// The refusal the caller is told about. A fault keeps its reason to itself.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Refusal(refusal) => refusal.clone(),
            Self::Fault(_) => Refusal::new(Code::Internal, "something went wrong on our side"),
            Self::Upstream(error) => {
                Refusal::new(Code::UpstreamUnavailable, format!("the upstream answered with error {}", error.code))
            }
            Self::Timeout => Refusal::new(Code::UpstreamUnavailable, "the upstream did not answer in time"),
            Self::Gone => Refusal::new(Code::UpstreamUnavailable, "the request was cancelled"),
        }
    }
}

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) error: RpcError,
}

/// What the mapping needs to know besides the refusal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) server: &'a Server,
    /// The client's revision, once known.
    pub(crate) revision: Option<Revision>,
    /// Where the refusal was recorded.
    pub(crate) receipt: Option<&'a Receipt>,
    /// Scope that would have been enough, if one is known.
    pub(crate) scope: Option<&'a str>,
    /// A fresh nonce for the next proof.
    pub(crate) nonce: Option<&'a str>,
}

/// Maps a "no" to its HTTP status, headers and JSON-RPC error.
pub(crate) fn refuse(no: &No, context: &Context<'_>) -> Refused {
    if let No::Upstream(error) = no {
        let error = context.revision.map_or_else(|| error.clone(), |revision| era::adapt_error(error.clone(), revision));
        return Refused { status: StatusCode::OK, headers: HeaderMap::new(), error };
    }
    let refusal = no.refusal();
    let (mut status, code) = place(refusal.code, context.revision);
    let mut headers = HeaderMap::new();
    if code == UNAUTHENTICATED {
        challenge(&mut headers, refusal.code, context);
    }
    if code == DENIED && context.settings.denials_as_http {
        status = StatusCode::FORBIDDEN;
        scope_challenge(&mut headers, context);
    }
    if refusal.code == Code::MethodNotAllowed {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
    }
    Refused { status, headers, error: RpcError { code, data: Some(data(&refusal, context)), message: refusal.reason } }
}

fn data(refusal: &Refusal, context: &Context<'_>) -> Value {
    let mut data = Map::new();
    data.insert("code".to_owned(), json!(refusal.code));
    data.insert("reason".to_owned(), json!(refusal.reason));
    if let Some(receipt) = context.receipt {
        data.insert("record".to_owned(), json!(receipt.record_id));
        data.insert("index".to_owned(), json!(receipt.index));
    }
    if refusal.code == Code::ProtocolVersionUnsupported {
        data.insert("supported".to_owned(), json!(era::supported()));
    }
    Value::Object(data)
}

/// HTTP status and JSON-RPC code of every refusal.
fn place(code: Code, revision: Option<Revision>) -> (StatusCode, i64) {
    let modern = revision.is_some_and(Revision::is_modern);
    match code {
        Code::RequestMalformed => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
        Code::JsonDuplicateMember | Code::JsonTooDeep => (StatusCode::BAD_REQUEST, PARSE),
        Code::RequestTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST),
        Code::MediaTypeUnsupported => (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST),
        Code::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, INVALID_REQUEST),
        Code::HostNotAllowed => (StatusCode::MISDIRECTED_REQUEST, INVALID_REQUEST),
        Code::OriginNotAllowed => (StatusCode::FORBIDDEN, INVALID_REQUEST),
        Code::HeaderBodyMismatch => (StatusCode::BAD_REQUEST, HEADER_MISMATCH),
        Code::ProtocolMetaMissing => (StatusCode::BAD_REQUEST, INVALID_PARAMS),
        Code::ProtocolVersionUnsupported => (StatusCode::BAD_REQUEST, VERSION_UNSUPPORTED),
        Code::RpcMethodUnknown if modern => (StatusCode::NOT_FOUND, METHOD_UNKNOWN),
        Code::RpcMethodUnknown => (StatusCode::OK, METHOD_UNKNOWN),
        Code::SessionUnknown | Code::SessionForeign | Code::ServerUnknown | Code::NotFound => (StatusCode::NOT_FOUND, NOT_FOUND),
        Code::RateLimited => (StatusCode::TOO_MANY_REQUESTS, LIMITED),
        Code::LimitExhausted => (StatusCode::OK, LIMITED),
        Code::UpstreamUnavailable | Code::UpstreamMalformed | Code::CaptureFailed => (StatusCode::OK, UPSTREAM),
        Code::PolicyUnavailable => (StatusCode::OK, UNAVAILABLE),
        code if code.is_outage() => (StatusCode::OK, UNAVAILABLE),
        Code::Internal => (StatusCode::OK, INTERNAL),
        code if is_authentication(code) => (StatusCode::UNAUTHORIZED, UNAUTHENTICATED),
        _ => (StatusCode::OK, DENIED),
    }
}

/// Whether the refusal is about who is calling.
pub(crate) fn is_authentication(code: Code) -> bool {
    is_proof(code)
        || matches!(
            code,
            Code::ClientUnauthenticated
                | Code::ClientUnknown
                | Code::TokenMissing
                | Code::TokenMalformed
                | Code::TokenSignatureInvalid
                | Code::TokenExpired
                | Code::TokenNotYetValid
                | Code::TokenRevoked
                | Code::TokenTypeWrong
                | Code::TokenAudienceWrong
                | Code::TokenIssuerUnknown
                | Code::AgentQuarantined
                | Code::AgentRetired
                | Code::HumanDisabled
        )
}

fn is_proof(code: Code) -> bool {
    matches!(
        code,
        Code::DpopProofMissing
            | Code::DpopProofInvalid
            | Code::DpopProofReplayed
            | Code::DpopNonceRequired
            | Code::DpopKeyMismatch
    )
}

/// One header for each scheme (PR-03); `Bearer` first, because that is where today's clients look for the metadata.
fn challenge(headers: &mut HeaderMap, code: Code, context: &Context<'_>) {
    let common = format!("resource_metadata=\"{}\"{}", metadata_url(context.server), scope_parameter(context));
    let error = match code {
        Code::TokenMissing | Code::ClientUnauthenticated => None,
        Code::DpopNonceRequired => Some("use_dpop_nonce"),
        code if is_proof(code) => Some("invalid_dpop_proof"),
        _ => Some("invalid_token"),
    };
    // SPEC: RFC 6750 §3.1: the Bearer scheme has no word for a bad proof, only for a token that is not good enough.
    let bearer_error = error.map_or_else(String::new, |_| ", error=\"invalid_token\"".to_owned());
    append(headers, header::WWW_AUTHENTICATE, &format!("Bearer {common}{bearer_error}"));
    let error = error.map_or_else(String::new, |error| format!(", error=\"{error}\", error_description=\"{code}\""));
    append(
        headers,
        header::WWW_AUTHENTICATE,
        &format!("DPoP algs=\"{}\", {common}{error}", crate::metadata::PROOF_ALGS.join(" ")),
    );
    append(headers, header::CACHE_CONTROL, "no-store");
    if let Some(nonce) = context.nonce {
        append(headers, HeaderName::from_static("dpop-nonce"), nonce);
    }
}

/// SPEC: MG-01: 403 `insufficient_scope` for deployments that want denials as HTTP.
fn scope_challenge(headers: &mut HeaderMap, context: &Context<'_>) {
    let value = format!(
        "Bearer error=\"insufficient_scope\", resource_metadata=\"{}\"{}",
        metadata_url(context.server),
        scope_parameter(context)
    );
    append(headers, header::WWW_AUTHENTICATE, &value);
}

fn scope_parameter(context: &Context<'_>) -> String {
    context.scope.map_or_else(String::new, |scope| format!(", scope=\"{}\"", quotable(scope)))
}

/// Where the metadata of a resource is: RFC 9728 §3.1, the well-known path inserted between host and path.
pub(crate) fn metadata_url(server: &Server) -> String {
    let location = server.location.as_str();
    let (scheme, rest) = location.split_once("://").unwrap_or(("https", location));
    let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
    format!("{scheme}://{host}{}{path}", crate::metadata::WELL_KNOWN)
}

/// What may stand inside a quoted string of RFC 9110 without escaping.
fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_model::id::ServerId;

    fn server() -> Server {
        Server {
            id: ServerId::parse("helpdesk").unwrap(),
            title: "Helpdesk".into(),
            location: "https://gw.example/mcp/helpdesk".into(),
            tools: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn every_code_has_a_place_that_mcp_does_not_reserve() {
        let spec = [PARSE, INVALID_REQUEST, METHOD_UNKNOWN, INVALID_PARAMS, INTERNAL, HEADER_MISMATCH, VERSION_UNSUPPORTED];
        for code in Code::ALL {
            for revision in [None, Some(Revision::V2025June), Some(Revision::V2026July)] {
                let (_, rpc) = place(*code, revision);
                assert!(spec.contains(&rpc) || !(-32768..=-32000).contains(&rpc), "{code}: {rpc}");
            }
        }
    }

    #[test]
    fn denials_are_http_200_so_that_the_session_lives() {
        for code in [Code::ToolNotGranted, Code::ArgumentNotGranted, Code::PolicyDenied, Code::LimitExhausted, Code::GrantExpired]
        {
            assert_eq!(place(code, None).0, StatusCode::OK);
        }
    }

    #[test]
    fn n_pr_04_the_challenges_are_one_per_scheme_and_quoted() {
        let (settings, server) = (Settings::new("https://gw.example"), server());
        let context = Context {
            settings: &settings,
            server: &server,
            revision: None,
            receipt: None,
            scope: Some("helpdesk:a \"b\\"),
            nonce: Some("n1"),
        };
        let refused = refuse(&Refusal::new(Code::DpopNonceRequired, "x").into(), &context);
        let challenges: Vec<_> = refused.headers.get_all("www-authenticate").iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(challenges.len(), 2);
        let metadata = "https://gw.example/.well-known/oauth-protected-resource/mcp/helpdesk";
        assert_eq!(
            challenges[0],
            format!("Bearer resource_metadata=\"{metadata}\", scope=\"helpdesk:a b\", error=\"invalid_token\"")
        );
        assert!(challenges[1].starts_with("DPoP algs=\"ES256 "), "{}", challenges[1]);
        assert!(challenges[1].contains("error=\"use_dpop_nonce\""));
        assert_eq!(refused.headers["dpop-nonce"], "n1");
        assert_eq!(refused.headers["cache-control"], "no-store");
    }

    #[test]
    fn pr_03_no_error_when_no_token_was_sent() {
        let (settings, server) = (Settings::new("https://gw.example"), server());
        let context = Context { settings: &settings, server: &server, revision: None, receipt: None, scope: None, nonce: None };
        let refused = refuse(&Refusal::new(Code::TokenMissing, "x").into(), &context);
        assert!(refused.headers.get_all("www-authenticate").iter().all(|value| !value.to_str().unwrap().contains("error=")));
    }

    #[test]
    fn a_fault_is_never_explained() {
        let (settings, server) = (Settings::new("https://gw.example"), server());
        let context = Context { settings: &settings, server: &server, revision: None, receipt: None, scope: None, nonce: None };
        let refused = refuse(&Fault::new("password=hunter2").into(), &context);
        assert!(!refused.error.to_value().to_string().contains("hunter2"));
    }
}
