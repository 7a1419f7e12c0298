//! `refresh_token`: the same consent, a new token, and everything checked again.
//!
//! Implements RFC 6749 §6 and RFC 9700 §4.14; rules RT-01 to RT-08. Every refresh rotates. For a short while the client that
//! rotated a token gets the same successor for it again, because answers get lost and programs refresh in parallel; a
//! rotated token that comes back later ends the whole family. The chain stays as it was agreed: a refresh adds no hop.

use crate::{
    grants::{
        consented::{self, Renewable},
        empty,
        outcome::{Facts, Grant, Outcome, Refused},
        request::TokenRequest,
        requested::{RequestedAuthority, Target},
    },
    http::error::Rejection,
    policy_check::{self, Checked, Delegation},
    tokens::record::hash,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_decide::{Principals, effective};
use remit_ledger::record::RecordType;
use remit_model::{Authority, Chain, Code, Confirmation, Fault, Hop, Refusal, UnixTime};
use remit_store::{Batch, Change, Revocation, StoredRefresh};
use serde_json::json;

/// Renews a consent's token.
///
/// # Errors
/// A request without a refresh token, or a fault. A reused token is an [`Outcome`], because it ends the family.
pub(crate) async fn refresh(request: &TokenRequest<'_>) -> Result<Outcome, Rejection> {
    let store = &request.server.store;
    let presented = request.form.required("refresh_token")?;
    let successor = successor(request, presented);
    let stored = store.refresh(store.keyed_hash("refresh", presented.as_bytes())).await.map_err(Fault::new)?;
    let rotation = match &stored {
        Some(stored) if !stored.current => rotation(request, &successor, stored).await?,
        _ => Rotation::No,
    };
    let mut outcome = match check(request, stored, rotation) {
        Ok((stored, renewable)) => renew(request, &stored, &renewable, &successor),
        Err(refused) => refused.into(),
    };
    if rotation == Rotation::JustNow {
        outcome.facts = outcome.facts.fact("refresh_retry", true);
    }
    outcome.facts = outcome.facts.fact("refresh_hash", hash(presented));
    Ok(outcome)
}

/// The token that follows this one: a function of it under the store's pepper, so that a retry gets the same one, after a
/// restart and at every replica, and nothing but its hash is stored. It cannot be computed without the pepper.
fn successor(request: &TokenRequest<'_>, presented: &str) -> String {
    URL_SAFE_NO_PAD.encode(request.server.store.keyed_hash("refresh successor", presented.as_bytes()))
}

/// Whether a token was rotated, and how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotation {
    No,
    JustNow,
    Earlier,
}

/// SPEC: RT-02: a grace window with the same response.
async fn rotation(request: &TokenRequest<'_>, successor: &str, stored: &StoredRefresh) -> Result<Rotation, Fault> {
    let store = &request.server.store;
    let next = store.refresh(store.keyed_hash("refresh", successor.as_bytes())).await.map_err(Fault::new)?;
    let Some(next) = next.filter(|next| next.family == stored.family) else { return Ok(Rotation::Earlier) };
    let next: Renewable = serde_json::from_value(next.payload).map_err(Fault::new)?;
    let ago = next.renewed.map(|renewed| request.now.since(renewed));
    let just_now = ago.is_some_and(|ago| ago.abs() <= request.server.settings.refresh_retry);
    Ok(if just_now { Rotation::JustNow } else { Rotation::Earlier })
}

/// SPEC: RT-01, RT-02, RT-04, RT-08. The key is checked before reuse is punished, so that a thief without the key can
/// neither use a stolen token nor end its owner's family.
fn check(
    request: &TokenRequest<'_>,
    stored: Option<StoredRefresh>,
    rotation: Rotation,
) -> Result<(StoredRefresh, Renewable), Box<Refused>> {
    let invalid = |reason: &str| Refusal::new(Code::GrantInvalid, reason);
    let stored =
        stored.filter(|stored| stored.client == request.client.id()).ok_or_else(|| invalid("the refresh token is not known"))?;
    let bound_to = stored.jkt.as_deref().map(Confirmation::parse);
    if bound_to != request.confirmation() {
        let (code, reason) = match (&bound_to, request.confirmation()) {
            (Some(Confirmation::Key(_)), Some(Confirmation::Key(_))) => {
                (Code::DpopKeyMismatch, "the refresh token is bound to another proof key")
            }
            (Some(Confirmation::Certificate(_)), Some(Confirmation::Certificate(_))) => {
                (Code::CertificateMismatch, "the refresh token is bound to another certificate than that of the connection")
            }
            _ => {
                let reason = "the agent was registered with another `binding` when the person signed in; a new sign-in is needed";
                (Code::DpopKeyMismatch, reason)
            }
        };
        return Err(Refusal::new(code, reason).into());
    }
    let renewable: Renewable = serde_json::from_value(stored.payload.clone()).map_err(Fault::new)?;
    let txn = &renewable.chain.id;
    let family = Revocation::Family(stored.family.clone());
    if request.snapshot.is_revoked("", [], txn) || request.snapshot.has_revocation(&family) {
        return Err(invalid("this delegation was revoked").into());
    }
    renewable.source(stored.jkt.as_deref()).still_counts(&request.snapshot)?;
    request.remember_public()?;
    if rotation == Rotation::Earlier {
        let until = renewable.until.plus(request.server.settings.access_token);
        return Err(Box::new(Refused {
            rejection: invalid("the refresh token was used before; the whole delegation is revoked").into(),
            on_refusal: vec![
                Change::Revoke { what: family, until },
                Change::Revoke { what: Revocation::Txn(txn.clone()), until },
            ],
            facts: Facts::default().fact("revoked_txn", txn.clone()),
        }));
    }
    if stored.expires <= request.now {
        return Err(invalid("the refresh token has expired").into());
    }
    Ok((stored, renewable))
}

