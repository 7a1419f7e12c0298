//! The authorization endpoint: reading a request so that its errors go where they may.
//!
//! Implements RFC 6749 §4.1, RFC 7636, RFC 8707, RFC 9207, RFC 9396, RFC 9449 §10; rules AZ-01 to AZ-08, AZ-13, AZ-15,
//! AZ-16. The client and its redirect URI are checked first: only then may an error travel by redirect.

use crate::{
    Server,
    clients::{binding, candidate},
    grants::requested::{RequestedAuthority, Targets},
    http::form::Form,
    signin::{
        pushed, redirect,
        request::{AuthorizationRequest, Prompt, ReturnTo},
    },
};
use remit_decide::active;
use remit_model::{Agent, AgentId, Code, Refusal, UnixTime};
use remit_store::Snapshot;
use std::{borrow::Cow, net::IpAddr};

/// Longest `state`, `nonce` and `login_hint`. SPEC: X-10
const ECHO_LIMIT: usize = 2048;
/// Most `acr_values` of one request.
const ACR_VALUES: usize = 16;

/// Why a request is not put before a person, and whether the program that asked may be told.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) refusal: Refusal,
    /// The client, once known.
    pub(crate) client: Option<AgentId>,
    /// Set once client and redirect URI are checked. SPEC: AZ-01
    pub(crate) back: Option<ReturnTo>,
    /// The OAuth code where it is not the usual one of the refusal's code.
    pub(crate) oauth: Option<&'static str>,
    /// Whether a person decided on a page that named the address. SPEC: AZ-17
    pub(crate) decided: bool,
}

/// Finds the client, whose document may have to be fetched, and reads the request. SPEC: AZ-01
pub(crate) async fn read(
    server: &Server,
    form: &Form,
    peer: Option<IpAddr>,
    now: UnixTime,
) -> Result<AuthorizationRequest, Stopped> {
    let here = |refusal| Stopped { refusal, client: None, back: None, oauth: None, decided: false };
    let client_id = form.required("client_id").map_err(here)?;
    let (form, pushed) = match form.one("request_uri") {
        // SPEC: PAR-04, N-PAR-04: nothing else of this request counts.
        Some(uri) => {
            let opened = pushed::open(server, uri, client_id, now).await;
            let (form, used) = opened.map_err(|rejection| here(rejection.into_refusal()))?;
            (Cow::Owned(form), Some(used))
        }
        None => (Cow::Borrowed(form), None),
    };
    let found = candidate::find(server, server.store.snapshot(), client_id, peer, now).await.map_err(here)?;
    let ask = understood(server, &found.world, &form, &found.id).map_err(|stopped| *stopped)?;
    let only_pushed = found.world.agent(&found.id).is_some_and(|agent| agent.client.require_pushed_requests);
    if pushed.is_none() && (only_pushed || server.settings.require_pushed_requests) {
        // SPEC: PAR-06
        let refusal = malformed("push the request to our `pushed_authorization_request_endpoint` first");
        return Err(Stopped { refusal, client: Some(ask.client), back: Some(ask.back), oauth: None, decided: false });
    }
    Ok(AuthorizationRequest { candidate: found.candidate, pushed, ..ask })
}

/// The request of a client that is found.
pub(crate) fn understood(
    server: &Server,
    snapshot: &Snapshot,
    form: &Form,
    id: &AgentId,
) -> Result<AuthorizationRequest, Box<Stopped>> {
    let stop = |client: Option<&AgentId>, refusal| {
        Box::new(Stopped { refusal, client: client.cloned(), back: None, oauth: None, decided: false })
    };
    let agent = snapshot.agent(id).cloned();
    let agent = agent.ok_or_else(|| stop(None, Refusal::new(Code::ClientUnknown, "the agent is not registered any more")))?;
    let back = back(&agent, form).map_err(|refusal| stop(Some(&agent.id), refusal))?;
    let tell = |oauth, refusal| {
        Box::new(Stopped { refusal, client: Some(agent.id.clone()), back: Some(back.clone()), oauth, decided: false })
    };
    active::agent(&agent).and_then(|()| binding::offered(server, &agent)).map_err(|refusal| tell(None, refusal))?;
    // SPEC: AZ-05, N-AZ-07
    match form.one("response_type") {
        Some("code") => {}
        Some(_) => return Err(tell(Some("unsupported_response_type"), malformed("`response_type` must be `code`"))),
        None => return Err(tell(None, malformed("`response_type` is missing"))),
    }
    rest(server, snapshot, form, &agent, back.clone()).map_err(|refusal| tell(None, refusal))
}

