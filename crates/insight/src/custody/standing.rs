//! Who may no longer use what: revocations and ends of sign-ins, as earlier records state them. SPEC: RV-01 to RV-04, DC-13.

use super::error::CustodyError;
use remit_ledger::Record;
use remit_model::UnixTime;
use std::collections::HashMap;

/// How long, in seconds, a request may be under way while its token is revoked.
const GRACE_SECS: i64 = 10;

/// What has ended so far.
#[derive(Default)]
pub(super) struct Standing {
    /// Revocations, by `jti` hash, by the id of the chain, or by [`key`]: the record's index and time.
    revoked: HashMap<String, (u64, UnixTime)>,
    /// Ends of the sign-ins of people, by pseudonym, each later than the one before.
    ended: HashMap<String, Vec<End>>,
}

/// Whatever a person signed in for before a time has ended.
struct End {
    before: UnixTime,
    index: u64,
    written: UnixTime,
}

impl Standing {
    /// Takes note of a record that revokes or ends something.
    pub(super) fn learn(&mut self, index: u64, record: &Record, written: UnixTime) {
        let done = record.outcome() == "success";
        if done && record.record_type() == "config_change" {
            self.learn_end(index, record, written);
        }
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
}

/// How a revoked key of the issuer is named among revocations.
pub(super) fn key(kid: &str) -> String {
    format!("issuer key {kid}")
}
