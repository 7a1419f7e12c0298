//! Revocation: a token ends, and everything that came from it.
//!
//! Implements RFC 7009; rules RV-01, RV-02, RV-04. A token that is not the caller's is answered like one that does not
//! exist: 200, and nothing happens. Revocation takes effect in the snapshot the moment it is durable (RV-03).

use crate::{
    Server, grants,
    http::{
        error::{self, At, No},
        form::Form,
    },
    tokens::{
        issue::{self, Case},
        record,
    },
};
use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header},
};
use remit_ledger::record::RecordType;
use remit_model::{Fault, Refusal, UnixTime};
use remit_store::{Batch, Change, Revocation};

pub(crate) async fn revoke(server: &Server, headers: &HeaderMap, form: Result<Form, Refusal>) -> Response<Body> {
    let mut case = Case::new(At::Revoke);
    match serve(server, headers, form, &mut case, server.now()).await {
        Ok(()) => {
            let mut response = error::json_response(StatusCode::OK, &serde_json::Value::Null);
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
            response
        }
        Err(no) => grants::refuse(server, headers, case, no).await,
    }
}

async fn serve(
    server: &Server,
    headers: &HeaderMap,
    form: Result<Form, Refusal>,
    case: &mut Case,
    now: UnixTime,
) -> Result<(), No> {
    let (form, _, client) = grants::enter(server, headers, form, case, now)?;
    let presented = form.required("token")?;
    let changes = match access_token(server, case, presented, &client.id(), now).await? {
        Some(changes) => changes,
        None => refresh_token(server, case, presented, &client.id()).await?,
    };
    let mut batch = Batch::new(server.tenant.clone());
    if !changes.is_empty() {
        batch = batch.record(case.entry.happened(&server.tenant, RecordType::Token, At::Revoke));
        batch.changes = changes;
    }
    issue::commit(server, case, batch).await?;
    Ok(())
}

/// Descendants carry this token's `jti` among their ancestors, so revoking it ends them too. SPEC: RV-02
async fn access_token(
    server: &Server,
    case: &mut Case,
    presented: &str,
    client: &str,
    now: UnixTime,
) -> Result<Option<Vec<Change>>, Fault> {
    let Ok(token) = server.verify(presented, now) else { return Ok(None) };
    if token.client_id != client && token.actor() != client {
        return Ok(Some(Vec::new()));
    }
    case.entry.chain = server.store.token(&token.jti).await.map_err(Fault::new)?.map(|stored| stored.chain.clone());
    case.entry.fact("revoked", "access_token");
    case.entry.fact("jti_hash", record::hash(&token.jti));
    Ok(Some(vec![Change::Revoke { what: Revocation::Jti(token.jti.clone()), until: token.exp }]))
}

async fn refresh_token(server: &Server, case: &mut Case, presented: &str, client: &str) -> Result<Vec<Change>, Fault> {
    let hash = server.store.keyed_hash("refresh", presented.as_bytes());
    let Some(stored) = server.store.refresh(hash).await.map_err(Fault::new)?.filter(|stored| stored.client == client) else {
        return Ok(Vec::new());
    };
    let renewable: grants::authorization_code::Renewable = serde_json::from_value(stored.payload).map_err(Fault::new)?;
    let until = renewable.until.plus(server.settings.access_token);
    case.entry.fact("revoked", "refresh_token");
    let txn = renewable.chain.id.clone();
    case.entry.chain = Some(renewable.chain);
    Ok(vec![
        Change::Revoke { what: Revocation::Family(stored.family), until },
        Change::Revoke { what: Revocation::Txn(txn), until },
    ])
}
