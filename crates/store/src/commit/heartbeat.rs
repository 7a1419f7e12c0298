//! Records that the writer makes on its own: heartbeats, and the ends of sessions that were left open.
//! SPEC: record.md §1.9 (1), (3).

use crate::batch::Batch;
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{TenantId, ToolClass};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

/// When the next heartbeat is due.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    every_ns: u64,
    last_ns: u64,
}

impl Heartbeat {
    pub(crate) fn new(every: Duration, now_ns: u64) -> Self {
        Self { every_ns: u64::try_from(every.as_nanos()).unwrap_or(u64::MAX), last_ns: now_ns }
    }

    /// Whether one is due, which the caller then writes.
    pub(crate) fn take(&mut self, now_ns: u64) -> bool {
        let due = self.every_ns > 0 && now_ns.saturating_sub(self.last_ns) >= self.every_ns;
        if due {
            self.last_ns = now_ns;
        }
        due
    }

    /// The record of it. `reads` are those of the public part of the log since the last one.
    pub(crate) fn record(&self, tenant: &TenantId, reads: &BTreeMap<&'static str, String>) -> Draft {
        let draft = Draft::new(tenant.clone(), ProducerKind::AuthzServer, RecordType::Heartbeat)
            .action("heartbeat", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .ext("heartbeat", json!({"every_ns": self.every_ns.to_string()}));
        if reads.is_empty() { draft } else { draft.ext("public_reads", json!(reads)) }
    }
}

/// Why sessions end that no gateway closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The process died: what became of them is not known.
    Crash,
    /// The server stops, and they end with it.
    Stop,
}

/// Sessions closed by one batch.
const CLOSED_AT_ONCE: usize = 256;

/// Closes these sessions, each given with the record that opened it.
pub(crate) fn closings(tenant: &TenantId, open: &[(String, Option<String>)], left: Left) -> Vec<Batch> {
    let batches = open.chunks(CLOSED_AT_ONCE).map(|some| {
        let note = Batch::new(tenant.clone()).note();
        some.iter().fold(note, |batch, (id, opened)| batch.record(closing(tenant, id, opened.as_deref(), left)))
    });
    batches.collect()
}

fn closing(tenant: &TenantId, id: &str, opened: Option<&str>, left: Left) -> Draft {
    let why = if left == Left::Crash { "crash" } else { "stop" };
    let mut draft = Draft::new(tenant.clone(), ProducerKind::Gateway, RecordType::SessionClose)
        .action("session.close", ToolClass::Read)
        .ext("closed", json!({"why": why}));
    if left == Left::Stop {
        draft = draft.outcome(OutcomeStatus::Success, EffectConfirmed::None);
    }
    draft.session.id = Some(id.to_owned());
    draft.caused_by.extend(opened.map(str::to_owned));
    draft
}
