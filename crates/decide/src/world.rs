//! What a decision is made in: the registered principals, the policies in force and the time, taken once per request.
//!
//! Everything a decision reads besides the request is in here, so two decisions in one world cannot disagree about it.

use crate::principal::Principals;
use remit_model::UnixTime;
use remit_policy::Bundle;
use remit_store::Snapshot;

/// The state in which one request is decided.
#[derive(Clone, Copy, Debug)]
pub struct World<'w> {
    /// Who is registered here.
    pub principals: Principals<'w>,
    /// The policy set in force.
    pub policies: &'w Bundle,
    /// The time of the decision.
    pub now: UnixTime,
}

impl<'w> World<'w> {
    /// The world of one request at `issuer`.
    pub fn new(issuer: &'w str, snapshot: &'w Snapshot, policies: &'w Bundle, now: UnixTime) -> Self {
        Self { principals: Principals::new(issuer, snapshot), policies, now }
    }

    /// Names this state: the snapshot's revision and the digest of the policy set. What was worked out in one revision
    /// holds in every world of the same revision, as far as it does not depend on the time.
    pub fn revision(&self) -> (u64, &'w str) {
        (self.principals.snapshot.revision(), self.policies.digest())
    }
}
