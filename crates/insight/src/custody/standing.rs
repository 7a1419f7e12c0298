//! Who may no longer use what: revocations, ends of sign-ins, and agents and people that an administrator stopped, as earlier
//! records state them. SPEC: RV-01 to RV-04, DC-13.

use super::error::CustodyError;
use remit_ledger::Record;
use remit_model::{Principal, PrincipalKind, UnixTime};
use std::collections::HashMap;

/// How long, in seconds, a request may be under way while its token is revoked, or someone of its chain stopped.
const GRACE_SECS: i64 = 10;

/// What earlier records took away.
#[derive(Default)]
pub(super) struct Standing {
    /// Revocations, by `jti` hash, by the id of the chain, or by [`key`]: the record's index and time.
    revoked: HashMap<String, (u64, UnixTime)>,
    /// Agents that may not act, by their subject.
    stopped: HashMap<String, (u64, UnixTime)>,
    /// People whose account was disabled, by pseudonym.
    disabled: HashMap<String, Disabled>,
    /// Where each chain began.
    begun: HashMap<String, u64>,
    /// Ends of the sign-ins of people, by pseudonym, each later than the one before.
    ended: HashMap<String, Vec<End>>,
}

/// Whatever a person signed in for before a time has ended.
struct End {
    before: UnixTime,
    index: u64,
    written: UnixTime,
}

/// The last time that an account was disabled.
struct Disabled {
    index: u64,
    since: UnixTime,
    /// The record that enabled it again. What was handed out before stays dead.
    enabled: Option<u64>,
}

impl Standing {
    /// Takes note of a record that takes something away, or gives it back.
    pub(super) fn learn(&mut self, index: u64, record: &Record, written: UnixTime) {
        let done = record.outcome() == "success";
        let ended = match record.text("/ext/token/revoked") {
            Some("access_token") if done => record.text("/ext/token/jti_hash"),
            Some("refresh_token") if done => record.txn(),
            _ => None,
        };
        let revoked_key = record.text("/ext/keys/revoked").filter(|_| done).map(key);
        let others = ended.into_iter().chain(record.text("/ext/token/revoked_txn")).map(str::to_owned);
        for what in others.chain(revoked_key) {
            self.revoked.entry(what).or_insert((index, written));
        }
        if done && record.record_type() == "config_change" {
            self.agent(index, record, written);
            self.account(index, record, written);
            self.learn_end(index, record, written);
        }
    }

    fn agent(&mut self, index: u64, record: &Record, written: UnixTime) {
        let status = record.text("/ext/config/to").or_else(|| record.text("/ext/config/status"));
        let (Some(agent), Some(status)) = (record.text("/ext/config/agent"), status) else { return };
        if status == "active" {
            self.stopped.remove(agent);
        } else {
            self.stopped.entry(agent.to_owned()).or_insert((index, written));
        }
    }

    fn account(&mut self, index: u64, record: &Record, written: UnixTime) {
        let Some(person) = record.text("/owner_ref") else { return };
        match record.text("/action/name") {
            Some("account.disable") => {
                self.disabled.insert(person.to_owned(), Disabled { index, since: written, enabled: None });
            }
            Some("account.enable") => {
                if let Some(disabled) = self.disabled.get_mut(person) {
                    disabled.enabled = Some(index);
                }
            }
            _ => {}
        }
    }

    /// SPEC: DC-13
    fn learn_end(&mut self, index: u64, record: &Record, written: UnixTime) {
        let before = record.ext("sign_in").and_then(|facts| facts.get("ended_before")?.as_i64()).map(UnixTime);
        let (Some(before), Some(person)) = (before, record.text("/owner_ref").filter(|person| !person.is_empty())) else {
            return;
        };
        let ends = self.ended.entry(person.to_owned()).or_default();
        if ends.last().is_none_or(|last| last.before < before) {
            ends.push(End { before, index, written });
        }
    }

    /// Whether what rests on an authentication of this person at `since` had not been ended at `now`.
    pub(super) fn signed_in(&self, person: &str, since: UnixTime, now: UnixTime) -> Result<(), CustodyError> {
        let end = self.ended.get(person).and_then(|ends| ends.iter().find(|end| since < end.before));
        match end {
            Some(end) if now > end.written.plus(GRACE_SECS) => Err(CustodyError::SignInEnded(end.index)),
            _ => Ok(()),
        }
    }

    /// Takes note of a record that issued a token: with its first one, a chain begins.
    pub(super) fn begin(&mut self, index: u64, record: &Record) {
        if let Some(txn) = record.txn() {
            self.begun.entry(txn.to_owned()).or_insert(index);
        }
    }

    /// Whether none of these had been revoked at `now`.
    pub(super) fn in_force(&self, what: impl IntoIterator<Item = String>, now: UnixTime) -> Result<(), CustodyError> {
        for one in what {
            if let Some((index, since)) = self.revoked.get(&one)
                && now > since.plus(GRACE_SECS)
            {
                return Err(CustodyError::Revoked(*index));
            }
        }
        Ok(())
    }

    /// Whether none of these is an agent that had been quarantined or retired at `now`.
    pub(super) fn agents<'p>(&self, parties: impl IntoIterator<Item = &'p Principal>, now: UnixTime) -> Result<(), CustodyError> {
        for agent in parties.into_iter().filter(|party| party.kind() == PrincipalKind::Agent) {
            if let Some((index, since)) = self.stopped.get(&agent.sub)
                && now > since.plus(GRACE_SECS)
            {
                return Err(CustodyError::Stopped(*index));
            }
        }
        Ok(())
    }

    /// Whether the account of the person at the root of a chain had not been disabled at `now`, nor since the chain began.
    pub(super) fn person(&self, person: Option<&String>, txn: Option<&str>, now: UnixTime) -> Result<(), CustodyError> {
        let Some(disabled) = person.and_then(|person| self.disabled.get(person)) else { return Ok(()) };
        let begun = txn.and_then(|txn| self.begun.get(txn));
        let after = begun.zip(disabled.enabled).is_some_and(|(begun, enabled)| *begun > enabled);
        if after || now <= disabled.since.plus(GRACE_SECS) { Ok(()) } else { Err(CustodyError::Disabled(disabled.index)) }
    }
}

/// How a revoked key of the issuer is named among revocations.
pub(super) fn key(kid: &str) -> String {
    format!("issuer key {kid}")
}
