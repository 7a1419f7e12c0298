//! The hot state in memory: agents, humans, revocations. Readers hold an `Arc` and never wait.
//!
//! The maps are persistent: a change shares everything it does not touch, so one revocation does not copy 100,000 agents.

use crate::batch::Revocation;
use remit_model::{
    agent::{Agent, Human},
    id::{AgentId, TenantId},
    time::UnixTime,
};
use rpds::HashTrieMapSync;
use std::{fmt, sync::Arc};

/// What is true at one revision of one tenant.
#[derive(Clone)]
pub struct Snapshot {
    tenant: TenantId,
    revision: u64,
    agents: HashTrieMapSync<AgentId, Arc<Agent>>,
    humans: HashTrieMapSync<Arc<str>, Arc<Human>>,
    revoked: Revoked,
    /// Legal holds: pseudonym of the subject, and since when.
    holds: Until,
}

/// Revocations by kind, so that a look-up on the path of a call allocates nothing.
#[derive(Clone)]
struct Revoked {
    jti: Until,
    txn: Until,
    family: Until,
}

type Until = HashTrieMapSync<Arc<str>, UnixTime>;

impl Snapshot {
    pub(crate) fn empty(tenant: TenantId) -> Self {
        Self {
            tenant,
            revision: 0,
            agents: HashTrieMapSync::new_sync(),
            humans: HashTrieMapSync::new_sync(),
            revoked: Revoked { jti: Until::new_sync(), txn: Until::new_sync(), family: Until::new_sync() },
            holds: Until::new_sync(),
        }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Grows by one with every batch that changes what a snapshot shows; never goes back.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn agent(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        self.agents.get(id)
    }

    /// The agent of this name; a text that is no agent's name finds none.
    pub fn agent_named(&self, name: &str) -> Option<&Arc<Agent>> {
        self.agents.get(name)
    }

    /// All agents, in no order.
    pub fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.agents.values()
    }

    pub fn human(&self, name: &str) -> Option<&Arc<Human>> {
        self.humans.get(name)
    }

    /// All humans, in no order.
    pub fn humans(&self) -> impl Iterator<Item = &Arc<Human>> {
        self.humans.values()
    }

    /// Whether this token, one it descends from, or its whole chain was revoked.
    pub fn is_revoked<'a>(&self, jti: &str, ancestors: impl IntoIterator<Item = &'a str>, txn: &str) -> bool {
        let jtis = &self.revoked.jti;
        jtis.contains_key(jti)
            || self.revoked.txn.contains_key(txn)
            || (!jtis.is_empty() && ancestors.into_iter().any(|ancestor| jtis.contains_key(ancestor)))
    }

    /// Whether this revocation is in force.
    pub fn has_revocation(&self, what: &Revocation) -> bool {
        self.revoked_until(what).is_some()
    }

    /// Revocations in force.
    pub fn revocations(&self) -> usize {
        self.revoked.jti.size() + self.revoked.txn.size() + self.revoked.family.size()
    }

    /// Whether a legal hold is on this subject (a pseudonym).
    pub fn is_held(&self, subject_ref: &str) -> bool {
        self.holds.contains_key(subject_ref)
    }

    /// Subjects on legal hold, as pseudonyms, and since when; in no order.
    pub fn holds(&self) -> impl Iterator<Item = (&str, UnixTime)> {
        self.holds.iter().map(|(subject, since)| (subject.as_ref(), *since))
    }

    pub(crate) fn hold(&mut self, subject_ref: &str, since: UnixTime) {
        self.holds.insert_mut(Arc::from(subject_ref), since);
    }

    pub(crate) fn release(&mut self, subject_ref: &str) {
        self.holds.remove_mut(subject_ref);
    }

    pub(crate) fn remove_human(&mut self, name: &str) {
        self.humans.remove_mut(name);
    }

    pub(crate) fn revoked_until(&self, what: &Revocation) -> Option<UnixTime> {
        let kind = match what {
            Revocation::Jti(_) => &self.revoked.jti,
            Revocation::Txn(_) => &self.revoked.txn,
            Revocation::Family(_) => &self.revoked.family,
        };
        kind.get(what.key()).copied()
    }

    pub(crate) fn put_agent(&mut self, agent: Agent) {
        self.agents.insert_mut(agent.id.clone(), Arc::new(agent));
    }

    pub(crate) fn put_human(&mut self, human: Human) {
        self.humans.insert_mut(Arc::from(human.name.as_str()), Arc::new(human));
    }

    pub(crate) fn revoke(&mut self, what: &Revocation, until: UnixTime) {
        self.revoked.kind_mut(what).insert_mut(Arc::from(what.key()), until);
    }

    /// Forgets a revocation whose last token has expired.
    pub(crate) fn forget(&mut self, what: &Revocation) {
        self.revoked.kind_mut(what).remove_mut(what.key());
    }

    pub(crate) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }
}

impl Revoked {
    fn kind_mut(&mut self, what: &Revocation) -> &mut Until {
        match what {
            Revocation::Jti(_) => &mut self.jti,
            Revocation::Txn(_) => &mut self.txn,
            Revocation::Family(_) => &mut self.family,
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("tenant", &self.tenant)
            .field("revision", &self.revision)
            .field("agents", &self.agents.size())
            .field("humans", &self.humans.size())
            .field("revoked", &self.revocations())
            .field("holds", &self.holds.size())
            .finish()
    }
}
