//! The token endpoint: authenticate, prove, dispatch, answer.
//!
//! Implements RFC 6749 §3.2 and §5; rules TK-01, TK-05, TK-06, X-02 to X-05. Each grant has a file of its own.

pub(crate) mod attempt;
mod authorization_code;
mod client_credentials;
pub(crate) mod consented;
pub(crate) mod device_code;
pub(crate) mod empty;
mod foreign;
pub(crate) mod id_jag;
pub(crate) mod outcome;
mod refresh_token;
pub(crate) mod request;
pub(crate) mod requested;
mod token_exchange;

use crate::{
    Server, clients,
    clients::{
        authenticate::JWT_BEARER,
        proof::{self, Request},
    },
    http::{
        error::{self, At, Rejection},
        form::Form,
        origin::Incoming,
    },
    tokens::{issue, record::Entry},
};
use attempt::{Attempt, Entered, enter};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response},
};
use outcome::{Facts, Outcome};
use remit_model::{Code, Refusal, UnixTime, display, json};
use remit_token::{PeerCertificate, dpop::Proof, foreign::Kind, id_jag::TOKEN_TYPE};
use request::TokenRequest;
use std::sync::atomic::AtomicBool;

pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What the token endpoint understands; the metadata lists exactly these. SPEC: N-MD-04, MD-04
pub(crate) fn offered(server: &Server) -> Vec<&'static str> {
    let mut grants = vec!["authorization_code", "refresh_token", "client_credentials", TOKEN_EXCHANGE];
    if server.issuers.accept(Kind::JwtGrant) || redeems_id_jag(server) || server.vouches() {
        grants.push(JWT_BEARER);
    }
    if server.settings.device_flow {
        grants.push(DEVICE_CODE);
    }
    grants
}

/// Whether ID-JAGs are redeemed.
pub(crate) fn redeems_id_jag(server: &Server) -> bool {
    server.settings.id_jag && server.issuers.accept(Kind::IdJag)
}

/// Answers a token request.
pub(crate) async fn token(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let (attempt, entered) = enter(server, Attempt::new(At::Token, origin), &headers, form, now).await;
    let (attempt, request) = match entered {
        Ok(entered) => request(server, &headers, attempt, entered, now),
        Err(refusal) => (attempt, Err(refusal)),
    };
    let mut response = match request {
        Ok(request) => answer(&headers, &attempt, &request).await,
        Err(refusal) => {
            let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &Facts::default(), check: None };
            issue::refuse(server, &headers, entry, Vec::new(), refusal.into()).await
        }
    };
    // SPEC: DP-07 (a fresh nonce rides on every answer), DP-15
    if let Ok(nonce) = HeaderValue::from_str(&server.nonces.issue(now)) {
        response.headers_mut().insert(error::DPOP_NONCE, nonce);
    }
    response
}

/// What an authenticated client asks for, with its proof of possession.
fn request<'a>(
    server: &'a Server,
    headers: &HeaderMap,
    mut attempt: Attempt,
    entered: Entered,
    now: UnixTime,
) -> (Attempt, Result<TokenRequest<'a>, Refusal>) {
    let grant_type = match grant_type(server, &entered.form) {
        Ok(grant_type) => grant_type,
        Err(refusal) => return (attempt, Err(refusal)),
    };
    attempt.grant_type = Some(grant_type);
    attempt.at = match grant_type {
        TOKEN_EXCHANGE if entered.form.one("requested_token_type") == Some(TOKEN_TYPE) => At::IdJag,
        TOKEN_EXCHANGE => At::Exchange,
        "client_credentials" => At::ClientCredentials,
        JWT_BEARER if entered.form.has("client_assertion") => At::JwtBearer,
        JWT_BEARER => At::WorkloadGrant,
        _ => At::Token,
    };
    let (proof, certificate) = match prove(server, headers, attempt.origin.certificate.as_ref(), &entered, now) {
        Ok(proved) => proved,
        Err(refusal) => return (attempt, Err(refusal)),
    };
    if let Some(proof) = &proof {
        attempt.caller = attempt.caller.map(|caller| caller.proved(proof));
    }
    if let Some(certificate) = &certificate {
        attempt.caller = attempt.caller.map(|caller| caller.certified(certificate));
    }
    let Entered { form, snapshot, client } = entered;
    let remembered = AtomicBool::new(false);
    let request = TokenRequest { server, snapshot, form, grant_type, client, proof, certificate, now, remembered };
    (attempt, request.remember_confidential().map(|()| request))
}

