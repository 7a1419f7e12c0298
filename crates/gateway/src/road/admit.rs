//! What is checked of an HTTP request before its sender is identified, and the bounded reading of its body.

use crate::settings::Settings;
use axum::{
    body::Body,
    http::{HeaderMap, Uri, header, uri::Authority},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use remit_model::{
    bounds::{BODY_TIME, Exceeded, body_refusal},
    refusal::{Code, Refusal},
};

/// SPEC: MG-03, N-MG-12: a page of another site, or one that rebinds its name to us, gets nothing.
///
/// # Errors
/// `host_not_allowed`, `origin_not_allowed`.
pub(crate) fn origin(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    host(settings, uri, headers)?;
    let mut origins = headers.get_all(header::ORIGIN).iter().map(|value| value.to_str().unwrap_or("?"));
    if !origins.all(|origin| known(&settings.origins, origin)) {
        return Err(Refusal::new(Code::OriginNotAllowed, "requests from this `Origin` are not accepted"));
    }
    Ok(())
}

fn known(list: &[String], value: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(value))
}

/// The same for a public document, which every page may read under our own name.
///
/// # Errors
/// `host_not_allowed`.
pub(crate) fn host(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let all = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    // HTTP/2 names the host in the request's authority, HTTP/1.1 in `Host`; whatever is there must be ours.
    let mut hosts = all(header::HOST).chain(uri.authority().map(Authority::as_str)).peekable();
    // A port that is the scheme's default may be there or not. SPEC: RFC 9110 §4.2.3.
    let port = if settings.issuer.starts_with("http://") { ":80" } else { ":443" };
    let ours =
        |host: &str| known(&settings.hosts, host) || host.strip_suffix(port).is_some_and(|host| known(&settings.hosts, host));
    if hosts.peek().is_none() || !hosts.all(ours) {
        return Err(Refusal::new(Code::HostNotAllowed, "this server is not reached under that `Host`"));
    }
    Ok(())
}

/// The whole body of a request.
///
/// # Errors
/// `request_too_large`; `request_malformed` when it does not come.
pub(crate) async fn whole(body: Body, most: usize) -> Result<Bytes, Refusal> {
    // The listener bounds the time as well, and how slowly a body may come; not every caller of this router has it.
    let collected = tokio::time::timeout(BODY_TIME.time(), Limited::new(body, most).collect()).await;
    let collected = collected.map_err(|_| Exceeded(&BODY_TIME).refusal())?;
    Ok(collected.map_err(|error| body_refusal(error.as_ref(), most))?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_may_be_in_host_or_not() {
        let host = |issuer: &str, host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            origin(&Settings::new(issuer), &Uri::from_static("/mcp/x"), &headers).is_ok()
        };
        for (issuer, ours) in [("https://gw.example", "gw.example:443"), ("http://gw.example", "gw.example:80")] {
            assert!(host(issuer, "gw.example") && host(issuer, ours) && host(issuer, &ours.to_uppercase()));
        }
        for other in ["gw.example:80", "gw.example:8443", "gw.example:443:443", ":443", "evil.example:443"] {
            assert!(!host("https://gw.example", other), "{other}");
        }
    }
}
