//! The sign-in page, and what it shares with the consent page.
//!
//! Implements AZ-11 and AZ-14: the request lives sealed in the page and belongs to one browser. It checks no password.

use crate::{
    Server,
    http::error::Rejection,
    signin::{pages, redirect, request::AuthorizationRequest, seal::Purpose, sessions::Browser},
};
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use remit_model::{Code, Refusal, UnixTime};

/// A person has this long to sign in, and then as long to decide.
pub(crate) const PENDING_SECONDS: i64 = 600;

/// The sign-in page of a request, which lives in the page itself.
pub(crate) fn page(
    server: &Server,
    browser: &Browser,
    ask: &AuthorizationRequest,
    now: UnixTime,
) -> Result<Response<Body>, Rejection> {
    let request = server.seal.seal(Purpose::SignIn, &browser.id, ask, now.plus(PENDING_SECONDS), &server.entropy)?;
    let hint = ask.login_hint.clone().unwrap_or_default();
    Ok(render(server, StatusCode::OK, ask, &request, &hint, None))
}

/// The page with the name that was given and, after a failed attempt, a message.
pub(crate) fn render(
    server: &Server,
    status: StatusCode,
    ask: &AuthorizationRequest,
    request: &str,
    username: &str,
    message: Option<&str>,
) -> Response<Body> {
    let snapshot = server.store.snapshot();
    let candidate = ask.candidate.as_ref().map(|candidate| &candidate.agent);
    let agent = candidate.or_else(|| snapshot.agent(&ask.client).map(AsRef::as_ref));
    let login =
        pages::Login { agent_name: agent.map_or("an agent", |agent| agent.display_name.as_str()), request, username, message };
    // Signing in may end with a redirect to the program, when nothing can be granted.
    pages::html(status, &login, &redirect::form_action(&ask.back.redirect_uri))
}

/// The refusal for a page that this browser does not have open.
pub(crate) fn foreign() -> Refusal {
    Refusal::new(
        Code::SessionForeign,
        "this page is not open in this browser, or was open too long; start again from the program that sent you here",
    )
}

/// Adds cookies to a response.
pub(crate) fn with_cookies(mut response: Response<Body>, cookies: impl IntoIterator<Item = String>) -> Response<Body> {
    for cookie in cookies.into_iter().filter_map(|cookie| HeaderValue::from_str(&cookie).ok()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
