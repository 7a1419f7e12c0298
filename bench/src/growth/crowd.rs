//! Tool calls by thousands of agents in turn, each with its own key, token and policy, against calls by one of them.

use super::{
    agents,
    server::{Measured, single},
    turn::{self, Side},
};
use crate::{
    Scale,
    roads::{
        client::{Client, Spoilt},
        load::{Expect, Prepared},
        road,
        world::{Agent, World},
    },
    table::{Goal, Table},
};
use anyhow::{Result, anyhow};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// One in so many of the registered agents calls: few enough that everything of them is remembered, and more than that.
const ONE_IN: [usize; 2] = [10, 4];
/// Threads that fetch tokens.
const FETCHERS: usize = 8;

struct Crowd {
    client: Client,
    /// Agents with their tokens.
    callers: Vec<(Agent, String)>,
    /// Whose turn it is.
    next: AtomicUsize,
}

pub(super) fn run(many: &Measured, scale: &Scale, memory: Goal, table: &mut Table) -> Result<()> {
    let world = &many.world;
    let _upstream = world.upstream()?;
    let server = world.start()?;
    let alone = Crowd::gather(world, 1)?;
    for callers in ONE_IN.map(|one_in| many.agents / one_in) {
        let crowd = Crowd::gather(world, callers)?;
        let mut one = Side::new((world, &server), |count| alone.requests(count));
        let mut all = Side::new((world, &server), |count| crowd.requests(count));
        one.warm(0)?;
        all.warm(callers)?;
        let mut sides = [one, all];
        turn::rounds(&mut sides, scale.rounds, scale.round)?;
        let title = format!("tool calls by {callers} of {} agents in turn against one", many.agents);
        let [one, all] = &sides;
        all.against(one, &title, None, table);
        let title = format!("resident after calls by {callers} of {} agents", many.agents);
        table.alone(&title, "MiB", &single(server.resident()), Some(memory));
    }
    server.stop()
}

impl Crowd {
    /// Gets a token for each of so many agents.
    fn gather(world: &World, callers: usize) -> Result<Self> {
        let client = Client::of(world)?;
        let fields =
            [("grant_type", "client_credentials"), ("resource", client.resource()), ("scope", "bench:small bench:large")];
        let fetch = |number: &usize| {
            let agent = Agent::named(agents::name(*number))?;
            let token = client.token(world, &agent, &fields)?;
            anyhow::Ok((agent, token))
        };
        let numbers: Vec<usize> = (0..callers).collect();
        let fetched = thread::scope(|scope| {
            let share = callers.div_ceil(FETCHERS).max(1);
            let threads: Vec<_> = numbers
                .chunks(share)
                .map(|numbers| scope.spawn(|| numbers.iter().map(fetch).collect::<Result<Vec<_>>>()))
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().map_err(|_| anyhow!("a fetcher failed"))?;
            threads.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        let callers = fetched.into_iter().flatten().collect();
        Ok(Self { client, callers, next: AtomicUsize::new(0) })
    }

    /// The next calls, one by each in turn.
    fn requests(&self, count: usize) -> Result<Arc<Vec<Prepared>>> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        road::signed(count, |at| {
            let (agent, token) =
                self.callers.get((first + at) % self.callers.len().max(1)).ok_or_else(|| anyhow!("no callers"))?;
            let bytes = self.client.call(agent, token, "small", Spoilt::No)?;
            Ok(Prepared { bytes, expect: Expect::Good("\"result\"") })
        })
    }
}
