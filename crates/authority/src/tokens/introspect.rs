//! Introspection: what an access token means right now, for those it concerns.
//!
//! Implements RFC 7662, and RFC 9701 for a caller that accepts `application/token-introspection+jwt`; rules IN-01 to IN-06.
//! Anyone it does not concern, and any token that does not count, gets `{"active":false}` and nothing else. Refresh tokens are
//! never described.

use crate::{
    Server,
    grants::{
        attempt::{Attempt, Entered, enter},
        outcome::Facts,
        requested,
    },
    http::{
        error::{self, At, Rejection},
        origin::Incoming,
    },
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use remit_decide::{
    Principals,
    active::{self, TokenIds},
};
use remit_model::{Fault, UnixTime};
use remit_store::{Batch, Snapshot};
use remit_token::{access::AccessToken, introspection};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn introspect(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let (attempt, entered) = enter(server, Attempt::new(At::Introspect, origin), &headers, form, now).await;
    let answer = match entered {
        Ok(entered) => answer(server, &headers, &attempt, &entered, now).await,
        Err(refusal) => Err(refusal.into()),
    };
    match answer {
        Ok(response) => response,
        Err(rejection) => {
            let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &Facts::default(), check: None };
            issue::refuse(server, &headers, entry, Vec::new(), rejection).await
        }
    }
}

/// The description, as JSON or as a JWT that only this caller may rely on. SPEC: IN-05, RFC 9701 §4 and §5
async fn answer(
    server: &Server,
    headers: &HeaderMap,
    attempt: &Attempt,
    entered: &Entered,
    now: UnixTime,
) -> Result<Response<Body>, Rejection> {
    let body = describe(server, attempt, entered, now).await?;
    if !wants_signed(headers) {
        return Ok(error::json_response(StatusCode::OK, &body));
    }
    let signed = introspection::mint(&*server.signing_key(now)?, &server.issuer, &entered.client.id(), now, &body)?;
    let mut response = error::json_response(StatusCode::OK, &Value::Null);
    *response.body_mut() = Body::from(signed);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(introspection::MEDIA_TYPE));
    Ok(response)
}

/// Whether the caller names the signed form, and prefers it to JSON where it names both. A wildcard names neither: who does not
/// know the signed form gets what RFC 7662 gives. RFC 9110 §12.5.1
fn wants_signed(headers: &HeaderMap) -> bool {
    let (mut signed, mut json) = (0.0, 0.0);
    let texts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in texts.flat_map(|text| text.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality: f32 = quality.map_or(1.0, |text| text.parse().unwrap_or(0.0));
        if media.eq_ignore_ascii_case(introspection::MEDIA_TYPE) {
            signed = quality;
        } else if media.eq_ignore_ascii_case("application/json") {
            json = quality;
        }
    }
    signed > 0.0 && signed >= json
}

async fn describe(server: &Server, attempt: &Attempt, entered: &Entered, now: UnixTime) -> Result<Value, Rejection> {
    let Entered { form, snapshot, client } = entered;
    // SPEC: IN-01
    client.confidential()?;
    let presented = form.required("token")?;
    // The assertion is used up before anything is answered.
    issue::commit(server, &attempt.once, None, Batch::new(server.tenant.clone())).await?;
    let Some(token) = current(server, snapshot, presented, now).await? else { return Ok(inactive()) };
    let concerns = token.client_id == client.agent.client_id()
        || token.actor() == client.id()
        || requested::endpoint(&client.agent).is_some_and(|endpoint| endpoint == token.aud);
    Ok(if concerns { active(&token) } else { inactive() })
}

/// The token, if it is ours, unexpired, unrevoked, and everyone in its chain may act. SPEC: IN-02, DC-13
pub(crate) async fn current(
    server: &Server,
    snapshot: &Snapshot,
    presented: &str,
    now: UnixTime,
) -> Result<Option<Arc<AccessToken>>, Fault> {
    let Ok(token) = server.verify(presented, now) else { return Ok(None) };
    let principals = Principals::new(&server.issuer, snapshot).since(token.auth_time);
    let ids = ids(&token);
    if active::token(principals, &ids).is_err() {
        return Ok(None);
    }
    let stored = server.store.token(&token.jti).await.map_err(Fault::new)?;
    let active = stored.is_some_and(|stored| {
        let parties = stored.chain.parties();
        // A token that only says who its holder is needs no person at its root.
        let standing = if token.aud == server.issuer {
            active::all(principals, parties)
        } else {
            active::chain(principals, parties).map(drop)
        };
        let holder = principals.agent(stored.chain.holder());
        let unbound = || server.settings.danger_bearer && holder.is_some_and(|agent| agent.is_bearer());
        standing.is_ok() && (token.is_bound() || unbound())
    });
    Ok(active.then_some(token))
}

/// What a token of ours can be revoked by.
pub(crate) fn ids(token: &AccessToken) -> TokenIds<'_> {
    TokenIds {
        jti: &token.jti,
        ancestors: &token.ancestors,
        txn: &token.txn,
        keys: token.keys(),
        criteria: token.criteria(),
        issued: token.iat,
    }
}

fn inactive() -> Value {
    json!({"active": false})
}

/// SPEC: IN-03, IN-04: the whole nested `act`, never a part of it.
fn active(token: &AccessToken) -> Value {
    let mut body = json!({
        "active": true,
        "iss": token.iss, "sub": token.sub, "aud": token.aud, "client_id": token.client_id,
        "exp": token.exp, "iat": token.iat, "jti": token.jti, "scope": token.scope,
        "token_type": if token.cnf_jkt.is_some() { "DPoP" } else { "Bearer" },
        "authorization_details": token.authority.to_value(),
        "txn": token.txn,
        "chain_complete": true,
    });
    let optional = [
        ("cnf", token.confirmation().map(|confirmation| confirmation.to_value())),
        ("act", token.act.as_ref().map(|act| json!(act))),
        ("auth_time", token.auth_time.map(|time| json!(time))),
        ("acr", token.acr.as_ref().map(|acr| json!(acr))),
        ("amr", Some(json!(token.amr)).filter(|_| !token.amr.is_empty())),
        ("acr", token.acr.as_ref().map(|acr| json!(acr))),
        ("urn:remit:purpose", token.purpose.as_ref().map(|purpose| json!(purpose))),
    ];
    if let Some(members) = body.as_object_mut() {
        members.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        members.extend(token.restrictions().claims());
    }
    body
}
