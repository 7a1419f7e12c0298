//! The pages on which people see, add and remove their passkeys.
//!
//! Implements AZ-11 and AZ-14 for them: a fresh session, no frame, and a form that belongs to one browser. Adding or removing
//! one asks for a sign-in of the last few minutes and, where there is one already, for a passkey: who has only the password cannot
//! make themselves one, nor take the person's away.

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
        consent_page,
        login_page::{self, PENDING_SECONDS, foreign},
        pages,
        passkeys::{
            ceremony::{Making, Signing},
            challenge, enrolment, named,
            used::{self, Used},
        },
        request::SignInFor,
        seal::Purpose,
        sessions::{Browser, SignedIn},
    },
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use remit_decide::active;
use remit_ledger::record::{HumanInLoop, RecordType};
use remit_model::{Authentication, Code, Human, Passkey, Refusal, UnixTime};
use remit_store::{Batch, Change, JtiKind, Precondition};
use remit_token::webauthn::Assertion;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// For how long after a sign-in passkeys may be changed.
const FRESH_SECONDS: i64 = 600;

/// What a page to change passkeys carries sealed.
#[derive(Serialize, Deserialize)]
struct Changing {
    name: String,
    link: Option<enrolment::Link>,
    /// Whether the person has used a passkey for it, or a link allows it.
    #[serde(default, rename = "by_passkey")]
    confirmed: bool,
}

impl Changing {
    /// Of a session: confirmed where the person signed in with a passkey here.
    fn of(browser: &Browser, human: &Human) -> Self {
        let signed_in = browser.user.as_ref().filter(|user| user.name == human.name);
        Self { name: human.name.clone(), link: None, confirmed: signed_in.is_some_and(used::signed_in) }
    }

    /// Whether this person, as they are now, may change passkeys on the page: they used one for it, or have none yet. A page that
    /// was opened before the first one was enrolled does not count once there is one.
    fn is_confirmed(&self, human: &Human) -> bool {
        self.confirmed || human.passkeys.enrolled.is_empty()
    }
}

/// GET `/account/passkeys`: the list, or the page to sign in first.
pub(crate) fn list(server: &Server, incoming: &Incoming) -> Response<Body> {
    let now = server.now();
    let browser = server.sessions.browser(&incoming.headers, &server.issuer, &server.entropy, now);
    let response = match fresh(server, &browser, now) {
        Some(human) => render(server, &browser, &human, Changing::of(&browser, &human), None, now),
        None => login_page::page(server, &browser, &SignInFor::Account, now),
    };
    let response = response.unwrap_or_else(|rejection| pages::problem(&rejection.into_refusal(), None));
    login_page::with_cookies(response, browser.set_cookie)
}

/// The person of a session that is new enough.
fn fresh(server: &Server, browser: &Browser, now: UnixTime) -> Option<Arc<Human>> {
    let user = browser.user.as_ref().filter(|user| now.since(user.authentication.time) <= FRESH_SECONDS)?;
    let human = server.store.snapshot().human(&user.name).map(Arc::clone)?;
    active::human(&human, Some(user.authentication.time)).ok().map(|()| human)
}

/// The list of this person's passkeys with the form to add one; or, until it is confirmed, the page that asks for a passkey.
fn render(
    server: &Server,
    browser: &Browser,
    human: &Human,
    change: Changing,
    message: Option<&str>,
    now: UnixTime,
) -> Result<Response<Body>, Rejection> {
    let Some(party) = server.passkeys.as_ref() else { return Err(used::unavailable().into()) };
    let (by_link, confirmed) = (change.link.is_some(), change.is_confirmed(human));
    let expires = now.plus(PENDING_SECONDS);
    let request = server.seal.seal(Purpose::Passkeys, &browser.id, change, expires, &server.entropy)?;
    if let (false, Some(signing)) = (confirmed, Signing::by(server, human, &challenge(&request))) {
        let why =
            "To add or remove a passkey, use one that you have. If you have lost them all, ask your administrator for a link.";
        let page = pages::SecondFactor { why, action: "/account/passkeys", message, request: &request, signing };
        return Ok(pages::scripted(StatusCode::OK, &page, ""));
    }
    let rows = human.passkeys.enrolled.iter().map(row).collect();
    let page = pages::Passkeys {
        human_name: &human.display_name,
        human_subject: &human.subject(),
        // A link adds; it shows and removes nothing.
        rows: if by_link { Vec::new() } else { rows },
        by_link,
        request: &request,
        making: Making::of(server, party, human, &challenge(&request)),
        message,
    };
    Ok(pages::scripted(StatusCode::OK, &page, ""))
}

