//! The rule of token exchange, pure: the chain grows by one, authority narrows, policy agrees.
//!
//! Implements RFC 8693; rules TX-02 to TX-07, DC-02, DC-03, DC-05 (6), DC-07, DC-08, DC-10, DC-13. Evidence has been verified
//! before.

use crate::{
    grants::{
        empty,
        outcome::{Grant, IssuedFrom},
        requested::{RequestedAuthority, Target, Targets},
        token_exchange::evidence::{Evidence, ExchangeKind, ProvenDelegation},
    },
    policy_check::{self, Checked, Delegation, PolicyCheck},
};
use remit_decide::{Principals, active, effective};
use remit_ledger::record::RecordType;
use remit_model::{Authority, Chain, Code, Confirmation, EdgeProof, Hop, Refusal, UnixTime, authority::Holder};
use remit_policy::Bundle;
use remit_store::Snapshot;
use std::sync::Arc;

/// Everything the rule looks at besides the request.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) servers: &'a [Arc<remit_model::Server>],
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) policy: Arc<Bundle>,
    /// Longest life of an access token.
    pub(crate) access_token: i64,
    pub(crate) chain_depth: usize,
    pub(crate) now: UnixTime,
}

impl<'a> World<'a> {
    /// Who is registered, as it counts for the authority that is exchanged.
    fn principals(&self, evidence: &Evidence) -> Principals<'a> {
        Principals::new(self.issuer, self.snapshot).since(evidence.authentication.as_ref().map(|how| how.time))
    }
}

/// A verified request: whose authority, which step, what is asked.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) evidence: &'a Evidence,
    pub(crate) requested: &'a RequestedAuthority,
    /// `jti` of the token to be issued.
    pub(crate) jti: &'a str,
    pub(crate) client: &'a str,
}

/// What the rule says. The policy decision is recorded whether it permitted or not.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) grant: Result<Grant, Refusal>,
    pub(crate) check: Option<PolicyCheck>,
}

/// The whole rule.
pub(crate) fn decide(world: &World<'_>, exchange: &Exchange<'_>) -> Decided {
    let parent = &exchange.evidence.parent;
    let refused = |refusal| Decided { grant: Err(refusal), check: None };
    let terms = match terms(world, exchange) {
        Ok(terms) => terms,
        Err(refusal) => return refused(refusal),
    };
    let to = match &exchange.evidence.kind {
        // SPEC: DC-03: the holder narrows its own token, and the chain is copied unchanged.
        ExchangeKind::Narrow => {
            let bound_to = parent.jkt.as_deref().map(Confirmation::parse);
            let grant = terms.grant(world, exchange, parent.chain.clone(), bound_to, RecordType::Token);
            return Decided { grant: Ok(grant), check: None };
        }
        ExchangeKind::Delegate(to) => to,
    };
    let chain = match extend(world, exchange, to, &terms) {
        Ok(chain) => chain,
        Err(refusal) => return refused(refusal),
    };
    let Checked { allowed, check } = ask_policy(world, exchange, to, &terms);
    let grant = allowed.map(|()| terms.grant(world, exchange, chain, Some(to.bound_to.clone()), RecordType::Delegation));
    Decided { grant, check }
}

/// What is handed over, where it counts, until when and what for.
struct Terms {
    authority: Authority,
    target: Target,
    expires: UnixTime,
    purpose: Option<String>,
}

impl Terms {
    fn grant(
        self,
        world: &World<'_>,
        exchange: &Exchange<'_>,
        chain: Chain,
        confirmation: Option<Confirmation>,
        record_type: RecordType,
    ) -> Grant {
        let Evidence { parent, ancestors, authentication, requires, .. } = exchange.evidence;
        Grant {
            record_type,
            chain,
            authority: self.authority,
            target: self.target,
            client: exchange.client.to_owned(),
            confirmation,
            jti: exchange.jti.to_owned(),
            ancestors: std::iter::once(parent.jti.clone()).chain(ancestors.iter().cloned()).collect(),
            ancestor_keys: parent.keys.clone(),
            issued: world.now,
            from: IssuedFrom { criteria: parent.criteria(), issued: parent.issued },
            expires: self.expires,
            // SPEC: DC-15: copied, never refreshed.
            authentication: authentication.clone(),
            openid: false,
            family: parent.family.clone(),
            purpose: self.purpose,
            signing: None,
            requires: requires.clone(),
            changes: Vec::new(),
            answer: Vec::new(),
        }
    }
}