fn back(agent: &Agent, form: &Form) -> Result<ReturnTo, Refusal> {
    let redirect_uri = form.required("redirect_uri")?;
    if !redirect::allowed(redirect_uri, &agent.redirect_uris, agent.is_public()) {
        return Err(Refusal::new(Code::RedirectUriMismatch, "the address to return to is not registered for this program"));
    }
    Ok(ReturnTo { redirect_uri: redirect_uri.to_owned(), state: short(form, "state")?, device: None })
}

fn rest(
    server: &Server,
    snapshot: &Snapshot,
    form: &Form,
    agent: &Agent,
    back: ReturnTo,
) -> Result<AuthorizationRequest, Refusal> {
    for unsupported in ["request", "request_uri", "registration"] {
        if form.has(unsupported) {
            return Err(malformed(&format!("`{unsupported}` is not supported")));
        }
    }
    if form.one("response_mode").is_some_and(|mode| mode != "query") {
        return Err(malformed("`response_mode` must be `query`"));
    }
    let asked = RequestedAuthority::read(form, &server.servers)?;
    let targets = Targets { issuer: &server.issuer, servers: &server.servers, snapshot };
    for target in &asked.targets {
        targets.find(target)?;
    }
    if asked.lifetime.is_some_and(|seconds| seconds > server.settings.consent) {
        return Err(Refusal::new(Code::WidensLifetime, format!("a consent lasts at most {} seconds", server.settings.consent)));
    }
    Ok(AuthorizationRequest {
        client: agent.id.clone(),
        back,
        nonce: short(form, "nonce")?,
        challenge: challenge(form)?,
        asked,
        dpop_jkt: jkt(form)?,
        prompt: prompt(form)?,
        max_age: max_age(form)?,
        acr_values: acr_values(form)?,
        stepped_up: false,
        login_hint: short(form, "login_hint")?,
        candidate: None,
        pushed: None,
    })
}

/// SPEC: AZ-04, N-AZ-03, N-AZ-04
fn challenge(form: &Form) -> Result<String, Refusal> {
    let required = |reason: &str| Refusal::new(Code::PkceRequired, reason);
    let challenge = form.one("code_challenge").ok_or_else(|| required("`code_challenge` is missing"))?;
    if form.one("code_challenge_method") != Some("S256") {
        return Err(required("`code_challenge_method` must be `S256`"));
    }
    if is_digest(challenge) {
        Ok(challenge.to_owned())
    } else {
        Err(required("`code_challenge` must be 43 base64url characters"))
    }
}

fn jkt(form: &Form) -> Result<Option<String>, Refusal> {
    match form.one("dpop_jkt") {
        Some(jkt) if !is_digest(jkt) => Err(malformed("`dpop_jkt` must be 43 base64url characters")),
        jkt => Ok(jkt.map(str::to_owned)),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// SPEC: AZ-15
fn prompt(form: &Form) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    let values: Vec<&str> = form.one("prompt").unwrap_or_default().split(' ').filter(|value| !value.is_empty()).collect();
    for value in &values {
        match *value {
            "none" => prompt.none = true,
            // There is one account in a browser session: choosing another is signing in again.
            "login" | "select_account" => prompt.login = true,
            // Consent is asked every time.
            "consent" => {}
            _ => return Err(malformed("`prompt` has an unknown value")),
        }
    }
    if prompt.none && values.len() > 1 {
        return Err(malformed("`prompt=none` cannot be combined with other values"));
    }
    Ok(prompt)
}

fn max_age(form: &Form) -> Result<Option<i64>, Refusal> {
    let Some(text) = form.one("max_age") else { return Ok(None) };
    text.parse::<u32>()
        .map(|seconds| Some(i64::from(seconds)))
        .map_err(|_| malformed("`max_age` must be a whole number of seconds"))
}

/// OpenID Connect Core §3.1.2.1: a wish. What is not reached is not refused here: the tokens say what was. SPEC: AZ-16
fn acr_values(form: &Form) -> Result<Vec<String>, Refusal> {
    let text = short(form, "acr_values")?.unwrap_or_default();
    let classes: Vec<String> = text.split(' ').filter(|class| !class.is_empty()).map(str::to_owned).collect();
    if classes.len() > ACR_VALUES {
        return Err(malformed(&format!("`acr_values` has more than {ACR_VALUES} values")));
    }
    Ok(classes)
}

fn short(form: &Form, name: &str) -> Result<Option<String>, Refusal> {
    match form.one(name) {
        Some(text) if text.len() > ECHO_LIMIT => Err(malformed(&format!("`{name}` exceeds {ECHO_LIMIT} bytes"))),
        text => Ok(text.map(str::to_owned)),
    }
}

fn malformed(reason: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}
