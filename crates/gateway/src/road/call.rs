//! The road of one act: decide → intent → forward → mask → outcome → reply, without a word of any protocol.
//!
//! An edge reads its request into an act (`road/act.rs`) and supplies what only it can do: `prepare` reads what the act needs
//! before anything is drawn, `forward` does it and masks the answer. The record travels along; every road ends in exactly one.

use crate::road::{
    answer::Answer, authorise, authorise::Permitted, budget, commit::commit, context::Context, record::RequestRecord,
    rejection::Rejection,
};
use remit_clock::Clock;
use remit_model::TenantId;
use remit_store::{Receipt, Store};

/// The record as far as it has grown, and how the step went. Boxed, because each step holds it for a while.
pub(crate) type Step<T> = (Box<RequestRecord>, Result<T, Rejection>);

/// Decides about an act, prepares it, draws its budgets and makes its intent durable, and has it done.
///
/// `prepare` comes after the decision and before anything is drawn; what it gives goes to `forward`. Both take the record and give
/// it back.
pub(crate) async fn perform<P, T, Preparing, Forwarding>(
    context: &Context<'_>,
    mut record: Box<RequestRecord>,
    prepare: impl FnOnce(Box<RequestRecord>) -> Preparing,
    forward: impl FnOnce(P, Permitted, Box<RequestRecord>) -> Forwarding,
) -> Step<T>
where
    Preparing: Future<Output = Step<P>>,
    Forwarding: Future<Output = Step<T>>,
{
    let permitted = match authorise::permit(context, &mut record) {
        Ok(permitted) => permitted,
        Err(refusal) => return (record, Err(refusal.into())),
    };
    // Before anything outside hears of an act that is going to be refused, be it only a read of ours.
    if let Err(refusal) = budget::recordable(context, &record) {
        return (record, Err(refusal.into()));
    }
    let (mut record, prepared) = prepare(record).await;
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(rejection) => return (record, Err(rejection)),
    };
    match budget::reserve(context, permitted, &mut record).await {
        // CRASH: a mutation's intent is on disk; without its effect record it counts as "outcome unknown".
        Ok(permitted) => forward(prepared, permitted, record).await,
        Err(rejection) => (record, Err(rejection)),
    }
}

/// How an act ended, once that is on record.
#[derive(Debug)]
pub(crate) struct Settled<B> {
    /// What the caller is answered; a refusal when the record could not be made durable.
    pub(crate) outcome: Result<B, Rejection>,
    pub(crate) receipt: Option<Receipt>,
    /// The act was handed on, so that it may have had its effect.
    pub(crate) dispatched: bool,
}

/// Makes the outcome durable. No record, no reply: what is not durable was not served.
pub(crate) async fn settle<B>(
    (store, tenant, clock): (&Store, &TenantId, &Clock),
    record: Box<RequestRecord>,
    outcome: Result<(Answer, B), Rejection>,
) -> Settled<B> {
    let dispatched = record.was_dispatched();
    let draft = record.close(outcome.as_ref().map(|(answer, _)| answer), &clock.now());
    match commit(store, tenant, draft).await {
        Ok(receipt) => Settled { outcome: outcome.map(|(_, body)| body), receipt, dispatched },
        Err(refusal) => Settled { outcome: Err(refusal.into()), receipt: None, dispatched },
    }
}
