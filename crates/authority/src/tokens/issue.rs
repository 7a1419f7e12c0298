//! Issuing: one batch holds the token, everything that made it possible, and its record.
//!
//! Implements RFC 9068 access tokens and rules TK-06, TK-10, X-12. A token is signed before the batch and leaves after
//! it: CRASH: between the two, what is signed is in no one's hands, and the batch either happened whole or not at all.

use crate::{
    Server,
    clients::{authenticate, identifier, long_assertions, rules},
    grants::{
        attempt::{Attempt, Once},
        outcome::{Facts, Grant, IssuedFrom, Outcome},
    },
    http::error::{self, Rejection},
    offboarding,
    policy_check::PolicyCheck,
    tokens::record::Entry,
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use remit_decide::{
    Principals,
    active::{self, TokenIds},
};
use remit_model::{Code, Confirmation, Fault, Hop, Refusal, token_bounds};
use remit_store::{Applied, ApplyError, Batch, Change, JtiKind, Precondition, StoredToken};
use remit_token::{access, nested_act};
use serde_json::{Value, json};
use std::sync::Arc;

/// Turns what a grant came to into its one batch, and answers. `None` when another request rotated the same refresh token
/// between look-up and commit: then nothing was committed.
pub(crate) async fn settle(server: &Server, headers: &HeaderMap, attempt: &Attempt, outcome: Outcome) -> Option<Response<Body>> {
    let Outcome { grant, once, on_refusal, facts, check } = outcome;
    let attempt = Attempt { once: attempt.once.iter().cloned().chain(once).collect(), ..attempt.clone() };
    let check = check.as_ref();
    let (rejection, changes, facts) = match grant {
        Err(rejection) => (rejection, on_refusal, facts),
        Ok(grant) => {
            let facts = Facts { chain: Some(grant.chain.clone()), purpose: grant.purpose.clone(), ..facts };
            let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check };
            match issue(server, entry, grant).await {
                Ok(body) => return Some(error::json_response(StatusCode::OK, &body)),
                Err(Rejection::RotatedMeanwhile) => return None,
                Err(rejection) => (rejection, Vec::new(), facts),
            }
        }
    };
    let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check };
    Some(refuse(server, headers, entry, changes, rejection).await)
}

