//! Stores to test with.

use remit_clock::Clock;
use remit_ledger::record::{ProducerKind, RecordType};
use remit_model::{
    agent::{Agent, AgentStatus},
    authority::Authority,
    id::{AgentId, TenantId},
    time::{Moment, UnixTime},
};

use remit_store::{Batch, Config, Draft, Store};
use serde_json::json;
use std::{path::Path, time::Duration};

pub(crate) const NOW: i64 = 1_800_000_000;

/// A configuration under `dir` whose clock stands still and whose publisher waits to be told.
pub(crate) fn config(dir: &Path) -> Config {
    Config { publish_every: Duration::from_hours(1), ..Config::danger_known_keys(dir, Clock::manual(Moment::at(NOW))) }
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
    Agent {
        id: AgentId::parse(name).unwrap(),
        display_name: name.to_owned(),
        owner: "user:alice".to_owned(),
        status: AgentStatus::Active,
        keys: Vec::new(),
        redirect_uris: Vec::new(),
        ceiling: Authority::none(),
        labels: std::collections::BTreeMap::new(),
        registered: UnixTime(NOW),
    }
}
