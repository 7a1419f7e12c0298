//! `refresh_token`: the same consent, a new token, and everything checked again.
//!
//! Implements RFC 6749 §6 and RFC 9700 §4.14; rules RT-01 to RT-08. Every refresh rotates; a rotated token that comes
//! back from its own client and key ends the whole family. The chain stays as it was agreed: a refresh adds no hop.

use crate::{
    grants::{
        attempt::Attempt,
        consented::{self, Renewable},
        request::TokenRequest,
        requested::{RequestedAuthority, Target},
    },
    http::error::Rejection,
    policy_check::{self, Proposal},
    tokens::{
        issue::{self, Grant},
        record::hash,
    },
};
use remit_ledger::record::RecordType;
use remit_model::{Authority, Chain, Code, Fault, Refusal};
use remit_store::{Batch, Change, Revocation, StoredRefresh};
use serde_json::{Value, json};

pub(crate) async fn refresh(request: TokenRequest<'_>, attempt: &mut Attempt) -> Result<Value, Rejection> {
    let server = request.server;
    let presented = request.form.required("refresh_token")?;
    attempt.entry.fact("refresh_hash", hash(presented));
    let stored = server.store.refresh(server.store.keyed_hash("refresh", presented.as_bytes())).await.map_err(Fault::new)?;
    let (stored, renewable) = check(&request, attempt, stored)?;
    attempt.entry.chain = Some(renewable.chain.clone());
    attempt.entry.purpose.clone_from(&renewable.purpose);

    let asked = RequestedAuthority::read(request.form, &server.servers)?;
    if asked.openid && !renewable.openid {
        return Err(Refusal::new(Code::WidensScope, "`openid` was not agreed to").into());
    }
    let hop = renewable.chain.hops.last().ok_or_else(|| Fault::new("a refresh token without a hop"))?;
    let (target, authority) = consented::pick(&request, &asked, &renewable.targets, &hop.authority, renewable.openid)?;
    let authority = reconsider(&request, attempt, &renewable, &target, &authority)?;

    let grant = Grant {
        record_type: RecordType::Token,
        chain: renewable.chain.clone(),
        authority,
        target,
        client: request.client.id(),
        jkt: stored.jkt.clone(),
        jti: server.token_id(),
        ancestors: Vec::new(),
        issued: request.now,
        // SPEC: RT-04: never beyond the end that was agreed to.
        expires: asked.end(request.now, server.settings.access_token, Some(renewable.until))?,
        auth_time: Some(renewable.auth_time),
        openid: renewable.openid,
        family: Some(stored.family.clone()),
        purpose: renewable.purpose.clone(),
    };
    let token = server.entropy.token(32);
    let next = StoredRefresh {
        hash: server.store.keyed_hash("refresh", token.as_bytes()),
        expires: request.now.plus(server.settings.refresh_idle).min(renewable.until),
        ..stored.clone()
    };
    let batch = Batch::new(server.tenant.clone()).rotate_refresh(stored.hash, next);
    let mut body = issue::issue(server, attempt, &grant, batch).await?;
    if let Some(members) = body.as_object_mut() {
        members.insert("refresh_token".to_owned(), json!(token));
    }
    Ok(body)
}

/// SPEC: RT-01, RT-02, RT-04, RT-08. The key is checked before reuse is punished, so that a thief without the key can
/// neither use a stolen token nor end its owner's family.
fn check(
    request: &TokenRequest<'_>,
    attempt: &mut Attempt,
    stored: Option<StoredRefresh>,
) -> Result<(StoredRefresh, Renewable), Rejection> {
    let invalid = |reason: &str| Rejection::Refusal(Refusal::new(Code::GrantInvalid, reason));
    let stored =
        stored.filter(|stored| stored.client == request.client.id()).ok_or_else(|| invalid("the refresh token is not known"))?;
    if stored.jkt != request.proof.jkt() {
        return Err(Refusal::new(Code::DpopKeyMismatch, "the refresh token is bound to another proof key").into());
    }
    let renewable: Renewable = serde_json::from_value(stored.payload.clone()).map_err(Fault::new)?;
    let txn = &renewable.chain.id;
    let ended =
        request.snapshot.is_revoked("", [], txn) || request.snapshot.has_revocation(&Revocation::Family(stored.family.clone()));
    if ended {
        return Err(invalid("this delegation was revoked"));
    }
    request.redeems()?;
    if !stored.current {
        let until = renewable.until.plus(request.server.settings.access_token);
        attempt.entry.fact("revoked_txn", txn.clone());
        attempt.on_refusal = vec![
            Change::Revoke { what: Revocation::Family(stored.family.clone()), until },
            Change::Revoke { what: Revocation::Txn(txn.clone()), until },
        ];
        return Err(invalid("the refresh token was used before; the whole delegation is revoked"));
    }
    if stored.expires <= request.now {
        return Err(invalid("the refresh token has expired"));
    }
    Ok((stored, renewable))
}

/// People, agents and policy may have changed since the consent: what is still allowed of `authority`. SPEC: RT-05, N-RT-06
fn reconsider(
    request: &TokenRequest<'_>,
    attempt: &mut Attempt,
    renewable: &Renewable,
    target: &Target,
    authority: &Authority,
) -> Result<Authority, Refusal> {
    let chain = &renewable.chain;
    let still = policy_check::standing(&request.snapshot, chain, authority)?;
    if still.is_none() && !authority.is_none() {
        return Err(Refusal::new(Code::AuthorityEmpty, "nothing of what was agreed to is allowed any more"));
    }
    let Some(hop) = chain.hops.last() else { return Ok(still) };
    let check = policy_check::check(
        request.server.policy.current(),
        &Proposal {
            tenant: &request.server.tenant,
            issuer: &request.server.issuer,
            snapshot: &request.snapshot,
            before: &Chain::new(chain.id.clone(), chain.root.clone()),
            delegate: &hop.delegate,
            authority: &hop.authority,
            server: target.server(),
            purpose: renewable.purpose.as_deref(),
            expires: renewable.until,
            auth_time: Some(renewable.auth_time),
            now: request.now,
        },
    );
    let verdict = check.allow();
    attempt.entry.check = Some(check);
    verdict.map(|()| still)
}
