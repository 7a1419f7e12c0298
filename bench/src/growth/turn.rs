//! Requests of several kinds, or to several servers, sent in turns and measured alike.

use crate::{
    roads::{
        load::{self, Pace, Prepared},
        machine::Process,
        world::World,
    },
    rounds::Figures,
    table::{Goal, Table},
};
use anyhow::Result;
use std::{sync::Arc, time::Duration};

const CONNECTIONS: usize = 16;
/// Requests that warm up, and show how many a round needs.
const FIRST: usize = 600;
/// More are signed for a round than are expected to be sent.
const SPARE: f64 = 1.3;

type Make<'a> = Box<dyn Fn(usize) -> Result<Arc<Vec<Prepared>>> + 'a>;

/// One that takes turns with others.
pub(super) struct Side<'a> {
    world: &'a World,
    server: &'a Process,
    /// Signs so many requests.
    make: Make<'a>,
    /// Requests a second, the last time.
    speed: f64,
    rate: Figures,
    p99: Figures,
    /// Processor microseconds a request.
    used: Figures,
    pub(super) good: u64,
    pub(super) refused: u64,
}

impl<'a> Side<'a> {
    pub(super) fn new(
        (world, server): (&'a World, &'a Process),
        make: impl Fn(usize) -> Result<Arc<Vec<Prepared>>> + 'a,
    ) -> Self {
        let (make, [rate, p99, used]) = (Box::new(make), Default::default());
        Self { world, server, make, speed: 0.0, rate, p99, used, good: 0, refused: 0 }
    }

    /// Sends so many requests, or [`FIRST`] if these are more, and keeps no figure.
    pub(super) fn warm(&mut self, count: usize) -> Result<()> {
        self.speed = self.send(count.max(FIRST), Duration::from_hours(1))?.0;
        Ok(())
    }

    fn round(&mut self, span: Duration) -> Result<()> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let count = (self.speed * span.as_secs_f64() * SPARE) as usize + FIRST;
        let (rate, p99, used) = self.send(count, span)?;
        self.speed = rate;
        self.rate.push(rate);
        self.p99.push(p99);
        self.used.push(used);
        Ok(())
    }

    fn send(&mut self, count: usize, span: Duration) -> Result<(f64, f64, f64)> {
        let requests = (self.make)(count)?;
        let before = self.server.cpu();
        let outcome = load::run(self.world.address(), &requests, Pace::Closed { connections: CONNECTIONS }, span)?;
        self.good += outcome.good;
        self.refused += outcome.refused;
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let used = (self.server.cpu() - before) * 1e6 / (outcome.good + outcome.refused).max(1) as f64;
        let rate = outcome.rate();
        let waits: Figures = outcome.waits.into_iter().collect();
        Ok((rate, waits.quantile(0.99), used))
    }

    /// Puts what was measured into the table, against another. The goal, if there is one, is how much more time and how
    /// much less throughput there may be.
    pub(super) fn against(&self, base: &Self, title: &str, goal: Option<f64>, table: &mut Table) {
        let (least, most) = (goal.map(|goal| Goal::AtLeast(1.0 / goal)), goal.map(Goal::AtMost));
        table.against(title, "requests/s", &self.rate, &base.rate, least);
        table.against(&format!("{title}: p99"), "µs", &self.p99, &base.p99, most);
        table.against(&format!("{title}: processor time"), "µs/request", &self.used, &base.used, most);
    }
}

/// Rounds of all of them; none always comes first.
pub(super) fn rounds(sides: &mut [Side<'_>], rounds: usize, span: Duration) -> Result<()> {
    for round in 0..rounds {
        let (later, first) = sides.split_at_mut(round % sides.len().max(1));
        first.iter_mut().chain(later).try_for_each(|side| side.round(span))?;
    }
    Ok(())
}
