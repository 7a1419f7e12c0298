//! `authorization_code`: what a person agreed to becomes the first hop of a chain.
//!
//! Implements RFC 6749 §4.1.3, RFC 7636 §4.6; rules AC-01 to AC-06, AZ-13, DP-13, DC-04. The edge proof of the hop is the
//! ID token we sign for the person: its `urn:remit:consent` is the digest of what the page showed.

use crate::{
    grants::{
        consented::{self, Consented, Renewable},
        outcome::{Facts, Grant, IssuedFrom, Outcome, Refused},
        request::TokenRequest,
        requested::{RequestedAuthority, Target},
    },
    http::error::Rejection,
    policy_check::{self, Checked, Delegation},
    tokens::record::hash,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_decide::{Principals, active, effective};
use remit_ledger::record::{HumanInLoop, RecordType};
use remit_model::{Authority, Chain, Code, EdgeProof, Fault, Hop, Principal, PrincipalKind, Refusal, UnixTime, criterion, json};
use remit_store::{Batch, Change, Revocation, StoredCode, StoredRefresh};
use remit_token::{PrivateKey, id_token};
use serde_json::json;
use subtle::ConstantTimeEq;

/// Life of the ID token, in seconds.
const ID_TOKEN: i64 = 600;

/// Redeems a code.
///
/// # Errors
/// A request without a code, or a fault. A wrong or used code is an [`Outcome`], because it costs something.
pub(crate) async fn redeem(request: &TokenRequest<'_>) -> Result<Outcome, Rejection> {
    redeem_with(request, request.form.required("code")?, request.form.one("code_verifier")).await
}

/// Redeems a code that the request does not show itself, with its verifier.
///
/// # Errors
/// A fault.
pub(crate) async fn redeem_with(
    request: &TokenRequest<'_>,
    presented: &str,
    verifier: Option<&str>,
) -> Result<Outcome, Rejection> {
    let store = &request.server.store;
    let stored = store.code(store.keyed_hash("code", presented.as_bytes())).await.map_err(Fault::new)?;
    let mut outcome = match check(request, stored, verifier) {
        Ok((stored, consented)) => first_hop(request, &stored, &consented),
        Err(refused) => refused.into(),
    };
    outcome.facts = outcome.facts.fact("code_hash", hash(presented));
    Ok(outcome)
}

/// SPEC: AC-01 to AC-05. A wrong attempt is counted; a second use ends what the first one gave.
fn check(
    request: &TokenRequest<'_>,
    stored: Option<StoredCode>,
    verifier: Option<&str>,
) -> Result<(StoredCode, Consented), Box<Refused>> {
    let invalid = |reason: &str| Refusal::new(Code::GrantInvalid, reason);
    let stored = stored.filter(|stored| stored.client == request.client.id()).ok_or_else(|| invalid("the code is not known"))?;
    let consented: Consented = serde_json::from_value(stored.payload.clone()).map_err(Fault::new)?;
    if stored.expires <= request.now {
        return Err(invalid("the code has expired").into());
    }
    if stored.failures >= request.server.settings.code_attempts {
        return Err(invalid("the code was tried wrongly too often").into());
    }
    // SPEC: N-AC-02: from here on a wrong attempt counts, unless the code is used up anyway.
    let counted = stored.used.is_none().then_some(Change::FailCode(stored.hash));
    fits(request, &consented, verifier).map_err(|refusal| Refused {
        rejection: refusal.into(),
        on_refusal: counted.into_iter().collect(),
        facts: Facts::default(),
    })?;
    // A proof that cannot be taken says nothing of the code, so it is not counted.
    request.remember_public()?;
    from(request, &stored, &consented).still_counts(&request.snapshot)?;
    // SPEC: AC-04: only a replay that is right in everything else ends what the code gave.
    if let Some(txn) = &stored.used {
        let until = consented.until.plus(request.server.settings.access_token);
        return Err(Box::new(Refused {
            rejection: invalid("the code was used before; everything it gave is revoked").into(),
            on_refusal: vec![
                Change::Revoke { what: Revocation::Txn(txn.clone()), until },
                Change::Revoke { what: Revocation::Family(txn.clone()), until },
            ],
            facts: Facts::default().fact("revoked_txn", txn.clone()),
        }));
    }
    Ok((stored, consented))
}

/// The person's consent, at the time of their decision.
fn from(request: &TokenRequest<'_>, stored: &StoredCode, consented: &Consented) -> IssuedFrom {
    let keys = consented.dpop_jkt.iter().map(String::as_str);
    IssuedFrom {
        criteria: criterion::of([stored.client.as_str()], keys, None, &consented.authority),
        issued: stored.expires.plus(-request.server.settings.code),
    }
}

/// Whether the request is the one that the code was made for.
fn fits(request: &TokenRequest<'_>, consented: &Consented, verifier: Option<&str>) -> Result<(), Refusal> {
    if request.form.one("redirect_uri").is_some_and(|uri| uri != consented.redirect_uri) {
        return Err(Refusal::new(Code::RedirectUriMismatch, "`redirect_uri` is not the one of the request"));
    }
    verifies(verifier, &consented.challenge)?;
    // A code that was bound to a key is redeemed with that key, whatever the agent was registered as meanwhile.
    if consented.dpop_jkt.is_some() && consented.dpop_jkt.as_deref() != request.jkt() {
        return Err(Refusal::new(Code::DpopKeyMismatch, "the code is bound to another proof key"));
    }
    Ok(())
}

/// SPEC: AC-02, N-AC-05, N-AC-06
fn verifies(verifier: Option<&str>, challenge: &str) -> Result<(), Refusal> {
    let wrong = |reason: &str| Refusal::new(Code::PkceMismatch, reason);
    let verifier = verifier.ok_or_else(|| wrong("`code_verifier` is missing"))?;
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
        return Err(wrong("`code_verifier` must be 43 to 128 unreserved characters"));
    }
    let digest = URL_SAFE_NO_PAD.encode(json::sha256(verifier.as_bytes()));
    if bool::from(digest.as_bytes().ct_eq(challenge.as_bytes())) {
        Ok(())
    } else {
        Err(wrong("`code_verifier` does not fit the challenge"))
    }
}

