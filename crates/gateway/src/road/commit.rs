//! Makes one record durable: without it, no reply.

use remit_ledger::record::Draft;
use remit_model::{
    TenantId,
    refusal::{Code, Refusal},
};
use remit_store::{ApplyError, Batch, Receipt, Store};

/// Makes a record of what happened, or was refused, durable. The receipt says where it is.
///
/// # Errors
/// `ledger_unavailable`, or the code of the outage.
pub(crate) async fn commit(store: &Store, tenant: &TenantId, draft: Draft) -> Result<Option<Receipt>, Refusal> {
    let batch = Batch::new(tenant.clone()).note().record(draft);
    match store.apply(batch).await {
        Ok(applied) => Ok(applied.receipts.into_iter().next()),
        Err(error) => Err(unavailable(&error)),
    }
}

/// The refusal when the store did not take a batch. The detail is logged.
pub(crate) fn unavailable(error: &ApplyError) -> Refusal {
    tracing::error!(%error, "a record could not be made durable");
    match error {
        ApplyError::Unavailable(outage) => outage.refusal(),
        _ => Refusal::new(Code::LedgerUnavailable, "the audit ledger is not available, so nothing is served"),
    }
}
