//! Asking policy whether a delegation may happen.
//!
//! Implements TK-09: Cedar is asked after every protocol check and before anything is issued. It can only take away.

use remit_model::{
    Agent, AgentStatus, Authority, Chain, Code, Human, HumanStatus, Principal, PrincipalKind, Refusal, TenantId, UnixTime,
};
use remit_policy::{Action, Bundle, Decision, Party, Question};
use remit_store::{Batch, Change, Snapshot};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// A delegation that is about to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proposal<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) issuer: &'a str,
    pub(crate) snapshot: &'a Snapshot,
    /// The chain as it was before this hop.
    pub(crate) before: &'a Chain,
    pub(crate) delegate: &'a Principal,
    pub(crate) authority: &'a Authority,
    pub(crate) server: Option<&'a remit_model::Server>,
    pub(crate) purpose: Option<&'a str>,
    pub(crate) expires: UnixTime,
    pub(crate) auth_time: Option<UnixTime>,
    pub(crate) now: UnixTime,
}

/// What was asked and answered; the record keeps both.
#[derive(Clone, Debug)]
pub(crate) struct PolicyCheck {
    /// The bundle that answered, so that its bytes can be pinned with the record.
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) question: Question,
    pub(crate) decision: Decision,
}

impl PolicyCheck {
    pub(crate) fn allow(&self) -> Result<(), Refusal> {
        self.decision.into_result()
    }
}

pub(crate) fn check(bundle: Arc<Bundle>, proposal: &Proposal<'_>) -> PolicyCheck {
    let before = proposal.before;
    let question = Question {
        tenant: proposal.tenant.clone(),
        issuer: proposal.issuer.to_owned(),
        principal: party(proposal.snapshot, before.holder()),
        on_behalf_of: party(proposal.snapshot, &before.root),
        chain: before.hops.iter().map(|hop| hop.delegate.sub.clone()).collect(),
        txn: Some(before.id.clone()),
        action: Action::Delegate {
            to: proposal.delegate.sub.clone(),
            depth: proposal.authority.depth().into(),
            lifetime: proposal.expires.since(proposal.now),
        },
        server: proposal.server.map(|server| server.id.clone()),
        tool: None,
        arguments: Value::Null,
        authority_digest: proposal.authority.digest(),
        purpose: proposal.purpose.map(str::to_owned),
        now: proposal.now,
        auth_age: proposal.auth_time.map(|at| proposal.now.since(at)),
    };
    let decision = bundle.decide(&question);
    PolicyCheck { bundle, question, decision }
}

fn party(snapshot: &Snapshot, principal: &Principal) -> Party {
    let agent = agent(snapshot, principal);
    Party {
        kind: principal.kind(),
        sub: principal.sub.clone(),
        iss: principal.iss.clone(),
        owner: agent.map(|agent| agent.owner.clone()),
        labels: agent.map_or_else(BTreeMap::new, |agent| agent.labels.clone()),
    }
}

fn agent<'a>(snapshot: &'a Snapshot, principal: &Principal) -> Option<&'a Agent> {
    snapshot.agent_named(PrincipalKind::Agent.name_in(&principal.sub)?).map(AsRef::as_ref)
}

/// The human a principal is, when it is one of ours.
pub(crate) fn human<'a>(snapshot: &'a Snapshot, principal: &Principal) -> Option<&'a Human> {
    match principal.kind() {
        PrincipalKind::Human => snapshot.human(PrincipalKind::Human.name_in(&principal.sub)?).map(AsRef::as_ref),
        PrincipalKind::Agent => None,
    }
}

/// Whether everyone in the chain may still act. SPEC: DC-13, RT-05, N-TX-16
pub(crate) fn able(snapshot: &Snapshot, chain: &Chain) -> Result<(), Refusal> {
    everyone(chain).try_for_each(|principal| ceiling(snapshot, principal).map(drop))
}

/// The same, and the most they may do now. SPEC: DC-07
pub(crate) fn standing(snapshot: &Snapshot, chain: &Chain, held: &Authority) -> Result<Authority, Refusal> {
    let mut most = held.clone();
    for principal in everyone(chain) {
        most = most.meet(ceiling(snapshot, principal)?);
    }
    Ok(most)
}

fn everyone(chain: &Chain) -> impl Iterator<Item = &Principal> {
    std::iter::once(&chain.root).chain(chain.hops.iter().map(|hop| &hop.delegate))
}

/// What this principal may do at most; an error when it may not act at all.
pub(crate) fn ceiling<'s>(snapshot: &'s Snapshot, principal: &Principal) -> Result<&'s Authority, Refusal> {
    let unknown = || Refusal::new(Code::TokenRevoked, format!("`{}` is not registered here", principal.sub));
    match principal.kind() {
        PrincipalKind::Human => {
            let human = human(snapshot, principal).ok_or_else(unknown)?;
            if human.status != HumanStatus::Active {
                return Err(Refusal::new(Code::HumanDisabled, "the person whose authority this is has been disabled"));
            }
            Ok(&human.entitlements)
        }
        PrincipalKind::Agent => {
            let agent = agent(snapshot, principal).ok_or_else(unknown)?;
            require_active(agent)?;
            Ok(&agent.ceiling)
        }
    }
}

/// Refuses an agent that is quarantined or retired. SPEC: DC-13
pub(crate) fn require_active(agent: &Agent) -> Result<(), Refusal> {
    match agent.status {
        AgentStatus::Active => Ok(()),
        AgentStatus::Quarantined => Err(Refusal::new(Code::AgentQuarantined, format!("`{}` is quarantined", agent.id.subject()))),
        AgentStatus::Retired => Err(Refusal::new(Code::AgentRetired, format!("`{}` is retired", agent.id.subject()))),
    }
}

/// Which policy sets this process has pinned in the ledger directory already.
#[derive(Debug, Default)]
pub(crate) struct Pinned(Mutex<HashSet<String>>);

impl Pinned {
    pub(crate) fn pin(&self, check: &PolicyCheck, batch: Batch) -> Batch {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&check.decision.policy_set_digest);
        if known {
            return batch;
        }
        batch
            .change(Change::PutObject(check.bundle.pinned()))
            .change(Change::PutObject(check.bundle.schema().as_bytes().to_vec()))
    }

    pub(crate) fn kept(&self, digest: Option<String>) {
        if let Some(digest) = digest {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        }
    }
}
