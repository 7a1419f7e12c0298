//! Budgets and intents: what a permitted act draws, and the record that is durable before the act happens.
//!
//! SPEC: record.md §1.9. One batch holds both, so that a budget is never drawn for an act without its intent.

use crate::road::{active, authorise, commit, context::Context, identify::Caller, record::RequestRecord, rejection::Rejection};
use remit_model::{
    Authority, Fault, Grant, Permit,
    authority::Charge,
    call::Call,
    refusal::{Code, Refusal},
    time::{ClockStatus, UnixTime},
};
use remit_store::{ApplyError, Batch, Budget, Precondition, Snapshot, Store};
use std::collections::{BTreeMap, BTreeSet};

/// How long a budget's count outlives the authority that it limits: longer than any clock is wrong.
const BUDGET_KEPT_SECS: i64 = 24 * 3600;
/// How many used-up grants are set aside before the call is refused.
const BUDGET_TRIES: usize = 8;
/// The caller's own authority among the sources of budgets.
const OWN: usize = 0;

/// Checks that the act can be recorded as its record has to be: durably, and with a time that is known.
///
/// # Errors
/// The code of the outage; `clock_unknown`.
pub(crate) fn recordable(context: &Context<'_>, record: &RequestRecord) -> Result<(), Refusal> {
    if let Some(outage) = context.store.outage().filter(|_| record.mutates() || !context.reads_in_outage) {
        return Err(outage.refusal());
    }
    if record.mutates() && context.settings.clock_required && context.now.status == ClockStatus::Unknown {
        return Err(Refusal::new(Code::ClockUnknown, "the time is not known well enough to change anything"));
    }
    Ok(())
}

/// Counts the act against its budgets and makes the intent of a mutation durable, in one batch.
///
/// # Errors
/// `limit_exhausted`; as [`authorise::authorise`] when the remaining grants do not cover the act; as [`recordable`].
pub(crate) async fn reserve(context: &Context<'_>, mut permit: Permit, record: &mut RequestRecord) -> Result<Permit, Rejection> {
    // Again: reading the state before a change takes its time.
    recordable(context, record)?;
    let Context { store, caller, server, act, now, .. } = *context;
    let sources = if permit.charges.is_empty() { Vec::new() } else { sources(store, &store.snapshot(), caller).await? };
    let call = Call { location: &server.location, action: &act.action, arguments: &act.arguments, now: now.unix() };
    let mut exhausted = BTreeSet::new();
    for _ in 0..BUDGET_TRIES {
        let spent = match draws(caller, &sources, &call, &permit, &exhausted) {
            Ok(draws) => match draw(context, draws, record).await? {
                None => return Ok(permit),
                Some(spent) => spent,
            },
            Err(unpaid) => (OWN, unpaid),
        };
        exhausted.insert(spent);
        let own = exhausted.iter().filter(|(source, _)| *source == OWN).map(|(_, grant)| grant.clone()).collect();
        permit = authorise::authorise(caller, act, server, now.unix(), &own)?;
        record.permit(&permit);
    }
    Err(Refusal::new(Code::LimitExhausted, "the limits of the granted authority are used up").into())
}

/// One batch: what the call draws, and the intent if there is one. Gives back the source and grant that is used up.
async fn draw(context: &Context<'_>, draws: Vec<Draw>, record: &mut RequestRecord) -> Result<Option<(usize, String)>, Rejection> {
    let mut batch = Batch::new(context.settings.tenant.clone());
    batch.require = draws.iter().map(|draw| Precondition::Budget(draw.budget.clone())).collect();
    if record.mutates() {
        batch = batch.record(record.intent());
    }
    if batch.require.is_empty() && batch.records.is_empty() {
        return Ok(None);
    }
    match context.store.apply(batch).await {
        Ok(applied) => {
            if let Some(receipt) = applied.receipts.first() {
                record.intended(&receipt.record_id);
            }
            Ok(None)
        }
        Err(ApplyError::Conflict(Precondition::Budget(spent))) => {
            let from = draws.into_iter().find(|draw| draw.budget == spent).map(|draw| draw.from);
            Ok(Some(from.ok_or_else(|| Fault::new("a budget that was not asked for is used up"))?))
        }
        Err(error) => Err(commit::unavailable(&error).into()),
    }
}

/// An authority that the caller's is a part of, and where its budgets are counted. A limit holds over everyone who holds a
/// part of it, because each part draws on the whole: handing on, narrowing, refreshing or getting another token does not
/// multiply it. Parts have budgets of their own besides, so two narrowings of one token are both usable.
#[derive(Debug)]
struct Source {
    name: String,
    authority: Authority,
    /// When the authority ends and its counts may be forgotten; never, for what a principal may do at all.
    until: Option<UnixTime>,
}

/// What a call draws on one budget.
#[derive(Debug)]
struct Draw {
    /// Number of the source and digest of the grant there.
    from: (usize, String),
    budget: Budget,
}

/// The caller's own authority first; then the tokens it descends from, every hop of its chain, and what each party of the
/// chain may have at all.
async fn sources(store: &Store, snapshot: &Snapshot, caller: &Caller) -> Result<Vec<Source>, Refusal> {
    let token = &caller.token;
    let unreadable = || Refusal::new(Code::LedgerUnavailable, "the budgets of the chain cannot be read");
    let own = Source {
        name: format!("token/{}", token.jti),
        authority: caller.authority.authority.clone(),
        until: Some(token.exp.plus(BUDGET_KEPT_SECS)),
    };
    let mut sources = vec![own];
    for jti in &token.ancestors {
        let parent = store.token(jti).await.map_err(|_| unreadable())?.ok_or_else(unreadable)?;
        let mut parties = vec![parent.chain.root.clone()];
        parties.extend(parent.chain.hops.iter().map(|hop| hop.delegate.clone()));
        // As the parent's own calls count it, so that both draw on one budget.
        let authority = active::within_limits(snapshot, parent.authority.clone(), &parties).at_location(&token.aud);
        let until = Some(parent.expires.plus(BUDGET_KEPT_SECS));
        sources.push(Source { name: format!("token/{jti}"), authority, until });
    }
    let chain =
        store.token(&token.jti).await.map_err(|_| unreadable())?.map(|stored| stored.chain.hops.clone()).unwrap_or_default();
    // A hop is made once; what a refresh gives out later is under it, however narrow it is asked for.
    sources.extend(chain.into_iter().map(|hop| Source {
        name: format!("{}/hop/{}", token.txn, hop.jti),
        authority: hop.authority,
        until: Some(hop.expires.max(token.exp).plus(BUDGET_KEPT_SECS)),
    }));
    for party in token.parties() {
        let authority = active::most(snapshot, party).cloned().unwrap_or_default();
        sources.push(Source { name: format!("most/{}/{}", party.iss, party.sub), authority, until: None });
    }
    Ok(sources)
}

/// What the permitted call draws on the budgets of every source: of each grant that is used, and of one grant above it in
/// every other source, leaving out those that are used up.
///
/// # Errors
/// The digest of a grant of the caller's that nothing above can pay for any more.
fn draws(
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
                // INVARIANT: never the digest of the grant: alternatives of one meaning share a budget.
                let key = format!("{}/{}/{}", source.name, charge.budget, charge.unit);
                let budget = Budget { key: key.clone(), add: charge.add, limit: charge.limit, until: source.until };
                let drawn = draws.entry(key).or_insert_with(|| Draw { from: (number, charge.grant), budget });
                drawn.budget.limit = drawn.budget.limit.min(charge.limit);
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
