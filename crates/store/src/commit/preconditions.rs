//! Preconditions: what must hold at the commit. Checked against the head of the log, so what passes here still holds when the
//! batch is written.

use super::weighing::Weighing;
use crate::{
    batch::{ApplyError, Budget, KeyedHash, Party, Precondition},
    db::group::BudgetFact,
};
use remit_model::{AgentStatus, HumanStatus, time::UnixTime};

impl Weighing<'_, '_> {
    /// Whether the requirement holds; a budget is counted, an identifier remembered, in the same step.
    pub(super) fn holds(&mut self, need: &Precondition) -> Result<bool, ApplyError> {
        Ok(match need {
            Precondition::Unused(code) => {
                // SPEC: N-AC-01: of two racing redeemers the second finds the code used by the first.
                self.code(code).is_some_and(|code| !code.used && code.expires > self.now)
            }
            Precondition::Once { kind, key, until } => {
                let new = !self.knows_once(*kind, key);
                if new {
                    self.remember_once(*kind, key, *until);
                }
                new
            }
            Precondition::NewAgent(agent) => !self.snapshot().has_agent(agent),
            Precondition::Revision(revision) => self.snapshot().revision() == *revision,
            Precondition::Before(time) => self.now < *time,
            Precondition::Budget(budget) => self.count(budget)?,
            Precondition::NotHeld(subject) => !self.snapshot().is_held(subject),
            Precondition::Held(subject) => self.snapshot().is_held(subject),
            Precondition::RefreshCurrent(hash) => self.is_current(hash),
            Precondition::Passkeys { human, enrolled } => {
                self.snapshot().human(human).is_some_and(|human| human.passkeys.enrolled == *enrolled)
            }
            Precondition::Active { parties, tokens, txn, since, keys, issued } => {
                self.is_active(parties, tokens, txn, *since, keys)
                    && self.snapshot().revoked_before(&issued.criteria, issued.at).is_none()
            }
        })
    }

    /// INVARIANT: no sequence of batches takes a budget past its limit, because check and count are one step.
    fn count(&mut self, budget: &Budget) -> Result<bool, ApplyError> {
        if budget.add < 0 {
            return Err(ApplyError::Invalid("a budget counts amounts of zero or more; use `Spend` to give back".to_owned()));
        }
        let known = self.budget(&budget.key);
        let Some(spent) = known.spent.checked_add(budget.add).filter(|spent| *spent <= budget.limit) else { return Ok(false) };
        self.put_budget(&budget.key, BudgetFact { spent, until: later(known.until, budget.until) });
        Ok(true)
    }

    fn is_current(&self, hash: &KeyedHash) -> bool {
        let Some(token) = self.refresh(hash).filter(|token| token.expires > self.now) else { return false };
        self.family(&token.family).is_some_and(|family| !family.revoked && family.generation == token.generation)
    }

    fn is_active(&self, parties: &[Party], tokens: &[String], txn: &str, since: Option<UnixTime>, keys: &[String]) -> bool {
        let world = self.snapshot();
        let active = |party: &Party| match party {
            Party::Agent(id) => world.agent(id).is_some_and(|agent| agent.status == AgentStatus::Active),
            Party::Human(name) => world.human(name).is_some_and(|human| {
                let ended = human.ended_before.is_some_and(|end| since.is_some_and(|since| since < end));
                human.status == HumanStatus::Active && !ended
            }),
        };
        let revoked = match tokens.split_first() {
            Some((jti, ancestors)) => world.is_revoked(jti, ancestors.iter().map(String::as_str), txn),
            None => world.is_revoked("", [], txn),
        };
        let accepted = !keys.iter().any(|kid| world.issuer_keys().is_revoked(kid));
        !revoked && accepted && parties.iter().all(active)
    }
}

/// A count must never be forgotten while any caller still relies on it.
pub(super) fn later(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    Some(one?.max(other?))
}
