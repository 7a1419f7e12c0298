//! Asking the decision point whether authority may be delegated.
//!
//! Implements TK-09: policies are asked after every rule of the grant and before anything is issued. They can only take away.

use crate::Server;
use remit_decide::{Ask, Asked, Circumstances, Presented, What, World, decide};
use remit_model::{Authentication, Authority, Chain, Principal, Refusal, UnixTime};
use remit_policy::Bundle;
use remit_store::Snapshot;
use std::sync::Arc;

/// A delegation that is about to happen. An agent that takes a token on its own account delegates to itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delegation<'a> {
    /// The chain as it was before this hop.
    pub(crate) before: &'a Chain,
    pub(crate) to: &'a Principal,
    pub(crate) authority: &'a Authority,
    pub(crate) server: Option<&'a remit_model::Server>,
    pub(crate) purpose: Option<&'a str>,
    pub(crate) expires: UnixTime,
    /// How the person at the root authenticated.
    pub(crate) authentication: Option<&'a Authentication>,
    /// Whether the root person signed with a passkey what they agreed to.
    pub(crate) root_signed: bool,
}

/// What the policies were asked and what they said, for the record.
#[derive(Clone, Debug)]
pub(crate) struct PolicyCheck {
    /// The policy set that answered, so that its bytes can be pinned with the record.
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) asked: Asked,
    /// How long the decision took.
    pub(crate) latency_ns: u64,
}

/// Whether it may happen.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) allowed: Result<(), Refusal>,
    /// Absent when it was refused before the policies were asked.
    pub(crate) check: Option<PolicyCheck>,
}

/// Asks with the policies in force, and measures how long it takes.
pub(crate) fn check(server: &Server, snapshot: &Snapshot, delegation: &Delegation<'_>, now: UnixTime) -> Checked {
    let began = server.clock.now().mono_ns;
    let mut checked = ask(&server.issuer, snapshot, server.policy.current(), delegation, now);
    if let Some(check) = &mut checked.check {
        check.latency_ns = server.clock.now().mono_ns.saturating_sub(began);
    }
    checked
}

/// The same, pure: the caller measures.
pub(crate) fn ask(issuer: &str, snapshot: &Snapshot, bundle: Arc<Bundle>, delegation: &Delegation<'_>, now: UnixTime) -> Checked {
    let Delegation { before, to, authority, server, purpose, expires, authentication, root_signed } = *delegation;
    let actors: Vec<Principal> = before.hops.iter().map(|hop| hop.delegate.clone()).collect();
    let who = Presented { root: &before.root, actors: &actors, held: None, location: None, token: None, unbound: false };
    let verdict = decide(
        &World::new(issuer, snapshot, &bundle, now),
        &Ask {
            who,
            circumstances: Circumstances { txn: Some(&before.id), purpose, authentication, root_signed },
            what: What::Delegate { to, authority, server, expires },
            known: None,
            unconditional: false,
        },
    );
    let check = verdict.asked.map(|asked| PolicyCheck { bundle, asked, latency_ns: 0 });
    Checked { allowed: verdict.result.map(drop), check }
}
