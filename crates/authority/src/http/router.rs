//! The routes, and reading requests off the wire: methods, media types, sizes.
//!
//! Implements, MD-08, JW-04. What a request means is decided in the file of its endpoint.

use crate::{
    Server,
    clients::register,
    grants::{self, device_code},
    http::{
        error::{self, At},
        form::{self, Form},
        origin::{Incoming, RequestOrigin},
    },
    offboarding::{backchannel_logout, scim::endpoint as scim, signals::push as events},
    signin::{consent, device_page, login, pages, passkeys::account, provider::relying_party, push},
    tokens::{introspect, metadata, revoke, userinfo},
};
use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
    routing::{any, get},
};
use remit_model::{Code, Refusal};
use std::sync::Arc;

/// The authorization server's endpoints, at the paths of the public surface.
pub fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/.well-known/oauth-authorization-server", get(metadata_document).options(preflight))
        .route("/.well-known/openid-configuration", get(metadata_document).options(preflight))
        .route("/.well-known/jwks.json", get(jwks).options(preflight))
        .route("/oauth/authorize", any(authorize_endpoint))
        .route("/oauth/par", any(push_endpoint))
        .route("/oauth/device_authorization", any(device_endpoint))
        .route("/oauth/device", any(device_page))
        .route("/oauth/login", any(login_page))
        .route("/oauth/consent", any(consent_page))
        .route("/oauth/provider", any(provider_page))
        .route("/oauth/callback/{provider}", any(callback_page))
        .route("/oauth/backchannel-logout/{provider}", any(logout_endpoint))
        .route("/ssf/events/{provider}", any(events_endpoint))
        .route("/scim/v2/{provider}/{*rest}", any(scim_endpoint))
        .route("/oauth/style.css", get(style))
        .route("/oauth/passkey.js", get(script))
        .route("/account/passkeys", any(passkeys_page))
        .route("/account/passkeys/new", any(passkey_link))
        .route("/oauth/token", any(token_endpoint))
        .route("/oauth/introspect", any(introspect_endpoint))
        .route("/oauth/revoke", any(revoke_endpoint))
        .route("/oauth/userinfo", any(userinfo_endpoint))
        .route("/oauth/register", any(register_endpoint))
        .with_state(server)
}

async fn metadata_document(State(server): State<Arc<Server>>) -> Response<Body> {
    public(&metadata::document(&server), "public, max-age=3600")
}

