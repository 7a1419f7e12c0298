//! The rule of token exchange, pure: the chain grows by one, authority narrows, policy agrees.
//!
//! Implements RFC 8693; rules TX-02 to TX-07, DC-02, DC-03, DC-05 (6), DC-07, DC-08, DC-10, DC-13. Evidence has been verified
//! before.

use crate::{
    grants::{
        requested::{RequestedAuthority, Target, Targets},
        token_exchange::evidence::{ExchangeKind, ProvenDelegation},
    },
    policy_check::{self, PolicyCheck, Proposal},
    tokens::issue::Grant,
};
use remit_ledger::record::RecordType;
use remit_model::{Authority, Chain, Code, EdgeProof, Hop, Refusal, TenantId, UnixTime};
use remit_policy::Bundle;
use remit_store::{Snapshot, StoredToken};
use std::sync::Arc;

/// Everything the rule looks at besides the request.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) issuer: &'a str,
    pub(crate) servers: &'a [Arc<remit_model::Server>],
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) policy: Arc<Bundle>,
    /// Longest life of an access token.
    pub(crate) access_token: i64,
    pub(crate) chain_depth: usize,
    pub(crate) now: UnixTime,
}

/// A verified request: whose authority, which step, what is asked.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    /// The token the authority comes from, as we issued it.
    pub(crate) parent: &'a StoredToken,
    /// `jti` of the parent's own ancestors, nearest first.
    pub(crate) ancestors: &'a [String],
    pub(crate) auth_time: Option<UnixTime>,
    /// What the parent's token is for.
    pub(crate) purpose: Option<&'a str>,
    pub(crate) step: &'a ExchangeKind,
    pub(crate) asked: &'a RequestedAuthority,
    /// `jti` of the token to be issued.
    pub(crate) jti: &'a str,
    pub(crate) client: &'a str,
}

/// What came of it. The consultation is part of the record whether it allowed or not.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) check: Option<PolicyCheck>,
    pub(crate) grant: Result<Grant, Refusal>,
}

/// The whole rule. SPEC: TX-02 to TX-07, DC-02, DC-03, DC-05 (6), DC-07, DC-08, DC-10, DC-13
pub(crate) fn exchange(world: &World<'_>, ask: &Exchange<'_>) -> Outcome {
    let mut check = None;
    let grant = decide(world, ask, &mut check);
    Outcome { check, grant }
}

fn decide(world: &World<'_>, ask: &Exchange<'_>, check: &mut Option<PolicyCheck>) -> Result<Grant, Refusal> {
    let parent = ask.parent;
    policy_check::able(world.snapshot, &parent.chain)?;
    let terms = terms(world, ask)?;
    let (chain, jkt, record_type) = match ask.step {
        ExchangeKind::Narrow => (parent.chain.clone(), parent.jkt.clone(), RecordType::Token),
        ExchangeKind::ProvenDelegation(hand) => {
            let chain = hand_over(world, ask, hand, &terms, check)?;
            (chain, hand.jkt.clone(), RecordType::Delegation)
        }
    };
    let Terms { authority, target, expires, purpose } = terms;
    Ok(Grant {
        record_type,
        chain,
        authority,
        target,
        client: ask.client.to_owned(),
        jkt,
        jti: ask.jti.to_owned(),
        ancestors: std::iter::once(parent.jti.clone()).chain(ask.ancestors.iter().cloned()).collect(),
        issued: world.now,
        expires,
        // SPEC: DC-15: copied, never refreshed.
        auth_time: ask.auth_time,
        openid: false,
        family: parent.family.clone(),
        purpose,
    })
}

/// What is handed over, where it counts, until when and what for.
struct Terms {
    authority: Authority,
    target: Target,
    expires: UnixTime,
    purpose: Option<String>,
}

