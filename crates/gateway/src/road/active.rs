//! Who may act now, and how much at most: what the snapshot says of the parties of a chain.
//!
//! SPEC: DC-13. Pure: everything is looked up in the snapshot that is handed in.

use remit_model::{
    Agent, Authority, Human, HumanStatus,
    agent::AgentStatus,
    id::{Principal, PrincipalKind},
    refusal::{Code, Refusal},
};
use remit_store::Snapshot;
use remit_token::access::AccessToken;
use std::sync::Arc;

/// Whether everyone the authority came through may still act. SPEC: DC-13.
///
/// # Errors
/// `token_revoked`, `agent_quarantined` or `agent_retired` naming the agent, `client_unknown`, `human_disabled`.
pub(crate) fn chain_active(snapshot: &Snapshot, token: &AccessToken, parties: &[Principal], issuer: &str) -> Result<(), Refusal> {
    if snapshot.is_revoked(&token.jti, token.ancestors.iter().map(String::as_str), &token.txn) {
        return Err(Refusal::new(Code::TokenRevoked, "the token, or one it descends from, was revoked"));
    }
    for party in parties {
        if party.iss != issuer {
            return Err(Refusal::new(Code::ClientUnknown, format!("`{}` of another issuer is not known here", party.sub)));
        }
        party_active(snapshot, party)?;
    }
    Ok(())
}

/// Whether a party of our own issuer may act at all.
///
/// # Errors
/// `agent_quarantined`, `agent_retired`, `client_unknown`, `human_disabled`.
pub(crate) fn party_active(snapshot: &Snapshot, party: &Principal) -> Result<(), Refusal> {
    match party.kind() {
        PrincipalKind::Human => human(snapshot, party),
        PrincipalKind::Agent => agent(snapshot, party),
    }
}

fn human(snapshot: &Snapshot, party: &Principal) -> Result<(), Refusal> {
    match person(snapshot, party) {
        Some(human) if human.status == HumanStatus::Active => Ok(()),
        _ => Err(Refusal::new(Code::HumanDisabled, format!("`{}` may no longer act or delegate", party.sub))),
    }
}

fn agent(snapshot: &Snapshot, party: &Principal) -> Result<(), Refusal> {
    let agent = registered(snapshot, party);
    match agent.map(|agent| agent.status) {
        Some(AgentStatus::Active) => Ok(()),
        Some(AgentStatus::Quarantined) => Err(Refusal::new(
            Code::AgentQuarantined,
            format!("`{}` is quarantined, and with it everything it handed on", party.sub),
        )),
        Some(AgentStatus::Retired) => Err(Refusal::new(Code::AgentRetired, format!("`{}` is retired", party.sub))),
        None => Err(Refusal::new(Code::ClientUnknown, format!("`{}` is not registered", party.sub))),
    }
}

/// The registered agent that a principal names.
pub(crate) fn registered<'w>(snapshot: &'w Snapshot, party: &Principal) -> Option<&'w Arc<Agent>> {
    snapshot.agent_named(PrincipalKind::Agent.name_in(&party.sub)?)
}

/// The account that a principal names.
pub(crate) fn person<'w>(snapshot: &'w Snapshot, party: &Principal) -> Option<&'w Arc<Human>> {
    snapshot.human(PrincipalKind::Human.name_in(&party.sub)?)
}

/// An authority as far as everyone it came through may hold it now.
pub(crate) fn within_limits(snapshot: &Snapshot, mut authority: Authority, parties: &[Principal]) -> Authority {
    for party in parties {
        authority = most(snapshot, party).map_or_else(Authority::none, |most| authority.meet(most));
    }
    authority
}

/// The most a party may have: an agent's ceiling, a human's entitlements.
pub(crate) fn most<'w>(snapshot: &'w Snapshot, party: &Principal) -> Option<&'w Authority> {
    match party.kind() {
        PrincipalKind::Human => person(snapshot, party).map(|human| &human.entitlements),
        PrincipalKind::Agent => registered(snapshot, party).map(|agent| &agent.ceiling),
    }
}