/// SPEC: JW-01, JW-04
async fn jwks(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response<Body> {
    let keys = server.published_keys(server.now()).to_jwks();
    let tag = format!("\"{}\"", remit_model::json::digest(&keys));
    let mut response = public(&keys, "public, max-age=600");
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if known.flat_map(|value| value.split(',')).any(|value| value.trim().trim_start_matches("W/") == tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

async fn authorize_endpoint(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    match page_request(request).await {
        // OpenID Connect Core §3.1.2.1: both methods mean the same.
        Some((_, incoming)) => consent::begin(&server, incoming).await,
        None => pages::method_not_allowed(),
    }
}

async fn login_page(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    match page_request(request).await {
        Some((Method::POST, incoming)) => login::sign_in(&server, incoming).await,
        Some(_) => pages::not_begun(),
        None => pages::method_not_allowed(),
    }
}

async fn provider_page(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    match page_request(request).await {
        Some((Method::POST, incoming)) => relying_party::leave(&server, incoming).await,
        Some(_) => pages::not_begun(),
        None => pages::method_not_allowed(),
    }
}

async fn callback_page(State(server): State<Arc<Server>>, Path(provider): Path<String>, request: Request) -> Response<Body> {
    match page_request(request).await {
        Some((Method::GET, incoming)) => relying_party::answered(&server, &provider, incoming).await,
        _ => pages::method_not_allowed(),
    }
}

/// What an identity provider calls, and no browser: it gets no CORS headers.
async fn logout_endpoint(State(server): State<Arc<Server>>, Path(provider): Path<String>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return error::reply(&Refusal::new(Code::MethodNotAllowed, "use POST"), At::BackchannelLogout, None);
    }
    let form = read(&parts.headers, body).await;
    let incoming = Incoming { origin: RequestOrigin::of(&parts), headers: parts.headers, form };
    backchannel_logout::receive(&server, &provider, incoming).await
}

async fn consent_page(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    match page_request(request).await {
        Some((Method::POST, incoming)) => consent::decide(&server, incoming).await,
        Some(_) => pages::not_begun(),
        None => pages::method_not_allowed(),
    }
}

/// A browser's request: parameters in the URL of a GET, in the body of a POST.
async fn page_request(request: Request) -> Option<(Method, Incoming)> {
    let (parts, body) = request.into_parts();
    let origin = RequestOrigin::of(&parts);
    let form = match parts.method {
        Method::GET => Form::parse(parts.uri.query().unwrap_or_default().as_bytes()),
        Method::POST => read(&parts.headers, body).await,
        _ => return None,
    };
    Some((parts.method, Incoming { origin, headers: parts.headers, form }))
}

async fn passkeys_page(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    match page_request(request).await {
        Some((Method::POST, incoming)) => account::change(&server, incoming).await,
        Some((_, incoming)) => account::list(&server, &incoming),
        None => pages::method_not_allowed(),
    }
}

async fn passkey_link(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    match page_request(request).await {
        Some((Method::GET, incoming)) => account::by_link(&server, incoming),
        _ => pages::method_not_allowed(),
    }
}

async fn events_endpoint(State(server): State<Arc<Server>>, Path(provider): Path<String>, request: Request) -> Response<Body> {
    events::receive(&server, &provider, request).await
}

async fn scim_endpoint(
    State(server): State<Arc<Server>>,
    Path((provider, rest)): Path<(String, String)>,
    request: Request,
) -> Response<Body> {
    scim::serve(&server, &provider, &rest, request).await
}

async fn style() -> Response<Body> {
    asset(pages::STYLE, "text/css; charset=utf-8")
}

async fn script() -> Response<Body> {
    asset(pages::SCRIPT, "text/javascript; charset=utf-8")
}

fn asset(text: &'static str, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn token_endpoint(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    post(request, At::Token, |incoming| grants::token(&server, incoming)).await
}

async fn device_endpoint(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    post(request, At::Device, |incoming| device_code::begin(&server, incoming)).await
}

async fn device_page(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    match page_request(request).await {
        Some((method, incoming)) if server.settings.device_flow => device_page::page(&server, &method, incoming).await,
        Some(_) => pages::not_begun(),
        None => pages::method_not_allowed(),
    }
}

async fn push_endpoint(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    post(request, At::Push, |incoming| push::push(&server, incoming)).await
}

async fn introspect_endpoint(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    post(request, At::Introspect, |incoming| introspect::introspect(&server, incoming)).await
}

async fn revoke_endpoint(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    post(request, At::Revoke, |incoming| revoke::revoke(&server, incoming)).await
}

/// SPEC: DR-01
async fn register_endpoint(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut response = match parts.method {
        Method::POST => {
            let body = json_body(&parts.headers, body).await;
            register::register(&server, RequestOrigin::of(&parts), &parts.headers, body).await
        }
        Method::OPTIONS => return preflight().await,
        _ => error::reply(&Refusal::new(Code::MethodNotAllowed, "use POST"), At::Register, None),
    };
    cors(response.headers_mut());
    response
}

async fn json_body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Refusal> {
    if !media_type(headers).eq_ignore_ascii_case("application/json") {
        return Err(Refusal::new(Code::MediaTypeUnsupported, "the body must be application/json"));
    }
    let bytes = axum::body::to_bytes(body, register::BODY_LIMIT).await;
    let bytes = bytes.map_err(|error| remit_model::bounds::body_refusal(&error, register::BODY_LIMIT))?;
    Ok(bytes.to_vec())
}

fn media_type(headers: &HeaderMap) -> &str {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.split(';').next().unwrap_or_default().trim()
}

async fn userinfo_endpoint(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let mut response = match parts.method {
        Method::GET | Method::POST => userinfo::userinfo(&server, &parts).await,
        Method::OPTIONS => return preflight().await,
        _ => error::reply(&Refusal::new(Code::MethodNotAllowed, "use GET or POST"), At::UserInfo, None),
    };
    cors(response.headers_mut());
    response
}

/// One endpoint that takes a posted form. SPEC: X-02, N-TK-09, N-IN-03
async fn post<Answer>(request: Request, at: At, serve: impl FnOnce(Incoming) -> Answer) -> Response<Body>
where
    Answer: Future<Output = Response<Body>>,
{
    let (parts, body) = request.into_parts();
    let mut response = match parts.method {
        Method::POST => {
            // SPEC: X-04: nothing is read from the query, and a client that puts credentials there learns it.
            let form = match parts.uri.query() {
                Some(query) if !query.is_empty() => {
                    Err(Refusal::new(Code::RequestMalformed, "parameters belong in the body, not in the URL"))
                }
                _ => read(&parts.headers, body).await,
            };
            serve(Incoming { origin: RequestOrigin::of(&parts), headers: parts.headers, form }).await
        }
        Method::OPTIONS => return preflight().await,
        _ => error::reply(&Refusal::new(Code::MethodNotAllowed, "use POST"), at, None),
    };
    cors(response.headers_mut());
    response
}

/// SPEC, N-TK-10
async fn read(headers: &HeaderMap, body: Body) -> Result<Form, Refusal> {
    if !media_type(headers).eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::new(Code::MediaTypeUnsupported, "the body must be application/x-www-form-urlencoded"));
    }
    let bytes = axum::body::to_bytes(body, form::BYTES_LIMIT)
        .await
        .map_err(|error| remit_model::bounds::body_refusal(&error, form::BYTES_LIMIT))?;
    Form::parse(&bytes)
}

fn public(document: &serde_json::Value, cache: &'static str) -> Response<Body> {
    let mut response = error::json_response(StatusCode::OK, document);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.remove(header::PRAGMA);
    cors(headers);
    response
}

/// Browser clients may call everything but the pages, without ambient credentials. SPEC: X-09, MD-08
fn cors(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("DPoP-Nonce, WWW-Authenticate"));
}

async fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    cors(headers);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type, dpop, mcp-protocol-version"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
