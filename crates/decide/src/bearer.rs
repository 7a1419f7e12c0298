//! What holds for an agent whose access tokens are bound to no key: a copy of one works.
//!
//! SPEC: RFC 6750 §5.2, TX-06, DP-11. Such an agent reads, and changes nothing unless its registration says so; nothing is
//! delegated to it by an agent, and it delegates nothing. Policies are asked afterwards and can only take away.

use crate::principal::{Principals, Registered};
use remit_model::{Agent, Authority, Code, Principal, PrincipalKind, Refusal, Server, ToolClass};
use serde_json::json;

/// Checks that the registration of the holder allows the kind of token it presents. A registration that was tightened
/// ends the tokens that were issued before.
///
/// # Errors
/// `dpop_key_mismatch`.
pub(crate) fn held(holder: Option<&Registered<'_>>, unbound: bool) -> Result<(), Refusal> {
    match holder {
        Some(Registered::Agent(agent)) if unbound && agent.is_bearer() => Ok(()),
        _ if !unbound => Ok(()),
        _ => Err(Refusal::new(
            Code::DpopKeyMismatch,
            "the token is bound to no key, and its holder is not registered with `binding: danger_bearer`",
        )),
    }
}

/// Whether this agent may call actions of this class with the kind of token it gets.
pub fn may_call(agent: &Agent, class: ToolClass) -> bool {
    !agent.is_bearer() || agent.client.danger_bearer_writes || class == ToolClass::Read
}

/// Checks that the holder may call an action of this class with the kind of token it gets.
///
/// # Errors
/// `bearer_not_allowed`.
pub(crate) fn call(world: Principals<'_>, holder: &Principal, action: &str, class: ToolClass) -> Result<(), Refusal> {
    let Some(agent) = world.agent(holder).filter(|agent| !may_call(agent, class)) else { return Ok(()) };
    let reason = format!(
        "`{action}` is of class `{}`, and the tokens of `{}` are bound to no key (`binding: danger_bearer`), so it may only call \
         tools of class `read`; an operator can register it with `binding: dpop`, or with `danger_bearer_writes`",
        class.as_str(),
        agent.id.subject()
    );
    Err(Refusal::new(Code::BearerNotAllowed, reason))
}

/// Checks one hop of a delegation, `before` being everyone in the chain so far: no agent delegates to or from an agent
/// whose tokens are bound to no key, and what a person delegates to it ends there. An agent that takes a token for itself
/// delegates to itself.
///
/// # Errors
/// `bearer_not_allowed`.
pub(crate) fn delegation<'p>(
    world: Principals<'_>,
    before: impl IntoIterator<Item = &'p Principal>,
    to: &Principal,
    authority: &Authority,
) -> Result<(), Refusal> {
    let bearer = |party: &Principal| world.agent(party).is_some_and(|agent| agent.is_bearer());
    let mut agents = before.into_iter().filter(|party| party.kind() == PrincipalKind::Agent && *party != to);
    let refused = |why: String| Err(Refusal::new(Code::BearerNotAllowed, why));
    if bearer(to) {
        if agents.next().is_some() {
            return refused(no_delegate(to));
        }
        if authority.depth() > 0 {
            return refused(format!(
                "`{}` is registered with `binding: danger_bearer`, so nothing can be granted to it with `delegate`",
                to.sub
            ));
        }
        return Ok(());
    }
    agents.find(|party| bearer(party)).map_or(Ok(()), |party| refused(no_delegator(party)))
}

/// Why this agent is handed nothing.
fn no_delegate(agent: &Principal) -> String {
    format!(
        "`{}` is registered with `binding: danger_bearer`: its tokens are bound to no key, so only a person delegates to it",
        agent.sub
    )
}

/// Why this agent hands nothing on.
fn no_delegator(agent: &Principal) -> String {
    format!(
        "`{}` is registered with `binding: danger_bearer`: its tokens are bound to no key, so they cannot be exchanged; an \
         operator can register it with `binding: dpop`",
        agent.sub
    )
}

/// Checks that the agent may exchange tokens at all, as a delegator, as a delegate, or for a narrower copy.
///
/// # Errors
/// `bearer_not_allowed`.
pub fn exchange(world: Principals<'_>, caller: &Principal) -> Result<(), Refusal> {
    match world.agent(caller) {
        Some(agent) if agent.is_bearer() => Err(Refusal::new(Code::BearerNotAllowed, no_delegator(caller))),
        _ => Ok(()),
    }
}

/// The part of `authority` that a token of this agent can be used for: all of it, unless the token is bound to no key. Then
/// it is what reads, and nothing of it can be handed on.
pub fn usable(agent: &Agent, servers: &[&Server], authority: &Authority) -> Authority {
    if !agent.is_bearer() {
        return authority.clone();
    }
    let usable = servers.iter().map(|server| {
        let mut actions = vec!["*"];
        if !agent.client.danger_bearer_writes {
            let reading = server.tools.iter().filter(|(_, rule)| rule.class == ToolClass::Read);
            let named = reading.map(|(tool, _)| tool.as_str()).filter(|tool| Authority::can_name(tool));
            actions = named.chain(READING_METHODS).collect();
        }
        json!({"type": "tool_access", "locations": [server.location], "actions": actions})
    });
    // A server with more tools than a grant can name leaves nothing to use.
    Authority::parse(&usable.collect()).map_or_else(|_| Authority::none(), |most| authority.meet(&most))
}

/// Methods of the protocol that only read, whatever the server.
const READING_METHODS: [&str; 5] =
    ["mcp:resources/read", "mcp:resources/subscribe", "mcp:prompts/get", "mcp:completion/complete", "mcp:subscriptions/listen"];
