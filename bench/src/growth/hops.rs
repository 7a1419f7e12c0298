//! What a longer chain costs: token exchanges that make one of so many hops, tool calls with a token that has them.

use crate::{
    Scale,
    roads::{
        load::{self, Outcome, Pace},
        machine::Process,
        road::{Road, Stock},
        world::World,
    },
    rounds::Figures,
    table::Table,
};
use anyhow::Result;
use std::{fs, path::Path, time::Duration};

const CONNECTIONS: usize = 16;
/// Requests that warm up, and show how many a round needs.
const FIRST: usize = 600;
/// More are signed for a round than are expected to be sent.
const SPARE: f64 = 1.3;

/// Requests with a chain of one length, and what came of them.
struct Length {
    hops: usize,
    stock: Stock,
    /// Requests a second, the last time.
    speed: f64,
    rate: Figures,
    /// Processor microseconds a request.
    used: Figures,
    good: u64,
    refused: u64,
}

pub(super) fn run(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    fs::create_dir_all(folder)?;
    let world = World::make(folder)?;
    let _upstream = world.upstream()?;
    let server = world.serve()?;
    let exchange = |hops| Stock::gather(&world, Road::Exchange { depth: hops });
    let call = |hops| Stock::after(&world, Road::Call, hops);
    let exchanged = road("token exchange to a chain", exchange, (&world, &server), scale, table)?;
    let called = road("tool call with a chain", call, (&world, &server), scale, table)?;
    server.stop()?;
    world.accounts_for(exchanged.0 + called.0, exchanged.1 + called.1)
}

/// All lengths of one road, in turns; gives back how many records that left, and how many requests were refused.
fn road(
    title: &str,
    stock: impl Fn(usize) -> Result<Stock>,
    (world, server): (&World, &Process),
    scale: &Scale,
    table: &mut Table,
) -> Result<(u64, u64)> {
    let mut lengths = scale.hops.iter().map(|hops| Length::new(*hops, stock(*hops)?, world)).collect::<Result<Vec<_>>>()?;
    for length in &mut lengths {
        length.speed = length.send(FIRST, (world, server), scale.round)?.0.rate();
    }
    for round in 0..scale.rounds {
        // None always comes first.
        if round > 0 {
            lengths.rotate_left(1);
        }
        for length in &mut lengths {
            length.round((world, server), scale.round / 2)?;
        }
    }
    lengths.sort_by_key(|length| length.hops);
    if let Some((base, longer)) = lengths.split_first() {
        for one in longer {
            let name = format!("{title} of {} hops against {}", one.hops, base.hops);
            table.against(&name, "requests/s", &one.rate, &base.rate, None);
            table.against(&format!("{name}: processor time"), "µs/request", &one.used, &base.used, None);
        }
    }
    let left = |length: &Length| length.good * length.stock.road.records() + length.stock.records();
    Ok((lengths.iter().map(left).sum(), lengths.iter().map(|length| length.refused).sum()))
}

impl Length {
    fn new(hops: usize, stock: Stock, world: &World) -> Result<Self> {
        stock.prime(world.address())?;
        let (rate, used) = (Figures::default(), Figures::default());
        Ok(Self { hops, stock, speed: 0.0, rate, used, good: 0, refused: 0 })
    }

    fn round(&mut self, server: (&World, &Process), span: Duration) -> Result<()> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let count = (self.speed * span.as_secs_f64() * SPARE) as usize + FIRST;
        let (outcome, used) = self.send(count, server, span)?;
        self.speed = outcome.rate();
        self.rate.push(outcome.rate());
        self.used.push(used);
        Ok(())
    }

    fn send(&mut self, count: usize, (world, server): (&World, &Process), span: Duration) -> Result<(Outcome, f64)> {
        let requests = self.stock.requests(count)?;
        let before = server.cpu();
        let outcome = load::run(world.address(), &requests, Pace::Closed { connections: CONNECTIONS }, span)?;
        self.good += outcome.good;
        self.refused += outcome.refused;
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let used = (server.cpu() - before) * 1e6 / (outcome.good + outcome.refused).max(1) as f64;
        Ok((outcome, used))
    }
}
