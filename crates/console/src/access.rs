//! Reading the ledger is itself recorded: who, how, which records, how many. SPEC: PCI DSS 10.2.1.3.
//!
//! A reader that copies the log bundle by bundle must not make it grow, so fetches of bundles are gathered: at
//! most one record in a minute, which states how many there were since the last one.

use crate::{
    Console,
    admin::{Admin, record},
    error::No,
};
use remit_store::Batch;
use serde_json::json;

/// Records one read through the admin API. No record, no reply.
pub(crate) async fn read(console: &Console, admin: Admin, action: &str, from: u64, count: u64) -> Result<(), No> {
    write(console, admin, action, 1, from, from.saturating_add(count)).await
}

/// Records, or gathers, the read of a bundle.
pub(crate) async fn bundle(console: &Console, admin: Admin, from: u64, to: u64) -> Result<(), No> {
    match console.gathered.add(from, to, console.clock.now().mono_ns) {
        Some((reads, from, to)) => write(console, admin, "log.entries", reads, from, to).await,
        None => Ok(()),
    }
}

impl Console {
    /// Records the reads of the log that are gathered and not yet recorded; for a clean stop, before the store closes.
    pub async fn close(&self) {
        if flush(self).await.is_err() {
            tracing::error!("the last reads of the log could not be recorded");
        }
    }
}

/// Records what was gathered and not yet recorded.
async fn flush(console: &Console) -> Result<(), No> {
    match console.gathered.rest() {
        Some((reads, from, to)) => write(console, Admin::several(), "log.entries", reads, from, to).await,
        None => Ok(()),
    }
}

async fn write(console: &Console, admin: Admin, action: &str, reads: u64, from: u64, to: u64) -> Result<(), No> {
    let facts = json!({"from": from.to_string(), "to": to.to_string(), "reads": reads.to_string()});
    let draft = admin.read(console, action).ext("access", facts);
    record(console, Batch::new(console.tenant.clone()).note().record(draft)).await.map(drop)
}
