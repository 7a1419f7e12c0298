//! `remit-bench world` and `remit-bench drive`: a world for other tools to run a server in, and requests to send to it.

use super::{
    load::{self, Pace},
    machine::Process,
    road::{Road, Stock},
    world::World,
};
use crate::rounds::Figures;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::{path::PathBuf, time::Duration};

/// Requests that are signed at once.
const BATCH: usize = 4_000;

/// What `drive` was asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Driven {
    pub(crate) road: Road,
    pub(crate) dir: PathBuf,
    pub(crate) requests: usize,
    pub(crate) connections: usize,
    /// Requests of which nothing is told, sent first.
    pub(crate) warm_up: usize,
    /// Start the server as well.
    pub(crate) serve: bool,
}

/// Writes a world.
pub(crate) fn world(dir: &std::path::Path) -> Result<()> {
    let world = World::make(dir)?;
    println!("{}", json!({"config": world.configuration(), "issuer": world.issuer()}));
    Ok(())
}

/// Sends requests of one road to the server of a world, every answer checked.
pub(crate) fn drive(asked: &Driven) -> Result<()> {
    let world = World::open(&asked.dir)?;
    let _upstream = world.upstream()?;
    let server: Option<Process> = asked.serve.then(|| world.serve()).transpose()?;
    world.register().context("is `remit serve` running in this world?")?;
    let stock = Stock::gather(&world, asked.road)?;
    let pace = Pace::Closed { connections: asked.connections };
    let send = |count: usize| -> Result<(u64, f64, Figures)> {
        let (mut done, mut seconds, mut waits) = (0, 0.0, Figures::default());
        let mut left = count;
        while left > 0 {
            let requests = stock.good_requests(left.min(BATCH))?;
            left -= requests.len();
            let outcome = load::run(world.address(), &requests, pace, Duration::from_hours(1))?;
            done += outcome.good;
            seconds += outcome.seconds;
            waits.extend(outcome.waits.into_iter().collect());
        }
        Ok((done, seconds, waits))
    };
    send(asked.warm_up)?;
    let before = server.as_ref().map(Process::cpu);
    let (done, seconds, waits) = send(asked.requests)?;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let count = done as f64;
    let used = server.as_ref().zip(before).map(|(server, before)| (server.cpu() - before) * 1e6 / count);
    ensure!(done == asked.requests as u64, "{done} of {} requests were answered", asked.requests);
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| waits.quantile(share));
    println!(
        "{}",
        json!({"requests": done, "per_second": count / seconds, "cpu_us_per_request": used, "p50_us": p50, "p99_us": p99, "p99.9_us": p999})
    );
    server.map_or(Ok(()), Process::stop)
}
