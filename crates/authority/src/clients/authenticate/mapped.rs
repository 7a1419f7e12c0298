//! The agent for which a verified token vouches, whether the request names it or not. SPEC: JB-05

use crate::clients::client::unauthenticated;
use remit_decide::active;
use remit_model::{Agent, Code, Refusal};
use remit_store::Snapshot;
use std::{collections::BTreeSet, sync::Arc};

/// Agents that are looked at for one token.
const CANDIDATES: usize = 64;

/// The agent that accepts the token: the `named` one, or the only one of those to which `leads` lead. Agents that may not act
/// stand back behind one that may.
///
/// # Errors
/// `client_unauthenticated`: why the named agent does not accept the token, or that it means none or several.
pub(super) fn accepting<T>(
    snapshot: &Snapshot,
    named: Option<Arc<Agent>>,
    leads: &[String],
    accepts: impl Fn(&Agent) -> Result<T, Refusal>,
) -> Result<(Arc<Agent>, T), Refusal> {
    if let Some(agent) = named {
        return accepts(&agent).map(|how| (agent, how));
    }
    let mut candidates = BTreeSet::new();
    for lead in leads {
        candidates.extend(snapshot.vouched_by(lead, CANDIDATES));
        if candidates.len() >= CANDIDATES {
            return Err(several());
        }
    }
    let mut accepting: Vec<(Arc<Agent>, T)> = Vec::new();
    for agent in candidates.iter().filter_map(|id| snapshot.agent(id)) {
        accepting.extend(accepts(agent).ok().map(|how| (Arc::clone(agent), how)));
    }
    if accepting.iter().any(|(agent, _)| active::agent(agent).is_ok()) {
        accepting.retain(|(agent, _)| active::agent(agent).is_ok());
    }
    let first = accepting.pop();
    match (first, accepting.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(several()),
        (None, _) => Err(unauthenticated("no agent accepts this token: its claims are not those of any that is registered")),
    }
}

fn several() -> Refusal {
    unauthenticated("several agents may accept this token; say which one it is for, with `client_id`")
}

/// The same refusal where the token is a grant. SPEC: JB-07
pub(super) fn as_grant(refusal: Refusal) -> Refusal {
    match refusal.code {
        Code::ClientUnauthenticated => Refusal { code: Code::GrantInvalid, ..refusal },
        _ => refusal,
    }
}
