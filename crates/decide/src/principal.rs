//! Who is registered here: looks principals up by issuer, subject and kind.
//!
//! SPEC: DC-15, N-DC-15. A subject means something only together with its issuer, so a principal of another issuer is
//! never found under a local name. This does not say whether a principal may act: see [`crate::active`].

use remit_model::{Agent, Authority, Human, Principal, PrincipalKind, UnixTime};
use remit_policy::Party;
use remit_store::Snapshot;
use std::sync::Arc;

/// The principals that one issuer registered.
#[derive(Clone, Copy, Debug)]
pub struct Principals<'w> {
    /// Our own issuer identifier.
    pub issuer: &'w str,
    /// The registry at one revision.
    pub snapshot: &'w Snapshot,
    /// When the person whose authority it is about authenticated; `None` for who is asked about by name.
    pub since: Option<UnixTime>,
}

/// A registered principal.
#[derive(Clone, Copy, Debug)]
pub enum Registered<'w> {
    /// An agent of ours.
    Agent(&'w Arc<Agent>),
    /// A person with an account here.
    Human(&'w Arc<Human>),
}

impl<'w> Principals<'w> {
    /// The principals of `issuer`.
    pub fn new(issuer: &'w str, snapshot: &'w Snapshot) -> Self {
        Self { issuer, snapshot, since: None }
    }

    /// The same, for what rests on an authentication at this time. Without a time it rests on none that still counts once
    /// anything of the person was ended.
    #[must_use]
    pub fn since(self, auth_time: Option<UnixTime>) -> Self {
        Self { since: Some(auth_time.unwrap_or(UnixTime(i64::MIN))), ..self }
    }

    /// The registration of a principal; `None` when there is none, or the principal is of another issuer.
    pub fn find(self, principal: &Principal) -> Option<Registered<'w>> {
        let name = principal.name_at(self.issuer)?;
        match principal.kind() {
            PrincipalKind::Human => self.snapshot.human(name).map(Registered::Human),
            PrincipalKind::Agent => self.snapshot.agent_named(name).map(Registered::Agent),
        }
    }

    /// The agent this principal is.
    pub fn agent(self, principal: &Principal) -> Option<&'w Arc<Agent>> {
        match self.find(principal)? {
            Registered::Agent(agent) => Some(agent),
            Registered::Human(_) => None,
        }
    }

    /// The person this principal is.
    pub fn human(self, principal: &Principal) -> Option<&'w Arc<Human>> {
        match self.find(principal)? {
            Registered::Human(human) => Some(human),
            Registered::Agent(_) => None,
        }
    }

    /// The accountable person of an agent.
    pub fn owner(self, principal: &Principal) -> Option<Principal> {
        self.agent(principal).map(|agent| Principal::local(self.issuer, &agent.owner))
    }

    /// The principal as policies see it. One that is not registered has no owner and no labels.
    pub fn party(self, principal: &Principal) -> Party {
        let agent = self.agent(principal);
        Party {
            kind: principal.kind(),
            sub: principal.sub.clone(),
            iss: principal.iss.clone(),
            owner: agent.map(|agent| agent.owner.clone()),
            labels: agent.map(|agent| agent.labels.clone()).unwrap_or_default(),
            binding: agent.map(|agent| agent.client.binding).unwrap_or_default(),
        }
    }
}

impl<'w> Registered<'w> {
    /// The most this principal may do: an agent's ceiling, a person's entitlements.
    pub fn ceiling(self) -> &'w Authority {
        match self {
            Self::Agent(agent) => &agent.ceiling,
            Self::Human(human) => &human.entitlements,
        }
    }
}
