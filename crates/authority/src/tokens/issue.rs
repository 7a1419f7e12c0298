//! Issuing: one batch holds the token, everything that made it possible, and its record.
//!
//! Implements RFC 9068 access tokens and rules TK-06, TK-10, X-12. A token is signed before the batch and leaves after
//! it: CRASH: between the two, what is signed is in no one's hands, and the batch either happened whole or not at all.

use crate::{
    Server,
    grants::{attempt::Attempt, requested::Target},
    http::error::{self, Rejection},
    tokens::record::Given,
};
use axum::{body::Body, http::Response};
use remit_ledger::record::RecordType;
use remit_model::{Authority, Chain, Code, Fault, Refusal, UnixTime};
use remit_store::{Applied, ApplyError, Batch, Change, JtiKind, Precondition, StoredToken};
use remit_token::{access, nested_act};
use serde_json::{Value, json};
use std::sync::Arc;

/// A token that may be issued: every rule has been checked.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) record_type: RecordType,
    pub(crate) chain: Chain,
    pub(crate) authority: Authority,
    pub(crate) target: Target,
    pub(crate) client: String,
    pub(crate) jkt: String,
    pub(crate) jti: String,
    /// Parent first, root last.
    pub(crate) ancestors: Vec<String>,
    pub(crate) issued: UnixTime,
    pub(crate) expires: UnixTime,
    pub(crate) auth_time: Option<UnixTime>,
    pub(crate) openid: bool,
    pub(crate) family: Option<String>,
    pub(crate) purpose: Option<String>,
}

/// Signs the token and drafts the batch that makes it so; `more` are the grant's own requirements and changes.
pub(crate) async fn issue(server: &Server, attempt: &Attempt, grant: &Grant, more: Batch) -> Result<Value, Rejection> {
    let claims = claims(server, grant);
    let token = access::mint(&server.keys.signing, &claims)?;
    let digest = grant.authority.digest();
    let given = Given {
        record_type: grant.record_type,
        chain: &grant.chain,
        claims: claims_value(&claims),
        jti: &grant.jti,
        parent: grant.ancestors.first().map(String::as_str),
        audience: grant.target.uri(),
        digest: &digest,
        scope: &claims.scope,
        issued: grant.issued,
        expires: grant.expires,
    };
    let batch = more
        .change(Change::IssueToken(Arc::new(StoredToken {
            jti: grant.jti.clone(),
            chain: grant.chain.clone(),
            authority: grant.authority.clone(),
            parent: grant.ancestors.first().cloned(),
            client: grant.client.clone(),
            jkt: grant.jkt.clone(),
            audience: grant.target.uri().to_owned(),
            issued: grant.issued,
            expires: grant.expires,
            family: grant.family.clone(),
        })))
        .record(attempt.entry.issued(&server.tenant, attempt.at, given));
    commit(server, attempt, batch).await?;
    let mut body = json!({
        "access_token": token,
        "token_type": "DPoP",
        "expires_in": grant.expires.since(grant.issued),
        "scope": claims.scope,
    });
    if let (false, Some(members)) = (grant.authority.is_none(), body.as_object_mut()) {
        members.insert("authorization_details".to_owned(), grant.authority.to_value());
    }
    Ok(body)
}

fn claims(server: &Server, grant: &Grant) -> access::Claims {
    let servers: Vec<&remit_model::Server> = server.servers.iter().map(AsRef::as_ref).collect();
    let mut scopes = grant.authority.scopes(&servers);
    if grant.openid {
        scopes.push("openid".to_owned());
        scopes.sort();
    }
    access::Claims {
        iss: server.issuer.clone(),
        sub: grant.chain.root.sub.clone(),
        aud: grant.target.uri().to_owned(),
        client_id: grant.client.clone(),
        scope: scopes.join(" "),
        jti: grant.jti.clone(),
        iat: grant.issued,
        exp: grant.expires,
        auth_time: grant.auth_time,
        acr: None,
        amr: grant.auth_time.map(|_| "pwd".to_owned()).into_iter().collect(),
        cnf_jkt: Some(grant.jkt.clone()),
        act: nested_act(&grant.chain),
        authority: grant.authority.clone(),
        txn: grant.chain.id.clone(),
        ancestors: grant.ancestors.clone(),
        purpose: grant.purpose.clone(),
    }
}

