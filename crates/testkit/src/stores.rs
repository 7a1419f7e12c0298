//! Stores in a folder, with keys that everybody knows.

use remit_clock::{Clock, Entropy};
use remit_model::{Moment, TenantId, UnixTime};
use remit_store::{Batch, Change, Config, Secret, Store};
use serde_json::json;
use std::{path::Path, time::Duration};

/// When the world begins.
pub const NOW: UnixTime = UnixTime(1_800_000_000);

/// A clock that stands at [`NOW`] until a test moves it.
pub fn clock() -> Clock {
    Clock::manual(Moment::at(NOW.0))
}

/// A store below `dir`: for tests and measurements, never for a log that is to be believed.
pub fn store_config(dir: &Path, clock: Clock) -> Config {
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
        clock,
        entropy: Entropy::system(),
        publish_every: Config::PUBLISH_EVERY,
        queue: Config::QUEUE,
        queue_wait: Config::QUEUE_WAIT,
        heartbeat: Config::HEARTBEAT,
        spool_bytes: 256 << 10,
    }
}

/// As [`store_config`], with a publisher that waits to be told.
pub fn quiet_config(dir: &Path, clock: Clock) -> Config {
    Config { publish_every: Duration::from_hours(1), ..store_config(dir, clock) }
}

/// Commits one change to the world.
pub async fn change(store: &Store, change: Change) {
    store.apply(Batch::new(TenantId::main()).change(change)).await.unwrap();
}