fn row(passkey: &Passkey) -> pages::PasskeyRow {
    pages::PasskeyRow {
        id: passkey.id.clone(),
        label: passkey.label.clone(),
        added: consent_page::in_words(passkey.added),
        used: passkey.used.map(consent_page::in_words),
        synced: passkey.synced,
    }
}

/// GET `/account/passkeys/new?link=…`: the page to add one without a session.
pub(crate) fn by_link(server: &Server, incoming: Incoming) -> Response<Body> {
    let now = server.now();
    let browser = server.sessions.browser(&incoming.headers, &server.issuer, &server.entropy, now);
    let opened = incoming.form.and_then(|form| {
        let link: Option<enrolment::Link> = server.seal.open(Purpose::PasskeyLink, &[], form.required("link")?, now);
        let link = link.ok_or_else(spent)?;
        let human = server.store.snapshot().human(&link.name).map(Arc::clone).ok_or_else(spent)?;
        active::human(&human, Some(link.issued))?;
        Ok((link, human))
    });
    let response = opened.map_err(Rejection::from).and_then(|(link, human)| {
        let change = Changing { name: human.name.clone(), link: Some(link), confirmed: true };
        render(server, &browser, &human, change, None, now)
    });
    let response = response.unwrap_or_else(|rejection| pages::problem(&rejection.into_refusal(), None));
    login_page::with_cookies(response, browser.set_cookie)
}

fn spent() -> Refusal {
    Refusal::new(
        Code::SessionForeign,
        "this link has expired, was used before, or is not whole; ask your administrator for a new one",
    )
}

/// POST: adds or removes one.
pub(crate) async fn change(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let opened = form.and_then(|form| {
        let browser = server.sessions.known(&headers, &server.issuer, now).ok_or_else(foreign)?;
        let request = form.required("request")?.to_owned();
        let asked: Changing = server.seal.open(Purpose::Passkeys, &browser.id, &request, now).ok_or_else(foreign)?;
        Ok((form, browser, request, asked))
    });
    let (form, browser, request, asked) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let human = match &asked.link {
        Some(link) => {
            let human = server.store.snapshot().human(&asked.name).map(Arc::clone);
            human.filter(|human| active::human(human, Some(link.issued)).is_ok())
        }
        None => fresh(server, &browser, now).filter(|human| human.name == asked.name),
    };
    let Some(human) = human else { return pages::problem(&foreign(), None) };
    let user = by(&browser, &human, now);
    if !asked.is_confirmed(&human) {
        let page = match confirm(server, origin, &form, &request, &human, &user, now).await {
            Ok(()) => render(server, &browser, &human, Changing { confirmed: true, ..asked }, None, now),
            Err(Rejection::Refusal(refusal)) => render(server, &browser, &human, asked, Some(&refusal.reason), now),
            Err(rejection) => Err(rejection),
        };
        return page.unwrap_or_else(|rejection| pages::problem(&rejection.into_refusal(), None));
    }
    let done = apply(server, origin, &form, &request, &asked, &human, &user, now).await;
    let human = server.store.snapshot().human(&human.name).map_or(human, Arc::clone);
    let response = match done {
        // SPEC: X-09: what a reload sends again adds nothing.
        Ok(()) if asked.link.is_some() => {
            Ok(pages::scripted(StatusCode::OK, &pages::PasskeyAdded { human_name: &human.display_name }, ""))
        }
        Ok(()) => Ok(pages::see_other("/account/passkeys")),
        Err(Rejection::Refusal(refusal)) if asked.link.is_none() => {
            render(server, &browser, &human, Changing { link: None, ..asked }, Some(&refusal.reason), now)
        }
        Err(rejection) => Err(rejection),
    };
    response.unwrap_or_else(|rejection| pages::problem(&rejection.into_refusal(), None))
}

