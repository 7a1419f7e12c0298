//! The only place where a rejection becomes HTTP and JSON-RPC.
//!
//! Who is calling is an HTTP matter: 401 with a challenge (`road/challenge.rs`). What they may do is not: a denial is answered
//! under HTTP 200, because clients of both eras take a bare 4xx for the end of the session. The exception is a 403 that asks
//! for a wider token, where the server is set so. Where it is a tool result
//! and not an error, `denial.rs` words it.

use crate::{
    mcp::{
        envelope::RpcError,
        revision::{self, Revision},
        rpc_code::{
            CAPABILITY_MISSING, DENIED, HEADER_MISMATCH, INTERNAL, INVALID_PARAMS, INVALID_REQUEST, LIMITED, METHOD_UNKNOWN,
            NOT_FOUND, PARSE, UNAUTHENTICATED, UNAVAILABLE, UPSTREAM, VERSION_UNSUPPORTED,
        },
    },
    road::{
        challenge::{self, Challenge},
        rejection::Rejection,
    },
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use remit_model::refusal::{Code, Refusal};
use remit_store::Receipt;
use serde_json::{Map, Value, json};

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
    pub(crate) challenge: Challenge<'a>,
    /// The client's revision, once known.
    pub(crate) revision: Option<Revision>,
    /// The revision that the request named, known or not.
    pub(crate) requested: Option<&'a str>,
    /// Where the refusal was recorded.
    pub(crate) receipt: Option<&'a Receipt>,
    /// A token with the scope of the challenge would be enough, and the client is to ask for one.
    pub(crate) step_up: bool,
    /// The person can sign in again for the client, which is to be told how.
    pub(crate) sign_in: bool,
}

/// Maps a rejection to its HTTP status, headers and JSON-RPC error.
pub(crate) fn refuse(rejection: &Rejection, context: &Context<'_>) -> Refused {
    if let Rejection::Upstream(error) = rejection {
        let error = RpcError::from(error.clone());
        let Some(revision) = context.revision else {
            return Refused { status: StatusCode::OK, headers: HeaderMap::new(), error };
        };
        let error = revision::adapt_error(error, revision);
        // SPEC: MCP 2026-07-28 "Streamable HTTP": these two have a status of their own.
        let status = match error.code {
            METHOD_UNKNOWN if revision.is_modern() => StatusCode::NOT_FOUND,
            CAPABILITY_MISSING if revision.is_modern() => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        };
        return Refused { status, headers: HeaderMap::new(), error };
    }
    let refusal = rejection.refusal();
    let (mut status, code) = place(refusal.code, context.revision);
    let mut headers = HeaderMap::new();
    if code == UNAUTHENTICATED {
        headers = context.challenge.unauthenticated(refusal.code);
    }
    if code == DENIED && context.step_up {
        status = StatusCode::FORBIDDEN;
        headers = context.challenge.insufficient_scope();
    }
    if let Some(enough) = refusal.step_up.as_deref().filter(|_| code == DENIED && context.sign_in) {
        status = StatusCode::UNAUTHORIZED;
        headers = context.challenge.insufficient_authentication(enough);
    }
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
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
        data.insert("supported".to_owned(), json!(revision::supported()));
        data.extend(context.requested.map(|version| ("requested".to_owned(), json!(version))));
    }
    Value::Object(data)
}

/// HTTP status and JSON-RPC code of every refusal.
fn place(code: Code, revision: Option<Revision>) -> (StatusCode, i64) {
    let modern = revision.is_some_and(Revision::is_modern);
    let status = challenge::status(code);
    match code {
        Code::JsonDuplicateMember | Code::JsonTooDeep => (status, PARSE),
        Code::HeaderBodyMismatch => (status, HEADER_MISMATCH),
        Code::ProtocolMetaMissing => (status, INVALID_PARAMS),
        Code::ProtocolVersionUnsupported => (status, VERSION_UNSUPPORTED),
        Code::RpcMethodUnknown => (if modern { status } else { StatusCode::OK }, METHOD_UNKNOWN),
        Code::LimitExhausted => (StatusCode::OK, LIMITED),
        Code::OriginNotAllowed => (status, INVALID_REQUEST),
        _ => match status {
            StatusCode::UNAUTHORIZED => (status, UNAUTHENTICATED),
            StatusCode::NOT_FOUND => (status, NOT_FOUND),
            StatusCode::TOO_MANY_REQUESTS => (status, LIMITED),
            StatusCode::BAD_GATEWAY => (StatusCode::OK, UPSTREAM),
            StatusCode::SERVICE_UNAVAILABLE => (StatusCode::OK, UNAVAILABLE),
            StatusCode::INTERNAL_SERVER_ERROR => (StatusCode::OK, INTERNAL),
            StatusCode::FORBIDDEN => (StatusCode::OK, DENIED),
            status => (status, INVALID_REQUEST),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_model::{id::ServerId, refusal::Fault, resource::Server};

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
    fn a_fault_is_never_explained() {
        let server = server();
        let challenge = Challenge { server: &server, scope: None, nonce: None, bearer: false };
        let context = Context { challenge, revision: None, requested: None, receipt: None, step_up: false, sign_in: false };
        let refused = refuse(&Fault::new("password=hunter2").into(), &context);
        assert!(!refused.error.to_value().to_string().contains("hunter2"));
    }
}
