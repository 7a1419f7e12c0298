//! The two questions before anything is forwarded: does the caller's authority cover it, and does policy allow it.

use crate::{
    error::No,
    identify::{self, Caller},
    mcp::method::{Act, Kind},
};
use remit_model::{
    Permit,
    call::Call,
    id::{Principal, TenantId},
    refusal::{Code, Refusal},
    resource::Server,
    time::UnixTime,
};
use remit_policy::{Action, Party, Question, ToolFacts};
use remit_store::{Budget, Snapshot, Store};
use serde_json::Value;
use std::collections::BTreeSet;

/// How long a budget's count outlives the token it was first drawn with.
const BUDGET_KEPT_SECS: i64 = 90 * 24 * 3600;

/// Whether the caller's authority covers the act, leaving out grants whose budget is used up.
pub(crate) fn authorise(
    caller: &Caller,
    act: &Act,
    server: &Server,
    now: UnixTime,
    exhausted: &BTreeSet<String>,
) -> Result<Permit, Refusal> {
    let authority = &caller.authority.authority;
    match act.kind {
        Kind::Gated => {
            let call = Call { location: &server.location, action: &act.action, arguments: &act.arguments, now };
            authority.permits_beyond(&call, exhausted)
        }
        Kind::List(_) | Kind::Listen => {
            if authority.actions_at(&server.location).is_empty() {
                return Err(Refusal::new(Code::ToolNotGranted, format!("nothing is granted at `{}`", server.location)));
            }
            Ok(Permit { grants: Vec::new(), fields: None, limits: Vec::new(), charges: Vec::new() })
        }
    }
}

/// The question put to the policies: everything they may look at.
pub(crate) fn question(
    caller: &Caller,
    act: &Act,
    server: &Server,
    tenant: &TenantId,
    world: &Snapshot,
    now: UnixTime,
) -> Question {
    let token = &caller.token;
    let parties = identify::parties(token);
    let root = Principal { iss: token.iss.clone(), sub: token.sub.clone() };
    let holder = parties.last().unwrap_or(&root);
    let tool = matches!(act.kind, Kind::Gated).then(|| ToolFacts {
        name: act.action.clone(),
        class: act.class,
        classification: server.tools.get(&act.action).and_then(|rule| rule.classification.clone()),
    });
    Question {
        tenant: tenant.clone(),
        issuer: token.iss.clone(),
        principal: party(world, holder),
        on_behalf_of: party(world, &root),
        chain: parties.iter().skip(1).map(|party| party.sub.clone()).collect(),
        txn: Some(token.txn.clone()),
        action: if tool.is_some() { Action::Call } else { Action::List },
        server: Some(server.id.clone()),
        tool,
        arguments: if matches!(act.kind, Kind::Gated) { act.arguments.clone() } else { Value::Null },
        authority_digest: caller.authority.digest.clone(),
        purpose: token.purpose.clone(),
        now,
        auth_age: token.auth_time.map(|at| now.since(at)),
    }
}

fn party(world: &Snapshot, principal: &Principal) -> Party {
    let agent = identify::registered(world, principal);
    Party {
        kind: principal.kind(),
        sub: principal.sub.clone(),
        iss: principal.iss.clone(),
        owner: agent.map(|agent| agent.owner.clone()),
        labels: agent.map(|agent| agent.labels.clone()).unwrap_or_default(),
    }
}

/// What the call draws on budgets: the caller's own, and that of everyone above who handed a limited grant on, so that
/// handing on does not multiply a limit.
#[derive(Debug, Default)]
pub(crate) struct Charges {
    /// With the digest of the caller's grant, which another grant may replace.
    pub(crate) own: Vec<(String, Budget)>,
    pub(crate) above: Vec<Budget>,
}

pub(crate) async fn charges(
    store: &Store,
    world: &Snapshot,
    caller: &Caller,
    act: &Act,
    server: &Server,
    permit: &Permit,
    now: UnixTime,
) -> Result<Charges, No> {
    if permit.charges.is_empty() {
        return Ok(Charges::default());
    }
    let token = &caller.token;
    let until = Some(token.exp.plus(BUDGET_KEPT_SECS));
    let budget = |holder: &str, charge: &remit_model::authority::Charge| Budget {
        key: format!("{}/{holder}/{}/{}", token.txn, charge.grant, charge.unit),
        add: charge.add,
        limit: charge.limit,
        until,
    };
    let own: Vec<(String, Budget)> =
        permit.charges.iter().map(|charge| (charge.grant.clone(), budget(caller.holder(), charge))).collect();
    let call = Call { location: &server.location, action: &act.action, arguments: &act.arguments, now };
    let mut above: Vec<Budget> = Vec::new();
    for jti in &token.ancestors {
        let unreadable = || Refusal::new(Code::LedgerUnavailable, "the budgets of the chain cannot be read");
        let parent = store.token(jti).await.map_err(|_| unreadable())?.ok_or_else(unreadable)?;
        let mut parties = vec![parent.chain.root.clone()];
        parties.extend(parent.chain.hops.iter().map(|hop| hop.delegate.clone()));
        // As the parent's own calls count it, so that both draw on one budget.
        let authority = identify::within_limits(world, parent.authority, &parties).at_location(&server.location);
        let drawn = authority.permits(&call)?.charges;
        above.extend(drawn.iter().map(|charge| budget(&parent.chain.holder().sub, charge)));
    }
    above.retain(|budget| !own.iter().any(|(_, own)| own.key == budget.key));
    above.sort_by(|one, other| one.key.cmp(&other.key));
    above.dedup_by(|one, other| one.key == other.key);
    Ok(Charges { own, above })
}
