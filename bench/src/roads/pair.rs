//! Product and floor side by side: both run, take the same requests in turns, and are measured alike.

use super::{
    load::{self, Outcome, Pace, Prepared},
    machine::{self, Process, SERVER},
    road::{Road, Stock},
    world::World,
};
use crate::rounds::Figures;
use anyhow::{Result, ensure};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

/// Requests that show how fast a server is before anything is measured, and warm it up.
const FIRST: usize = 600;
/// More are signed for a round than the faster side is expected to need.
const SPARE: f64 = 1.3;

/// A server under test.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Side {
    /// One of our own programs on the core of servers.
    pub(crate) fn own(words: &[&str], port: u16, log: &Path) -> Result<Self> {
        let program = std::env::current_exe()?;
        let (process, _) = Process::start(&program, words, SERVER, log)?;
        Ok(Self { process, address: machine::local(port) })
    }
}

/// Figures of one side, one for each round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) rate: Figures,
    pub(crate) p50: Figures,
    pub(crate) p99: Figures,
    /// Processor microseconds a request.
    pub(crate) cpu: Figures,
    /// How long each answer took, of all rounds: one round has too few for the last one in a thousand.
    pub(crate) waits: Figures,
}

impl Told {
    fn add(&mut self, outcome: &Outcome, cpu: f64) {
        let waits: Figures = outcome.waits.iter().copied().collect();
        self.rate.push(outcome.rate());
        self.p50.push(waits.quantile(0.5));
        self.p99.push(waits.quantile(0.99));
        self.cpu.push(cpu);
        self.waits.extend(waits);
    }
}

/// One road with both its servers.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) world: World,
    pub(crate) product: Side,
    pub(crate) floor: Side,
    pub(crate) stock: Stock,
    _upstream: Process,
    good: u64,
    refused: u64,
}

impl Pair {
    pub(crate) fn start(folder: &Path, road: Road) -> Result<Self> {
        let world = World::make(folder)?;
        let upstream = world.upstream()?;
        let product = Side { process: world.serve()?, address: world.address() };
        let port = remit_testkit::port();
        let (dir, number) = (folder.display().to_string(), port.to_string());
        let words = ["floor-server", "--dir", &dir, "--port", &number];
        let floor = Side::own(&words, port, &folder.join("floor.log"))?;
        let stock = Stock::gather(&world, road)?;
        stock.prime(product.address)?;
        stock.prime(floor.address)?;
        Ok(Self { world, product, floor, stock, _upstream: upstream, good: 0, refused: 0 })
    }

    /// Rounds of both sides with the same requests; neither always comes first.
    pub(crate) fn rounds(
        &mut self,
        pace: impl Fn(bool) -> Pace,
        (rounds, span): (usize, Duration),
        mut between: impl FnMut(),
    ) -> Result<(Told, Told)> {
        let (mut product, mut floor) = (Told::default(), Told::default());
        let first = self.stock.requests(FIRST)?;
        let mut fastest = 0.0_f64;
        for ours in [true, false] {
            let (outcome, _) = self.one(ours, &first, pace(ours), span)?;
            fastest = fastest.max(outcome.rate());
        }
        for round in 0..rounds {
            between();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = (fastest * span.as_secs_f64() * SPARE) as usize + FIRST;
            let requests = self.stock.requests(count)?;
            for ours in if round % 2 == 0 { [true, false] } else { [false, true] } {
                let (outcome, cpu) = self.one(ours, &requests, pace(ours), span)?;
                fastest = fastest.max(outcome.rate());
                let told = if ours { &mut product } else { &mut floor };
                told.add(&outcome, cpu);
            }
        }
        Ok((product, floor))
    }

    fn one(&mut self, ours: bool, requests: &Arc<Vec<Prepared>>, pace: Pace, span: Duration) -> Result<(Outcome, f64)> {
        let side = if ours { &self.product } else { &self.floor };
        let before = side.process.cpu();
        let outcome = load::run(side.address, requests, pace, span)?;
        let answered = outcome.good + outcome.refused;
        ensure!(answered > 0, "no request was answered");
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let cpu = (side.process.cpu() - before) * 1e6 / answered as f64;
        if ours {
            self.good += outcome.good;
            self.refused += outcome.refused;
        }
        Ok((outcome, cpu))
    }

    /// Stops both, and checks the product's ledger.
    pub(crate) fn stop(self) -> Result<()> {
        self.floor.process.stop()?;
        self.product.process.stop()?;
        self.world.accounts_for(self.good * self.stock.road.records() + self.stock.records(), self.refused)
    }
}