/// The same chain, a new token. People, agents and policy may have changed since the consent. SPEC: RT-05, N-RT-06
fn renew(request: &TokenRequest<'_>, stored: &StoredRefresh, renewable: &Renewable, successor: &str) -> Outcome {
    let server = request.server;
    let chain = &renewable.chain;
    let facts = Facts { chain: Some(chain.clone()), purpose: renewable.purpose.clone(), ..Facts::default() };
    let Some(hop) = chain.hops.last() else {
        return Outcome::refused(Fault::new("a refresh token without a hop"), facts);
    };
    let terms = match terms(request, renewable, hop) {
        Ok(terms) => terms,
        Err(refusal) => return Outcome::refused(refusal, facts),
    };
    let delegation = Delegation {
        before: &Chain::new(chain.id.clone(), chain.root.clone()),
        to: &hop.delegate,
        authority: &hop.authority,
        server: terms.target.server(),
        purpose: renewable.purpose.as_deref(),
        expires: renewable.until,
        authentication: Some(&renewable.authentication),
        root_signed: chain.root_signature().is_some(),
    };
    let Checked { allowed, check } = policy_check::check(server, &request.snapshot, &delegation, request.now);
    let grant = match allowed {
        Ok(()) => issue(request, stored, renewable, terms, successor).map_err(Rejection::from),
        Err(refusal) => Err(refusal.into()),
    };
    Outcome::decided(grant, check, facts)
}

/// What the new token is for.
struct Terms {
    target: Target,
    authority: Authority,
    expires: UnixTime,
}

fn terms(request: &TokenRequest<'_>, renewable: &Renewable, hop: &Hop) -> Result<Terms, Refusal> {
    let server = request.server;
    let requested = RequestedAuthority::read(&request.form, &server.servers)?;
    if requested.openid && !renewable.openid {
        return Err(Refusal::new(Code::WidensScope, "`openid` was not agreed to"));
    }
    consented::same_client(request, renewable.client.as_deref())?;
    let (target, authority) = consented::pick(request, &requested, &renewable.targets, &hop.authority, renewable.openid)?;
    let principals = Principals::new(&server.issuer, &request.snapshot).since(Some(renewable.authentication.time));
    let still = effective::bounded(principals, renewable.chain.parties(), &authority)?;
    if still.is_none() && !authority.is_none() {
        return Err(empty::refusal(principals, renewable.chain.parties(), &authority));
    }
    // SPEC: RT-04: never beyond the end that was agreed to.
    let expires = requested.end(request.now, request.longest(), Some(renewable.until))?;
    Ok(Terms { target, authority: still, expires })
}

fn issue(
    request: &TokenRequest<'_>,
    stored: &StoredRefresh,
    renewable: &Renewable,
    terms: Terms,
    successor: &str,
) -> Result<Grant, Fault> {
    let server = request.server;
    let mut batch = Batch::new(server.tenant.clone());
    // INVARIANT: a token is rotated once, by the first request; a retry only hands out the successor that there is already.
    if stored.current {
        let renewed = Renewable { renewed: Some(request.now), issued: Some(request.now), ..renewable.clone() };
        let next = StoredRefresh {
            hash: server.store.keyed_hash("refresh", successor.as_bytes()),
            expires: request.now.plus(server.settings.refresh_idle).min(renewable.until),
            payload: serde_json::to_value(renewed).map_err(Fault::new)?,
            ..stored.clone()
        };
        batch = batch.rotate_refresh(stored.hash, next);
    }
    Ok(Grant {
        record_type: RecordType::Token,
        chain: renewable.chain.clone(),
        authority: terms.authority,
        target: terms.target,
        client: request.client.id(),
        confirmation: request.confirmation(),
        jti: server.token_id(),
        ancestors: Vec::new(),
        issued: request.now,
        from: renewable.source(stored.jkt.as_deref()),
        expires: terms.expires,
        authentication: Some(renewable.authentication.clone()),
        openid: renewable.openid,
        ancestor_keys: Vec::new(),
        family: Some(stored.family.clone()),
        purpose: renewable.purpose.clone(),
        signing: None,
        requires: batch.require,
        changes: batch.changes,
        answer: vec![("refresh_token", json!(successor))],
    })
}
