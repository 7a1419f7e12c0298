//! Revocation: a token ends, and everything that came from it.
//!
//! Implements RFC 7009; rules RV-01, RV-02, RV-04. A token that is not the caller's is answered like one that does not
//! exist: 200, and nothing happens. Revocation takes effect in the snapshot the moment it is durable (RV-03).

use crate::{
    Server,
    grants::{self, attempt::Attempt, consented::Renewable},
    http::{
        error::{self, At, Rejection},
        form::Form,
    },
    tokens::{issue, record},
};
use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header},
};
use remit_ledger::record::RecordType;
use remit_model::{Fault, Refusal, UnixTime};
use remit_store::{Batch, Change, Revocation};

pub(crate) async fn revoke(server: &Server, headers: &HeaderMap, form: Result<Form, Refusal>) -> Response<Body> {
    let mut attempt = Attempt::new(At::Revoke);
    match serve(server, headers, form, &mut attempt, server.now()).await {
        Ok(()) => {
            let mut response = error::json_response(StatusCode::OK, &serde_json::Value::Null);
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
            response
        }
        Err(no) => grants::refuse(server, headers, attempt, no).await,
    }
}

async fn serve(
    server: &Server,
    headers: &HeaderMap,
    form: Result<Form, Refusal>,
    attempt: &mut Attempt,
    now: UnixTime,
) -> Result<(), Rejection> {
    let (form, _, client) = grants::enter(server, headers, form, attempt, now)?;
    let presented = form.required("token")?;
    let changes = match access_token(server, attempt, presented, &client.id(), now).await? {
        Some(changes) => changes,
        None => refresh_token(server, attempt, presented, &client.id()).await?,
    };
    let mut batch = Batch::new(server.tenant.clone());
    if !changes.is_empty() {
        batch = batch.record(attempt.entry.happened(&server.tenant, RecordType::Token, At::Revoke));
        batch.changes = changes;
    }
    issue::commit(server, attempt, batch).await?;
    Ok(())
}

/// Descendants carry this token's `jti` among their ancestors, so revoking it ends them too. SPEC: RV-02
async fn access_token(
    server: &Server,
    attempt: &mut Attempt,
    presented: &str,
    client: &str,
    now: UnixTime,
) -> Result<Option<Vec<Change>>, Fault> {
    let Ok(token) = server.verify(presented, now) else { return Ok(None) };
    if token.client_id != client && token.actor() != client {
        return Ok(Some(Vec::new()));
    }
    attempt.entry.chain = server.store.token(&token.jti).await.map_err(Fault::new)?.map(|stored| stored.chain.clone());
    attempt.entry.fact("revoked", "access_token");
    attempt.entry.fact("jti_hash", record::hash(&token.jti));
    Ok(Some(vec![Change::Revoke { what: Revocation::Jti(token.jti.clone()), until: token.exp }]))
}

async fn refresh_token(server: &Server, attempt: &mut Attempt, presented: &str, client: &str) -> Result<Vec<Change>, Fault> {
    let hash = server.store.keyed_hash("refresh", presented.as_bytes());
    let Some(stored) = server.store.refresh(hash).await.map_err(Fault::new)?.filter(|stored| stored.client == client) else {
        return Ok(Vec::new());
    };
    let renewable: Renewable = serde_json::from_value(stored.payload).map_err(Fault::new)?;
    let until = renewable.until.plus(server.settings.access_token);
    attempt.entry.fact("revoked", "refresh_token");
    let txn = renewable.chain.id.clone();
    attempt.entry.chain = Some(renewable.chain);
    Ok(vec![
        Change::Revoke { what: Revocation::Family(stored.family), until },
        Change::Revoke { what: Revocation::Txn(txn), until },
    ])
}
