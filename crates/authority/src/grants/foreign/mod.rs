//! Authority of a person whom a trusted issuer vouches for: the first hop of a chain, with that issuer's token as its evidence.
//!
//! Implements RFC 8693 with a foreign subject token, and RFC 7523 §2.1 for identity chaining and ID-JAG; rules TX-01 to TX-07,
//! JB-01 to JB-07, IR-01 to IR-07, DC-05, DC-15. The client that authenticates is the actor. What it gets is within the person's
//! entitlements, the agent's ceiling and what the token's scopes stand for here; policies are asked as for any delegation. The
//! token is committed beside the record, with the key that verified it, so that an auditor checks it with the issuer's key.

mod evidence;

use crate::{
    grants::{
        outcome::{Facts, Grant, IssuedFrom, Outcome},
        request::{ACCESS_TOKEN, TokenRequest},
        requested::{RequestedAuthority, Target, Targets},
    },
    http::error::Rejection,
    policy_check::{self, Checked, Delegation},
};
use evidence::Evidence;
use remit_decide::{Principals, effective};
use remit_ledger::record::RecordType;
use remit_model::{Authority, Chain, Code, Confirmation, EdgeProof, Hop, Principal, Refusal, UnixTime, authority::Holder};
use remit_token::foreign::Kind;
use serde_json::json;

/// A subject token of a trusted issuer, exchanged by the agent that it was issued to.
///
/// # Errors
/// Requests whose evidence does not verify, or a fault.
pub(crate) async fn exchange(request: &TokenRequest<'_>) -> Result<Outcome, Rejection> {
    if request.form.has("actor_token") || request.form.has("actor_token_type") {
        let reason = "the agent that calls is the actor; a subject token of another issuer comes without `actor_token`";
        return Err(Refusal::new(Code::RequestMalformed, reason).into());
    }
    let evidence = evidence::gather(request, request.form.required("subject_token")?, Kind::AccessToken).await?;
    let mut outcome = decide(request, &evidence);
    if let Ok(grant) = &mut outcome.grant {
        grant.answer.push(("issued_token_type", json!(ACCESS_TOKEN)));
    }
    Ok(outcome)
}

/// A JWT that a trusted issuer made to be a grant here. SPEC: JB-02, JB-06, JB-07
///
/// # Errors
/// Every assertion that cannot be accepted, in the same words; or a fault.
pub(crate) async fn redeem(request: &TokenRequest<'_>) -> Result<Outcome, Rejection> {
    request.client.confidential()?;
    let assertion = request.form.required("assertion")?;
    let kind = if evidence::is_id_jag(assertion) { Kind::IdJag } else { Kind::JwtGrant };
    match evidence::gather(request, assertion, kind).await {
        Ok(evidence) => Ok(decide(request, &evidence)),
        Err(refusal) if refusal.code == Code::ProviderUnreachable => Err(refusal.into()),
        // Which issuers are trusted, and what is wrong, is for the record alone.
        Err(refusal) => {
            let facts = Facts::default().fact("assertion_refused", refusal.code.as_str());
            let uniform = Refusal::new(Code::GrantInvalid, "the assertion is not acceptable here; its record says why");
            Ok(Outcome::refused(uniform, facts))
        }
    }
}

/// Rules and policies, once the evidence is verified.
fn decide(request: &TokenRequest<'_>, evidence: &Evidence) -> Outcome {
    let server = request.server;
    let root = Chain::new(server.entropy.token(16), Principal::human(&server.issuer, &evidence.account));
    let facts = Facts { chain: Some(root.clone()), subject: Some(evidence.committed()), ..Facts::default() };
    let facts = evidence.facts().into_iter().fold(facts, |facts, (name, value)| facts.fact(name, value));
    let (grant, check) = match terms(request, evidence, &root) {
        Err(refusal) => (Err(refusal), None),
        Ok(terms) => {
            let delegation = Delegation {
                before: &root,
                to: &evidence.delegate,
                authority: &terms.authority,
                server: terms.target.server(),
                purpose: None,
                expires: terms.expires,
                authentication: evidence.token.authentication.as_ref(),
                root_signed: false,
            };
            let Checked { allowed, check } = policy_check::check(server, &request.snapshot, &delegation, request.now);
            (allowed.and_then(|()| grant(request, evidence, &root, terms)), check)
        }
    };
    Outcome { grant: grant.map_err(Rejection::from), once: evidence.once.clone(), on_refusal: Vec::new(), facts, check }
}