/// SPEC: TX-04, TX-05, DC-13
fn terms(world: &World<'_>, exchange: &Exchange<'_>) -> Result<Terms, Refusal> {
    let Exchange { evidence: Evidence { parent, kind, .. }, requested, .. } = exchange;
    active::chain(world.principals(exchange.evidence), parent.chain.parties())?;
    let held = held(kind, &parent.authority)?;
    let targets = Targets { issuer: world.issuer, servers: world.servers, snapshot: world.snapshot };
    let requested = RequestedAuthority::clone(requested).reduced_to(&held, &limit(kind, parent.chain.holder()))?;
    let target = requested.target(&targets, &held, Some(&parent.audience))?;
    let authority = bounded(world, exchange.evidence, &requested.under(&held, &target, Holder::Parent)?)?;
    let end = kind.expires().map_or(parent.expires, |stated| stated.min(parent.expires));
    Ok(Terms {
        authority,
        target,
        expires: kind.cap(requested.end(world.now, world.access_token, Some(end))?),
        purpose: purpose(exchange)?,
    })
}

/// What the result is for. Policies decide by it, so only the delegator says it: a holder that narrows its own token, and a
/// sub-agent that brings its parent's evidence, keep what was said. An agent on its own account speaks for itself.
/// SPEC: DC-07
fn purpose(exchange: &Exchange<'_>) -> Result<Option<String>, Refusal> {
    let Exchange { evidence: Evidence { parent, kind, purpose, .. }, requested, .. } = exchange;
    let free = match kind {
        ExchangeKind::Narrow => parent.chain.hops.is_empty(),
        ExchangeKind::Delegate(to) => matches!(to.edge, EdgeProof::DpopAtToken(_)) && kind.purpose().is_none(),
    };
    let kept = kind.purpose().or(purpose.as_deref());
    match requested.purpose.as_deref() {
        Some(asked) if !free && kept != Some(asked) => {
            Err(Refusal::new(Code::RequestMalformed, "`purpose` is not the one that this authority was delegated for"))
        }
        asked => Ok(asked.or(kept).map(str::to_owned)),
    }
}

/// The chain with its new hop, if it may grow so. SPEC: DC-03, DC-08
fn extend(world: &World<'_>, exchange: &Exchange<'_>, to: &ProvenDelegation, terms: &Terms) -> Result<Chain, Refusal> {
    let before = &exchange.evidence.parent.chain;
    let hop = Hop {
        delegator: before.holder().clone(),
        delegate: to.delegate.clone(),
        jkt: to.bound_to.jkt().map(str::to_owned),
        x5t: to.bound_to.x5t().map(str::to_owned),
        authority: terms.authority.clone(),
        purpose: terms.purpose.clone(),
        expires: terms.expires,
        jti: exchange.jti.to_owned(),
        edge: to.edge.clone(),
        signed: None,
    };
    before.clone().extend(hop, world.chain_depth)
}

/// SPEC: TK-09
fn ask_policy(world: &World<'_>, exchange: &Exchange<'_>, to: &ProvenDelegation, terms: &Terms) -> Checked {
    let delegation = Delegation {
        before: &exchange.evidence.parent.chain,
        to: &to.delegate,
        authority: &terms.authority,
        server: terms.target.server(),
        purpose: terms.purpose.as_deref(),
        expires: terms.expires,
        authentication: exchange.evidence.authentication.as_ref(),
        root_signed: exchange.evidence.parent.chain.root_signature().is_some(),
    };
    policy_check::ask(world.issuer, world.snapshot, Arc::clone(&world.policy), &delegation, world.now)
}

/// What the parent may give in this step: all it holds when it narrows its own token, else the part that its grants let
/// it hand to this very child, and no more than it stated. SPEC: DC-05 (6), DC-10
fn held(kind: &ExchangeKind, authority: &Authority) -> Result<Authority, Refusal> {
    match kind {
        ExchangeKind::Narrow => Ok(authority.clone()),
        ExchangeKind::Delegate(to) => {
            let delegable = authority.delegable_to(&to.delegate)?;
            match &to.stated {
                Some(stated) => {
                    stated.authority.within(&delegable)?;
                    Ok(stated.authority.clone())
                }
                None => Ok(delegable),
            }
        }
    }
}

/// What bounds this step, in words.
fn limit(kind: &ExchangeKind, holder: &remit_model::Principal) -> String {
    match kind {
        ExchangeKind::Narrow => "what the subject token holds".to_owned(),
        ExchangeKind::Delegate(to) => format!("what `{}` may delegate to `{}`", holder.sub, to.delegate.sub),
    }
}

/// No more than everyone in the chain, and the child itself, may do at this moment. SPEC: DC-07, TX-04
fn bounded(world: &World<'_>, evidence: &Evidence, authority: &Authority) -> Result<Authority, Refusal> {
    let child = match &evidence.kind {
        ExchangeKind::Narrow => None,
        ExchangeKind::Delegate(to) => Some(&to.delegate),
    };
    let most = effective::bounded(world.principals(evidence), evidence.parent.chain.parties().chain(child), authority)?;
    if most.is_none() && !authority.is_none() {
        return Err(empty::refusal(world.principals(evidence), evidence.parent.chain.parties().chain(child), authority));
    }
    Ok(most)
}
