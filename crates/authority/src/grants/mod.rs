//! The token endpoint: authenticate, prove, dispatch, answer.
//!
//! Implements RFC 6749 §3.2 and §5; rules TK-01, TK-05, TK-06, X-02 to X-05. Each grant has a file of its own.

pub(crate) mod attempt;
mod authorization_code;
mod client_credentials;
pub(crate) mod consented;
mod refresh_token;
pub(crate) mod request;
pub(crate) mod requested;
mod token_exchange;

use crate::{
    Server,
    clients::{
        authenticate::{self, Client},
        proof::{self, Request},
    },
    http::{
        error::{self, At, Rejection},
        form::Form,
    },
    tokens::{issue, record::Caller},
};
use attempt::Attempt;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use remit_model::{AgentId, Code, Principal, Refusal, UnixTime};
use remit_store::{JtiKind, Snapshot};
use request::TokenRequest;
use serde_json::Value;
use std::sync::Arc;

pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What the token endpoint understands; the metadata lists exactly these. SPEC: N-MD-04
pub(crate) const GRANTS: [&str; 4] = ["authorization_code", "refresh_token", "client_credentials", TOKEN_EXCHANGE];

pub(crate) async fn token(server: &Server, headers: &HeaderMap, form: Result<Form, Refusal>) -> Response<Body> {
    let mut attempt = Attempt::new(At::Token);
    let now = server.now();
    let mut response = match serve(server, headers, form, &mut attempt, now).await {
        Ok(body) => error::json_response(StatusCode::OK, &body),
        Err(no) => refuse(server, headers, attempt, no).await,
    };
    // SPEC: DP-07 (a fresh nonce rides on every answer), DP-15
    if let Ok(nonce) = HeaderValue::from_str(&server.nonces.issue(now)) {
        response.headers_mut().insert(error::DPOP_NONCE, nonce);
    }
    response
}

async fn serve(
    server: &Server,
    headers: &HeaderMap,
    form: Result<Form, Refusal>,
    attempt: &mut Attempt,
    now: UnixTime,
) -> Result<Value, Rejection> {
    let (form, snapshot, client) = enter(server, headers, form, attempt, now)?;
    let grant_type = form.required("grant_type")?;
    if !GRANTS.contains(&grant_type) {
        return Err(Refusal::new(Code::GrantTypeUnsupported, "this grant type is not offered").into());
    }
    attempt.entry.fact("grant_type", grant_type);
    attempt.at = match grant_type {
        TOKEN_EXCHANGE => At::Exchange,
        "client_credentials" => At::ClientCredentials,
        _ => At::Token,
    };
    let url = server.url("/oauth/token");
    let replays = if client.assertion.is_some() { &server.replays } else { &server.public_replays };
    let known = server.key_cache.header(&client.agent.id);
    let proven = Request { method: "POST", url: &url, replays, known: known.as_deref() };
    let proof = proof::proof(server, headers, proven, None, None, now)?;
    server.key_cache.proved(&client.agent.id, &proof);
    if let Some(caller) = &mut attempt.entry.caller {
        caller.proof = Some(proof.compact().to_owned());
        caller.jkt = Some(proof.jkt().to_owned());
    }
    let request = TokenRequest { server, snapshot, form: &form, client, proof, now };
    // A client with keys has proved who it is, and it may act.
    if request.client.assertion.is_some() {
        request.server.replays.remember(&request.proof, now)?;
    }
    match grant_type {
        "authorization_code" => authorization_code::redeem(request, attempt).await,
        "refresh_token" => refresh_token::refresh(request, attempt).await,
        "client_credentials" => client_credentials::grant(request, attempt).await,
        _ => token_exchange::grant(request, attempt).await,
    }
}

/// How every request of a client begins, here, at introspection and at revocation: reads the form, authenticates the
/// client, and notes who it says it is even when that fails. SPEC: TK-01, TK-04
pub(crate) fn enter(
    server: &Server,
    headers: &HeaderMap,
    form: Result<Form, Refusal>,
    attempt: &mut Attempt,
    now: UnixTime,
) -> Result<(Form, Arc<Snapshot>, Client), Refusal> {
    let form = form?;
    let snapshot = server.store.snapshot();
    if let Some(id) = form.one("client_id").and_then(|id| AgentId::from_subject(id).ok()) {
        attempt.entry.caller = Some(Caller::claimed(Principal::agent(&server.issuer, &id)));
    }
    let client = authenticate::authenticate(server, &snapshot, headers, &form, now)?;
    attempt.entry.caller = Some(Caller::client(&server.issuer, &client));
    if let Some(assertion) = &client.assertion {
        let key = format!("{} {}", assertion.client_id(), assertion.jti());
        let until = assertion.expires().plus(server.settings.skew);
        attempt.once.push((JtiKind::ClientAssertion, key, until));
    }
    Ok((form, snapshot, client))
}

/// Records a refusal and answers it, with a challenge where one belongs. SPEC: X-07
pub(crate) async fn refuse(server: &Server, headers: &HeaderMap, attempt: Attempt, no: Rejection) -> Response<Body> {
    let at = attempt.at;
    let mut response = issue::refuse(server, attempt, no).await;
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(value) = authenticate::challenge(headers, at).and_then(|text| HeaderValue::from_str(&text).ok())
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}
