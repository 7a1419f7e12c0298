//! From an authorization request to a person's yes or no.
//!
//! Implements AZ-09 to AZ-15: what is shown is computed once, its digest is signed later in the ID token, and exactly that
//! is granted. Consent is asked every time.

use crate::{
    Server,
    grants::{attempt::Attempt, consented::Consented},
    http::{
        error::{self, At, Rejection},
        form::Form,
    },
    policy_check::{self, Proposal, require_active},
    signin::{
        authorize::{self, Stopped},
        login, pages, redirect,
        request::AuthorizationRequest,
        sessions::{self, Pending, Session, Shown, SignedIn},
    },
    tokens::{issue, record::Caller},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use remit_ledger::record::{HumanInLoop, RecordType};
use remit_model::{
    Agent, Authority, Chain, Code, Fault, Human, HumanStatus, Part, Principal, Refusal, Sentence, UnixTime, display,
};
use remit_store::{Batch, Change, Snapshot, StoredCode};
use remit_token::id_token;
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc};

/// The first hit: checks the request and sends the browser to sign in or to decide. SPEC: AZ-01, AZ-14, AZ-15
pub(crate) async fn begin(server: &Server, headers: &HeaderMap, form: Result<Form, Refusal>) -> Response<Body> {
    let now = server.now();
    let snapshot = server.store.snapshot();
    let form = match form {
        Ok(form) => form,
        Err(refusal) => return stop(server, Attempt::new(At::Authorize), Stopped::here(refusal)).await,
    };
    let ask = match authorize::read(server, &snapshot, &form) {
        Ok(ask) => ask,
        Err(stopped) => return stop(server, Attempt::new(At::Authorize), stopped).await,
    };
    let session = server.browsers.session(sessions::read_cookie(headers, &server.issuer), now);
    if ask.prompt.none {
        // SPEC: N-AZ-12. Consent is never skipped, so silence can only fail.
        let signed_in = session.as_ref().is_some_and(|session| !must_sign_in(session, &ask, false, now));
        let oauth = if signed_in { "consent_required" } else { "login_required" };
        let refusal = Refusal::new(Code::LoginRequired, "this cannot be decided without the person");
        return stop(server, Attempt::new(At::Authorize), Stopped::there(&ask, refusal, Some(oauth))).await;
    }
    match wait(server, session, ask, now) {
        Ok(response) => response,
        Err(refusal) => pages::problem(&refusal, None),
    }
}

