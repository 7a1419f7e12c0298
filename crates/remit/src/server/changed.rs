//! What the server itself changes is recorded in its own name.

use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{TenantId, ToolClass};

/// The record of something that changed, in the server's own name.
pub(crate) fn changed(tenant: &TenantId, kind: RecordType, action: &str) -> Draft {
    Draft::new(tenant.clone(), ProducerKind::AuthzServer, kind)
        .action(action, ToolClass::Admin)
        .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
}
