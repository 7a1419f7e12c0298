//! Destroys values past their retention period. It runs between two groups, so that no hold can come between the last look at
//! the holds and the destruction.

use super::{
    command::{DueValues, SideBodies},
    writer::Writer,
};
use crate::{batch::Batch, config::StoreError, db::group::Task};
use remit_ledger::{
    Draft,
    record::{EffectConfirmed, OutcomeStatus, ProducerKind, RecordType},
};
use remit_model::{ToolClass, id::TenantId, time::UnixTime};
use serde_json::json;

/// What is on hold is looked at again after so many seconds.
const LOOK_AGAIN: i64 = 86_400;

impl Writer {
    /// Closes what no hold protects, after a record of it; the rest is looked at again later. Gives back what was closed.
    pub(super) fn destroy_values(&mut self, due: Vec<DueValues>, now: UnixTime) -> Result<SideBodies, StoreError> {
        let snapshot = &self.group.state.snapshot;
        let tenant = snapshot.tenant().clone();
        let (held, due): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|one| one.owners.iter().any(|subject| snapshot.is_held(subject)));
        let held = held.into_iter().map(|one| one.index).collect();
        let closed: SideBodies = due.into_iter().map(|one| (one.index, one.closed)).collect();
        if let (Some((first, _)), Some((last, _))) = (closed.first_key_value(), closed.last_key_value()) {
            let batch = Batch::new(tenant.clone()).record(record(&tenant, closed.len(), *first, *last));
            self.single(batch).map_err(StoreError::Redaction)?;
        }
        let later = now.plus(LOOK_AGAIN);
        let task = Task::CloseSides { closed, held, later };
        self.group.db.aside(&task)?;
        let Task::CloseSides { closed, .. } = task else { return Ok(SideBodies::new()) };
        Ok(closed)
    }
}

/// Nothing is destroyed in silence.
fn record(tenant: &TenantId, count: usize, first: u64, last: u64) -> Draft {
    Draft::new(tenant.clone(), ProducerKind::AuthzServer, RecordType::Redaction)
        .action("ledger.retention", ToolClass::Admin)
        .outcome(OutcomeStatus::Success, EffectConfirmed::DispatchedOnly)
        .ext(
            "redaction",
            json!({"cause": "retention", "records": count.to_string(), "first": first.to_string(), "last": last.to_string()}),
        )
}
