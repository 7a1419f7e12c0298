//! Who may act now, with one refusal for each reason why not.
//!
//! SPEC: DC-13, RT-05, N-TX-16. The token service, the gateway and the decision point ask here, so the same fact has the
//! same code and the same words at each of them.

use crate::principal::{Principals, Registered};
use remit_model::{Acts, Agent, AgentId, AgentStatus, Code, Human, HumanStatus, Principal, PrincipalKind, Refusal, UnixTime};
use remit_store::{Issued, Party, Precondition};

/// Names a token and what it descends from, for revocations.
#[derive(Clone, Copy, Debug)]
pub struct TokenIds<'a> {
    /// The token's own `jti`.
    pub jti: &'a str,
    /// The `jti` of every token above it.
    pub ancestors: &'a [String],
    /// The id of its chain.
    pub txn: &'a str,
    /// The `kid`s that signed it and what it descends from.
    pub keys: &'a [String],
    /// What it can be revoked by besides ([`remit_model::criterion`]), and when it was issued. SPEC: RV-05
    pub criteria: &'a [String],
    pub issued: UnixTime,
}

impl TokenIds<'_> {
    /// Those of what no token is needed for.
    pub fn none(now: UnixTime) -> Self {
        Self { jti: "", ancestors: &[], txn: "", keys: &[], criteria: &[], issued: now }
    }
}

/// Finds a principal and checks that it may act.
///
/// # Errors
/// `client_unknown` for an agent that is not registered and for any principal of another issuer, `human_unknown` for a person
/// without an account, and as [`agent`] and [`human`].
pub fn principal<'w>(world: Principals<'w>, principal: &Principal) -> Result<Registered<'w>, Refusal> {
    let Some(found) = world.find(principal) else { return Err(unknown(world, principal)) };
    match found {
        Registered::Agent(registered) => agent(registered)?,
        Registered::Human(registered) => human(registered, world.since)?,
    }
    Ok(found)
}

/// Checks that every one of these principals may act, whatever for: also to say who they are.
///
/// # Errors
/// As [`principal`], for the first that may not.
pub fn all<'p>(world: Principals<'_>, parties: impl IntoIterator<Item = &'p Principal>) -> Result<(), Refusal> {
    parties.into_iter().try_for_each(|party| principal(world, party).map(drop))
}

/// Finds everyone in a chain, the root first, and checks that they may act together on the root's authority.
///
/// # Errors
/// As [`principal`], for the first that may not, and as [`rooted`].
pub fn chain<'w, 'p>(
    world: Principals<'w>,
    parties: impl IntoIterator<Item = &'p Principal>,
) -> Result<Vec<Registered<'w>>, Refusal> {
    let found = parties.into_iter().map(|party| principal(world, party)).collect::<Result<Vec<_>, _>>()?;
    rooted(&found)?;
    Ok(found)
}

/// Checks that a chain has the root it needs: an agent that acts only on behalf of people needs a person there.
///
/// # Errors
/// `client_not_allowed`.
fn rooted(chain: &[Registered<'_>]) -> Result<(), Refusal> {
    if chain.iter().any(|party| matches!(party, Registered::Human(_))) {
        return Ok(());
    }
    let bound = chain.iter().find_map(|party| match party {
        Registered::Agent(agent) if agent.acts == Acts::OnBehalf => Some(agent),
        _ => None,
    });
    bound.map_or(Ok(()), |agent| {
        let reason = format!(
            "`{}` acts only on behalf of a person; a person must sign in for it, or for the agent that delegates to it, or an operator \
             must let it act on its own (`remit agent update --autonomous true`)",
            agent.id.subject()
        );
        Err(Refusal::new(Code::ClientNotAllowed, reason))
    })
}

/// Checks that neither the token, nor one above it, nor its chain was revoked, nor a key that signed one of them, nor all that was
/// issued before some time of what it is. SPEC: JW-02, RV-05
///
/// # Errors
/// `token_revoked`.
pub fn token(world: Principals<'_>, token: &TokenIds<'_>) -> Result<(), Refusal> {
    if world.snapshot.is_revoked(token.jti, token.ancestors.iter().map(String::as_str), token.txn) {
        return Err(Refusal::new(Code::TokenRevoked, "the token, or one it descends from, was revoked"));
    }
    if token.keys.iter().any(|kid| world.snapshot.issuer_keys().is_revoked(kid)) {
        let reason = "the key that signed the token, or one it descends from, was revoked; obtain a new token";
        return Err(Refusal::new(Code::TokenRevoked, reason));
    }
    if let Some((criterion, before)) = world.snapshot.revoked_before(token.criteria, token.issued) {
        let reason = format!("everything of `{criterion}` that was issued before {} was revoked; obtain it anew", before.utc());
        return Err(Refusal::new(Code::TokenRevoked, reason));
    }
    Ok(())
}

/// What must still hold when the batch of a decision is committed: every party may act, and neither the token, one above it,
/// nor the chain was revoked. The decision was made on a snapshot, which may be out of date by then.
///
/// # Errors
/// As [`principal`], for a principal whose name no registration can have.
pub fn at_commit<'p>(
    world: Principals<'_>,
    parties: impl IntoIterator<Item = &'p Principal>,
    token: &TokenIds<'_>,
) -> Result<Precondition, Refusal> {
    let parties = parties.into_iter().map(|party| named(world, party).ok_or_else(|| unknown(world, party)));
    Ok(Precondition::Active {
        parties: parties.collect::<Result<_, _>>()?,
        // Without a token of its own a batch still ends with its chain.
        tokens: Some(token.jti)
            .filter(|jti| !jti.is_empty())
            .into_iter()
            .map(str::to_owned)
            .chain(token.ancestors.iter().cloned())
            .collect(),
        txn: token.txn.to_owned(),
        since: world.since,
        keys: token.keys.to_vec(),
        issued: Box::new(Issued { criteria: token.criteria.to_vec(), at: token.issued }),
    })
}