/// The first hop of a new chain, if what was agreed to is still the person's to give and policy agrees. SPEC: DC-07, TK-09
fn first_hop(request: &TokenRequest<'_>, stored: &StoredCode, consented: &Consented) -> Outcome {
    let server = request.server;
    let root = Chain::new(server.entropy.token(16), Principal::human(&server.issuer, &consented.user));
    let facts = Facts {
        chain: Some(root.clone()),
        purpose: consented.purpose.clone(),
        human_in_loop: HumanInLoop::Approved,
        ..Facts::default()
    }
    .fact("consent", consented.digest.clone());
    let terms = match terms(request, consented, &root) {
        Ok(terms) => terms,
        Err(refusal) => return Outcome::refused(refusal, facts),
    };
    let delegate = Principal::agent(&server.issuer, &request.client.agent.id);
    let delegation = Delegation {
        before: &root,
        to: &delegate,
        authority: &consented.authority,
        server: terms.target.server(),
        purpose: consented.purpose.as_deref(),
        expires: consented.until,
        authentication: Some(&consented.authentication),
        root_signed: consented.signed.is_some(),
    };
    let Checked { allowed, check } = policy_check::check(server, &request.snapshot, &delegation, request.now);
    let grant = match allowed {
        Ok(()) => issue(request, stored, consented, root, terms),
        Err(refusal) => Err(refusal.into()),
    };
    let facts = match &consented.sign_in {
        Some(sign_in) if grant.is_ok() => Facts { sign_in: Some(sign_in.committed()), ..facts }.fact("sign_in", sign_in.facts()),
        _ => facts,
    };
    Outcome::decided(grant, check, facts)
}

/// What the first token is for.
struct Terms {
    target: Target,
    authority: Authority,
    expires: UnixTime,
}

fn terms(request: &TokenRequest<'_>, consented: &Consented, root: &Chain) -> Result<Terms, Refusal> {
    let server = request.server;
    let requested = RequestedAuthority::read(&request.form, &server.servers)?;
    consented::same_client(request, consented.client.as_deref())?;
    let (target, authority) = consented::pick(request, &requested, &consented.targets, &consented.authority, consented.openid)?;
    let delegate = Principal::agent(&server.issuer, &request.client.agent.id);
    let principals = Principals::new(&server.issuer, &request.snapshot).since(Some(consented.authentication.time));
    let most = active::principal(principals, &delegate)?.ceiling();
    let most = effective::bounded(principals, root.parties(), most)?;
    consented.authority.within(&most).map_err(|wider| {
        Refusal::new(Code::GrantInvalid, format!("what was agreed to is not the person's to give any more: {}", wider.reason))
    })?;
    let expires = requested.end(request.now, request.longest(), Some(consented.until))?;
    Ok(Terms { target, authority, expires })
}