/// SPEC: TX-04, TX-05
fn terms(world: &World<'_>, ask: &Exchange<'_>) -> Result<Terms, Refusal> {
    let parent = ask.parent;
    let held = held(ask.step, &parent.authority)?;
    let targets = Targets { issuer: world.issuer, servers: world.servers, snapshot: world.snapshot };
    let target = ask.asked.target(&targets, &held, Some(&parent.audience))?;
    let authority = bounded(world, ask, &ask.asked.under(&held, &target)?)?;
    let end = ask.step.expires().map_or(parent.expires, |stated| stated.min(parent.expires));
    Ok(Terms {
        authority,
        target,
        expires: ask.step.cap(ask.asked.end(world.now, world.access_token, Some(end))?),
        purpose: purpose(ask)?,
    })
}

/// What the result is for. Policies decide by it, so only who hands authority over says it: a holder that narrows its own
/// token, and a sub-agent that brings its parent's evidence, keep what was said. An agent on its own account speaks for
/// itself. SPEC: DC-07
fn purpose(ask: &Exchange<'_>) -> Result<Option<String>, Refusal> {
    let free = match ask.step {
        ExchangeKind::Narrow => ask.parent.chain.hops.is_empty(),
        ExchangeKind::ProvenDelegation(hand) => matches!(hand.edge, EdgeProof::DpopAtToken(_)) && ask.step.purpose().is_none(),
    };
    let kept = ask.step.purpose().or(ask.purpose);
    match ask.asked.purpose.as_deref() {
        Some(asked) if !free && kept != Some(asked) => {
            Err(Refusal::new(Code::RequestMalformed, "`purpose` is not the one this authority was handed over for"))
        }
        asked => Ok(asked.or(kept).map(str::to_owned)),
    }
}

/// The chain with its new hop, if it may grow so and policy agrees. SPEC: DC-03, DC-08, TK-09
fn hand_over(
    world: &World<'_>,
    ask: &Exchange<'_>,
    hand: &ProvenDelegation,
    terms: &Terms,
    check: &mut Option<PolicyCheck>,
) -> Result<Chain, Refusal> {
    let before = &ask.parent.chain;
    let hop = Hop {
        delegator: before.holder().clone(),
        delegate: hand.delegate.clone(),
        jkt: hand.jkt.clone(),
        authority: terms.authority.clone(),
        purpose: terms.purpose.clone(),
        expires: terms.expires,
        jti: ask.jti.to_owned(),
        edge: hand.edge.clone(),
    };
    let chain = before.clone().extend(hop, world.chain_depth)?;
    let answer = policy_check::check(
        Arc::clone(&world.policy),
        &Proposal {
            tenant: world.tenant,
            issuer: world.issuer,
            snapshot: world.snapshot,
            before,
            delegate: &hand.delegate,
            authority: &terms.authority,
            server: terms.target.server(),
            purpose: terms.purpose.as_deref(),
            expires: terms.expires,
            auth_time: ask.auth_time,
            now: world.now,
        },
    );
    let verdict = answer.allow();
    *check = Some(answer);
    verdict.map(|()| chain)
}

/// What the parent may give in this step: all it holds when it narrows its own token, else the part that its grants let
/// it hand to this very child, and no more than it stated. SPEC: DC-05 (6), DC-10
fn held(step: &ExchangeKind, authority: &Authority) -> Result<Authority, Refusal> {
    match step {
        ExchangeKind::Narrow => Ok(authority.clone()),
        ExchangeKind::ProvenDelegation(hand) => {
            let delegable = authority.delegable_to(&hand.delegate)?;
            match &hand.stated {
                Some(stated) => {
                    stated.authority.within(&delegable)?;
                    Ok(stated.authority.clone())
                }
                None => Ok(delegable),
            }
        }
    }
}

/// No more than everyone in the chain, and the child itself, may do at this moment. SPEC: DC-07, TX-04
fn bounded(world: &World<'_>, ask: &Exchange<'_>, authority: &Authority) -> Result<Authority, Refusal> {
    let mut most = policy_check::standing(world.snapshot, &ask.parent.chain, authority)?;
    if let ExchangeKind::ProvenDelegation(hand) = ask.step {
        most = most.meet(policy_check::ceiling(world.snapshot, &hand.delegate)?);
    }
    if most.is_none() && !authority.is_none() {
        return Err(Refusal::new(Code::AuthorityEmpty, "nothing that is asked for is within what everyone in the chain may do"));
    }
    Ok(most)
}