/// What is handed over, where it counts and until when.
struct Terms {
    authority: Authority,
    target: Target,
    expires: UnixTime,
}

/// SPEC: TX-04, TX-05, IR-04, DC-13
fn terms(request: &TokenRequest<'_>, evidence: &Evidence, root: &Chain) -> Result<Terms, Refusal> {
    let server = request.server;
    let mut requested = RequestedAuthority::read(&request.form, &server.servers)?;
    if requested.purpose.is_some() {
        let reason = "only a delegator states a `purpose`, and a token of another issuer states none; leave it out";
        return Err(Refusal::new(Code::RequestMalformed, reason));
    }
    let signed_in = evidence.token.authentication.as_ref().map(|how| how.time);
    let principals = Principals::new(&server.issuer, &request.snapshot).since(signed_in);
    let handed = evidence.handed(&server.servers)?;
    let held = effective::bounded(principals, root.parties().chain([&evidence.delegate]), &handed)?;
    if held.is_none() {
        let reason = "nothing that the token's scopes stand for here is within what the person and the agent may do";
        return Err(Refusal::new(Code::AuthorityEmpty, reason));
    }
    // SPEC: N-IR-06
    let meant = evidence.resources(&server.servers)?;
    if let Some(beyond) = requested.targets.iter().find(|target| !meant.is_empty() && !meant.contains(target)) {
        return Err(Refusal::new(Code::WidensResource, format!("the assertion is not for {beyond}")));
    }
    if let ([], [one]) = (requested.targets.as_slice(), meant.as_slice()) {
        requested.targets.push(one.clone());
    }
    let targets = Targets { issuer: &server.issuer, servers: &server.servers, snapshot: &request.snapshot };
    let target = requested.target(&targets, &held, None)?;
    if !meant.is_empty() && !meant.iter().any(|uri| uri == target.uri()) {
        return Err(Refusal::new(Code::WidensResource, format!("the assertion is not for {}", target.uri())));
    }
    let authority = requested.under(&held, &target, Holder::Parent)?;
    let end = if evidence.token.kind.is_grant() { None } else { Some(evidence.token.exp) };
    let expires = requested.end(request.now, request.longest(), end)?;
    Ok(Terms { authority, target, expires })
}

fn grant(request: &TokenRequest<'_>, evidence: &Evidence, root: &Chain, terms: Terms) -> Result<Grant, Refusal> {
    let Terms { authority, target, expires } = terms;
    // SPEC: TX-06: what another issuer vouches for is bound to a key here.
    let jkt = request.proven()?.jkt().to_owned();
    let jti = request.server.token_id();
    let hop = Hop {
        delegator: root.root.clone(),
        delegate: evidence.delegate.clone(),
        jkt: Some(jkt.clone()),
        x5t: None,
        authority: authority.clone(),
        purpose: None,
        expires,
        jti: jti.clone(),
        edge: EdgeProof::ForeignToken(evidence.token.compact().to_owned()),
        signed: None,
    };
    Ok(Grant {
        record_type: RecordType::Delegation,
        chain: root.clone().extend(hop, request.server.settings.chain_depth)?,
        authority,
        target,
        client: request.client.id(),
        confirmation: Some(Confirmation::Key(jkt)),
        jti,
        ancestors: Vec::new(),
        ancestor_keys: Vec::new(),
        issued: request.now,
        from: IssuedFrom::nothing(request.now),
        expires,
        // SPEC: DC-15: copied, never refreshed.
        authentication: evidence.token.authentication.clone(),
        openid: false,
        // SPEC: RT-06, IR-02: no refresh token.
        family: None,
        purpose: None,
        signing: None,
        requires: Vec::new(),
        changes: Vec::new(),
        answer: Vec::new(),
    })
}
