//! Signing in with a local account.
//!
//! Implements AZ-11, AZ-14: limits on attempts, a request that is bound to its browser, and a fresh session at every sign-in.

use crate::{
    Server,
    grants::{
        attempt::{Attempt, Caller, Once},
        outcome::Facts,
    },
    http::{
        error::{At, Rejection},
        form::Form,
        origin::{Incoming, RequestOrigin},
    },
    signin::{
        consent,
        login_page::{self, PENDING_SECONDS, SecondFactor, foreign, render, with_cookies},
        pages,
        passkeys::{
            self, named,
            used::{self, Used},
        },
        request::SignInFor,
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
use remit_decide::active;
use remit_ledger::record::{HumanInLoop, RecordType};
use remit_model::{Authentication, Code, Human, Principal, Refusal, UnixTime};
use remit_store::{Batch, JtiKind};
use remit_token::webauthn::Assertion;
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
    if let Some(response) = form.one("passkey") {
        return by_passkey(server, origin, &headers, &browser, &ask, &form, response, now).await;
    }
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
    if let Some(human) = human.filter(|human| second_factor_wanted(&ask, human)) {
        return match login_page::second_factor(server, &browser, &human, &ask, now) {
            Ok(page) => page,
            Err(rejection) => {
                let refusal = rejection.into_refusal();
                record_failure(server, &origin, name, &refusal).await;
                again(StatusCode::FORBIDDEN, &refusal.reason)
            }
        };
    }
    let user = SignedIn { name: name.to_owned(), authentication: Authentication::password(now), evidence: None };
    enter(server, origin, &browser, &ask, user, None, now).await
}

/// Whether the account asks for a passkey, or the request does and the person has one. SPEC: AZ-16
fn second_factor_wanted(ask: &SignInFor, human: &Human) -> bool {
    let met = ask.request().is_none_or(|ask| ask.is_met_by(Authentication::password(UnixTime(0)).acr.as_deref()));
    let would_do = ask.request().is_some_and(|ask| ask.is_met_by(Some(used::ACR)));
    human.passkeys.demanded || (!met && would_do && !human.passkeys.enrolled.is_empty())
}

/// The session, and what the person signed in for.
async fn enter(
    server: &Server,
    origin: RequestOrigin,
    browser: &Browser,
    ask: &SignInFor,
    user: SignedIn,
    passkey: Option<(Used, Once)>,
    now: UnixTime,
) -> Response<Body> {
    let name = user.name.clone();
    match signed_in(server, &origin, &browser.id, user, passkey, now).await {
        Ok((browser, cookie)) => {
            let page = match ask {
                SignInFor::Request(ask) => consent::page(server, origin, &browser, ask, now).await,
                SignInFor::Account => pages::see_other("/account/passkeys"),
            };
            with_cookies(page, [Some(cookie), remember(server, &name, now)].into_iter().flatten())
        }
        Err(refusal) => pages::problem(&refusal, None),
    }
}

/// A passkey: by itself, or after the right password. It says whose it is; a name is not asked for.
#[expect(clippy::too_many_arguments, reason = "each is a fact of one request, and they travel no further")]
async fn by_passkey(
    server: &Server,
    origin: RequestOrigin,
    headers: &HeaderMap,
    browser: &Browser,
    ask: &SignInFor,
    form: &Form,
    response: &str,
    now: UnixTime,
) -> Response<Body> {
    let request = form.one("request").unwrap_or_default();
    let second: Option<SecondFactor> = server.seal.open(Purpose::SecondFactor, &browser.id, request, now);
    let challenge = passkeys::challenge(request);
    let snapshot = server.store.snapshot();
    let used = Assertion::read(response).and_then(|assertion| Used::check(server, &snapshot, &assertion, &challenge, now));
    let used = used.and_then(|used| {
        active::human(&used.human, None)?;
        match &second {
            Some(second) if second.name != used.human.name => {
                Err(Refusal::new(Code::PasskeyInvalid, "this passkey is of another account than the password"))
            }
            // Who leaves the organisation leaves its provider: no key of theirs lets them in past it.
            _ if used.human.identity.is_some() => Err(Refusal::new(
                Code::PasskeyInvalid,
                "this account signs in at its identity provider; its passkeys only sign consents",
            )),
            _ => Ok(used),
        }
    });
    let used = match used {
        Ok(used) => used,
        Err(refusal) => {
            let named = second.as_ref().map(|second| second.name.as_str()).unwrap_or_default();
            record_failure(server, &origin, named, &refusal).await;
            return match second {
                Some(_) => pages::problem(&refusal, None),
                None => render(server, StatusCode::FORBIDDEN, ask, request, "", Some(&refusal.reason)),
            };
        }
    };
    let name = used.human.name.clone();
    let source = known_browser(server, headers, &name, now);
    server.throttle.succeeded(&name, source.as_deref().map_or(Source::Address(origin.peer), Source::Known));
    let user = SignedIn { name, authentication: used.authentication(now, second.is_some()), evidence: None };
    // One page signs in once: the answer to its challenge, seen on the way, signs no one in again.
    let once = Once { kind: JtiKind::Other, key: format!("sign-in page {}", named(request)), until: now.plus(PENDING_SECONDS) };
    enter(server, origin, browser, ask, user, Some((used, once)), now).await
}

/// The request of a sign-in page that was opened in this very browser. SPEC: AZ-11, AZ-14, N-AZ-09
fn opened(server: &Server, headers: &HeaderMap, request: &str, now: UnixTime) -> Result<(Browser, SignInFor), Refusal> {
    let browser = server.sessions.known(headers, &server.issuer, now).ok_or_else(foreign)?;
    let second = || server.seal.open(Purpose::SecondFactor, &browser.id, request, now).map(|second: SecondFactor| second.ask);
    let ask = server.seal.open(Purpose::SignIn, &browser.id, request, now).or_else(second).ok_or_else(foreign)?;
    Ok((browser, ask))
}

/// A new session, so that an attacker who planted the old cookie is left behind. SPEC: AZ-14
async fn signed_in(
    server: &Server,
    origin: &RequestOrigin,
    old: &BrowserId,
    user: SignedIn,
    passkey: Option<(Used, Once)>,
    now: UnixTime,
) -> Result<(Browser, String), Refusal> {
    let token = server.entropy.token(32);
    let id = server.sessions.open(&token, user.clone(), now.plus(server.settings.session), now);
    // Checking a password takes its time: an account that was erased meanwhile is not remembered.
    if server.store.snapshot().human(&user.name).is_none() {
        server.sessions.close(&id);
        return Err(Refusal::new(Code::CredentialsInvalid, "name or password is wrong"));
    }
    let attempt = Attempt::new(At::Authorize, origin.clone()).by(Caller::person(&server.issuer, &user));
    let facts = Facts { human_in_loop: HumanInLoop::Approved, ..Facts::default() };
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
    let batch = Batch::new(server.tenant.clone()).record(entry.happened(RecordType::SessionOpen));
    let (batch, once) = match passkey {
        Some((used, once)) => (used.count(batch), vec![once]),
        None => (batch, Vec::new()),
    };
    if let Err(rejection) = issue::commit(server, &once, None, batch).await {
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
