//! UserInfo: who the person is, for a client that was granted `openid` and asked for nothing else.
//!
//! Implements OpenID Connect Core §5.3; rules UI-01 to UI-04. The token must be for this issuer: a token for a tool
//! server says nothing here. Sub-agents are refused: they do not need the person's profile (UI-03). Looking at a person
//! is recorded like any other use of authority.

use crate::{
    Server,
    clients::proof::{self, Request},
    grants::attempt::Attempt,
    http::error::{self, At, Rejection},
    policy_check,
    tokens::{introspect, issue, record::Caller},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use remit_ledger::record::RecordType;
use remit_model::{Code, Principal, Refusal, UnixTime};
use remit_store::Batch;
use serde_json::{Value, json};

pub(crate) async fn userinfo(server: &Server, method: &str, headers: &HeaderMap, query: Option<&str>) -> Response<Body> {
    let mut attempt = Attempt::new(At::UserInfo);
    let now = server.now();
    let mut response = match serve(server, method, headers, query, &mut attempt, now).await {
        Ok(body) => error::json_response(StatusCode::OK, &body),
        Err(no) => issue::refuse(server, attempt, no).await,
    };
    if let Ok(nonce) = HeaderValue::from_str(&server.nonces.issue(now)) {
        response.headers_mut().insert(error::DPOP_NONCE, nonce);
    }
    response
}

async fn serve(
    server: &Server,
    method: &str,
    headers: &HeaderMap,
    query: Option<&str>,
    attempt: &mut Attempt,
    now: UnixTime,
) -> Result<Value, Rejection> {
    // SPEC: X-04, N-UI-03
    if query.is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::new(Code::RequestMalformed, "parameters do not belong in the URL").into());
    }
    let presented = bound_token(headers)?;
    let snapshot = server.store.snapshot();
    let refused = || Refusal::new(Code::TokenRevoked, "the token does not count here");
    let token = introspect::current(server, &snapshot, presented, now).await?.ok_or_else(refused)?;
    let url = server.url("/oauth/userinfo");
    let request = Request { method, url: &url, replays: &server.replays, known: None };
    let proof = proof::proof(server, headers, request, Some(token.digest()), token.cnf_jkt.as_deref(), now)?;
    // The token counts, everyone in its chain may act, and the proof is made with its key.
    server.replays.remember(&proof, now)?;
    let caller = Principal { iss: server.issuer.clone(), sub: token.actor().to_owned() };
    attempt.entry.chain =
        server.store.token(&token.jti).await.map_err(remit_model::Fault::new)?.map(|stored| stored.chain.clone());
    attempt.entry.caller =
        Some(Caller { proof: Some(proof.compact().to_owned()), jkt: Some(proof.jkt().to_owned()), ..Caller::claimed(caller) });
    if token.aud != server.issuer {
        return Err(Refusal::new(Code::TokenAudienceWrong, "the token is for another resource").into());
    }
    let sub_agent = token.act.as_ref().is_some_and(|actor| actor.act.is_some());
    if sub_agent || !token.scope.split(' ').any(|scope| scope == "openid") {
        return Err(Refusal::new(Code::DelegationNotAllowed, "the token was not granted `openid`").into());
    }
    let principal = Principal { iss: server.issuer.clone(), sub: token.sub.clone() };
    let human = policy_check::human(&snapshot, &principal).ok_or_else(refused)?;
    let record = attempt.entry.happened(&server.tenant, RecordType::Decision, At::UserInfo);
    issue::commit(server, attempt, Batch::new(server.tenant.clone()).record(record)).await?;
    Ok(json!({"sub": token.sub, "name": human.display_name}))
}

/// SPEC: DP-11, N-UI-05
fn bound_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing = || Refusal::new(Code::TokenMissing, "send the access token with the `DPoP` scheme");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(Refusal::new(Code::RequestMalformed, "the request has more than one `Authorization` header"));
    }
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("dpop") { Ok(token.trim()) } else { Err(missing()) }
}