/// Records a refusal and answers it, with a challenge where one belongs. SPEC: X-07
pub(crate) async fn refuse(
    server: &Server,
    headers: &HeaderMap,
    entry: Entry<'_>,
    changes: Vec<Change>,
    rejection: Rejection,
) -> Response<Body> {
    let at = entry.attempt.at;
    let (refusal, record) = record_refusal(server, entry, changes, rejection.into_refusal()).await;
    let mut response = error::reply(&refusal, at, record.as_deref());
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(value) = authenticate::challenge(headers, at).and_then(|text| HeaderValue::from_str(&text).ok())
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

/// Signs the token and commits the batch that makes it so.
async fn issue(server: &Server, entry: Entry<'_>, grant: Grant) -> Result<Value, Rejection> {
    // INVARIANT: no token is issued after the record that stops one of its parties or revokes what it comes from. The decision
    // looked at a snapshot; this is asked again at the commit. SPEC: DC-13
    let snapshot = server.store.snapshot();
    let (parent, above) = grant.ancestors.split_first().map_or(("", &[][..]), |(parent, above)| (parent.as_str(), above));
    let signing = match &grant.signing {
        Some(signing) => Arc::clone(signing),
        None => server.signing_key(grant.issued)?,
    };
    let kid = signing.public().thumbprint();
    // SPEC: JW-02: what a revoked key signed is dead, and so is what comes from it.
    let above_keys: Vec<String> = grant.ancestor_keys.iter().filter(|above| *above != kid).cloned().collect();
    let keys: Vec<String> = std::iter::once(kid.to_owned()).chain(above_keys.iter().cloned()).collect();
    let IssuedFrom { criteria, issued } = &grant.from;
    let source = TokenIds { jti: parent, ancestors: above, txn: &grant.chain.id, keys: &keys, criteria, issued: *issued };
    let auth_time = grant.authentication.as_ref().map(|how| how.time);
    let principals = Principals::new(&server.issuer, &snapshot).since(auth_time);
    let standing = active::at_commit(principals, grant.chain.parties(), &source)?;
    let claims = claims(server, &grant, identifier::client_id_of(&snapshot, &grant.client), above_keys);
    let restrictions = grant.target.restrictions(&server.issuer);
    let token = access::mint_restricted(&signing, &claims, &restrictions)?;
    token_bounds::check_token(&token, &claims.scope)?;
    let record = entry.issued(&grant, &claims, &restrictions, kid);
    let expires_in = grant.expires.since(grant.issued);
    let mut body = json!({
        "access_token": token,
        "token_type": if matches!(grant.confirmation, Some(Confirmation::Key(_))) { "DPoP" } else { "Bearer" },
        "expires_in": expires_in,
        "scope": claims.scope,
    });
    if let Some(members) = body.as_object_mut() {
        if !grant.authority.is_none() {
            members.insert("authorization_details".to_owned(), grant.authority.to_value());
        }
        members.extend(grant.answer.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    let stored = StoredToken {
        jti: grant.jti,
        chain: grant.chain,
        authority: grant.authority,
        parent: grant.ancestors.into_iter().next(),
        client: grant.client,
        jkt: grant.confirmation.as_ref().map(ToString::to_string),
        audience: grant.target.uri().to_owned(),
        issued: grant.issued,
        expires: grant.expires,
        family: grant.family,
        keys,
    };
    let mut batch = Batch::new(server.tenant.clone());
    batch.require = grant.requires;
    batch.require.push(standing);
    batch.changes = grant.changes;
    let batch = batch.change(Change::IssueToken(Arc::new(stored))).record(record);
    commit(server, &entry.attempt.once, entry.check, batch).await?;
    Ok(body)
}

fn claims(server: &Server, grant: &Grant, client_id: String, ancestor_keys: Vec<String>) -> access::Claims {
    let servers: Vec<&remit_model::Server> = server.servers.iter().map(AsRef::as_ref).collect();
    let mut scopes = grant.authority.scopes(&servers);
    if grant.openid {
        scopes.push("openid".to_owned());
        scopes.sort();
    }
    let authentication = grant.authentication.as_ref();
    access::Claims {
        iss: server.issuer.clone(),
        sub: grant.chain.root.sub.clone(),
        aud: grant.target.uri().to_owned(),
        client_id,
        scope: scopes.join(" "),
        jti: grant.jti.clone(),
        iat: grant.issued,
        exp: grant.expires,
        auth_time: authentication.map(|authentication| authentication.time),
        acr: authentication.and_then(|authentication| authentication.acr.clone()),
        amr: authentication.map(|authentication| authentication.amr.clone()).unwrap_or_default(),
        cnf_jkt: grant.confirmation.as_ref().and_then(Confirmation::jkt).map(str::to_owned),
        cnf_x5t: grant.confirmation.as_ref().and_then(Confirmation::x5t).map(str::to_owned),
        act: nested_act(&grant.chain),
        authority: grant.authority.clone(),
        txn: grant.chain.id.clone(),
        ancestors: grant.ancestors.clone(),
        ancestor_keys,
        ancestor_jkts: ancestor_jkts(grant),
        purpose: grant.purpose.clone(),
        signed: grant.chain.root_signature().map(str::to_owned),
    }
}

/// The keys and certificates that the chain's tokens are bound to above this one. SPEC: RV-05
fn ancestor_jkts(grant: &Grant) -> Vec<String> {
    let own = grant.confirmation.as_ref();
    let above = grant.chain.hops.iter().filter_map(Hop::confirmation).filter(|confirmation| Some(confirmation) != own);
    let mut keys: Vec<String> = above.map(|confirmation| confirmation.to_string()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Applies a batch together with what the request uses up and the policy bytes its decision needs for replay.
///
/// # Errors
/// What was used before, and outages, as refusals; anything else the store says, as a fault.
pub(crate) async fn commit(
    server: &Server,
    once: &[Once],
    check: Option<&PolicyCheck>,
    mut batch: Batch,
) -> Result<Applied, Rejection> {
    for Once { kind, key, until } in once {
        batch = batch.once(*kind, key.clone(), *until);
    }
    if let Some(check) = check {
        batch = server.pinned.pin(&check.bundle, batch);
    }
    let applied = server.store.apply(batch).await.map_err(|error| refused_by_store(server, error))?;
    for Once { key, until, .. } in once.iter().filter(|once| once.kind == JtiKind::ClientAssertion) {
        server.long_assertions.used_one(long_assertions::owner(key), *until, server.now());
    }
    if let Some(check) = check {
        server.pinned.kept(check.bundle.digest());
    }
    Ok(applied)
}

fn refused_by_store(server: &Server, error: ApplyError) -> Rejection {
    let refusal = match error {
        ApplyError::Conflict(Precondition::Active { parties, tokens, txn, since, keys, issued }) => {
            let snapshot = server.store.snapshot();
            let (jti, ancestors) = tokens.split_first().map_or(("", &[][..]), |(jti, above)| (jti.as_str(), above));
            let ids = TokenIds { jti, ancestors, txn: &txn, keys: &keys, criteria: &issued.criteria, issued: issued.at };
            active::lost(Principals { since, ..Principals::new(&server.issuer, &snapshot) }, &parties, &ids)
        }
        ApplyError::Conflict(Precondition::Once { kind: JtiKind::ClientAssertion, .. }) => {
            Refusal::new(Code::AssertionReplayed, "this client assertion was used before")
        }
        ApplyError::Conflict(Precondition::Once { kind: JtiKind::Other, key, .. }) if rules::is_own_claim(&key) => Refusal::new(
            Code::RateLimited,
            "another request uses this key for the first time at the same moment; send this one again",
        ),
        ApplyError::Conflict(Precondition::Once { kind: JtiKind::Other, key, .. }) if key.starts_with(rules::KEY) => {
            rules::taken()
        }
        ApplyError::Conflict(Precondition::Budget(budget)) if budget.key.starts_with(rules::BUDGET) => {
            let most = rules::PER_DAY;
            Refusal::new(Code::RateLimited, format!("one person lets in at most {most} new programs a day; try again tomorrow"))
        }
        ApplyError::Conflict(Precondition::NewAgent(_) | Precondition::Revision(_)) => {
            Refusal::new(Code::RateLimited, "something else changed at the same time; start again")
        }
        ApplyError::Conflict(Precondition::Once { kind: JtiKind::Other, key, .. }) if key.starts_with(offboarding::EVENT) => {
            Refusal::new(Code::AssertionReplayed, "this event was taken before")
        }
        ApplyError::Conflict(Precondition::Once { kind: JtiKind::Other, .. }) => {
            Refusal::new(Code::SessionForeign, "this page was decided before; start again from the program that sent you here")
        }
        ApplyError::Conflict(Precondition::Once { kind: JtiKind::SubjectToken, .. }) => {
            Refusal::new(Code::SubjectTokenUsed, "this subject token can be exchanged once, and was")
        }
        ApplyError::Conflict(Precondition::Once { .. }) => {
            Refusal::new(Code::EdgeProofInvalid, "this proof of delegation was used before")
        }
        ApplyError::Conflict(Precondition::Passkeys { .. }) => {
            Refusal::new(Code::PasskeyInvalid, "the passkeys of this account changed at the same moment; try again")
        }
        ApplyError::Conflict(Precondition::Unused(_)) => Refusal::new(Code::GrantInvalid, "the code was used before"),
        ApplyError::Conflict(Precondition::RefreshCurrent(_)) => return Rejection::RotatedMeanwhile,
        ApplyError::Unavailable(outage) => {
            tracing::error!(%outage, "the store is unavailable");
            outage.refusal()
        }
        other => return Rejection::Fault(Fault::new(other)),
    };
    Rejection::Refusal(refusal)
}

/// Records a refusal: what is refused in the end, and the id of its record. Without a record there is still no token, only
/// a worse answer.
pub(crate) async fn record_refusal(
    server: &Server,
    entry: Entry<'_>,
    changes: Vec<Change>,
    refusal: Refusal,
) -> (Refusal, Option<String>) {
    let once = &entry.attempt.once;
    // Not a refusal: the device asks again in a few seconds, and its person may still agree. SPEC: DG-01
    if refusal.code == Code::AuthorizationPending && changes.is_empty() {
        let used_up = commit(server, once, None, Batch::new(server.tenant.clone())).await;
        return (used_up.map_or_else(Rejection::into_refusal, |_| refusal), None);
    }
    // A refusal of who proved nothing, and which changes nothing, costs its caller nothing: its record is rationed.
    if once.is_empty() && changes.is_empty() && !entry.attempt.may_record(server, refusal.code) {
        return (refusal, None);
    }
    match write_refusal(server, entry, once, changes, refusal).await {
        Ok(recorded) => recorded,
        // What it used up was used before: then that is the refusal, and nothing else of it counts.
        // A copy of what another client sent proves nothing.
        Err(replayed) if !entry.attempt.may_record(server, replayed.code) => (replayed, None),
        Err(replayed) => write_refusal(server, entry, &[], Vec::new(), replayed).await.unwrap_or_else(|refusal| (refusal, None)),
    }
}

/// # Errors
/// The refusal of the store, when something of `once` was used before.
async fn write_refusal(
    server: &Server,
    entry: Entry<'_>,
    once: &[Once],
    changes: Vec<Change>,
    refusal: Refusal,
) -> Result<(Refusal, Option<String>), Refusal> {
    let mut batch = Batch::new(server.tenant.clone()).record(entry.refused(&refusal));
    batch.changes = changes;
    match commit(server, once, entry.check, batch).await {
        Ok(applied) => Ok((refusal, first_record(applied))),
        // What the refusal would have used up must wait; that it was refused need not.
        Err(Rejection::Refusal(outage)) if outage.code.is_outage() => {
            let note = Batch::new(server.tenant.clone()).note().record(entry.refused(&outage));
            let record = server.store.apply(note).await.ok().and_then(first_record);
            Ok((outage, record))
        }
        Err(Rejection::Refusal(replayed)) => Err(replayed),
        Err(fault) => Ok((fault.into_refusal(), None)),
    }
}

fn first_record(applied: Applied) -> Option<String> {
    applied.receipts.into_iter().next().map(|receipt| receipt.record_id)
}
