//! Signing in with a local account.
//!
//! Implements AZ-11, AZ-14: limits on attempts, a request that is bound to its browser, and a fresh session at every sign-in.

use crate::{
    Server,
    grants::{
        attempt::{Attempt, Caller},
        outcome::Facts,
    },
    http::{
        error::{At, Rejection},
        origin::{Incoming, RequestOrigin},
    },
    signin::{
        consent,
        login_page::{foreign, render, with_cookies},
        pages,
        request::AuthorizationRequest,
        seal::Purpose,
        sessions::{self, Browser, BrowserId, KNOWN_DAYS, SignedIn},
        throttle::Source,
    },
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use remit_ledger::record::{HumanInLoop, RecordType};
use remit_model::{Authentication, Code, Principal, Refusal, UnixTime};
use remit_store::Batch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const PASSWORD_LIMIT: usize = 1024;

/// POST: name and password. Shows the consent page next.
pub(crate) async fn sign_in(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let opened = form.and_then(|form| {
        let (browser, ask) = opened(server, &headers, form.required("request")?, now)?;
        Ok((form, browser, ask))
    });
    let (form, browser, ask) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let name = form.one("username").unwrap_or_default();
    let request = form.one("request").unwrap_or_default();
    let again = |status, message: &str| render(server, status, &ask, request, name, Some(message));
    let known = known_browser(server, &headers, name, now);
    let source = known.as_deref().map_or(Source::Address(origin.peer), Source::Known);
    let (limit, window) = (server.settings.login_attempts, server.settings.login_window);
    if let Err(refusal) = server.throttle.attempt(name, source, limit, window, now) {
        record_failure(server, &origin, name, &refusal).await;
        let mut response = again(StatusCode::TOO_MANY_REQUESTS, &refusal.reason);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(window.unsigned_abs()));
        return response;
    }
    let password = form.one("password").filter(|password| password.len() <= PASSWORD_LIMIT).unwrap_or_default();
    let human = server.store.snapshot().human(name).map(Arc::clone);
    match server.passwords.check(human.as_deref(), password.to_owned()).await {
        Ok(true) => {}
        Ok(false) => {
            record_failure(server, &origin, name, &Refusal::new(Code::CredentialsInvalid, "name or password is wrong")).await;
            return again(StatusCode::FORBIDDEN, "The name or the password is wrong.");
        }
        Err(fault) => return pages::problem(&Rejection::Fault(fault).into_refusal(), None),
    }
    server.throttle.succeeded(name, source);
    match signed_in(server, &origin, &browser.id, name, now).await {
        Ok((browser, cookie)) => {
            let page = consent::page(server, origin, &browser, &ask, now).await;
            with_cookies(page, [Some(cookie), remember(server, name, now)].into_iter().flatten())
        }
        Err(refusal) => pages::problem(&refusal, None),
    }
}

/// The request of a sign-in page that was opened in this very browser. SPEC: AZ-11, AZ-14, N-AZ-09
fn opened(
    server: &Server,
    headers: &HeaderMap,
    request: &str,
    now: UnixTime,
) -> Result<(Browser, AuthorizationRequest), Refusal> {
    let browser = server.sessions.known(headers, &server.issuer, now).ok_or_else(foreign)?;
    let ask = server.seal.open(Purpose::SignIn, &browser.id, request, now).ok_or_else(foreign)?;
    Ok((browser, ask))
}

/// A new session, so that an attacker who planted the old cookie is left behind. SPEC: AZ-14
async fn signed_in(
    server: &Server,
    origin: &RequestOrigin,
    old: &BrowserId,
    name: &str,
    now: UnixTime,
) -> Result<(Browser, String), Refusal> {
    let token = server.entropy.token(32);
    let user = SignedIn { name: name.to_owned(), authentication: Authentication::password(now) };
    let id = server.sessions.open(&token, user.clone(), now.plus(server.settings.session), now);
    // Checking a password takes its time: an account that was erased meanwhile is not remembered.
    if server.store.snapshot().human(name).is_none() {
        server.sessions.close(&id);
        return Err(Refusal::new(Code::CredentialsInvalid, "name or password is wrong"));
    }
    let attempt = Attempt::new(At::Authorize, origin.clone()).by(Caller::person(&server.issuer, &user));
    let facts = Facts { human_in_loop: HumanInLoop::Approved, ..Facts::default() };
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
    let batch = Batch::new(server.tenant.clone()).record(entry.happened(RecordType::SessionOpen));
    if let Err(rejection) = issue::commit(server, &[], None, batch).await {
        server.sessions.close(&id);
        return Err(rejection.into_refusal());
    }
    server.sessions.close(old);
    Ok((Browser { id, user: Some(user), set_cookie: None }, sessions::session_cookie(&server.issuer, &token)))
}

/// What a browser is given to be known by, once a person signed in with it.
#[derive(Serialize, Deserialize)]
struct Known {
    name: String,
    id: String,
}

fn remember(server: &Server, name: &str, now: UnixTime) -> Option<String> {
    let known = Known { name: name.to_owned(), id: server.entropy.token(16) };
    let expires = now.plus(KNOWN_DAYS * 86_400);
    let sealed = server.seal.seal(Purpose::KnownBrowser, &[], known, expires, &server.entropy).ok()?;
    Some(sessions::known_cookie(&server.issuer, &sealed))
}

/// The id of this browser, if this very person signed in with it before.
fn known_browser(server: &Server, headers: &HeaderMap, name: &str, now: UnixTime) -> Option<String> {
    let cookie = sessions::read_known_cookie(headers, &server.issuer)?;
    let known: Known = server.seal.open(Purpose::KnownBrowser, &[], cookie, now)?;
    (known.name == name).then_some(known.id)
}

/// A name that is no account is not recorded: people type passwords into the wrong field.
async fn record_failure(server: &Server, origin: &RequestOrigin, name: &str, refusal: &Refusal) {
    let known = server.store.snapshot().human(name).is_some();
    // Wrong passwords for a real name are few, because they are limited; everything else costs the caller nothing.
    let attributable = known && refusal.code == Code::CredentialsInvalid;
    let caller = known.then(|| Caller::claimed(Principal::human(&server.issuer, name)));
    let attempt = Attempt { caller, ..Attempt::new(At::Authorize, origin.clone()) };
    if !attributable && !attempt.may_record(server, refusal.code) {
        return;
    }
    let facts = Facts::default();
    let record = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None }.refused(refusal);
    if let Err(rejection) = issue::commit(server, &[], None, Batch::new(server.tenant.clone()).record(record)).await {
        tracing::error!(refusal = %rejection.into_refusal(), "a failed sign-in could not be recorded");
    }
}
