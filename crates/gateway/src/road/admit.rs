//! What is checked of an HTTP request before its sender is identified, and the bounded reading of its body.

use crate::settings::Settings;
use axum::{
    body::Body,
    http::{HeaderMap, Uri, header, uri::Authority},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use remit_model::refusal::{Code, Refusal};
use std::time::Duration;

/// Longest wait for a body.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// SPEC: MG-03, N-MG-12: a page of another site, or one that rebinds its name to us, gets nothing.
///
/// # Errors
/// `host_not_allowed`, `origin_not_allowed`.
pub(crate) fn origin(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let all = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    // HTTP/2 names the host in the request's authority, HTTP/1.1 in `Host`; whatever is there must be ours.
    let mut hosts = all(header::HOST).chain(uri.authority().map(Authority::as_str)).peekable();
    let known = |list: &[String], value: &str| list.iter().any(|known| known.eq_ignore_ascii_case(value));
    if hosts.peek().is_none() || !hosts.all(|host| known(&settings.hosts, host)) {
        return Err(Refusal::new(Code::HostNotAllowed, "this server is not reached under that `Host`"));
    }
    if !all(header::ORIGIN).all(|origin| known(&settings.origins, origin)) {
        return Err(Refusal::new(Code::OriginNotAllowed, "requests from this `Origin` are not accepted"));
    }
    Ok(())
}

/// The whole body of a request.
///
/// # Errors
/// `request_too_large`; `request_malformed` when it does not come.
pub(crate) async fn whole(body: Body, most: usize) -> Result<Bytes, Refusal> {
    let collected = tokio::time::timeout(BODY_WAIT, Limited::new(body, most).collect()).await;
    let late = |_| Refusal::new(Code::RequestMalformed, format!("the body did not come within {} s", BODY_WAIT.as_secs()));
    let too_large = |_| Refusal::new(Code::RequestTooLarge, format!("a request has at most {most} bytes"));
    Ok(collected.map_err(late)?.map_err(too_large)?.to_bytes())
}
