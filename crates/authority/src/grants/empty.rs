//! Why nothing is left of what was asked for: whose limit it was, and who can widen it.

use remit_decide::{Principals, Registered};
use remit_model::{Authority, Code, Principal, PrincipalKind, Refusal};

/// The refusal of a request of which nothing is within what every one of these may do.
pub(crate) fn refusal<'p>(world: Principals<'_>, parties: impl IntoIterator<Item = &'p Principal>, asked: &Authority) -> Refusal {
    let nothing =
        |party: &&Principal| asked.meet(&world.find(party).map(Registered::ceiling).cloned().unwrap_or_default()).is_none();
    let reason = parties.into_iter().find(nothing).map_or_else(
        || "nothing of what was requested is within what every party of the chain may do".to_owned(),
        |party| format!("nothing of what was requested is within {}", limit(party)),
    );
    Refusal::new(Code::AuthorityEmpty, reason)
}

/// What bounds a party, in words, and who can change that.
pub(crate) fn limit(party: &Principal) -> String {
    match party.kind() {
        PrincipalKind::Agent => format!("the ceiling of `{}`; an operator can widen it (`remit agent update`)", party.sub),
        PrincipalKind::Human => format!("the entitlements of `{}`; an operator can widen them", party.sub),
    }
}
