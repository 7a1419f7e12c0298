//! Stores to test with.

use remit_ledger::record::{ProducerKind, RecordType};
use remit_model::{
    agent::{Agent, AgentStatus},
    authority::Authority,
    id::{AgentId, TenantId},
    time::{Moment, UnixTime},
};

use remit_store::{
    Batch, Config, Draft, Secret, Store,
    rim::{Clock, Entropy},
};
use serde_json::json;
use std::{path::Path, time::Duration};

pub(crate) const NOW: i64 = 1_800_000_000;

/// A configuration under `dir` whose clock stands still and whose publisher waits to be told.
pub(crate) fn config(dir: &Path) -> Config {
    Config {
        data_dir: dir.join("data"),
        ledger_dir: dir.join("ledger"),
        tenant: TenantId::main(),
        producer_id: "spiffe://remit.test/main/store".to_owned(),
        version: "0.0.0".to_owned(),
        build_digest: format!("sha-256:{}", "0".repeat(64)),
        record_key: Secret::new([1; 32]),
        log_origin: "remit.test/main".to_owned(),
        log_key: Secret::new([2; 32]),
        pepper: Secret::new([3; 32]),
        vault: Secret::new([4; 32]),
        retention: Config::retention(),
        issuer_jwks: json!({ "keys": [] }),
        clock: Clock::manual(Moment::at(NOW)),
        entropy: Entropy::system(),
        publish_every: Duration::from_hours(1),
        queue: Config::QUEUE,
        queue_wait: Config::QUEUE_WAIT,
        heartbeat: Config::HEARTBEAT,
        spool_bytes: 256 << 10,
    }
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