/// The claims as the ledger keeps them beside the log; the token itself is never kept.
fn claims_value(claims: &access::Claims) -> Value {
    json!({
        "iss": claims.iss, "sub": claims.sub, "aud": claims.aud, "client_id": claims.client_id, "scope": claims.scope,
        "jti": claims.jti, "iat": claims.iat, "exp": claims.exp, "auth_time": claims.auth_time,
        "cnf": {"jkt": claims.cnf_jkt}, "act": claims.act, "authorization_details": claims.authority,
        "txn": claims.txn, "urn:remit:ancestors": claims.ancestors, "urn:remit:purpose": claims.purpose,
    })
}

/// Applies a batch together with what the request uses up and the policy bytes its decision needs for replay.
pub(crate) async fn commit(server: &Server, attempt: &Attempt, mut batch: Batch) -> Result<Applied, Rejection> {
    for (kind, key, until) in &attempt.once {
        batch = batch.once(*kind, key.clone(), *until);
    }
    if let Some(check) = &attempt.entry.check {
        batch = server.pinned.pin(check, batch);
    }
    let digest = attempt.entry.check.as_ref().map(|check| check.decision.policy_set_digest.clone());
    match server.store.apply(batch).await {
        Ok(applied) => {
            server.pinned.kept(digest);
            Ok(applied)
        }
        Err(error) => Err(refused_by_store(error)),
    }
}

fn refused_by_store(error: ApplyError) -> Rejection {
    let refusal = match error {
        ApplyError::Conflict(Precondition::Once { kind: JtiKind::ClientAssertion, .. }) => {
            Refusal::new(Code::AssertionReplayed, "this client assertion was used before")
        }
        ApplyError::Conflict(Precondition::Once { .. }) => {
            Refusal::new(Code::EdgeProofInvalid, "this proof of delegation was used before")
        }
        ApplyError::Conflict(Precondition::Unused(_)) => Refusal::new(Code::GrantInvalid, "the code was used before"),
        ApplyError::Conflict(Precondition::RefreshCurrent(_)) => {
            Refusal::new(Code::GrantInvalid, "the refresh token was used before")
        }
        ApplyError::Unavailable(outage) => {
            tracing::error!(%outage, "the store is unavailable");
            outage.refusal()
        }
        other => return Rejection::Fault(Fault::new(other)),
    };
    Rejection::Refusal(refusal)
}

/// Records a refusal and answers it. Without a record there is still no token, only a worse answer.
pub(crate) async fn refuse(server: &Server, mut attempt: Attempt, no: Rejection) -> Response<Body> {
    let mut refusal = no.into_refusal();
    if attempt.is_anonymous() && !server.anonymous.take(server.now()) {
        return error::reply(&refusal, attempt.at, None);
    }
    for _ in 0..2 {
        let mut batch = Batch::new(server.tenant.clone()).record(attempt.entry.refused(&server.tenant, attempt.at, &refusal));
        batch.changes.append(&mut attempt.on_refusal.clone());
        match commit(server, &attempt, batch).await {
            Ok(applied) => {
                let record = applied.receipts.first().map(|receipt| receipt.record_id.as_str());
                return error::reply(&refusal, attempt.at, record);
            }
            // What the refusal would have used up must wait; that it was refused need not.
            Err(Rejection::Refusal(outage)) if outage.code.is_outage() => {
                let note =
                    Batch::new(server.tenant.clone()).note().record(attempt.entry.refused(&server.tenant, attempt.at, &outage));
                let noted = server.store.apply(note).await.ok();
                let record =
                    noted.as_ref().and_then(|applied| applied.receipts.first()).map(|receipt| receipt.record_id.as_str());
                return error::reply(&outage, attempt.at, record);
            }
            Err(Rejection::Refusal(replayed)) => {
                // What it used up was used before: then that is the refusal, and nothing else of it counts.
                refusal = replayed;
                attempt.once.clear();
                attempt.on_refusal.clear();
            }
            Err(no) => {
                refusal = no.into_refusal();
                break;
            }
        }
    }
    error::reply(&refusal, attempt.at, None)
}
