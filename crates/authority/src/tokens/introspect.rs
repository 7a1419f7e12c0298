//! Introspection: what an access token means right now, for those it concerns.
//!
//! Implements RFC 7662; rules IN-01 to IN-04. Anyone it does not concern, and any token that does not count, gets
//! `{"active":false}` and nothing else. Refresh tokens are never described.

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
    http::{Response, StatusCode},
};
use remit_decide::{
    Principals,
    active::{self, TokenIds},
};
use remit_model::{Fault, UnixTime};
use remit_store::{Batch, Snapshot};
use remit_token::access::AccessToken;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn introspect(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let (attempt, entered) = enter(server, Attempt::new(At::Introspect, origin), &headers, form, now);
    let answer = match entered {
        Ok(entered) => describe(server, &attempt, &entered, now).await,
        Err(refusal) => Err(refusal.into()),
    };
    match answer {
        Ok(body) => error::json_response(StatusCode::OK, &body),
        Err(rejection) => {
            let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &Facts::default(), check: None };
            issue::refuse(server, &headers, entry, Vec::new(), rejection).await
        }
    }
}

async fn describe(server: &Server, attempt: &Attempt, entered: &Entered, now: UnixTime) -> Result<Value, Rejection> {
    let Entered { form, snapshot, client } = entered;
    // SPEC: IN-01
    client.confidential()?;
    let presented = form.required("token")?;
    // The assertion is used up before anything is answered.
    issue::commit(server, &attempt.once, None, Batch::new(server.tenant.clone())).await?;
    let Some(token) = current(server, snapshot, presented, now).await? else { return Ok(inactive()) };
    let concerns = token.client_id == client.id()
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
    let principals = Principals::new(&server.issuer, snapshot);
    let ids = TokenIds { jti: &token.jti, ancestors: &token.ancestors, txn: &token.txn };
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
        standing.is_ok()
    });
    Ok(active.then_some(token))
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
        "token_type": "DPoP",
        "cnf": {"jkt": token.cnf_jkt},
        "authorization_details": token.authority.to_value(),
        "txn": token.txn,
        "chain_complete": true,
    });
    let optional = [
        ("act", token.act.as_ref().map(|act| json!(act))),
        ("auth_time", token.auth_time.map(|time| json!(time))),
        ("urn:remit:purpose", token.purpose.as_ref().map(|purpose| json!(purpose))),
    ];
    if let Some(members) = body.as_object_mut() {
        members.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    body
}
