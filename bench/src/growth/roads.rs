//! Every road at a server with few registered agents and at one with many, in turns.

use super::{
    server::Measured,
    turn::{self, Side},
};
use crate::{
    Scale,
    roads::road::{Road, Stock},
    table::Table,
};
use anyhow::Result;

/// What many agents may cost more than few.
const MORE: f64 = 1.10;

/// The roads that are held against each other; a goal was set for the first.
const ROADS: [(&str, Road); 7] = [
    ("tool calls", Road::Call),
    ("refused tool calls", Road::Refusal),
    ("token exchanges", Road::Exchange { depth: 1 }),
    ("token exchanges with tokens never seen", Road::ExchangeFresh),
    ("client credentials", Road::Credentials),
    ("introspections", Road::Introspection),
    ("evaluations", Road::Evaluation),
];

pub(super) fn run(few: &Measured, many: &Measured, scale: &Scale, table: &mut Table) -> Result<()> {
    let _upstreams = (few.world.upstream()?, many.world.upstream()?);
    let (left, right) = (few.world.start()?, many.world.start()?);
    for (name, road) in ROADS {
        let goal = (road == Road::Call).then_some(MORE);
        let stocks = [Stock::gather(&few.world, road)?, Stock::gather(&many.world, road)?];
        let mut sides = [(few, &left, &stocks[0]), (many, &right, &stocks[1])]
            .map(|(one, server, stock)| Side::new((&one.world, server), |count| stock.good_requests(count)));
        sides.iter_mut().try_for_each(|side| side.warm(0))?;
        turn::rounds(&mut sides, scale.rounds, if goal.is_some() { scale.round } else { scale.round / 2 })?;
        let title = format!("{name}: {} agents against {}", many.agents, few.agents);
        sides[1].against(&sides[0], &title, goal, table);
    }
    left.stop()?;
    right.stop()
}
