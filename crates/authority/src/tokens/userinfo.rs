//! UserInfo: who the person is, for a client that was granted `openid` and asked for nothing else.
//!
//! Implements OpenID Connect Core §5.3; rules UI-01 to UI-04. The token must be for this issuer: a token for a tool
//! server says nothing here. Sub-agents are refused: they do not need the person's profile (UI-03). Looking at a person
//! is recorded like any other use of authority.

use crate::{
    Server,
    clients::proof::{self, Request},
    grants::{
        attempt::{Attempt, Caller},
        outcome::Facts,
    },
    http::{
        error::{self, At, Rejection},
        origin::RequestOrigin,
    },
    tokens::{introspect, issue, record::Entry},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts},
};
use remit_decide::{Principals, active};
use remit_ledger::record::RecordType;
use remit_model::{Chain, Code, Confirmation, Fault, Principal, Refusal, UnixTime};
use remit_store::{Batch, Snapshot};
use remit_token::{PeerCertificate, access::AccessToken};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn userinfo(server: &Server, parts: &Parts) -> Response<Body> {
    let now = server.now();
    let attempt = Attempt::new(At::UserInfo, RequestOrigin::of(parts));
    let mut response = match present(server, parts, now).await {
        Ok(shown) => answer(server, attempt, parts, &shown).await,
        Err(rejection) => refuse(server, &attempt, &Facts::default(), &parts.headers, rejection).await,
    };
    if let Ok(nonce) = HeaderValue::from_str(&server.nonces.issue(now)) {
        response.headers_mut().insert(error::DPOP_NONCE, nonce);
    }
    response
}

/// A token that counts, and who holds it.
struct Shown {
    snapshot: Arc<Snapshot>,
    token: Arc<AccessToken>,
    caller: Caller,
    facts: Facts,
}

/// The token of the request, with the proof of its holder. SPEC: DP-11
async fn present(server: &Server, parts: &Parts, now: UnixTime) -> Result<Shown, Rejection> {
    // SPEC: X-04, N-UI-03
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::new(Code::RequestMalformed, "parameters do not belong in the URL").into());
    }
    let (scheme, presented) = credential(server, &parts.headers)?;
    let snapshot = server.store.snapshot();
    let token = introspect::current(server, &snapshot, presented, now).await?.ok_or_else(no_longer)?;
    let holder = Caller::claimed(Principal::local(&server.issuer, token.actor()));
    let caller = match (token.confirmation(), scheme) {
        (None, Scheme::Bearer) if server.settings.danger_bearer => holder,
        (Some(Confirmation::Certificate(bound_to)), Scheme::Bearer) => {
            let shown = parts.extensions.get::<PeerCertificate>();
            let missing =
                || Refusal::new(Code::CertificateMissing, "the token is bound to a certificate, and the client showed none");
            let shown = shown.ok_or_else(missing)?;
            if shown.thumbprint() != bound_to {
                let reason = "the token is bound to another certificate than that of the connection";
                return Err(Refusal::new(Code::CertificateMismatch, reason).into());
            }
            holder.certified(shown)
        }
        // SPEC: N-UI-05
        (None, _) | (Some(Confirmation::Key(_)), Scheme::Bearer) | (Some(Confirmation::Certificate(_)), Scheme::Dpop) => {
            return Err(wrong_scheme(server).into());
        }
        (Some(Confirmation::Key(bound_to)), Scheme::Dpop) => {
            let url = server.url("/oauth/userinfo");
            let request = Request { method: parts.method.as_str(), url: &url, replays: &server.replays, known: None };
            let proof = proof::proof(server, &parts.headers, request, Some(token.digest()), Some(&bound_to), now)?;
            // The token counts, everyone in its chain may act, and the proof is made with its key.
            server.replays.remember(&proof, now)?;
            holder.proved(&proof)
        }
    };
    server.count_request(token.actor())?;
    let chain = server.store.token(&token.jti).await.map_err(Fault::new)?.map(|stored| stored.chain.clone());
    let facts = Facts { chain, ..Facts::default() };
    Ok(Shown { snapshot, token, caller, facts })
}

async fn answer(server: &Server, attempt: Attempt, parts: &Parts, shown: &Shown) -> Response<Body> {
    let attempt = attempt.by(shown.caller.clone());
    match profile(server, &attempt, shown).await {
        Ok(body) => error::json_response(StatusCode::OK, &body),
        Err(rejection) => refuse(server, &attempt, &shown.facts, &parts.headers, rejection).await,
    }
}

async fn profile(server: &Server, attempt: &Attempt, shown: &Shown) -> Result<Value, Rejection> {
    let Shown { snapshot, token, facts, .. } = shown;
    if token.aud != server.issuer {
        let reason = format!(
            "the token is for {}; for userinfo, refresh with `resource` set to {}, or with `scope` set to `openid` alone",
            token.aud, server.issuer
        );
        return Err(Refusal::new(Code::TokenAudienceWrong, reason).into());
    }
    let sub_agent = token.act.as_ref().is_some_and(|actor| actor.act.is_some());
    if sub_agent || !token.scope.split(' ').any(|scope| scope == "openid") {
        return Err(Refusal::new(Code::DelegationNotAllowed, "the token was not granted `openid`").into());
    }
    let principal = Principal::local(&server.issuer, &token.sub);
    let human = Principals::new(&server.issuer, snapshot).human(&principal).ok_or_else(no_longer)?;
    let record = Entry { tenant: &server.tenant, attempt, facts, check: None }.happened(RecordType::Decision);
    let ids = introspect::ids(token);
    let parties = facts.chain.iter().flat_map(Chain::parties);
    let standing = active::at_commit(Principals::new(&server.issuer, snapshot).since(token.auth_time), parties, &ids)?;
    issue::commit(server, &[], None, Batch::new(server.tenant.clone()).require(standing).record(record)).await?;
    Ok(json!({"sub": token.sub, "name": human.display_name}))
}

async fn refuse(server: &Server, attempt: &Attempt, facts: &Facts, headers: &HeaderMap, rejection: Rejection) -> Response<Body> {
    let entry = Entry { tenant: &server.tenant, attempt, facts, check: None };
    issue::refuse(server, headers, entry, Vec::new(), rejection).await
}

fn no_longer() -> Refusal {
    Refusal::new(Code::TokenRevoked, "the token does not count here")
}

#[derive(Clone, Copy)]
enum Scheme {
    Bearer,
    Dpop,
}

fn wrong_scheme(server: &Server) -> Refusal {
    let reason = if server.settings.danger_bearer || server.settings.client_certificates {
        "send the access token with the scheme that is its `token_type`"
    } else {
        "send the access token with the `DPoP` scheme"
    };
    Refusal::new(Code::TokenMissing, reason)
}

/// SPEC: DP-11
fn credential<'h>(server: &Server, headers: &'h HeaderMap) -> Result<(Scheme, &'h str), Refusal> {
    let missing = || wrong_scheme(server);
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(Refusal::new(Code::RequestMalformed, "the request has more than one `Authorization` header"));
    }
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    let scheme = if scheme.eq_ignore_ascii_case("dpop") {
        Scheme::Dpop
    } else if scheme.eq_ignore_ascii_case("bearer") && (server.settings.danger_bearer || server.settings.client_certificates) {
        Scheme::Bearer
    } else {
        return Err(missing());
    };
    Ok((scheme, token.trim()))
}
