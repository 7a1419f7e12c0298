//! Revocation: a token ends, and everything that came from it.
//!
//! Implements RFC 7009; rules RV-01, RV-02, RV-04. A token that is not the caller's is answered like one that does not
//! exist: 200, and nothing happens. Revocation takes effect in the snapshot the moment it is durable (RV-03).

use crate::{
    Server,
    grants::{
        attempt::{Attempt, Entered, enter},
        consented::Renewable,
        outcome::Facts,
    },
    http::{
        error::{self, At, Rejection},
        origin::Incoming,
    },
    tokens::{
        issue,
        record::{self, Entry},
    },
};
use axum::{
    body::Body,
    http::{Response, StatusCode, header},
};
use remit_ledger::record::RecordType;
use remit_model::{Fault, UnixTime};
use remit_store::{Batch, Change, Revocation};

pub(crate) async fn revoke(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let (attempt, entered) = enter(server, Attempt::new(At::Revoke, origin), &headers, form, now).await;
    let ended = match entered {
        Ok(entered) => end(server, &attempt, &entered, now).await,
        Err(refusal) => Err(refusal.into()),
    };
    match ended {
        Ok(()) => {
            let mut response = error::json_response(StatusCode::OK, &serde_json::Value::Null);
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
            response
        }
        Err(rejection) => {
            let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &Facts::default(), check: None };
            issue::refuse(server, &headers, entry, Vec::new(), rejection).await
        }
    }
}

async fn end(server: &Server, attempt: &Attempt, entered: &Entered, now: UnixTime) -> Result<(), Rejection> {
    let presented = entered.form.required("token")?;
    let client = entered.client.id();
    let client_id = entered.client.agent.client_id();
    let ending = match access_token(server, presented, (&client, &client_id), now).await? {
        Known::Own(ending) => Some(*ending),
        Known::Foreign => None,
        Known::No => refresh_token(server, presented, &client).await?,
    };
    let mut batch = Batch::new(server.tenant.clone());
    if let Some(Ending { facts, changes }) = ending {
        let entry = Entry { tenant: &server.tenant, attempt, facts: &facts, check: None };
        batch = batch.record(entry.happened(RecordType::Token));
        batch.changes = changes;
    }
    issue::commit(server, &attempt.once, None, batch).await?;
    Ok(())
}

/// What a revocation changes, and its record.
struct Ending {
    facts: Facts,
    changes: Vec<Change>,
}

enum Known {
    Own(Box<Ending>),
    /// An access token, but another client's.
    Foreign,
    /// Not an access token of ours.
    No,
}

/// Descendants carry this token's `jti` among their ancestors, so revoking it ends them too. SPEC: RV-02
async fn access_token(
    server: &Server,
    presented: &str,
    (client, client_id): (&str, &str),
    now: UnixTime,
) -> Result<Known, Fault> {
    // Resource servers allow for clocks that differ: a token that ended a moment ago can still be used, and so be revoked.
    let Ok(token) = server.verify_with_leeway(presented, now) else { return Ok(Known::No) };
    if token.client_id != client_id && token.actor() != client {
        return Ok(Known::Foreign);
    }
    let chain = server.store.token(&token.jti).await.map_err(Fault::new)?.map(|stored| stored.chain.clone());
    Ok(Known::Own(Box::new(Ending {
        facts: Facts { chain, ..Facts::default() }.fact("revoked", "access_token").fact("jti_hash", record::hash(&token.jti)),
        changes: vec![Change::Revoke { what: Revocation::Jti(token.jti.clone()), until: token.exp.plus(server.settings.skew) }],
    })))
}

async fn refresh_token(server: &Server, presented: &str, client: &str) -> Result<Option<Ending>, Fault> {
    let hash = server.store.keyed_hash("refresh", presented.as_bytes());
    let Some(stored) = server.store.refresh(hash).await.map_err(Fault::new)?.filter(|stored| stored.client == client) else {
        return Ok(None);
    };
    let renewable: Renewable = serde_json::from_value(stored.payload).map_err(Fault::new)?;
    let until = renewable.until.plus(server.settings.access_token);
    let txn = renewable.chain.id.clone();
    Ok(Some(Ending {
        facts: Facts { chain: Some(renewable.chain), ..Facts::default() }.fact("revoked", "refresh_token"),
        changes: vec![
            Change::Revoke { what: Revocation::Family(stored.family), until },
            Change::Revoke { what: Revocation::Txn(txn), until },
        ],
    }))
}
