//! Signing in with a local account.
//!
//! Implements AZ-11, AZ-14, X-09: a limit on attempts, and a fresh session at every sign-in.

use crate::{
    Server,
    grants::{
        attempt::{Attempt, Caller},
        outcome::Facts,
    },
    http::{
        error::{At, Rejection},
        form::Form,
        origin::{Incoming, RequestOrigin},
    },
    signin::{
        pages,
        sessions::{self, Pending, Session, SignedIn},
    },
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use remit_ledger::record::{HumanInLoop, RecordType};
use remit_model::{Code, Principal, Refusal, UnixTime};
use remit_store::Batch;
use std::sync::Arc;

const PASSWORD_LIMIT: usize = 1024;

/// GET: the sign-in page of a pending request.
pub(crate) fn show(server: &Server, incoming: &Incoming) -> Response<Body> {
    let form = match &incoming.form {
        Ok(form) => form,
        Err(refusal) => return pages::problem(refusal, None),
    };
    match open(server, &incoming.headers, form, server.now()) {
        Ok((id, session, pending)) => {
            let hint = pending.ask.login_hint.clone().unwrap_or_default();
            sign_in_page(server, StatusCode::OK, &id, &session, &pending, &hint, None)
        }
        Err(refusal) => pages::problem(&refusal, None),
    }
}

/// The request a form belongs to, if it is open in this browser.
pub(crate) fn open(
    server: &Server,
    headers: &HeaderMap,
    form: &Form,
    now: UnixTime,
) -> Result<(String, Session, Pending), Refusal> {
    let foreign = || {
        Refusal::new(
            Code::SessionForeign,
            "this page was not opened in this browser; start again from the program that sent you here",
        )
    };
    let session = server.browsers.session(sessions::read_cookie(headers, &server.issuer), now).ok_or_else(foreign)?;
    let id = form.required("request")?.to_owned();
    let pending = server.browsers.pending(&id, &session, now)?;
    Ok((id, session, pending))
}

/// POST: name and password.
pub(crate) async fn sign_in(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let opened = form.and_then(|form| {
        let (id, session, pending) = open(server, &headers, &form, now)?;
        session.check_csrf(form.one("csrf"))?;
        Ok((form, id, session, pending))
    });
    let (form, id, session, pending) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let name = form.one("username").unwrap_or_default();
    let again = |status, message: &str| sign_in_page(server, status, &id, &session, &pending, name, Some(message));
    if let Err(refusal) = server.browsers.attempt(name, server.settings.login_attempts, server.settings.login_window, now) {
        record_failure(server, &origin, name, &refusal).await;
        let mut response = again(StatusCode::TOO_MANY_REQUESTS, &refusal.reason);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(server.settings.login_window.unsigned_abs()));
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
    server.browsers.succeeded(name);
    match signed_in(server, origin, &session, (&id, name), now).await {
        Ok(response) => response,
        Err(refusal) => pages::problem(&refusal, None),
    }
}

/// Rotates the session, so that an attacker who planted the old cookie is left behind. SPEC: AZ-14
async fn signed_in(
    server: &Server,
    origin: RequestOrigin,
    old: &Session,
    (id, name): (&str, &str),
    now: UnixTime,
) -> Result<Response<Body>, Refusal> {
    let token = server.entropy.token(32);
    let user = SignedIn { name: name.to_owned(), at: now };
    let session = server.browsers.open(&token, server.entropy.token(16), Some(user), now.plus(server.settings.session), now)?;
    // Checking a password takes its time: an account that was erased meanwhile is not remembered.
    if server.store.snapshot().human(name).is_none() {
        server.browsers.close(&session.key);
        return Err(Refusal::new(Code::CredentialsInvalid, "name or password is wrong"));
    }
    let attempt = Attempt::new(At::Authorize, origin).by(Caller::person(&server.issuer, name, now));
    let facts = Facts { human_in_loop: HumanInLoop::Approved, ..Facts::default() };
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
    let batch = Batch::new(server.tenant.clone()).record(entry.happened(RecordType::SessionOpen));
    issue::commit(server, &[], None, batch).await.map_err(Rejection::into_refusal)?;
    server.browsers.rebind(id, &session);
    server.browsers.close(&old.key);
    let mut response = pages::see_other(&server.url(&format!("/oauth/consent?request={id}")));
    if let Ok(cookie) = HeaderValue::from_str(&sessions::set_cookie(&server.issuer, &token)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// A name that is no account is not recorded: people type passwords into the wrong field.
async fn record_failure(server: &Server, origin: &RequestOrigin, name: &str, refusal: &Refusal) {
    let known = server.store.snapshot().human(name).is_some();
    // Wrong passwords for a real name are few, because they are limited; everything else costs the caller nothing.
    let attributable = known && refusal.code == Code::CredentialsInvalid;
    if !attributable && !server.anonymous.take(server.now()) {
        return;
    }
    let caller = known.then(|| Caller::claimed(Principal::human(&server.issuer, name)));
    let attempt = Attempt { caller, ..Attempt::new(At::Authorize, origin.clone()) };
    let facts = Facts::default();
    let record = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None }.refused(refusal);
    if let Err(rejection) = issue::commit(server, &[], None, Batch::new(server.tenant.clone()).record(record)).await {
        tracing::error!(refusal = %rejection.into_refusal(), "a failed sign-in could not be recorded");
    }
}

fn sign_in_page(
    server: &Server,
    status: StatusCode,
    request: &str,
    session: &Session,
    pending: &Pending,
    username: &str,
    message: Option<&str>,
) -> Response<Body> {
    let snapshot = server.store.snapshot();
    let agent = snapshot.agent(&pending.ask.client);
    let login = pages::Login {
        agent_name: agent.map_or("an agent", |agent| agent.display_name.as_str()),
        request,
        csrf: &session.csrf,
        username,
        message,
    };
    pages::html(status, &login, "")
}
