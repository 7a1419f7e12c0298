//! `authorization_code`: what a person agreed to becomes the first hop of a chain.
//!
//! Implements RFC 6749 §4.1.3, RFC 7636 §4.6; rules AC-01 to AC-06, AZ-13, DP-13, DC-04. The edge proof of the hop is the
//! ID token we sign for the person: its `urn:remit:consent` is the digest of what the page showed.

use crate::{
    Server,
    grants::{
        attempt::Attempt,
        consented::{self, Consented, Renewable},
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
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_ledger::record::{HumanInLoop, RecordType};
use remit_model::{Chain, Code, EdgeProof, Fault, Hop, Principal, Refusal, json};
use remit_store::{Batch, Change, Revocation, StoredCode, StoredRefresh};
use remit_token::id_token;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

/// Life of the ID token, in seconds.
const ID_TOKEN: i64 = 600;

pub(crate) async fn redeem(request: TokenRequest<'_>, attempt: &mut Attempt) -> Result<Value, Rejection> {
    let server = request.server;
    let presented = request.form.required("code")?;
    attempt.entry.fact("code_hash", hash(presented));
    let stored = server.store.code(server.store.keyed_hash("code", presented.as_bytes())).await.map_err(Fault::new)?;
    let (stored, consented) = check(&request, attempt, stored)?;
    let root = Chain::new(server.entropy.token(16), Principal::human(&server.issuer, &consented.user));
    attempt.entry.chain = Some(root.clone());
    attempt.entry.purpose.clone_from(&consented.purpose);
    attempt.entry.human_in_loop = HumanInLoop::Approved;
    attempt.entry.fact("consent", consented.digest.clone());

    let asked = RequestedAuthority::read(request.form, &server.servers)?;
    let (target, authority) = consented::pick(&request, &asked, &consented.targets, &consented.authority, consented.openid)?;
    let jti = server.token_id();
    let id_token = id_token(&request, &consented)?;
    let chain = hand_over(&request, attempt, root, &consented, &target, (&jti, &id_token))?;
    attempt.entry.chain = Some(chain.clone());
    let grant = Grant {
        record_type: RecordType::Delegation,
        authority,
        target,
        client: request.client.id(),
        jkt: request.proof.jkt().to_owned(),
        jti,
        ancestors: Vec::new(),
        issued: request.now,
        expires: asked.end(request.now, server.settings.access_token, Some(consented.until))?,
        auth_time: Some(consented.auth_time),
        openid: consented.openid,
        family: Some(chain.id.clone()),
        purpose: consented.purpose.clone(),
        chain,
    };
    let refresh = server.entropy.token(32);
    let batch = Batch::new(server.tenant.clone())
        .use_code(stored.hash, grant.chain.id.clone())
        .change(Change::PutRefresh(first_refresh(server, &refresh, &grant, &consented)?));
    let mut body = issue::issue(server, attempt, &grant, batch).await?;
    if let Some(members) = body.as_object_mut() {
        members.insert("refresh_token".to_owned(), json!(refresh));
        if consented.openid {
            members.insert("id_token".to_owned(), json!(id_token));
        }
    }
    Ok(body)
}

/// The first hop, if what was agreed to is still the person's to give and policy agrees. SPEC: DC-07, TK-09
fn hand_over(
    request: &TokenRequest<'_>,
    attempt: &mut Attempt,
    root: Chain,
    consented: &Consented,
    target: &Target,
    (jti, id_token): (&str, &str),
) -> Result<Chain, Refusal> {
    let server = request.server;
    let delegate = Principal::agent(&server.issuer, &request.client.agent.id);
    let most = policy_check::standing(&request.snapshot, &root, policy_check::ceiling(&request.snapshot, &delegate)?)?;
    consented.authority.within(&most).map_err(|wider| {
        Refusal::new(Code::GrantInvalid, format!("what was agreed to is not the person's to give any more: {}", wider.reason))
    })?;
    let check = policy_check::check(
        server.policy.current(),
        &Proposal {
            tenant: &server.tenant,
            issuer: &server.issuer,
            snapshot: &request.snapshot,
            before: &root,
            delegate: &delegate,
            authority: &consented.authority,
            server: target.server(),
            purpose: consented.purpose.as_deref(),
            expires: consented.until,
            auth_time: Some(consented.auth_time),
            now: request.now,
        },
    );
    let verdict = check.allow();
    attempt.entry.check = Some(check);
    verdict?;
    let hop = Hop {
        delegator: root.root.clone(),
        delegate,
        jkt: request.proof.jkt().to_owned(),
        authority: consented.authority.clone(),
        purpose: consented.purpose.clone(),
        expires: consented.until,
        jti: jti.to_owned(),
        edge: EdgeProof::IdToken(id_token.to_owned()),
    };
    root.extend(hop, server.settings.chain_depth)
}

/// SPEC: AC-01 to AC-05. What a wrong attempt costs is put into the attempt: a failure counted, or the family's end.
fn check(
    request: &TokenRequest<'_>,
    attempt: &mut Attempt,
    stored: Option<StoredCode>,
) -> Result<(StoredCode, Consented), Rejection> {
    let invalid = |reason: &str| Rejection::Refusal(Refusal::new(Code::GrantInvalid, reason));
    let stored = stored.filter(|stored| stored.client == request.client.id()).ok_or_else(|| invalid("the code is not known"))?;
    let consented: Consented = serde_json::from_value(stored.payload.clone()).map_err(Fault::new)?;
    if stored.expires <= request.now {
        return Err(invalid("the code has expired"));
    }
    if stored.failures >= request.server.settings.code_attempts {
        return Err(invalid("the code was tried wrongly too often"));
    }
    // From here on a wrong attempt counts, unless the code is used up anyway. SPEC: N-AC-02
    if stored.used.is_none() {
        attempt.on_refusal.push(Change::FailCode(stored.hash));
    }
    if request.form.one("redirect_uri").is_some_and(|uri| uri != consented.redirect_uri) {
        return Err(Refusal::new(Code::RedirectUriMismatch, "`redirect_uri` is not the one of the request").into());
    }
    verifier(request.form.one("code_verifier"), &consented.challenge)?;
    if consented.dpop_jkt.as_deref().is_some_and(|jkt| jkt != request.proof.jkt()) {
        return Err(Refusal::new(Code::DpopKeyMismatch, "the code is bound to another proof key").into());
    }
    request.redeems().inspect_err(|_| {
        // A proof that cannot be taken says nothing of the code.
        attempt.on_refusal.retain(|change| !matches!(change, Change::FailCode(_)));
    })?;
    // SPEC: AC-04: only a replay that is right in everything else ends what the code gave.
    if let Some(txn) = &stored.used {
        let until = consented.until.plus(request.server.settings.access_token);
        attempt.entry.fact("revoked_txn", txn.clone());
        attempt.on_refusal = vec![
            Change::Revoke { what: Revocation::Txn(txn.clone()), until },
            Change::Revoke { what: Revocation::Family(txn.clone()), until },
        ];
        return Err(invalid("the code was used before; everything it gave is revoked"));
    }
    attempt.on_refusal.clear();
    Ok((stored, consented))
}

/// SPEC: AC-02, N-AC-05, N-AC-06
fn verifier(verifier: Option<&str>, challenge: &str) -> Result<(), Refusal> {
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

/// The person's signed consent: the edge proof of the first hop, and the ID token when `openid` was asked.
fn id_token(request: &TokenRequest<'_>, consented: &Consented) -> Result<String, Fault> {
    let claims = id_token::Claims {
        iss: request.server.issuer.clone(),
        sub: format!("user:{}", consented.user),
        aud: request.client.id(),
        nonce: consented.nonce.clone(),
        iat: request.now,
        exp: request.now.plus(ID_TOKEN),
        auth_time: Some(consented.auth_time),
        acr: None,
        consent: Some(consented.digest.clone()),
    };
    id_token::mint(&request.server.keys.signing, &claims)
}

fn first_refresh(server: &Server, refresh: &str, grant: &Grant, consented: &Consented) -> Result<StoredRefresh, Fault> {
    let renewable = Renewable {
        chain: grant.chain.clone(),
        targets: consented.targets.clone(),
        openid: consented.openid,
        auth_time: consented.auth_time,
        until: consented.until,
        purpose: consented.purpose.clone(),
    };
    Ok(StoredRefresh {
        hash: server.store.keyed_hash("refresh", refresh.as_bytes()),
        family: grant.chain.id.clone(),
        client: grant.client.clone(),
        subject: grant.chain.root.clone(),
        jkt: grant.jkt.clone(),
        payload: serde_json::to_value(renewable).map_err(Fault::new)?,
        expires: grant.issued.plus(server.settings.refresh_idle).min(consented.until),
        generation: 0,
        current: true,
    })
}