/// Why a batch with [`at_commit`] was refused, asked of the world after it.
pub fn lost(world: Principals<'_>, parties: &[Party], token: &TokenIds<'_>) -> Refusal {
    let stopped = parties.iter().find_map(|party| {
        let principal = match party {
            Party::Agent(id) => Principal::agent(world.issuer, id),
            Party::Human(name) => Principal::human(world.issuer, name),
        };
        self::principal(world, &principal).err()
    });
    let revoked = || self::token(world, token).err();
    stopped.or_else(revoked).unwrap_or_else(|| {
        Refusal::new(Code::TokenRevoked, "while this was decided, someone in the chain was stopped or a token revoked")
    })
}

fn named(world: Principals<'_>, principal: &Principal) -> Option<Party> {
    let name = principal.name_at(world.issuer)?;
    match principal.kind() {
        PrincipalKind::Agent => AgentId::parse(name).ok().map(Party::Agent),
        PrincipalKind::Human => Some(Party::Human(name.to_owned())),
    }
}

/// Checks that a registered agent may act.
///
/// # Errors
/// `agent_quarantined`, `agent_retired`.
pub fn agent(agent: &Agent) -> Result<(), Refusal> {
    let subject = agent.id.subject();
    match agent.status {
        AgentStatus::Active => Ok(()),
        AgentStatus::Quarantined => Err(Refusal::new(
            Code::AgentQuarantined,
            format!("`{subject}` is quarantined, and so is all authority that it delegated"),
        )),
        AgentStatus::Retired => Err(Refusal::new(Code::AgentRetired, format!("`{subject}` is retired"))),
    }
}

/// Checks that a person may act and delegate, on an authentication at `since` where there is one.
///
/// # Errors
/// `human_disabled`, `sign_in_ended`.
pub fn human(human: &Human, since: Option<UnixTime>) -> Result<(), Refusal> {
    match human.status {
        HumanStatus::Active => match human.ended_before {
            Some(end) if since.is_some_and(|since| since < end) => Err(Refusal::new(
                Code::SignInEnded,
                format!("whatever `{}` signed in for before {} has ended; they must sign in again", human.subject(), end.utc()),
            )),
            _ => Ok(()),
        },
        HumanStatus::Disabled => {
            Err(Refusal::new(Code::HumanDisabled, format!("the account of `{}` is disabled", human.subject())))
        }
    }
}

fn unknown(world: Principals<'_>, principal: &Principal) -> Refusal {
    use remit_model::PrincipalKind::{Agent, Human};
    let sub = &principal.sub;
    if principal.iss != world.issuer {
        return Refusal::new(Code::ClientUnknown, format!("`{sub}` of another issuer is not registered here"));
    }
    match principal.kind() {
        Human => Refusal::new(Code::HumanUnknown, format!("`{sub}` has no account here, or no longer has one")),
        Agent => Refusal::new(Code::ClientUnknown, format!("`{sub}` is not registered here")),
    }
}