fn wait(server: &Server, session: Option<Session>, ask: AuthorizationRequest, now: UnixTime) -> Result<Response<Body>, Refusal> {
    let (session, cookie) = if let Some(session) = session {
        (session, None)
    } else {
        let token = server.entropy.token(32);
        let session = server.browsers.open(&token, server.entropy.token(16), None, now.plus(sessions::PENDING_SECONDS), now)?;
        (session, Some(sessions::set_cookie(&server.issuer, &token)))
    };
    let id = server.entropy.token(16);
    let page = if must_sign_in(&session, &ask, false, now) { "login" } else { "consent" };
    server.browsers.wait(id.clone(), ask, &session, now)?;
    let mut response = pages::see_other(&server.url(&format!("/oauth/{page}?request={id}")));
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// SPEC: AZ-15, AZ-16
fn must_sign_in(session: &Session, ask: &AuthorizationRequest, just_did: bool, now: UnixTime) -> bool {
    let Some(user) = &session.user else { return true };
    let too_old = ask.max_age.is_some_and(|most| now.since(user.at) > most);
    (ask.prompt.login || too_old) && !just_did
}

/// GET: the consent page.
pub(crate) async fn show(server: &Server, headers: &HeaderMap, form: Result<Form, Refusal>) -> Response<Body> {
    let now = server.now();
    let opened = form.and_then(|form| login::open(server, headers, &form, now));
    let (id, session, pending) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let user = match &session.user {
        Some(user) if !must_sign_in(&session, &pending.ask, pending.just_signed_in, now) => user,
        _ => return pages::see_other(&server.url(&format!("/oauth/login?request={id}"))),
    };
    let mut attempt = Attempt::new(At::Authorize);
    attempt.entry.caller = Some(login::person(server, &user.name, user.at));
    let snapshot = server.store.snapshot();
    match offer(server, &snapshot, &pending.ask, user, &mut attempt, now) {
        Ok((agent, human, shown)) => {
            let page = render(server, (&id, &session, &pending), (&agent, &human), &shown);
            server.browsers.show(&id, shown);
            page
        }
        Err(refusal) => stop(server, attempt, Stopped::there(&pending.ask, refusal, None)).await,
    }
}

/// What this person may hand to this agent of what it asks. SPEC: AZ-07, TX-04, TK-09
fn offer(
    server: &Server,
    snapshot: &Snapshot,
    ask: &AuthorizationRequest,
    user: &SignedIn,
    attempt: &mut Attempt,
    now: UnixTime,
) -> Result<(Arc<Agent>, Arc<Human>, Shown), Refusal> {
    let (agent, human) = parties(snapshot, ask, &user.name)?;
    let authority = ask.asked.offered(&human.entitlements.meet(&agent.ceiling));
    if authority.is_none() && !ask.asked.openid {
        return Err(Refusal::new(Code::AuthorityEmpty, "nothing that is asked for can be granted by this person to this agent"));
    }
    let until = now.plus(ask.asked.lifetime.unwrap_or(server.settings.consent));
    let delegate = Principal::agent(&server.issuer, &agent.id);
    let chain = Chain::new(server.entropy.token(16), Principal::human(&server.issuer, &user.name));
    let check = policy_check::check(
        server.policy.current(),
        &Proposal {
            tenant: &server.tenant,
            issuer: &server.issuer,
            snapshot,
            before: &chain,
            delegate: &delegate,
            authority: &authority,
            server: None,
            purpose: ask.asked.purpose.as_deref(),
            expires: until,
            auth_time: Some(user.at),
            now,
        },
    );
    let verdict = check.allow();
    attempt.entry.check = Some(check);
    verdict?;
    let digest = id_token::consent_digest(&delegate.sub, &authority.to_value(), until, ask.asked.purpose.as_deref());
    Ok((agent, human, Shown { user: user.name.clone(), authority, until, digest }))
}

fn parties(snapshot: &Snapshot, ask: &AuthorizationRequest, user: &str) -> Result<(Arc<Agent>, Arc<Human>), Refusal> {
    let gone = || Refusal::new(Code::ClientUnknown, "the agent is not registered any more");
    let agent = snapshot.agent(&ask.client).cloned().ok_or_else(gone)?;
    require_active(&agent)?;
    let human = snapshot.human(user).filter(|human| human.status == HumanStatus::Active).cloned();
    let human = human.ok_or_else(|| Refusal::new(Code::HumanDisabled, "this account is disabled"))?;
    Ok((agent, human))
}

fn render(
    server: &Server,
    (id, session, pending): (&str, &Session, &Pending),
    (agent, human): (&Agent, &Human),
    shown: &Shown,
) -> Response<Body> {
    let uri = &pending.ask.back.redirect_uri;
    let consent = pages::Consent {
        agent_name: &agent.display_name,
        agent_subject: &agent.id.subject(),
        owner: &agent.owner,
        human_name: &human.display_name,
        human_subject: &human.subject(),
        redirect_host: &redirect::host(uri),
        loopback: redirect::is_loopback(uri),
        purpose: pending.ask.asked.purpose.as_deref(),
        grants: shown.authority.describe().iter().map(|sentence| phrases(server, sentence)).collect(),
        until: &when(shown.until, "%Y-%m-%dT%H:%M:%SZ"),
        until_words: &when(shown.until, "%e %B %Y, %H:%M UTC"),
        sub_agents: &sub_agents(&shown.authority),
        request: id,
        csrf: &session.csrf,
        shown: &shown.digest,
    };
    pages::html(StatusCode::OK, &consent, &redirect::form_action(uri))
}

/// A sentence of the model quotes names in backticks; a server's address becomes the title people know it by.
fn phrases(server: &Server, line: &str) -> Vec<pages::Phrase> {
    let phrase = |(at, text): (usize, &str)| match server.servers.iter().find(|known| at % 2 == 1 && known.location == text) {
        Some(known) => pages::Phrase { text: known.title.clone(), exact: false },
        None => pages::Phrase { text: text.to_owned(), exact: at % 2 == 1 },
    };
    sentence.flat().into_iter().map(phrase).collect()
}

fn when(time: UnixTime, format: &str) -> String {
    jiff::Timestamp::from_second(time.0).map_or_else(|_| time.to_string(), |time| time.strftime(format).to_string())
}

/// Whether other agents may come to hold a part of this. SPEC: AZ-09
fn sub_agents(authority: &Authority) -> String {
    let details = authority.to_value();
    let named = |detail: &Value| detail.pointer("/delegate/to").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: BTreeSet<String> =
        details.as_array().into_iter().flatten().flat_map(named).filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let depth = authority.depth();
    if names.is_empty() || depth == 0 {
        return "It may not hand any of this on to other agents.".to_owned();
    }
    let whom =
        if names.contains("*") { "any registered agent".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") };
    let far = if depth == 1 { "who may not hand it on further".to_owned() } else { format!("over at most {depth} steps") };
    format!("It may hand parts of this on to {whom}, {far}.")
}

/// POST: the decision. SPEC: AZ-11, AZ-13, N-AZ-09
pub(crate) async fn decide(server: &Server, headers: &HeaderMap, form: Result<Form, Refusal>) -> Response<Body> {
    let now = server.now();
    let opened = form.and_then(|form| {
        let (id, session, pending) = login::open(server, headers, &form, now)?;
        session.check_csrf(form.one("csrf"))?;
        let foreign = || Refusal::new(Code::SessionForeign, "this is not the page that was shown last; read it again");
        let shown = pending.shown.clone().filter(|shown| form.one("shown") == Some(shown.digest.as_str())).ok_or_else(foreign)?;
        let user = session.user.clone().filter(|user| user.name == shown.user).ok_or_else(foreign)?;
        // Whoever removes the request decides it: a double click decides once.
        server.browsers.decide(&id)?;
        Ok((pending.ask, shown, user, form.one("decision") == Some("allow")))
    });
    let (ask, shown, user, allow) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let mut attempt = Attempt::new(At::Authorize);
    attempt.entry.caller = Some(login::person(server, &user.name, user.at));
    attempt.entry.human_in_loop = HumanInLoop::Approved;
    attempt.entry.purpose.clone_from(&ask.asked.purpose);
    attempt.entry.fact("consent", shown.digest.clone());
    if !allow {
        attempt.entry.human_in_loop = HumanInLoop::Notified;
        let refusal = Refusal::new(Code::ConsentDenied, "the person refused");
        return stop(server, attempt, Stopped::there(&ask, refusal, None)).await;
    }
    match hand_over(server, &attempt, &ask, shown, &user, now).await {
        Ok(location) => pages::see_other(&location),
        Err(no) => stop(server, attempt, Stopped::there(&ask, no.into_refusal(), None)).await,
    }
}

/// The code, durable with the record of the approval before it leaves. SPEC: AZ-12, AZ-13, X-12
async fn hand_over(
    server: &Server,
    attempt: &Attempt,
    ask: &AuthorizationRequest,
    shown: Shown,
    user: &SignedIn,
    now: UnixTime,
) -> Result<String, Rejection> {
    parties(&server.store.snapshot(), ask, &user.name)?;
    let code = server.entropy.token(32);
    let authority = shown.authority.to_value();
    let consented = Consented {
        redirect_uri: ask.back.redirect_uri.clone(),
        challenge: ask.challenge.clone(),
        dpop_jkt: ask.dpop_jkt.clone(),
        nonce: ask.nonce.clone(),
        openid: ask.asked.openid,
        targets: ask.asked.targets.clone(),
        user: shown.user,
        auth_time: user.at,
        authority: shown.authority,
        until: shown.until,
        digest: shown.digest,
        purpose: ask.asked.purpose.clone(),
    };
    let stored = StoredCode {
        hash: server.store.keyed_hash("code", code.as_bytes()),
        client: ask.client.subject(),
        subject: Principal::human(&server.issuer, &consented.user),
        payload: serde_json::to_value(&consented).map_err(Fault::new)?,
        expires: now.plus(server.settings.code),
        used: None,
        failures: 0,
    };
    let record = attempt.entry.happened(&server.tenant, RecordType::Approval, At::Authorize).commit(
        "/approval/shown",
        serde_json::json!({"agent": ask.client.subject(), "authority": authority, "until": consented.until}),
    );
    let batch = Batch::new(server.tenant.clone()).change(Change::PutCode(stored)).record(record);
    issue::commit(server, attempt, batch).await?;
    Ok(redirect::with(&ask.back.redirect_uri, &[("code", &code)], ask.back.state.as_deref(), &server.issuer))
}

impl Stopped {
    fn here(refusal: Refusal) -> Self {
        Self { refusal, client: None, back: None, oauth: None }
    }

    fn there(ask: &AuthorizationRequest, refusal: Refusal, oauth: Option<&'static str>) -> Self {
        Self { refusal, client: Some(ask.client.clone()), back: Some(ask.back.clone()), oauth }
    }
}

/// Records the refusal, then tells whoever may be told. SPEC: AZ-01, AZ-12, N-AZ-08
async fn stop(server: &Server, mut attempt: Attempt, stopped: Stopped) -> Response<Body> {
    let Stopped { refusal, client, back, oauth } = stopped;
    let anonymous = attempt.entry.caller.is_none();
    if anonymous {
        attempt.entry.caller = client.map(|client| Caller::claimed(Principal::agent(&server.issuer, &client)));
    }
    let (refusal, record) = if anonymous && !server.anonymous.take(server.now()) {
        (refusal, None)
    } else {
        let record = attempt.entry.refused(&server.tenant, At::Authorize, &refusal);
        match issue::commit(server, &attempt, Batch::new(server.tenant.clone()).record(record)).await {
            Ok(applied) => (refusal, applied.receipts.into_iter().next().map(|receipt| receipt.record_id)),
            Err(no) => (no.into_refusal(), None),
        }
    };
    let Some(back) = back else { return pages::problem(&refusal, record.as_deref()) };
    let (_, usual) = error::outward(refusal.code, At::Authorize);
    let reason = error::printable(&refusal.reason);
    let mut parameters =
        vec![("error", oauth.unwrap_or(usual)), ("error_description", reason.as_str()), ("remit_code", refusal.code.as_str())];
    if let Some(record) = &record {
        parameters.push(("remit_record", record));
    }
    pages::see_other(&redirect::with(&back.redirect_uri, &parameters, back.state.as_deref(), &server.issuer))
}
