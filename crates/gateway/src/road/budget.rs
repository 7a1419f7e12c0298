//! Budgets and intents: what a permitted act draws, and the record that is durable before the act happens.
//!
//! SPEC: record.md §1.9. One batch holds both, so that a budget is never drawn for an act without its intent.

use crate::road::{
    authorise::{self, Permitted},
    commit,
    context::Context,
    record::RequestRecord,
    rejection::Rejection,
    verified_token::VerifiedToken,
};
use remit_decide::{
    Principals, authorise as covers,
    budget::{self, Ancestry, Draw, OWN},
};
use remit_model::{
    Fault,
    call::Call,
    refusal::{Code, Refusal},
    time::ClockStatus,
};
use remit_store::{ApplyError, Batch, Precondition, Store};
use std::collections::BTreeSet;

/// How many used-up grants are set aside before the call is refused.
const BUDGET_TRIES: usize = 8;

/// Checks that the act can be recorded as its record has to be: durably, and with a time that is known.
///
/// # Errors
/// The code of the outage; `clock_unknown`.
pub(crate) fn recordable(context: &Context<'_>, record: &RequestRecord) -> Result<(), Refusal> {
    if let Some(outage) = context.store.outage().filter(|_| record.mutates() || !context.reads_in_outage) {
        return Err(context.store.refuse(&outage));
    }
    if record.mutates() && context.settings.clock_required && context.now.status == ClockStatus::Unknown {
        return Err(Refusal::new(Code::ClockUnknown, "the time is not known well enough to change anything"));
    }
    Ok(())
}

/// Counts the act against its budgets and makes the intent of a mutation durable, in one batch. A retry is counted already.
///
/// # Errors
/// `limit_exhausted`; as [`remit_decide::authorise`] when the remaining grants do not cover the act; as [`recordable`]; why someone
/// in the chain may not act any more at the commit.
pub(crate) async fn reserve(
    context: &Context<'_>,
    mut permitted: Permitted,
    record: &mut RequestRecord,
) -> Result<Permitted, Rejection> {
    // Again: reading the state before a change takes its time.
    recordable(context, record)?;
    if record.is_retry() {
        permitted.permit.charges.clear();
    }
    let Context { store, caller, server, act, now, settings, .. } = *context;
    let (token, effective) = (&caller.token, permitted.effective.clone());
    let sources = if permitted.permit.charges.is_empty() {
        Vec::new()
    } else {
        let ancestry = ancestry(store, token).await?;
        budget::sources(
            Principals::new(&settings.issuer, &store.snapshot()),
            &token.presented(),
            &effective,
            &ancestry,
            token.exp,
        )
    };
    let call = Call { location: &server.location, action: &act.action, arguments: &act.arguments, now: now.unix() };
    let mut exhausted = BTreeSet::new();
    for _ in 0..BUDGET_TRIES {
        let spent = match budget::draws(&effective, &sources, &call, &permitted.permit, &exhausted) {
            Ok(draws) => match draw(context, draws, record).await? {
                None => return Ok(permitted),
                Some(spent) => spent,
            },
            Err(unpaid) => (OWN, unpaid),
        };
        exhausted.insert(spent);
        let own = exhausted.iter().filter(|(source, _)| *source == OWN).map(|(_, grant)| grant.clone()).collect();
        permitted.permit = covers(&effective.authority, &authorise::what(act, server), now.unix(), &own)?;
        record.permit(&permitted.permit);
    }
    Err(Refusal::new(Code::LimitExhausted, "the limits of the granted authority are used up").into())
}

/// The stored tokens that the caller's authority came through, in one read.
async fn ancestry(store: &Store, token: &VerifiedToken) -> Result<Ancestry, Refusal> {
    let unreadable = || Refusal::new(Code::LedgerUnavailable, "the budgets of the chain cannot be read");
    let jtis: Vec<String> = std::iter::once(&token.jti).chain(&token.ancestors).cloned().collect();
    let mut found = store.tokens(&jtis).await.map_err(|_| unreadable())?.into_iter();
    let own = found.next().flatten();
    let above = found.collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
    Ok(Ancestry { own, above })
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
    // Who may act was decided by an earlier view of the registry; the store decides by the latest.
    batch.require.push(context.caller.token.active_at_commit());
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
        Err(ApplyError::Conflict(Precondition::Active { .. })) => {
            let snapshot = context.store.snapshot();
            context.caller.token.still_active(Principals::new(&context.settings.issuer, &snapshot))?;
            Err(Fault::new("the caller lost its standing and has it again").into())
        }
        Err(error) => Err(commit::unavailable(&error).into()),
    }
}