/// Token, ID token and refresh token, as one grant.
fn issue(
    request: &TokenRequest<'_>,
    stored: &StoredCode,
    consented: &Consented,
    root: Chain,
    terms: Terms,
) -> Result<Grant, Rejection> {
    let server = request.server;
    let jti = server.token_id();
    let signing = server.signing_key(request.now)?;
    let id_token = id_token(request, consented, &jti, &request.client.id(), &signing)?;
    let hop = Hop {
        delegator: root.root.clone(),
        delegate: Principal::agent(&server.issuer, &request.client.agent.id),
        jkt: request.jkt().map(str::to_owned),
        x5t: request.certificate.as_ref().map(|certificate| certificate.thumbprint().to_owned()),
        authority: consented.authority.clone(),
        purpose: consented.purpose.clone(),
        expires: consented.until,
        jti: jti.clone(),
        edge: EdgeProof::IdToken(id_token.clone()),
        signed: consented.signed.clone(),
    };
    let chain = root.extend(hop, server.settings.chain_depth)?;
    let refresh = server.entropy.token(32);
    let Batch { require, changes, .. } = Batch::new(server.tenant.clone())
        .use_code(stored.hash, chain.id.clone())
        .change(Change::PutRefresh(first_refresh(request, &refresh, &chain, consented)?));
    let mut answer = vec![("refresh_token", json!(refresh))];
    if consented.openid {
        // What the ledger keeps is for the agent; what the client gets is for the `client_id` by which it knows itself.
        let known_as = request.client.agent.client_id();
        let shown = if known_as == request.client.id() {
            id_token
        } else {
            self::id_token(request, consented, &jti, &known_as, &signing)?
        };
        answer.push(("id_token", json!(shown)));
    }
    Ok(Grant {
        record_type: RecordType::Delegation,
        authority: terms.authority,
        target: terms.target,
        client: request.client.id(),
        confirmation: request.confirmation(),
        jti,
        ancestors: Vec::new(),
        issued: request.now,
        from: from(request, stored, consented),
        expires: terms.expires,
        authentication: Some(consented.authentication.clone()),
        openid: consented.openid,
        ancestor_keys: Vec::new(),
        family: Some(chain.id.clone()),
        purpose: consented.purpose.clone(),
        chain,
        signing: Some(signing),
        requires: require,
        changes,
        answer,
    })
}

/// The person's signed consent: the edge proof of the first hop, and the ID token when `openid` was asked.
fn id_token(
    request: &TokenRequest<'_>,
    consented: &Consented,
    jti: &str,
    client: &str,
    signing: &PrivateKey,
) -> Result<String, Fault> {
    let claims = id_token::Claims {
        iss: request.server.issuer.clone(),
        sub: PrincipalKind::Human.subject(&consented.user),
        aud: client.to_owned(),
        nonce: consented.nonce.clone(),
        jti: Some(jti.to_owned()),
        iat: request.now,
        exp: request.now.plus(ID_TOKEN),
        auth_time: Some(consented.authentication.time),
        acr: consented.authentication.acr.clone(),
        amr: consented.authentication.amr.clone(),
        consent: Some(consented.digest.clone()),
    };
    id_token::mint(signing, &claims)
}

fn first_refresh(
    request: &TokenRequest<'_>,
    refresh: &str,
    chain: &Chain,
    consented: &Consented,
) -> Result<StoredRefresh, Fault> {
    let server = request.server;
    let renewable = Renewable {
        chain: chain.clone(),
        targets: consented.targets.clone(),
        openid: consented.openid,
        authentication: consented.authentication.clone(),
        until: consented.until,
        purpose: consented.purpose.clone(),
        renewed: None,
        issued: Some(request.now),
        client: consented.client.clone(),
    };
    Ok(StoredRefresh {
        hash: server.store.keyed_hash("refresh", refresh.as_bytes()),
        family: chain.id.clone(),
        client: request.client.id(),
        subject: chain.root.clone(),
        jkt: request.confirmation().map(|confirmation| confirmation.to_string()),
        payload: serde_json::to_value(renewable).map_err(Fault::new)?,
        expires: request.now.plus(server.settings.refresh_idle).min(consented.until),
        generation: 0,
        current: true,
    })
}
