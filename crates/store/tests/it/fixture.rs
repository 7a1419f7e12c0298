//! Stores to test with.

use remit_ledger::record::{ProducerKind, RecordType};
use remit_model::{agent::Agent, authority::Authority, id::TenantId};
use remit_store::{Batch, Config, Draft, Store};
use serde_json::json;
use std::path::Path;

pub(crate) const NOW: i64 = remit_testkit::NOW.0;

/// A configuration under `dir` whose clock stands still and whose publisher waits to be told.
pub(crate) fn config(dir: &Path) -> Config {
    remit_testkit::quiet_config(dir, remit_testkit::clock())
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(config(dir)).unwrap()
}

pub(crate) fn batch() -> Batch {
    Batch::new(TenantId::main())
}

pub(crate) fn draft(name: &str) -> Draft {
    Draft::new(TenantId::main(), ProducerKind::Gateway, RecordType::Decision)
        .action(name, remit_model::resource::ToolClass::Read)
        .commit("/call/arguments", json!({ "name": name }))
}

pub(crate) fn agent(name: &str) -> Agent {
    remit_testkit::agent(name, Authority::none())
}
