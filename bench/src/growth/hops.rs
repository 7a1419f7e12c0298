//! What a longer chain costs: token exchanges that make one of so many hops, tool calls with a token that has them.

use super::turn::{self, Side};
use crate::{
    Scale,
    roads::{
        machine::Process,
        road::{Road, Stock},
        world::World,
    },
    table::Table,
};
use anyhow::Result;
use std::{fs, path::Path};

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
    let stocks = scale.hops.iter().map(|hops| stock(*hops)).collect::<Result<Vec<_>>>()?;
    let mut lengths = Vec::new();
    for stock in &stocks {
        stock.prime(world.address())?;
        let mut length = Side::new((world, server), |count| stock.requests(count));
        length.warm(0)?;
        lengths.push(length);
    }
    turn::rounds(&mut lengths, scale.rounds, scale.round / 2)?;
    if let (Some((base, longer)), Some((shortest, hops))) = (lengths.split_first(), scale.hops.split_first()) {
        for (one, hops) in longer.iter().zip(hops) {
            one.against(base, &format!("{title} of {hops} hops against {shortest}"), None, table);
        }
    }
    let left = stocks.iter().zip(&lengths).map(|(stock, length)| length.good * stock.road.records() + stock.records());
    Ok((left.sum(), lengths.iter().map(|length| length.refused).sum()))
}
