//! Who may no longer use what: revocations, as earlier records state them. SPEC: RV-01 to RV-04.

use super::error::CustodyError;
use remit_ledger::Record;
use remit_model::UnixTime;
use std::collections::HashMap;

/// How long, in seconds, a request may be under way while its token is revoked.
const GRACE_SECS: i64 = 10;

/// Revocations so far, by `jti` hash, by the id of the chain, or by [`key`]: the record's index and time.
#[derive(Default)]
pub(super) struct Standing(HashMap<String, (u64, UnixTime)>);

impl Standing {
    /// Takes note of a record that revokes something.
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
            self.0.entry(what).or_insert((index, written));
        }
    }

    /// Whether none of these had been revoked at `now`.
    pub(super) fn in_force(&self, what: impl IntoIterator<Item = String>, now: UnixTime) -> Result<(), CustodyError> {
        for one in what {
            if let Some((index, since)) = self.0.get(&one)
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
