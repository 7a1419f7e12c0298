//! The rows of the roads.

use super::{
    client::call_body,
    http,
    load::{self, Expect, Pace, Prepared},
    pair::{Pair, Side, Told},
    reference::Reference,
    road::{ROADS, Road},
};
use crate::{
    Scale,
    rounds::{self, Figures},
    table::{Goal, Table},
};
use anyhow::Result;
use std::{path::Path, sync::Arc, thread, time::Duration};

/// Connections of the closed loop.
const CONNECTIONS: [usize; 3] = [1, 16, 256];
/// Where capacity is taken from for the open loop, and processor time from.
const ORDINARY: usize = 16;
/// The open loop may have so many requests under way.
const OPEN: usize = 256;
/// Share of its capacity that a server is given in the open loop.
const SHARE: f64 = 0.7;
/// How long a server without work is watched.
const IDLE: Duration = Duration::from_secs(10);

/// Which share of the floor's throughput a road must reach.
fn goal(road: Road) -> Option<Goal> {
    match road {
        Road::Exchange { .. } | Road::ExchangeFresh | Road::Call => Some(Goal::AtLeast(0.80)),
        Road::Refusal => Some(Goal::AtLeast(0.85)),
        _ => None,
    }
}

/// The two main roads, and what a quick run has time for at 1 and at 256 connections.
fn is_main(road: Road) -> bool {
    matches!(road, Road::Exchange { depth: 1 } | Road::Call)
}

/// How long a round of a road lasts. A full run has time for long ones on the main roads, and where capacity is measured.
fn span(road: Road, connections: usize, scale: &Scale) -> Duration {
    if scale.is_quick() {
        return scale.round;
    }
    match (is_main(road), connections) {
        (true, 1 | ORDINARY) => scale.round,
        (true, _) | (false, ORDINARY) => scale.round / 2,
        (false, _) => scale.round / 4,
    }
}

pub(crate) fn run(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    let mut reference = Reference::start();
    ceiling(folder, scale, table)?;
    for (name, road) in ROADS {
        eprintln!("bench:  {name}");
        let place = folder.join(name);
        std::fs::create_dir_all(&place)?;
        let mut pair = Pair::start(&place, road)?;
        if road == Road::Call {
            idle(&pair, table);
            added(&mut pair, &place, scale, table)?;
        }
        one(name, &mut pair, scale, table, &mut reference)?;
        let mut memory = Figures::default();
        memory.push(pair.product.process.resident());
        table.alone(&format!("{name}: resident memory after the load"), "MiB", &memory, None);
        pair.stop()?;
        std::fs::remove_dir_all(&place)?;
    }
    reference.tell(table);
    Ok(())
}

fn one(name: &str, pair: &mut Pair, scale: &Scale, table: &mut Table, reference: &mut Reference) -> Result<()> {
    let road = pair.stock.road;
    // A quick run has time for the middle alone.
    let short = scale.is_quick() && !is_main(road);
    let mut capacity = (0.0, 0.0);
    for connections in CONNECTIONS.into_iter().filter(|connections| !short || *connections == ORDINARY) {
        let length = (scale.rounds, span(road, connections, scale));
        let (product, floor) = pair.rounds(|_| Pace::Closed { connections }, length, || reference.measure())?;
        let title = format!("{name}, {connections} connection{}", if connections == 1 { "" } else { "s" });
        table.against(&title, "requests/s", &product.rate, &floor.rate, goal(road));
        waits(&title, &product, &floor, table);
        table.against(&format!("{title}: processor time"), "µs/request", &product.cpu, &floor.cpu, None);
        if connections == ORDINARY {
            capacity = (product.rate.median(), floor.rate.median());
        }
    }
    if short {
        return Ok(());
    }
    let pace = |ours: bool| {
        let per_second = SHARE * if ours { capacity.0 } else { capacity.1 };
        Pace::Open { connections: OPEN, per_second }
    };
    let length = (scale.rounds, span(road, OPEN, scale));
    let (product, floor) = pair.rounds(pace, length, || reference.measure())?;
    waits(&format!("{name}, open loop at 70 %"), &product, &floor, table);
    Ok(())
}

fn waits(title: &str, product: &Told, floor: &Told, table: &mut Table) {
    table.against(&format!("{title}: p50"), "µs", &product.p50, &floor.p50, None);
    table.against(&format!("{title}: p99"), "µs", &product.p99, &floor.p99, None);
    let last = |told: &Told| Figures::from_iter([told.waits.quantile(0.999)]);
    table.against(&format!("{title}: p99.9"), "µs", &last(product), &last(floor), None);
}

/// What the load generator can do at most, against a server that only answers.
fn ceiling(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    let port = remit_testkit::port();
    let echo = Side::own(&["echo", "--port", &port.to_string()], port, &folder.join("echo.log"))?;
    let body = call_body("small");
    let request = http::request("POST", "/mcp/bench", "127.0.0.1", &[("content-type", "application/json")], &body);
    let prepared = Prepared { bytes: request, expect: Expect::Good("\"result\"") };
    let requests = Arc::new(vec![prepared; 200_000]);
    let mut figures = Figures::default();
    for _ in 0..scale.rounds {
        let pace = Pace::Closed { connections: ORDINARY };
        figures.push(load::run(echo.address, &requests, pace, scale.round / 2)?.rate());
    }
    table.alone("load generator against a server that only answers, 16 connections", "requests/s", &figures, None);
    Ok(())
}

/// Share of one core that an idle server takes.
fn idle(pair: &Pair, table: &mut Table) {
    let before = pair.product.process.cpu();
    let start = rounds::now();
    thread::sleep(IDLE);
    let mut share = Figures::default();
    share.push((pair.product.process.cpu() - before) * 100.0 / start.elapsed().as_secs_f64());
    table.alone("idle: processor", "% of a core", &share, Some(Goal::AtMost(1.0)));
}

/// What the gateway adds to the way through a plain proxy, at one connection, against what the floor adds.
fn added(pair: &mut Pair, folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    let port = remit_testkit::port();
    let upstream = pair.world.ports.upstream.to_string();
    let words = ["proxy", "--port", &port.to_string(), "--upstream", &upstream];
    let proxy = Side::own(&words, port, &folder.join("proxy.log"))?;
    let (mut plain, mut product, mut floor) = (Figures::default(), Figures::default(), Figures::default());
    let pace = Pace::Closed { connections: 1 };
    for _ in 0..scale.rounds {
        let (ours, best) = pair.rounds(|_| pace, (1, scale.round / 2), || ())?;
        // The proxy looks at nothing, so what was used before is good enough for it.
        let requests = pair.stock.good_requests(2_000)?;
        let sent = load::run(proxy.address, &requests, pace, scale.round / 2)?;
        let waits: Figures = sent.waits.into_iter().collect();
        plain.push(waits.median());
        product.push(ours.p50.median() - waits.median());
        floor.push(best.p50.median() - waits.median());
    }
    table.alone("call through a plain proxy, 1 connection: p50", "µs", &plain, None);
    let title = "call, 1 connection: what is added to a plain proxy, p50";
    table.against(title, "µs", &product, &floor, Some(Goal::AtMost(1.3)));
    Ok(())
}