/// Checks that the person used one of their passkeys on this very page, and records it. A page is confirmed once.
async fn confirm(
    server: &Server,
    origin: RequestOrigin,
    form: &Form,
    request: &str,
    human: &Human,
    user: &SignedIn,
    now: UnixTime,
) -> Result<(), Rejection> {
    let attempt = Attempt::new(At::Authorize, origin).by(Caller::person(&server.issuer, user));
    let facts = Facts { human_in_loop: HumanInLoop::Approved, ..Facts::default() };
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
    let snapshot = server.store.snapshot();
    let used = Assertion::read(form.one("passkey").unwrap_or_default())
        .and_then(|assertion| Used::check(server, &snapshot, &assertion, &challenge(request), now))
        .and_then(|used| {
            let other = || Refusal::new(Code::PasskeyInvalid, "this passkey is of another account");
            (used.human.name == human.name).then_some(used).ok_or_else(other)
        });
    match used {
        Ok(used) => {
            let until = now.plus(PENDING_SECONDS);
            let once = Once { kind: JtiKind::Other, key: format!("passkeys page {}", named(request)), until };
            let record = entry.happened(RecordType::SessionOpen).ext("passkey", json!({"event": "confirmed"}));
            issue::commit(server, &[once], None, used.count(Batch::new(server.tenant.clone())).record(record)).await?;
            Ok(())
        }
        Err(refusal) => {
            if attempt.may_record(server, refusal.code) {
                let batch = Batch::new(server.tenant.clone()).record(entry.refused(&refusal));
                issue::commit(server, &[], None, batch).await?;
            }
            Err(refusal.into())
        }
    }
}

/// Who changes: the session's person, or the one whom a link was made for.
fn by(browser: &Browser, human: &Human, now: UnixTime) -> SignedIn {
    browser.user.clone().filter(|user| user.name == human.name).unwrap_or_else(|| SignedIn {
        name: human.name.clone(),
        authentication: Authentication { time: now, acr: None, amr: Vec::new() },
        evidence: None,
    })
}

#[expect(clippy::too_many_arguments, reason = "each is a fact of one request, and they travel no further")]
async fn apply(
    server: &Server,
    origin: RequestOrigin,
    form: &Form,
    request: &str,
    asked: &Changing,
    human: &Human,
    user: &SignedIn,
    now: UnixTime,
) -> Result<(), Rejection> {
    let attempt = Attempt::new(At::Authorize, origin).by(Caller::person(&server.issuer, user));
    let facts = Facts { human_in_loop: HumanInLoop::Approved, ..Facts::default() };
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
    let once: Vec<_> = asked.link.iter().map(enrolment::Link::once).collect();
    let batch = match (form.one("passkey"), form.one("remove").filter(|_| asked.link.is_none())) {
        (Some(response), None) => {
            let label = form.one("label").unwrap_or_default();
            enrolment::add(server, &entry, human, (response, label), &challenge(request), now)?
        }
        (None, Some(id)) => remove(server, &entry, human, id)?,
        _ => return Err(Refusal::new(Code::RequestMalformed, "the browser sent no passkey; try again").into()),
    };
    match issue::commit(server, &once, None, batch).await {
        Err(Rejection::Refusal(refusal)) if refusal.code == Code::SessionForeign => Err(spent().into()),
        done => done.map(drop),
    }
}

fn remove(server: &Server, entry: &Entry<'_>, human: &Human, id: &str) -> Result<Batch, Refusal> {
    let known = &human.passkeys.enrolled;
    if human.passkeys.find(id).is_none() {
        return Err(Refusal::new(Code::NotFound, "this account has no such passkey"));
    }
    if human.passkeys.demanded && known.len() == 1 {
        return Err(Refusal::new(Code::PasskeyRequired, "this account needs a passkey to sign in; add another one first"));
    }
    let record = entry.happened(RecordType::ConfigChange).ext("passkey", json!({"event": "removed", "credential": named(id)}));
    let enrolled = known.iter().filter(|passkey| passkey.id != id).cloned().collect();
    Ok(Batch::new(server.tenant.clone())
        .require(Precondition::Passkeys { human: human.name.clone(), enrolled: known.clone() })
        .change(Change::SetPasskeys { human: human.name.clone(), enrolled })
        .record(record))
}
