//! The agent for which a verified token vouches, whether the request names it or not. SPEC: JB-05

use crate::clients::client::unauthenticated;
use remit_decide::active;
use remit_model::{Agent, AgentId, Code, Refusal};
use remit_store::Snapshot;
use std::{collections::BTreeSet, sync::Arc};

/// Agents that act, and as many that do not, that are looked at for one token.
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
    let led: BTreeSet<AgentId> = leads.iter().flat_map(|lead| snapshot.vouched_by(lead, usize::MAX)).collect();
    let (acting, stopped): (Vec<_>, Vec<_>) =
        led.iter().filter_map(|id| snapshot.agent(id)).partition(|agent| active::agent(agent).is_ok());
    // Agents are never forgotten: those that were retired would fill the room of those that act.
    if acting.len() >= CANDIDATES {
        return Err(several());
    }
    let those_of = |agents: Vec<&Arc<Agent>>| -> Vec<(Arc<Agent>, T)> {
        agents.into_iter().filter_map(|agent| Some((Arc::clone(agent), accepts(agent).ok()?))).collect()
    };
    let mut accepting = those_of(acting);
    if accepting.is_empty() {
        accepting = those_of(stopped.into_iter().take(CANDIDATES).collect());
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
