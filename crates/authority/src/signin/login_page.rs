//! The sign-in page, and what it shares with the consent page.
//!
//! Implements AZ-11 and AZ-14: the request lives sealed in the page and belongs to one browser. It checks no password.

use crate::{
    Server,
    http::error::Rejection,
    signin::{
        pages,
        passkeys::{self, ceremony::Signing},
        redirect,
        request::SignInFor,
        seal::Purpose,
        sessions::Browser,
    },
};
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use remit_model::{Code, Human, Refusal, UnixTime};
use serde::{Deserialize, Serialize};

/// A person has this long to sign in, and then as long to decide.
pub(crate) const PENDING_SECONDS: i64 = 600;

/// A person whose password was right.
#[derive(Serialize, Deserialize)]
pub(crate) struct SecondFactor {
    pub(crate) name: String,
    pub(crate) ask: SignInFor,
}

/// The sign-in page of a request, which lives in the page itself.
pub(crate) fn page(server: &Server, browser: &Browser, ask: &SignInFor, now: UnixTime) -> Result<Response<Body>, Rejection> {
    let request = server.seal.seal(Purpose::SignIn, &browser.id, ask, now.plus(PENDING_SECONDS), &server.entropy)?;
    let hint = ask.request().and_then(|ask| ask.login_hint.clone()).unwrap_or_default();
    Ok(render(server, StatusCode::OK, ask, &request, &hint, None))
}

/// The same after a failed attempt at an identity provider, with the reason.
pub(crate) fn page_with(
    server: &Server,
    status: StatusCode,
    browser: &Browser,
    ask: &SignInFor,
    message: &str,
    now: UnixTime,
) -> Result<Response<Body>, Rejection> {
    let request = server.seal.seal(Purpose::SignIn, &browser.id, ask, now.plus(PENDING_SECONDS), &server.entropy)?;
    Ok(render(server, status, ask, &request, "", Some(message)))
}

/// The page with the name that was given and, after a failed attempt, a message.
pub(crate) fn render(
    server: &Server,
    status: StatusCode,
    ask: &SignInFor,
    request: &str,
    username: &str,
    message: Option<&str>,
) -> Response<Body> {
    let snapshot = server.store.snapshot();
    let asks = ask.request();
    let candidate = asks.and_then(|ask| ask.candidate.as_ref()).map(|candidate| &candidate.agent);
    let agent = candidate.or_else(|| asks.and_then(|ask| snapshot.agent(&ask.client)).map(AsRef::as_ref));
    let name = agent.map_or("an agent", |agent| agent.display_name.as_str());
    let signing = Signing::by_anyone(server, &passkeys::challenge(request));
    let methods = server.sign_in_methods();
    let providers = methods.providers.iter();
    let providers = providers.map(|provider| pages::OfferedProvider { name: &provider.name, title: &provider.title }).collect();
    let local = methods.local || methods.providers.is_empty();
    let login = pages::Login { agent_name: asks.map(|_| name), request, username, message, signing, providers, local };
    // Signing in may end with a redirect to the program, when nothing can be granted.
    let leads_to = asks.map(|ask| redirect::form_action(&ask.back.redirect_uri)).unwrap_or_default();
    pages::scripted(status, &login, &leads_to)
}

/// The page that asks for a passkey after the right password.
///
/// # Errors
/// The request is too large to wait in a page.
pub(crate) fn second_factor(
    server: &Server,
    browser: &Browser,
    human: &Human,
    ask: &SignInFor,
    now: UnixTime,
) -> Result<Response<Body>, Rejection> {
    let waiting = SecondFactor { name: human.name.clone(), ask: ask.clone() };
    let request = server.seal.seal(Purpose::SecondFactor, &browser.id, waiting, now.plus(PENDING_SECONDS), &server.entropy)?;
    let Some(signing) = Signing::by(server, human, &passkeys::challenge(&request)) else {
        let reason = "your account asks for a passkey and has none; your administrator makes a link to add one with \
                      `remit account passkey link`";
        return Err(Refusal::new(Code::PasskeyRequired, reason).into());
    };
    let leads_to = ask.request().map(|ask| redirect::form_action(&ask.back.redirect_uri)).unwrap_or_default();
    let why = "Your password is correct. One of your passkeys is asked for as well.";
    let page = pages::SecondFactor { why, action: "/oauth/login", message: None, request: &request, signing };
    Ok(pages::scripted(StatusCode::OK, &page, &leads_to))
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
