//! UserInfo: who the person is, for a client that was granted `openid` and asked for nothing else.
//!
//! Implements OpenID Connect Core §5.3; rules UI-01 to UI-04. The token must be for this issuer: a token for a tool
//! server says nothing here. Sub-agents are refused: they do not need the person's profile (UI-03).

use crate::{
    Server, consult,
    error::{self, At},
    introspect,
    proof::{self, Request},
};
use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header},
};
use remit_model::{Code, Principal, Refusal};
use serde_json::{Value, json};

pub(crate) async fn userinfo(server: &Server, method: &str, headers: &HeaderMap, query: Option<&str>) -> Response<Body> {
    match serve(server, method, headers, query).await {
        Ok(body) => error::json_response(StatusCode::OK, &body),
        Err(refusal) => error::reply(&refusal, At::UserInfo, None),
    }
}

async fn serve(server: &Server, method: &str, headers: &HeaderMap, query: Option<&str>) -> Result<Value, Refusal> {
    if query.is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::new(Code::RequestMalformed, "parameters do not belong in the URL"));
    }
    let now = server.now();
    let presented = bound_token(headers)?;
    let snapshot = server.store.snapshot();
    let refused = || Refusal::new(Code::TokenRevoked, "the token does not count here");
    let token = introspect::current(server, &snapshot, presented, now)
        .await
        .map_err(|fault| error::No::Fault(fault).into_refusal())?
        .ok_or_else(refused)?;
    let url = server.url("/oauth/userinfo");
    let request = Request { method, url: &url };
    proof::proof(server, headers, request, Some(token.digest()), token.cnf_jkt.as_deref(), now)?;
    if token.aud != server.issuer {
        return Err(Refusal::new(Code::TokenAudienceWrong, "the token is for another resource"));
    }
    let sub_agent = token.act.as_ref().is_some_and(|actor| actor.act.is_some());
    if sub_agent || !token.scope.split(' ').any(|scope| scope == "openid") {
        return Err(Refusal::new(Code::DelegationNotAllowed, "the token was not granted `openid`"));
    }
    let principal = Principal { iss: server.issuer.clone(), sub: token.sub.clone() };
    let human = consult::human(&snapshot, &principal).ok_or_else(refused)?;
    Ok(json!({"sub": token.sub, "name": human.display_name}))
}

/// SPEC: DP-11, N-UI-05
fn bound_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing = || Refusal::new(Code::TokenMissing, "send the access token with the `DPoP` scheme");
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(missing)?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("dpop") { Ok(token.trim()) } else { Err(missing()) }
}
