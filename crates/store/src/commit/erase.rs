//! What an erasure takes out of the database and of the world. The keys follow after the commit.

use super::weighing::{Weighing, refused_row};
use crate::{
    batch::{ApplyError, Erasing, Revocation},
    db::group::Erasure,
    world::{
        row::{self, BLANK, Kind},
        snapshot::mentions,
    },
};
use remit_ledger::vault::KeyId;
use remit_model::{
    agent::{Agent, AgentStatus},
    id::PrincipalKind,
};

/// Longest time a token of a chain that ends can still be presented after its row is gone, in seconds.
const AFTERLIFE: i64 = 24 * 3_600;

impl Weighing<'_, '_> {
    /// Ends every live chain of the subject and takes out every row that names them. INVARIANT: the batch is alone in its
    /// group, so the chains that the database knows are all there are.
    pub(super) fn erase(&mut self, erasing: &Erasing) -> Result<(), ApplyError> {
        let keys: Vec<&str> = erasing.keys.iter().map(KeyId::as_str).collect();
        self.writes.erasures.push(Erasure {
            id: erasing.id.clone(),
            subject_ref: erasing.subject_ref.clone(),
            key_ids: keys.join(" "),
        });
        self.leave_no_trace();
        for (chain, until) in self.chains(&erasing.subject_ref) {
            let until = until.plus(AFTERLIFE);
            self.revoke(&Revocation::Family(chain.clone()), until)?;
            self.revoke(&Revocation::Txn(chain), until)?;
        }
        match &erasing.account {
            Some(name) => self.erase_account(name, &erasing.subject_ref),
            None => Ok(()),
        }
    }

    /// The account goes. An agent without an accountable human does nothing until it gets one.
    fn erase_account(&mut self, name: &str, subject_ref: &str) -> Result<(), ApplyError> {
        let owner = PrincipalKind::Human.subject(name);
        for agent in self.snapshot().owned_by(&owner) {
            let mut agent = match agent {
                Ok(agent) => Agent::clone(&agent),
                // Nothing is left of a row that cannot be read but its name, which is never used again.
                Err(id) => {
                    self.put(Kind::Agent, id.as_str(), Some(BLANK), None)?;
                    continue;
                }
            };
            agent.owner = format!("erased:{subject_ref}");
            if agent.status == AgentStatus::Active {
                agent.status = AgentStatus::Quarantined;
            }
            // Members that only a newer version knows stay, unless they are about the person.
            let kept =
                row::encode(&agent, self.snapshot().agent_body(&agent.id), |_, value| !mentions(&value.to_string(), &owner));
            self.put(Kind::Agent, agent.id.as_str(), Some(&kept.map_err(|error| refused_row(&error))?), None)?;
        }
        if self.snapshot().has_human(name) {
            self.forget_human(name);
        }
        Ok(())
    }
}
