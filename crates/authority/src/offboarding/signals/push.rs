//! POST: a transmitter pushes one security event. SPEC: RFC 8935 §2; SS-07

use super::take;
use crate::{
    Server,
    grants::{attempt::Attempt, outcome::Facts},
    http::{
        bearer,
        error::{At, Rejection, json_response, printable},
        origin::{RequestOrigin, network},
    },
    signin::provider::{EventSettings, ProviderSettings},
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
};
use remit_model::{Code, Refusal, bounds};
use serde_json::json;
use std::sync::Arc;

const MEDIA_TYPE: &str = "application/secevent+jwt";

pub(crate) async fn receive(server: &Server, name: &str, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let origin = RequestOrigin::of(&parts);
    // The name is a stranger's word until it is one of ours.
    let provider = server.sign_in_methods().provider(name);
    let taken = match provider.as_ref().and_then(|provider| Some((provider, provider.events.as_ref()?))) {
        Some((provider, events)) if parts.method == Method::POST => {
            taken(server, provider, events, &parts.headers, body, &origin).await
        }
        Some(_) => Err(Refusal::new(Code::MethodNotAllowed, "use POST").into()),
        None => Err(Refusal::new(Code::NotFound, "no identity provider of this name sends security events here").into()),
    };
    match taken {
        Ok(()) => accepted(),
        Err(rejection) => {
            let facts = Facts::default();
            let facts = match &provider {
                Some(provider) => facts.fact("provider", provider.name.clone()),
                None => facts,
            };
            refused(server, origin, &facts, rejection).await
        }
    }
}

async fn taken(
    server: &Server,
    provider: &Arc<ProviderSettings>,
    events: &EventSettings,
    headers: &HeaderMap,
    body: Body,
    origin: &RequestOrigin,
) -> Result<(), Rejection> {
    let push = events.push.as_ref().ok_or_else(|| Refusal::new(Code::NotFound, "events of this provider are not pushed"));
    if let Err(refusal) = push.and_then(|push| bearer::check(headers, push)) {
        // INVARIANT: only what is not the transmitter's is counted. Strangers behind its address cannot hold back its events.
        let from = origin.peer.map(network).unwrap_or_default();
        server.provider_calls.take(&from, server.clock.now().mono_ns).map_err(|over| over.refusal())?;
        return Err(refusal.into());
    }
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(Refusal::new(Code::MediaTypeUnsupported, format!("the body must be {MEDIA_TYPE}")).into());
    }
    let most = bounds::SECURITY_EVENT.size();
    let bytes = axum::body::to_bytes(body, most).await.map_err(|error| bounds::body_refusal(&error, most))?;
    let compact = std::str::from_utf8(&bytes).map_err(|_| Refusal::new(Code::TokenMalformed, "the token is not ASCII"))?;
    take::take(server, provider, events, compact.trim_ascii(), Some(origin)).await
}

/// SPEC: RFC 8935 §2.2: accepted, and nothing more to say.
fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// SPEC: RFC 8935 §2.3, §2.4
async fn refused(server: &Server, origin: RequestOrigin, facts: &Facts, rejection: Rejection) -> Response<Body> {
    let attempt = Attempt::new(At::SecurityEvent, origin);
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts, check: None };
    let (refusal, record) = issue::record_refusal(server, entry, Vec::new(), rejection.into_refusal()).await;
    tracing::warn!(%refusal, "a security event was refused");
    let mut body = json!({
        "err": error_code(refusal.code), "description": printable(&refusal.reason), "remit_code": refusal.code.as_str(),
    });
    if let (Some(record), Some(members)) = (record, body.as_object_mut()) {
        members.insert("remit_record".to_owned(), json!(record));
    }
    let status = status(refusal.code);
    let mut response = json_response(status, &body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(refusal.retry_after_s.unwrap_or(5)));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// A token that cannot be judged now comes again; one that is not good does not.
fn status(code: Code) -> StatusCode {
    match code {
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::ProviderUnreachable | Code::ProviderAnswerInvalid => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        code if code.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// SPEC: RFC 8935 §2.4, table 1
pub(super) fn error_code(code: Code) -> &'static str {
    match code {
        Code::CredentialsInvalid => "authentication_failed",
        Code::TokenIssuerUnknown => "invalid_issuer",
        Code::TokenAudienceWrong => "invalid_audience",
        Code::TokenSignatureInvalid => "invalid_key",
        _ => "invalid_request",
    }
}
