//! ID-JAG, the issuing side: an assertion with which an agent gets a person's token at another authorization server.
//!
//! Implements draft-ietf-oauth-identity-assertion-authz-grant-04 §4 as a token exchange; rules IJ-01 to IJ-08. The configuration
//! says which servers, resources, scopes and agents there are; the person's entitlements and the agent's ceiling bound the
//! scopes at the resource; policies are asked as for any delegation. What is issued is no token of ours: nothing here takes it.

use crate::{
    Server,
    grants::{
        attempt::Attempt,
        consented::{self, Renewable},
        outcome::{Facts, IssuedFrom},
        request::TokenRequest,
    },
    http::error::{self, At, Rejection},
    issuers::AssertionAudience,
    policy_check::{self, Checked, Delegation, PolicyCheck},
    tokens::{
        issue,
        record::{Entry, hash},
    },
};
use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode},
};
use remit_decide::{
    Principals,
    active::{self, TokenIds},
    effective,
};
use remit_ledger::record::RecordType;
use remit_model::{Authentication, Authority, Chain, Code, Fault, Principal, Refusal};
use remit_store::{Batch, KeyedHash, Precondition};
use remit_token::{
    Actor, Skew,
    id_jag::{self, Claims, Confirmation, TOKEN_TYPE},
    id_token,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";
/// How long an assertion is good, in seconds. SPEC: IJ-03
const LIFETIME: i64 = 300;

/// Whether the request is for an ID-JAG, and they are issued here.
pub(super) fn is_asked(at: At, request: &TokenRequest<'_>) -> bool {
    at == At::IdJag && !request.server.settings.assertion_audiences.is_empty()
}

/// Decides, commits the record, and answers.
pub(super) async fn answer(headers: &HeaderMap, attempt: &Attempt, request: &TokenRequest<'_>) -> Response<Body> {
    let server = request.server;
    let mut asked = Asked { facts: Facts::default(), check: None };
    match issue(attempt, request, &mut asked).await {
        Ok(body) => error::json_response(StatusCode::OK, &body),
        Err(rejection) => {
            let entry = Entry { tenant: &server.tenant, attempt, facts: &asked.facts, check: asked.check.as_ref() };
            issue::refuse(server, headers, entry, Vec::new(), rejection).await
        }
    }
}

/// What is known of the request when it ends, however it ends.
struct Asked {
    facts: Facts,
    check: Option<PolicyCheck>,
}

/// The person's chain as it was agreed to with this agent.
struct Subject {
    chain: Chain,
    authentication: Option<Authentication>,
    /// The refresh token that it was read from; it must still be the current one at the commit.
    refresh: Option<KeyedHash>,
    /// What the assertion is issued from.
    from: IssuedFrom,
}

async fn issue(attempt: &Attempt, request: &TokenRequest<'_>, asked: &mut Asked) -> Result<Value, Rejection> {
    let server = request.server;
    // SPEC: IJ-02
    request.client.confidential()?;
    if request.form.has("actor_token") || request.form.has("actor_token_type") {
        return Err(Refusal::new(Code::RequestMalformed, "an ID-JAG is for the agent that calls, without `actor_token`").into());
    }
    let (audience, client_id) = audience(request)?;
    let (resource, wanted) = (resource(request, audience)?, scopes(request, audience)?);
    let subject = subject(request).await?;
    asked.facts.chain = Some(subject.chain.clone());
    let agent = Principal::agent(&server.issuer, &request.client.agent.id);
    let signed_in = subject.authentication.as_ref().map(|how| how.time);
    let principals = Principals::new(&server.issuer, &request.snapshot).since(signed_in);
    let place = resource.unwrap_or(&audience.issuer);
    let most = Authority::parse(&json!([{"type": "tool_access", "locations": [place], "actions": wanted}]))?;
    let authority = effective::bounded(principals, [&subject.chain.root, &agent], &most)?;
    let held = authority.actions_at(place);
    let granted: Vec<&str> = wanted.iter().copied().filter(|scope| held.contains(scope)).collect();
    if granted.is_empty() {
        let reason = format!("none of the scopes at {place} is within what the person and the agent may do");
        return Err(Refusal::new(Code::AuthorityEmpty, reason).into());
    }
    let expires = request.now.plus(LIFETIME.min(request.longest()));
    let root = Chain::new(subject.chain.id.clone(), subject.chain.root.clone());
    let delegation = Delegation {
        before: &root,
        to: &agent,
        authority: &authority,
        server: None,
        purpose: None,
        expires,
        authentication: subject.authentication.as_ref(),
        // What the person signed is what the agent may do here, not at the other server.
        root_signed: false,
    };
    let Checked { allowed, check } = policy_check::check(server, &request.snapshot, &delegation, request.now);
    asked.check = check;
    allowed?;
    let (jti, scope) = (server.entropy.token(16), granted.join(" "));
    let act = audience.act.then(|| actor(&agent));
    let claims = Claims {
        iss: &server.issuer,
        sub: &subject.chain.root.sub,
        aud: &audience.issuer,
        client_id,
        jti: &jti,
        iat: request.now,
        exp: expires,
        scope: &scope,
        resource,
        authentication: subject.authentication.as_ref(),
        cnf: Confirmation { jkt: request.proven()?.jkt() },
        act,
    };
    let key = server.signing_key(request.now)?;
    let assertion = id_jag::mint(&key, &claims)?;
    record(attempt, request, asked, &subject, (&claims, key.public().thumbprint())).await?;
    Ok(json!({
        "access_token": assertion, "issued_token_type": TOKEN_TYPE, "token_type": "N_A", "expires_in": expires.since(request.now), "scope": scope,
    }))
}

/// The agent as the assertion's `act`. SPEC: IJ-08
fn actor(agent: &Principal) -> Actor {
    Actor { iss: agent.iss.clone(), sub: agent.sub.clone(), sub_profile: "ai_agent".to_owned(), act: None }
}

/// The record of an assertion, and what must hold when it is written. SPEC: TK-10, DC-13, IR-07
async fn record(
    attempt: &Attempt,
    request: &TokenRequest<'_>,
    asked: &mut Asked,
    subject: &Subject,
    (claims, kid): (&Claims<'_>, &str),
) -> Result<(), Rejection> {
    let server = request.server;
    let facts = std::mem::take(&mut asked.facts)
        .fact("assertion_jti_hash", hash(claims.jti))
        .fact("assertion_audience", claims.aud)
        .fact("assertion_client", claims.client_id)
        .fact("assertion_scope", claims.scope)
        .fact("expires", json!(claims.exp));
    asked.facts = match claims.resource {
        Some(resource) => facts.fact("assertion_resource", resource),
        None => facts,
    };
    let signed_in = subject.authentication.as_ref().map(|how| how.time);
    let principals = Principals::new(&server.issuer, &request.snapshot).since(signed_in);
    let IssuedFrom { criteria, issued } = &subject.from;
    let keys = [kid.to_owned()];
    let source = TokenIds { txn: &subject.chain.id, keys: &keys, criteria, issued: *issued, ..TokenIds::none(request.now) };
    let standing = active::at_commit(principals, subject.chain.parties(), &source)?;
    let entry = Entry { tenant: &server.tenant, attempt, facts: &asked.facts, check: asked.check.as_ref() };
    let batch = Batch::new(server.tenant.clone()).require(standing);
    let batch = subject.refresh.into_iter().fold(batch, |batch, refresh| batch.require(Precondition::RefreshCurrent(refresh)));
    let batch = batch.record(entry.happened(RecordType::Delegation));
    issue::commit(server, &attempt.once, asked.check.as_ref(), batch).await?;
    Ok(())
}

/// The other server, and the agent's client id there. SPEC: IJ-01, IJ-05, N-IJ-02
fn audience<'a>(request: &TokenRequest<'a>) -> Result<(&'a AssertionAudience, &'a str), Refusal> {
    let unknown = || Refusal::new(Code::ResourceUnknown, "`audience` must be one issuer that this agent may get assertions for");
    let mut named = request.form.all("audience");
    let (Some(issuer), None) = (named.next(), named.next()) else { return Err(unknown()) };
    let server: &'a Server = request.server;
    let audience = server.settings.assertion_audiences.iter().find(|known| known.issuer == issuer).ok_or_else(unknown)?;
    let client = audience.clients.get(&request.client.agent.id).ok_or_else(unknown)?;
    Ok((audience, client))
}

/// The resource that the assertion is bound to: one behind the audience. SPEC: IJ-05
fn resource<'a>(request: &TokenRequest<'_>, audience: &'a AssertionAudience) -> Result<Option<&'a str>, Refusal> {
    let known = &audience.resources;
    let mut named = request.form.all("resource");
    match (named.next(), named.next()) {
        (None, _) if known.len() <= 1 => Ok(known.first().map(String::as_str)),
        (Some(one), None) => known
            .get(one)
            .map(|uri| Some(uri.as_str()))
            .ok_or_else(|| Refusal::new(Code::ResourceUnknown, "`resource` is not behind this `audience`")),
        _ => Err(Refusal::new(Code::ResourceUnknown, "name one `resource`")),
    }
}

/// The scopes that are asked for; all of the audience's where none is named.
fn scopes<'a>(request: &TokenRequest<'_>, audience: &'a AssertionAudience) -> Result<Vec<&'a str>, Refusal> {
    let Some(asked) = request.form.one("scope") else { return Ok(audience.scopes.iter().map(String::as_str).collect()) };
    let unknown = || Refusal::new(Code::ScopeUnknown, "`scope` names what is not configured for this `audience`");
    let asked: BTreeSet<&str> = asked.split(' ').filter(|scope| !scope.is_empty()).collect();
    asked.into_iter().map(|scope| audience.scopes.get(scope).map(String::as_str).ok_or_else(unknown)).collect()
}

/// The person, by an ID token or a refresh token that this agent was given. SPEC: IJ-01, IJ-02, IJ-07, N-IJ-01
async fn subject(request: &TokenRequest<'_>) -> Result<Subject, Rejection> {
    let presented = request.form.required("subject_token")?;
    let subject = match request.form.required("subject_token_type")? {
        ID_TOKEN => by_id_token(request, presented).await?,
        REFRESH_TOKEN => by_refresh_token(request, presented).await?,
        _ => return Err(Refusal::new(Code::TokenTypeWrong, "`subject_token_type` must be id_token or refresh_token").into()),
    };
    if request.snapshot.is_revoked("", [], &subject.chain.id) {
        return Err(Refusal::new(Code::TokenRevoked, "this delegation was revoked").into());
    }
    subject.from.still_counts(&request.snapshot)?;
    if subject.chain.hops.last().is_some_and(|hop| hop.expires <= request.now) {
        return Err(Refusal::new(Code::GrantInvalid, "what the person agreed to has ended").into());
    }
    if subject.chain.holder().sub != request.client.id() {
        return Err(Refusal::new(Code::ChainSpliced, "the subject token is held by another agent").into());
    }
    Ok(subject)
}

async fn by_id_token(request: &TokenRequest<'_>, presented: &str) -> Result<Subject, Rejection> {
    let server = request.server;
    let client_id = request.client.id();
    let expect = id_token::Expect { issuer: &server.issuer, client_id: &client_id, nonce: None };
    let token = id_token::verify(presented, &server.published_keys(request.now), &expect, request.now, Skew::NONE)?;
    let unknown = || Refusal::new(Code::TokenRevoked, "the delegation of this ID token is not known here any more");
    let jti = token.jti.as_deref().ok_or_else(unknown)?;
    let stored = server.store.token(jti).await.map_err(Fault::new)?.ok_or_else(unknown)?;
    let authentication = token.auth_time.map(|time| Authentication { time, acr: token.acr.clone(), amr: token.amr.clone() });
    let from = IssuedFrom { criteria: stored.criteria(), issued: stored.issued };
    Ok(Subject { chain: stored.chain.clone(), authentication, refresh: None, from })
}

/// SPEC: IJ-02: as a refresh is checked, without rotating.
async fn by_refresh_token(request: &TokenRequest<'_>, presented: &str) -> Result<Subject, Rejection> {
    let store = &request.server.store;
    let invalid = || Refusal::new(Code::GrantInvalid, "the refresh token is not known, not current, or has expired");
    let refresh = store.keyed_hash("refresh", presented.as_bytes());
    let stored = store.refresh(refresh).await.map_err(Fault::new)?;
    let fits = |stored: &remit_store::StoredRefresh| {
        stored.client == request.client.id() && stored.current && stored.expires > request.now
    };
    let stored = stored.filter(fits).ok_or_else(invalid)?;
    if stored.jkt.as_deref() != Some(request.proven()?.jkt()) {
        return Err(Refusal::new(Code::DpopKeyMismatch, "the refresh token is bound to another proof key").into());
    }
    let renewable: Renewable = serde_json::from_value(stored.payload).map_err(Fault::new)?;
    consented::same_client(request, renewable.client.as_deref())?;
    let from = renewable.source(stored.jkt.as_deref());
    Ok(Subject { chain: renewable.chain, authentication: Some(renewable.authentication), refresh: Some(refresh), from })
}
