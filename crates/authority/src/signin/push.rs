//! The push endpoint: a client hands over its authorization request before it sends the browser.
//!
//! Implements RFC 9126 §2; rules PAR-01 to PAR-03, PAR-05, PAR-07. Everything is checked as at the authorization endpoint, which
//! checks it again.

use crate::{
    Server,
    clients::{
        candidate,
        proof::{self, Request},
    },
    grants::{
        attempt::{Attempt, Caller, Entered, enter_in},
        outcome::Facts,
    },
    http::{
        error::{self, At, Rejection},
        form::Form,
        origin::Incoming,
    },
    signin::{authorize, pushed},
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode},
};
use remit_model::{Code, Principal, Refusal, UnixTime};
use remit_store::Batch;
use serde_json::{Value, json};

pub(crate) async fn push(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let attempt = Attempt::new(At::Push, origin);
    let (attempt, answer) = match form {
        Ok(form) => answer(server, &headers, attempt, form, now).await,
        Err(refusal) => (attempt, Err(refusal.into())),
    };
    let mut response = match answer {
        Ok(body) => error::json_response(StatusCode::CREATED, &body),
        Err(rejection) => {
            let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &Facts::default(), check: None };
            issue::refuse(server, &headers, entry, Vec::new(), rejection).await
        }
    };
    if let Ok(nonce) = HeaderValue::from_str(&server.nonces.issue(now)) {
        response.headers_mut().insert(error::DPOP_NONCE, nonce);
    }
    response
}

async fn answer(
    server: &Server,
    headers: &HeaderMap,
    attempt: Attempt,
    form: Form,
    now: UnixTime,
) -> (Attempt, Result<Value, Rejection>) {
    let client_id = match form.required("client_id") {
        Ok(client_id) => client_id.to_owned(),
        Err(refusal) => return (attempt, Err(refusal.into())),
    };
    let found = candidate::find(server, server.store.snapshot(), &client_id, attempt.origin.peer, now).await;
    let found = match found {
        Ok(found) => found,
        Err(refusal) => return (attempt, Err(refusal.into())),
    };
    let (mut attempt, entered) = enter_in(server, found.world, attempt, headers, form, now).await;
    let entered = match entered {
        Ok(entered) => entered,
        Err(refusal) => return (attempt, Err(refusal.into())),
    };
    let answer = checked(server, headers, &mut attempt, &entered, &client_id, now).await;
    (attempt, answer)
}

async fn checked(
    server: &Server,
    headers: &HeaderMap,
    attempt: &mut Attempt,
    entered: &Entered,
    client_id: &str,
    now: UnixTime,
) -> Result<Value, Rejection> {
    let Entered { form, snapshot, client } = entered;
    // SPEC: N-PAR-05
    if form.has("request_uri") {
        return Err(Refusal::new(Code::RequestMalformed, "`request_uri` cannot be pushed itself").into());
    }
    authorize::understood(server, snapshot, form, &client.agent.id).map_err(|stopped| stopped.refusal)?;
    let jkt = bound_to(server, headers, attempt, entered, now)?;
    let request_uri = pushed::seal(server, form, client_id, jkt.as_deref(), now)?;
    // The assertion is used up before anything is answered.
    if !attempt.once.is_empty() {
        issue::commit(server, &attempt.once, None, Batch::new(server.tenant.clone())).await?;
    }
    Ok(json!({"request_uri": request_uri, "expires_in": pushed::LIFETIME}))
}

/// The key of the client's proof, to which the code will be bound. SPEC: PAR-05
fn bound_to(
    server: &Server,
    headers: &HeaderMap,
    attempt: &mut Attempt,
    entered: &Entered,
    now: UnixTime,
) -> Result<Option<String>, Refusal> {
    if !headers.contains_key("dpop") {
        return Ok(None);
    }
    let url = server.url("/oauth/par");
    let replays = if entered.client.agent.is_public() { &server.public_replays } else { &server.replays };
    let request = Request { method: "POST", url: &url, replays, known: None };
    let proof = proof::proof(server, headers, request, None, None, now)?;
    if entered.form.one("dpop_jkt").is_some_and(|jkt| jkt != proof.jkt()) {
        return Err(Refusal::new(Code::DpopKeyMismatch, "`dpop_jkt` is not the key of the proof"));
    }
    replays.remember(&proof, now)?;
    let named = || Caller::claimed(Principal::agent(&server.issuer, &entered.client.agent.id));
    attempt.caller = Some(attempt.caller.take().unwrap_or_else(named).proved(&proof));
    Ok(Some(proof.jkt().to_owned()))
}
