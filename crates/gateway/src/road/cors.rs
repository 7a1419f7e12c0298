//! Cross-origin requests of browsers: which pages may read our answers.
//!
//! SPEC: Fetch "CORS protocol"; X-09, MD-08. `admit::origin` refuses foreign pages; this only tells browsers what it allows.

use crate::settings::Settings;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

const EXPOSED: &str = "WWW-Authenticate, DPoP-Nonce, Mcp-Session-Id, Retry-After";
const METHODS: &str = "GET, POST, DELETE, HEAD";
const REQUEST_HEADERS: &str =
    "authorization, content-type, accept, dpop, last-event-id, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name";

/// Lets the page that asked read the response, when it is of an allowed origin.
pub(crate) fn allow(request: &HeaderMap, settings: &Settings, response: &mut HeaderMap) {
    // The answer depends on the origin even where there is none.
    response.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(header::ORIGIN) else { return };
    if settings.origins.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes())) {
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// Lets every page read the response: it is public.
pub(crate) fn public(response: &mut HeaderMap) {
    response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// The answer to a preflight request. Headers that mirror a tool's parameters are allowed as they are asked for.
pub(crate) fn preflight(request: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mirrors = asked.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| name.starts_with("mcp-param-"));
    let names: Vec<String> = std::iter::once(REQUEST_HEADERS.to_owned()).chain(mirrors).collect();
    if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    response
}
