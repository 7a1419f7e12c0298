//! The two questions before anything is forwarded: does the caller's authority cover it, and does policy allow it.

use crate::{
    held,
    identify::{self, Caller},
    mcp::method::{Act, Kind},
};
use remit_model::{
    Authority, Grant, Permit,
    authority::Charge,
    call::Call,
    id::{Principal, TenantId},
    refusal::{Code, Refusal},
    resource::Server,
    time::UnixTime,
};
use remit_policy::{Action, Question, ToolFacts};
use remit_store::{Budget, Snapshot, Store};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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
    // What the caller was identified with, unless the world has changed since, for instance while its body was read.
    let (principal, on_behalf_of) = if caller.revision == world.revision() {
        (caller.authority.principal.clone(), caller.authority.on_behalf_of.clone())
    } else {
        let root = Principal::local(&token.iss, &token.sub);
        (held::party(world, token.parties().last().unwrap_or(&root)), held::party(world, &root))
    };
    let tool = matches!(act.kind, Kind::Gated).then(|| ToolFacts {
        name: act.action.clone(),
        class: act.class,
        classification: server.tools.get(&act.action).and_then(|rule| rule.classification.clone()),
    });
    Question {
        tenant: tenant.clone(),
        issuer: token.iss.clone(),
        principal,
        on_behalf_of,
        chain: token.parties().iter().skip(1).map(|party| party.sub.clone()).collect(),
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

/// An authority that the caller's is a part of, and where its budgets are counted. What is counted under a name lasts as
/// long as the grant, so that a limit holds over all who hold a part of it: handing on, narrowing one's own token,
/// refreshing it or getting another one does not multiply it.
#[derive(Debug)]
pub(crate) struct Source {
    name: String,
    authority: Authority,
}

/// What a call draws on one budget.
#[derive(Debug)]
pub(crate) struct Draw {
    /// Number of the source and digest of the grant there.
    pub(crate) from: (usize, String),
    pub(crate) budget: Budget,
}

/// The caller's own authority first; then the tokens it descends from, every hop of its chain, and what each party of the
/// chain may have at all.
pub(crate) async fn sources(store: &Store, world: &Snapshot, caller: &Caller) -> Result<Vec<Source>, Refusal> {
    let token = &caller.token;
    let unreadable = || Refusal::new(Code::LedgerUnavailable, "the budgets of the chain cannot be read");
    let own = Source { name: format!("{}/{}", token.txn, caller.holder()), authority: caller.authority.authority.clone() };
    let mut sources = vec![own];
    for jti in &token.ancestors {
        let parent = store.token(jti).await.map_err(|_| unreadable())?.ok_or_else(unreadable)?;
        let mut parties = vec![parent.chain.root.clone()];
        parties.extend(parent.chain.hops.iter().map(|hop| hop.delegate.clone()));
        // As the parent's own calls count it, so that both draw on one budget.
        let authority = identify::within_limits(world, parent.authority.clone(), &parties).at_location(&token.aud);
        sources.push(Source { name: format!("{}/{}", token.txn, parent.chain.holder().sub), authority });
    }
    let chain =
        store.token(&token.jti).await.map_err(|_| unreadable())?.map(|stored| stored.chain.hops.clone()).unwrap_or_default();
    // A hop is made once; what a refresh gives out later is under it, however narrow it is asked for.
    sources
        .extend(chain.into_iter().map(|hop| Source { name: format!("{}/hop/{}", token.txn, hop.jti), authority: hop.authority }));
    for party in token.parties() {
        let authority = identify::most(world, party).cloned().unwrap_or_default();
        sources.push(Source { name: format!("most/{}/{}", party.iss, party.sub), authority });
    }
    Ok(sources)
}

/// What the permitted call draws on the budgets of every source: of each grant that is used, and of one grant above it in
/// every other source, leaving out those that are used up.
///
/// # Errors
/// The digest of a grant of the caller's that nothing above can pay for any more.
pub(crate) fn draws(
    caller: &Caller,
    sources: &[Source],
    call: &Call<'_>,
    permit: &Permit,
    exhausted: &BTreeSet<(usize, String)>,
) -> Result<Vec<Draw>, String> {
    let mut used: BTreeMap<&str, Vec<Charge>> = BTreeMap::new();
    for charge in &permit.charges {
        used.entry(&charge.grant).or_default().push(charge.clone());
    }
    let mut draws: BTreeMap<String, Draw> = BTreeMap::new();
    for (digest, charges) in used {
        let own = caller.authority.authority.grants().iter().find(|grant| grant.digest() == digest);
        let own = Authority::from_grants(own.cloned());
        for (number, source) in sources.iter().enumerate() {
            let charges = match number {
                0 => charges.clone(),
                _ => above(&own, number, source, call, exhausted).ok_or_else(|| digest.to_owned())?,
            };
            for charge in charges {
                let key = format!("{}/{}/{}", source.name, charge.grant, charge.unit);
                let until = Some(caller.token.exp.plus(BUDGET_KEPT_SECS));
                let budget = Budget { key: key.clone(), add: charge.add, limit: charge.limit, until };
                draws.entry(key).or_insert(Draw { from: (number, charge.grant), budget });
            }
        }
    }
    Ok(draws.into_values().collect())
}

/// What one grant of the source above `own` is charged: nothing if one without a budget covers it.
fn above(
    own: &Authority,
    number: usize,
    source: &Source,
    call: &Call<'_>,
    exhausted: &BTreeSet<(usize, String)>,
) -> Option<Vec<Charge>> {
    let mut grants: Vec<&Grant> = source.authority.grants().iter().collect();
    grants.sort_by_key(|grant| grant.is_limited());
    grants.into_iter().find_map(|grant| {
        let alone = Authority::from_grants([grant.clone()]);
        let covers = own.within(&alone).is_ok() && !exhausted.contains(&(number, grant.digest()));
        covers.then(|| alone.permits(call).ok()).flatten().map(|permit| permit.charges)
    })
}