/// Decides and commits. A refresh that loses a race for its token is decided once more: then the token is rotated, and the
/// client gets the same successor as the request that won.
async fn answer(headers: &HeaderMap, attempt: &Attempt, request: &TokenRequest<'_>) -> Response<Body> {
    if id_jag::is_asked(attempt.at, request) {
        return id_jag::answer(headers, attempt, request).await;
    }
    let server = request.server;
    for _ in 0..2 {
        if let Some(response) = issue::settle(server, headers, attempt, decide(request).await).await {
            return response;
        }
    }
    let entry = Entry { tenant: &server.tenant, attempt, facts: &Facts::default(), check: None };
    issue::refuse(server, headers, entry, Vec::new(), Rejection::RotatedMeanwhile).await
}

async fn decide(request: &TokenRequest<'_>) -> Outcome {
    let label = match label(&request.form) {
        Ok(label) => label,
        Err(refusal) => return refusal.into(),
    };
    let outcome = match request.grant_type {
        "authorization_code" => authorization_code::redeem(request).await,
        "refresh_token" => refresh_token::refresh(request).await,
        "client_credentials" => client_credentials::grant(request),
        JWT_BEARER if is_own_grant(request) => client_credentials::grant(request),
        JWT_BEARER => foreign::redeem(request).await,
        DEVICE_CODE => device_code::redeem(request).await,
        _ => token_exchange::exchange(request).await,
    };
    let mut outcome = outcome.unwrap_or_else(Outcome::from);
    if let Some(label) = label {
        outcome.facts = outcome.facts.fact("label", label);
    }
    // SPEC: AZ-07: what was asked for stands beside what is granted.
    if let Some(scope) = request.form.one("scope") {
        outcome.facts = outcome.facts.fact("scope_requested", scope);
    }
    outcome
}

/// Whether the assertion of a jwt-bearer grant is the very token by which an issuer vouches for the client: then the agent gets
/// what it may have on its own. SPEC: JB-05, JB-06
fn is_own_grant(request: &TokenRequest<'_>) -> bool {
    let hash = request.form.one("assertion").map(|assertion| json::sha256_label(assertion.as_bytes()));
    let shown = request.client.credential.as_ref().map(|credential| &credential.hash);
    !request.form.has("client_assertion") && hash.is_some() && hash.as_ref() == shown
}

/// What the caller calls the token it asks for, so that the tasks of one sign-in can be told apart in the ledger. No rule and
/// no policy looks at it.
fn label(form: &Form) -> Result<Option<&str>, Refusal> {
    let label = form.one("label");
    if let Some(label) = label {
        display::check_name("`label`", label)?;
    }
    Ok(label)
}

fn grant_type(server: &Server, form: &Form) -> Result<&'static str, Refusal> {
    let asked = form.required("grant_type")?;
    let offered = offered(server).into_iter().find(|offered| *offered == asked);
    offered.ok_or_else(|| Refusal::new(Code::GrantTypeUnsupported, "this grant type is not offered"))
}

/// The proof of possession of this request, or the certificate of its connection; neither where the client's tokens are bound to
/// nothing. A proof is remembered by [`TokenRequest`].
fn prove(
    server: &Server,
    headers: &HeaderMap,
    shown: Option<&PeerCertificate>,
    entered: &Entered,
    now: UnixTime,
) -> Result<(Option<Proof>, Option<PeerCertificate>), Refusal> {
    let client = &entered.client;
    // SPEC: DP-11: a proof that comes nevertheless binds nothing.
    if client.agent.is_bearer() {
        return clients::binding::offered(server, &client.agent).map(|()| (None, None));
    }
    if client.agent.is_mtls() {
        let certificate = clients::binding::certificate(server, &client.agent, shown)?;
        return Ok((None, Some(certificate.clone())));
    }
    clients::binding::proof_sent(server, headers, &client.agent)?;
    let url = server.url("/oauth/token");
    let replays = if client.credential.is_some() { &server.replays } else { &server.public_replays };
    let known = server.key_cache.header(&client.agent.id);
    let request = Request { method: "POST", url: &url, replays, known: known.as_deref() };
    let proof = proof::proof(server, headers, request, None, None, now)?;
    server.key_cache.keep_header(&client.agent.id, &proof);
    Ok((Some(proof), None))
}
