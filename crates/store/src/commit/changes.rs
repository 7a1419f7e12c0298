//! Changes: what each makes of the world and of the facts, and the rows it writes.

use super::{
    preconditions::later,
    weighing::{Private, Weighing, refused_row},
};
use crate::{
    batch::{ApplyError, Change, KeyedHash, Revocation, StoredCode, StoredProviderSession, StoredRefresh, StoredToken},
    db::group::{BudgetFact, CodeFact, FamilyFact, RefreshFact},
    world::row::{self, HoldBody, IssuedBody, Kind, PLAIN},
};
use remit_ledger::Hash;
use remit_model::{
    agent::{Agent, AgentStatus, Human},
    id::AgentId,
    issuer_keys::{self, IssuerKey},
    passkey::{Passkey, Passkeys},
    time::UnixTime,
};

/// How long a tombstone is kept: followers look every few moments, and one that was away for longer loads everything.
const TOMBSTONE_SECONDS: i64 = 24 * 3_600;

impl<'a> Weighing<'_, 'a> {
    pub(super) fn change(&mut self, change: &'a Change) -> Result<(), ApplyError> {
        match change {
            Change::PutAgent(agent) => self.put_agent(agent),
            Change::SetAgentStatus { agent, status } => self.set_agent_status(agent, *status),
            Change::PutHuman(human) => self.put_human(human),
            Change::EndHuman { name, before } => self.end_human(name, *before),
            Change::PutProviderSession(session) => self.put_provider_session(session),
            Change::DropProviderSession { human } => {
                self.private.push(Private::NoProviderSession(human));
                Ok(())
            }
            Change::PutIssuerKey(key) => self.put_issuer_key(key),
            Change::RemoveIssuerKey(kid) => self.remove_issuer_key(kid),
            Change::SetPasskeys { human, enrolled } => self.set_passkeys(human, enrolled),
            Change::PutCode(code) => self.new_code(code),
            Change::UseCode { code, txn } => self.use_code(code, txn),
            Change::FailCode(code) => self.fail_code(code),
            Change::PutRefresh(refresh) => self.new_family(refresh),
            Change::RotateRefresh { old, new } => self.rotate(old, new),
            Change::IssueToken(token) => self.issue(token),
            Change::Revoke { what, until } => self.revoke(what, *until),
            Change::RevokeIssued { criterion, before, until } => self.revoke_issued(criterion, *before, *until),
            Change::Spend { key, amount, until } => self.spend(key, *amount, *until),
            Change::Erase(erasing) => self.erase(erasing),
            Change::Erased { id } => {
                self.writes.finished.push(id.clone());
                Ok(())
            }
            Change::Hold { subject_ref, basis } => self.hold(subject_ref, basis),
            Change::Release { subject_ref } => self.release(subject_ref),
            Change::PutObject(bytes) => {
                self.writes.objects.push((Hash::of(&[bytes]).hex(), bytes.clone()));
                Ok(())
            }
        }
    }

    pub(super) fn put_agent(&mut self, agent: &Agent) -> Result<(), ApplyError> {
        let body = row::encode(agent, self.snapshot().agent_body(&agent.id), |_, _| true);
        self.put(Kind::Agent, agent.id.as_str(), Some(&body.map_err(|error| refused_row(&error))?), None)
    }

    fn set_agent_status(&mut self, id: &AgentId, status: AgentStatus) -> Result<(), ApplyError> {
        let agent = self.snapshot().agent(id).ok_or_else(|| invalid(format!("no agent is called `{id}`")))?;
        let agent = Agent { status, ..Agent::clone(agent) };
        self.put_agent(&agent)
    }

    fn put_human(&mut self, human: &Human) -> Result<(), ApplyError> {
        // INVARIANT: what has ended stays so, and passkeys stay enrolled, no matter who writes the account and what they had read of
        // it before.
        let human = match self.snapshot().human(&human.name) {
            Some(known) => {
                let passkeys = Passkeys { enrolled: known.passkeys.enrolled.clone(), ..human.passkeys.clone() };
                &Human { ended_before: known.ended_before.max(human.ended_before), passkeys, ..human.clone() }
            }
            None => human,
        };
        self.write_human(human)
    }

    fn set_passkeys(&mut self, human: &str, enrolled: &[Passkey]) -> Result<(), ApplyError> {
        let known = self.snapshot().human(human).ok_or_else(|| invalid("there is no such account"))?;
        let passkeys = Passkeys { enrolled: enrolled.to_vec(), ..known.passkeys.clone() };
        self.write_human(&Human { passkeys, ..Human::clone(known) })
    }

    fn write_human(&mut self, human: &Human) -> Result<(), ApplyError> {
        let body = row::encode(human, self.snapshot().human_body(&human.name), |_, _| true);
        self.put(Kind::Human, &human.name, Some(&body.map_err(|error| refused_row(&error))?), None)
    }

    fn end_human(&mut self, name: &str, before: UnixTime) -> Result<(), ApplyError> {
        let human = self.snapshot().human(name).ok_or_else(|| invalid("there is no such person"))?;
        let human = Human { ended_before: human.ended_before.max(Some(before)), ..Human::clone(human) };
        self.put_human(&human)
    }

    fn put_provider_session(&mut self, session: &'a StoredProviderSession) -> Result<(), ApplyError> {
        // INVARIANT: nothing is kept of a person who was erased meanwhile.
        if !self.snapshot().has_human(&session.human) {
            return Err(invalid("there is no such person"));
        }
        self.private.push(Private::ProviderSession(session));
        Ok(())
    }

    fn put_issuer_key(&mut self, key: &IssuerKey) -> Result<(), ApplyError> {
        let keys = self.snapshot().issuer_keys();
        if keys.is_revoked(&key.kid) && key.revoked.is_none() {
            return Err(invalid("this key of the issuer was revoked, and that is for good"));
        }
        if keys.key(&key.kid).is_none() && keys.len() >= issuer_keys::LIMIT {
            return Err(invalid("too many keys of the issuer are remembered"));
        }
        let body = row::encode(key, None, |_, _| true).map_err(|error| refused_row(&error))?;
        self.put(Kind::IssuerKey, &key.kid, Some(&body), None)
    }

    fn remove_issuer_key(&mut self, kid: &str) -> Result<(), ApplyError> {
        if self.snapshot().issuer_keys().key(kid).is_none() {
            return Ok(());
        }
        self.put(Kind::IssuerKey, kid, None, Some(self.now.plus(TOMBSTONE_SECONDS)))
    }

    fn new_code(&mut self, code: &'a StoredCode) -> Result<(), ApplyError> {
        if self.code(&code.hash).is_some() {
            return Err(invalid("this authorization code exists already"));
        }
        self.put_code(code.hash, CodeFact { expires: code.expires, used: false });
        self.private.push(Private::Code(code));
        Ok(())
    }

    fn use_code(&mut self, hash: &KeyedHash, txn: &str) -> Result<(), ApplyError> {
        let code = self.code(hash).ok_or_else(|| invalid("no such authorization code"))?;
        self.put_code(*hash, CodeFact { used: true, ..code });
        self.writes.used_codes.insert(*hash, txn.to_owned());
        Ok(())
    }

    fn fail_code(&mut self, hash: &KeyedHash) -> Result<(), ApplyError> {
        self.code(hash).ok_or_else(|| invalid("no such authorization code"))?;
        let times = self.writes.failed_codes.entry(*hash).or_default();
        *times = times.saturating_add(1);
        Ok(())
    }

    fn new_family(&mut self, refresh: &'a StoredRefresh) -> Result<(), ApplyError> {
        if self.family(&refresh.family).is_some() {
            return Err(invalid("this family of refresh tokens exists already"));
        }
        // INVARIANT: a family that was revoked before it began is revoked, whether both came in one group or in two.
        let revoked = self.snapshot().has_revocation(&Revocation::Family(refresh.family.clone()));
        if revoked {
            self.writes.revoked_families.insert(refresh.family.clone());
        }
        self.put_family(&refresh.family, FamilyFact { generation: 0, revoked, until: refresh.expires });
        self.new_refresh(refresh, 0)
    }

    fn rotate(&mut self, old: &KeyedHash, new: &'a StoredRefresh) -> Result<(), ApplyError> {
        let token = self.refresh(old).filter(|token| token.family == new.family);
        let generation = token.map(|token| token.generation.saturating_add(1));
        let (Some(generation), Some(family)) = (generation, self.family(&new.family)) else {
            return Err(invalid("the refresh token to rotate is not of this family"));
        };
        let until = family.until.max(new.expires);
        self.put_family(&new.family, FamilyFact { generation, until, ..family });
        self.writes.rotated.insert(new.family.clone(), (generation, until));
        self.new_refresh(new, generation)
    }

    fn new_refresh(&mut self, refresh: &'a StoredRefresh, generation: u64) -> Result<(), ApplyError> {
        if self.refresh(&refresh.hash).is_some() {
            return Err(invalid("this refresh token exists already"));
        }
        let (family, expires) = (refresh.family.clone(), refresh.expires);
        self.put_refresh(refresh.hash, RefreshFact { family, generation, expires });
        self.private.push(Private::Refresh(refresh, generation));
        Ok(())
    }

    fn issue(&mut self, token: &'a StoredToken) -> Result<(), ApplyError> {
        if self.knows_token(&token.jti) {
            return Err(invalid("this token was issued already"));
        }
        self.put_token(&token.jti);
        self.private.push(Private::Token(token));
        Ok(())
    }

    pub(super) fn revoke(&mut self, what: &Revocation, until: UnixTime) -> Result<(), ApplyError> {
        if let Revocation::Family(name) = what {
            if let Some(family) = self.family(name) {
                self.put_family(name, FamilyFact { revoked: true, ..family });
            }
            self.writes.revoked_families.insert(name.clone());
        }
        let until = self.snapshot().revoked_until(what).map_or(until, |known| known.max(until));
        self.put(Kind::of(what), what.key(), Some(PLAIN), Some(until))
    }

    /// INVARIANT: what has ended stays so: neither time ever moves back.
    fn revoke_issued(&mut self, criterion: &str, before: UnixTime, until: UnixTime) -> Result<(), ApplyError> {
        let known = self.snapshot().issued(criterion);
        let before = known.map_or(before, |known| known.before.max(before));
        let until = known.map_or(until, |known| known.until.max(until));
        let body = row::encode(&IssuedBody { before }, None, |_, _| true).map_err(|error| refused_row(&error))?;
        self.put(Kind::RevokedIssued, criterion, Some(&body), Some(until))
    }

    fn spend(&mut self, key: &str, amount: i64, until: Option<UnixTime>) -> Result<(), ApplyError> {
        let known = self.budget(key);
        let spent = known.spent.checked_add(amount);
        let spent = spent.ok_or_else(|| invalid("a budget's count is beyond what can be counted"))?;
        self.put_budget(key, BudgetFact { spent, until: later(known.until, until) });
        Ok(())
    }

    fn hold(&mut self, subject_ref: &str, basis: &str) -> Result<(), ApplyError> {
        if self.snapshot().is_held(subject_ref) {
            return Err(invalid("this subject is on hold already"));
        }
        let hold = HoldBody { basis: basis.to_owned(), since: self.now };
        let body = row::encode(&hold, None, |_, _| true).map_err(|error| refused_row(&error))?;
        self.put(Kind::Hold, subject_ref, Some(&body), None)
    }

    fn release(&mut self, subject_ref: &str) -> Result<(), ApplyError> {
        if !self.snapshot().is_held(subject_ref) {
            return Ok(());
        }
        self.put(Kind::Hold, subject_ref, None, Some(self.now.plus(TOMBSTONE_SECONDS)))
    }
}

fn invalid(reason: impl Into<String>) -> ApplyError {
    ApplyError::Invalid(reason.into())
}
