//! A use: a decision of a gateway, traced to the record that issued its token. docs/custody-format.md section 7.

use super::{
    Custody, Issued,
    error::CustodyError,
    first_party, parties, standing,
    token::{Opened, hash, proved, states_unbound},
};
use crate::replay::decided_at;
use remit_ledger::Record;
use remit_model::{Binding, UnixTime};

/// How much later than its token's end a call may have been let through.
const SKEW_SECS: i64 = 60;

impl Custody<'_> {
    /// A gateway's decision is about a token that was issued before, to this very chain.
    pub(super) fn used(&mut self, record: &Record) -> Result<(), CustodyError> {
        if record.text("/producer/kind") != Some("gateway") {
            return Ok(());
        }
        let let_through = matches!(record.text("/decision/result"), Some("allow" | "mask"));
        let presented = record.chain().iter().rev().find_map(|party| party.pointer("/token/jti_hash")?.as_str());
        let Some(jti_hash) = presented else {
            return if let_through || record.record_type() != "decision" {
                Err(CustodyError::UseWithoutToken)
            } else {
                Ok(()) // Refused before anyone was recognised.
            };
        };
        self.report.uses += 1;
        let issued = self.tokens.get(jti_hash).ok_or(CustodyError::UnissuedToken)?;
        if issued.txn.as_deref() != record.txn() || issued.parties != parties(record) {
            return Err(CustodyError::OtherUser(issued.index));
        }
        let proved = proved(record);
        let bearer = issued.unbound && states_unbound(record);
        if proved.is_none() && let_through && !bearer {
            return Err(CustodyError::UseWithoutProof);
        }
        if proved.is_some() && proved != issued.bound_to {
            return Err(CustodyError::OtherKeyProved);
        }
        if !let_through {
            return Ok(());
        }
        let decided = decided_at(record).ok_or(CustodyError::UseWithoutTime)?;
        if bearer
            && issued.opened.as_ref().is_some_and(|token| !self.keys.is(Binding::DangerBearer, token.chain.holder(), decided))
        {
            return Err(CustodyError::NotBearer);
        }
        if issued.ends.is_some_and(|end| decided > end.plus(SKEW_SECS)) {
            return Err(CustodyError::Expired);
        }
        if let Some(token) = &issued.opened {
            self.standing.agents(token.chain.parties(), decided)?;
        }
        self.standing.person(first_party(&issued.parties), issued.txn.as_deref(), decided)?;
        self.standing.in_force(self.rests_on(issued).into_iter().chain([jti_hash.to_owned()]), decided)?;
        let since = issued.opened.as_ref().map(Opened::signed_in).or(issued.made);
        self.still_signed_in(&issued.parties, since, decided)
    }

    /// Whether the sign-in of the person at the root, if it is a person's, had not been ended.
    pub(super) fn still_signed_in(
        &self,
        parties: &[Option<String>],
        since: Option<UnixTime>,
        now: UnixTime,
    ) -> Result<(), CustodyError> {
        match (first_party(parties), since) {
            (Some(root), Some(since)) => self.standing.signed_in(root, since, now),
            _ => Ok(()),
        }
    }

    /// What a token rests on, as revocations name it: the tokens above it, its chain, and the keys that signed them.
    pub(super) fn rests_on(&self, issued: &Issued) -> Vec<String> {
        let above = match &issued.opened {
            Some(token) => token.claims.ancestors.iter().map(|jti| hash(jti)).collect(),
            None => self.above(issued),
        };
        let keys = self.signers(issued.key.as_deref(), &above);
        above.into_iter().chain(issued.txn.clone()).chain(keys).collect()
    }

    /// The tokens that a record states above a token, parent first: each was issued before the one below it.
    fn above(&self, issued: &Issued) -> Vec<String> {
        let (mut above, mut below) = (Vec::new(), issued);
        while let Some(hash) = &below.parent {
            let Some(parent) = self.tokens.get(hash).filter(|parent| parent.index < below.index) else { break };
            above.push(hash.clone());
            below = parent;
        }
        above
    }

    /// The issuer's keys that signed a token and those above it, as revocations name them.
    pub(super) fn signers(&self, own: Option<&str>, above: &[String]) -> Vec<String> {
        let above = above.iter().filter_map(|jti| self.tokens.get(jti)?.key.as_deref());
        own.into_iter().chain(above).map(standing::key).collect()
    }
}
