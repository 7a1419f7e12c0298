//! From an authorization request to a person's yes or no.
//!
//! Implements AZ-09 to AZ-15: what is shown is computed once, its digest is signed later in the ID token, and exactly that
//! is granted. Consent is asked every time.

use crate::{
    Server,
    grants::{
        attempt::{Attempt, Caller},
        consented::Consented,
        outcome::Facts,
    },
    http::{
        error::{self, At, Rejection},
        origin::{Incoming, RequestOrigin},
    },
    policy_check::{self, Checked, Delegation, PolicyCheck},
    signin::{
        authorize::{self, Stopped},
        login, pages, redirect,
        request::AuthorizationRequest,
        sessions::{self, Pending, Session, Shown, SignedIn},
    },
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use remit_decide::active;
use remit_ledger::record::{HumanInLoop, RecordType};
use remit_model::{Agent, Authority, Chain, Code, Fault, Human, Part, Principal, Refusal, Sentence, UnixTime, display};
use remit_store::{Batch, Change, Snapshot, StoredCode};
use remit_token::id_token;
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc};

/// The first hit: checks the request and sends the browser to sign in or to decide. SPEC: AZ-01, AZ-14, AZ-15
pub(crate) async fn begin(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let attempt = Attempt::new(At::Authorize, origin);
    let snapshot = server.store.snapshot();
    let read = form.map_err(Stopped::here).and_then(|form| authorize::read(server, &snapshot, &form));
    let ask = match read {
        Ok(ask) => ask,
        Err(stopped) => return stop(server, attempt, &Facts::default(), None, stopped).await,
    };
    let session = server.browsers.session(sessions::read_cookie(&headers, &server.issuer), now);
    if ask.prompt.none {
        // SPEC: N-AZ-12. Consent is never skipped, so silence can only fail.
        let signed_in = session.as_ref().is_some_and(|session| !must_sign_in(session, &ask, false, now));
        let oauth = if signed_in { "consent_required" } else { "login_required" };
        let refusal = Refusal::new(Code::LoginRequired, "this cannot be decided without the person");
        return stop(server, attempt, &Facts::default(), None, Stopped::there(&ask, refusal, Some(oauth))).await;
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
pub(crate) async fn show(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let opened = form.and_then(|form| login::open(server, &headers, &form, now));
    let (id, session, pending) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let user = match &session.user {
        Some(user) if !must_sign_in(&session, &pending.ask, pending.just_signed_in, now) => user,
        _ => return pages::see_other(&server.url(&format!("/oauth/login?request={id}"))),
    };
    let snapshot = server.store.snapshot();
    let Offer { check, offered } = offer(server, &snapshot, &pending.ask, user, now);
    match offered {
        Ok((agent, human, shown)) => {
            let page = render(server, (&id, &session, &pending), (&agent, &human), &shown);
            server.browsers.show(&id, shown);
            page
        }
        Err(refusal) => {
            let attempt = by_person(server, origin, user);
            let stopped = Stopped::there(&pending.ask, refusal, None);
            stop(server, attempt, &Facts::default(), check.as_ref(), stopped).await
        }
    }
}

fn by_person(server: &Server, origin: RequestOrigin, user: &SignedIn) -> Attempt {
    Attempt::new(At::Authorize, origin).by(Caller::person(&server.issuer, &user.name, user.at))
}

/// What can be put before the person, with the policy decision if policy was asked.
struct Offer {
    check: Option<PolicyCheck>,
    offered: Result<(Arc<Agent>, Arc<Human>, Shown), Refusal>,
}

/// What this person may hand to this agent of what it asks. SPEC: AZ-07, TX-04, TK-09
fn offer(server: &Server, snapshot: &Snapshot, ask: &AuthorizationRequest, user: &SignedIn, now: UnixTime) -> Offer {
    let (agent, human, authority) = match allowed(snapshot, ask, user) {
        Ok(allowed) => allowed,
        Err(refusal) => return Offer { check: None, offered: Err(refusal) },
    };
    let until = now.plus(ask.asked.lifetime.unwrap_or(server.settings.consent));
    let delegate = Principal::agent(&server.issuer, &agent.id);
    let chain = Chain::new(server.entropy.token(16), Principal::human(&server.issuer, &user.name));
    let delegation = Delegation {
        before: &chain,
        to: &delegate,
        authority: &authority,
        server: None,
        purpose: ask.asked.purpose.as_deref(),
        expires: until,
        auth_time: Some(user.at),
    };
    let Checked { allowed, check } = policy_check::check(server, snapshot, &delegation, now);
    let offered = allowed.map(|()| {
        let purpose = ask.asked.purpose.as_deref();
        let digest = id_token::consent_digest(&delegate.sub, &authority.to_value(), until, purpose);
        (agent, human, Shown { user: user.name.clone(), authority, until, digest })
    });
    Offer { check, offered }
}

/// The part of the request that is within the person's entitlements and the agent's ceiling.
fn allowed(
    snapshot: &Snapshot,
    ask: &AuthorizationRequest,
    user: &SignedIn,
) -> Result<(Arc<Agent>, Arc<Human>, Authority), Refusal> {
    let (agent, human) = parties(snapshot, ask, &user.name)?;
    let authority = ask.asked.offered(&human.entitlements.meet(&agent.ceiling));
    if authority.is_none() && !ask.asked.openid {
        return Err(Refusal::new(Code::AuthorityEmpty, "nothing that is asked for can be granted by this person to this agent"));
    }
    Ok((agent, human, authority))
}

fn parties(snapshot: &Snapshot, ask: &AuthorizationRequest, user: &str) -> Result<(Arc<Agent>, Arc<Human>), Refusal> {
    let gone = || Refusal::new(Code::ClientUnknown, "the agent is not registered any more");
    let agent = snapshot.agent(&ask.client).cloned().ok_or_else(gone)?;
    active::agent(&agent)?;
    let human = snapshot.human(user).cloned();
    let human = human.ok_or_else(|| Refusal::new(Code::HumanDisabled, "this account is disabled"))?;
    active::human(&human)?;
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

/// The parts of a sentence; a server's address becomes the title people know it by.
fn phrases(server: &Server, sentence: &Sentence) -> Vec<pages::Phrase> {
    let exact = |value: &str| pages::Phrase { text: Part::shown(value), exact: true };
    let ours = |text: &str| pages::Phrase { text: display::escape(text).into_owned(), exact: false };
    let title = |location: &str| server.servers.iter().find(|known| known.location == *location).map(|known| ours(&known.title));
    let phrase = |part| match part {
        Part::Words(words) => ours(&words),
        Part::Resource(location) => title(&location).unwrap_or_else(|| exact(&location)),
        Part::Value(value) => exact(&value),
        Part::List { .. } => ours(""),
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
pub(crate) async fn decide(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let opened = form.and_then(|form| {
        let (id, session, pending) = login::open(server, &headers, &form, now)?;
        session.check_csrf(form.one("csrf"))?;
        let foreign = || Refusal::new(Code::SessionForeign, "this is not the page that was shown last; read it again");
        let shown = pending.shown.clone().filter(|shown| form.one("shown") == Some(shown.digest.as_str())).ok_or_else(foreign)?;
        let user = session.user.clone().filter(|user| user.name == shown.user).ok_or_else(foreign)?;
        // Removing the request decides it: a double click decides once.
        server.browsers.decide(&id)?;
        Ok((pending.ask, shown, user, form.one("decision") == Some("allow")))
    });
    let (ask, shown, user, allow) = match opened {
        Ok(opened) => opened,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let attempt = by_person(server, origin, &user);
    let human_in_loop = if allow { HumanInLoop::Approved } else { HumanInLoop::Notified };
    let facts = Facts { purpose: ask.asked.purpose.clone(), human_in_loop, ..Facts::default() };
    let facts = facts.fact("consent", shown.digest.clone());
    if !allow {
        let refusal = Refusal::new(Code::ConsentDenied, "the person refused");
        return stop(server, attempt, &facts, None, Stopped::there(&ask, refusal, None)).await;
    }
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
    match hand_over(server, entry, &ask, shown, &user, now).await {
        Ok(location) => pages::see_other(&location),
        Err(rejection) => stop(server, attempt, &facts, None, Stopped::there(&ask, rejection.into_refusal(), None)).await,
    }
}

/// The code, durable with the record of the approval before it leaves. SPEC: AZ-12, AZ-13, X-12
async fn hand_over(
    server: &Server,
    entry: Entry<'_>,
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
    let record = entry.happened(RecordType::Approval).commit(
        "/approval/shown",
        serde_json::json!({"agent": ask.client.subject(), "authority": authority, "until": consented.until}),
    );
    let batch = Batch::new(server.tenant.clone()).change(Change::PutCode(stored)).record(record);
    issue::commit(server, &[], None, batch).await?;
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

/// Records the refusal, then tells the program or the person, as far as the request was checked. SPEC: AZ-01, AZ-12, N-AZ-08
async fn stop(server: &Server, attempt: Attempt, facts: &Facts, check: Option<&PolicyCheck>, stopped: Stopped) -> Response<Body> {
    let Stopped { refusal, client, back, oauth } = stopped;
    let anonymous = attempt.caller.is_none();
    let claimed = client.map(|client| Caller::claimed(Principal::agent(&server.issuer, &client)));
    let attempt = Attempt { caller: attempt.caller.or(claimed), ..attempt };
    let (refusal, record) = if anonymous && !server.anonymous.take(server.now()) {
        (refusal, None)
    } else {
        let record = Entry { tenant: &server.tenant, attempt: &attempt, facts, check }.refused(&refusal);
        match issue::commit(server, &[], check, Batch::new(server.tenant.clone()).record(record)).await {
            Ok(applied) => (refusal, applied.receipts.into_iter().next().map(|receipt| receipt.record_id)),
            Err(rejection) => (rejection.into_refusal(), None),
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
