//! The real server with few and with many agents: how long until it is ready, what it holds, what a call costs.

use super::{agents, fill};
use crate::{
    Scale,
    roads::{
        http,
        load::{self, Pace},
        machine::Process,
        road::{Road, Stock},
        world::World,
    },
    rounds::{self, Figures},
    table::{Goal, Table},
};
use anyhow::{Result, anyhow, ensure};
use remit_model::{Agent, AgentId, AgentStatus, Authority, time::UnixTime};
use rusqlite::{Connection, params};
use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

const CONNECTIONS: usize = 16;
/// Most requests of a round; more than any round uses.
const REQUESTS: usize = 12_000;
/// How long an idle server is watched.
const IDLE: Duration = Duration::from_secs(5);
/// Everything that a hundred thousand agents may take, in MiB, and one that does nothing beyond its own data, in bytes.
const MEMORY: f64 = 250.0;
const PER_AGENT: f64 = 2_048.0;

struct Measured {
    agents: usize,
    world: World,
    resident: f64,
    /// Bytes of the agents' rows and policies.
    own: u64,
}

pub(super) fn run(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    let mut measured: Vec<Measured> = Vec::new();
    for agents in scale.agents {
        let dir = folder.join(agents.to_string());
        fs::create_dir_all(&dir)?;
        let one = start(&dir, *agents, table)?;
        if let Some(least) = measured.first() {
            per_agent(least, &one, table);
        }
        measured.push(one);
    }
    match (measured.first(), measured.last()) {
        (Some(few), Some(many)) => {
            calls(few, many, scale, table)?;
            beside_log(many, scale.large, table)
        }
        _ => Ok(()),
    }
}

/// Starts the server with the largest registry beside the largest log.
fn beside_log(many: &Measured, records: u64, table: &mut Table) -> Result<()> {
    let database = many.world.dir.join("data/remit.db");
    let count: i64 = Connection::open(&database)?.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
    fill(&database, count.cast_unsigned(), records)?;
    let (took, server) = ready(&many.world)?;
    // It is killed, not stopped: what was filled in is no real record, and a server that stops publishes.
    drop(server);
    let name = format!("start with {} agents and {records} records", many.agents);
    table.alone(&name, "s", &single(took), Some(Goal::AtMost(3.0)));
    Ok(())
}

fn single(value: f64) -> Figures {
    let mut figures = Figures::default();
    figures.push(value);
    figures
}

/// Makes a world with so many agents, starts a server in it twice, and watches it rest.
fn start(dir: &Path, agents: usize, table: &mut Table) -> Result<Measured> {
    let world = World::make(dir)?;
    // Long enough to kill a server before it publishes what was filled in.
    let file = world.configuration();
    let text = fs::read_to_string(&file)?;
    fs::write(&file, format!("{text}ledger:\n  publish_every_ms: 10000\n"))?;
    world.serve()?.stop()?;
    let own = populate(&world, agents)?;
    let (first, server) = ready(&world)?;
    server.stop()?;
    let (again, server) = ready(&world)?;
    table.alone(&format!("first start with {agents} agents"), "s", &single(first), None);
    table.alone(&format!("start with {agents} agents"), "s", &single(again), Some(Goal::AtMost(3.0)));
    let resident = server.resident();
    table.alone(&format!("resident with {agents} agents"), "MiB", &single(resident), Some(Goal::AtMost(MEMORY)));
    // The policy folder is looked at closely for a while after a start.
    thread::sleep(IDLE);
    let before = server.cpu();
    thread::sleep(IDLE);
    let idle = (server.cpu() - before) / IDLE.as_secs_f64() * 100.0;
    table.alone(&format!("processor, idle with {agents} agents"), "%", &single(idle), Some(Goal::AtMost(1.0)));
    server.stop()?;
    Ok(Measured { agents, world, resident, own })
}

/// Starts the server and waits until it says that it is ready.
fn ready(world: &World) -> Result<(f64, Process)> {
    let start = rounds::now();
    let server = world.start()?;
    let asked = http::once(world.address(), &http::request("GET", "/readyz", &world.host(), &[], ""))?;
    ensure!(asked.status == 200, "not ready: {}", asked.status);
    Ok((start.elapsed().as_secs_f64(), server))
}

/// Registers agents and writes a policy for each; gives back how many bytes that is.
fn populate(world: &World, agents: usize) -> Result<u64> {
    let mut conn = Connection::open(world.dir.join("data/remit.db"))?;
    let tx = conn.transaction()?;
    let mut own = 0;
    {
        let mut insert = tx.prepare("INSERT INTO agents (tenant, name, body, revision) VALUES ('main', ?1, ?2, 1)")?;
        for number in 0..agents {
            let (name, body) = agent(world, number)?;
            own += body.len() as u64;
            insert.execute(params![name, body])?;
        }
    }
    tx.commit()?;
    for (name, text) in agents::policies(agents, "bench") {
        own += text.len() as u64;
        fs::write(world.dir.join("policies").join(name), text)?;
    }
    Ok(own)
}

/// An agent with a key and with grants that no other has.
fn agent(world: &World, number: usize) -> Result<(String, String)> {
    let name = agents::name(number);
    let ceiling = json!([{
        "type": "tool_access", "locations": [world.resource()], "actions": ["small", "large", format!("own-{number}")],
        "delegate": {"to": [format!("agent:{}", agents::name(number + 1))], "depth": 1},
    }]);
    let coordinate = |what: &str| {
        let digest = remit_model::json::sha256_label(format!("{what} {number}").as_bytes());
        digest.chars().skip(8).take(43).collect::<String>()
    };
    let agent = Agent {
        id: AgentId::parse(&name).map_err(|refusal| anyhow!("{refusal}"))?,
        display_name: name.clone(),
        owner: "user:alice".to_owned(),
        status: AgentStatus::Active,
        keys: vec![json!({"kty": "EC", "crv": "P-256", "x": coordinate("x"), "y": coordinate("y")})],
        redirect_uris: Vec::new(),
        ceiling: Authority::parse(&ceiling).map_err(|refusal| anyhow!("{refusal}"))?,
        labels: BTreeMap::from([("team".to_owned(), format!("t{}", number % 100))]),
        registered: UnixTime(1_795_321_800),
    };
    Ok((name, serde_json::to_string(&agent)?))
}

#[expect(clippy::cast_precision_loss, reason = "sizes")]
fn per_agent(least: &Measured, one: &Measured, table: &mut Table) {
    let more = (one.agents - least.agents).max(1) as f64;
    let bytes = (one.resident - least.resident) * 1_048_576.0;
    let own = one.own.saturating_sub(least.own) as f64;
    let name = format!("an idle agent of {}, beyond its {:.0} bytes of row and policy", one.agents, own / more);
    table.alone(&name, "bytes", &single((bytes - own) / more), Some(Goal::AtMost(PER_AGENT)));
}

/// Tool calls at both servers, in turn.
fn calls(few: &Measured, many: &Measured, scale: &Scale, table: &mut Table) -> Result<()> {
    let mut sides = Vec::new();
    for one in [few, many] {
        let upstream = one.world.upstream()?;
        let server = one.world.start()?;
        let stock = Stock::gather(&one.world, Road::Call)?;
        sides.push((one, upstream, server, stock, [Figures::default(), Figures::default(), Figures::default()]));
    }
    for round in 0..=scale.rounds {
        // Neither always comes first.
        if round % 2 == 1 {
            sides.reverse();
        }
        for (one, _, server, stock, [rates, waits, used]) in &mut sides {
            let requests = stock.good_requests(REQUESTS)?;
            let before = server.cpu();
            let outcome = load::run(one.world.address(), &requests, Pace::Closed { connections: CONNECTIONS }, scale.round)?;
            // The first round warms up.
            if round == 0 {
                continue;
            }
            rates.push(outcome.rate());
            let mut waited = Figures::default();
            outcome.waits.iter().for_each(|wait| waited.push(*wait));
            waits.push(waited.quantile(0.99));
            #[expect(clippy::cast_precision_loss, reason = "a mean")]
            used.push((server.cpu() - before) * 1e6 / outcome.good.max(1) as f64);
        }
        if round % 2 == 1 {
            sides.reverse();
        }
    }
    let [(_, _, _, _, small), (_, _, _, _, large)] = sides.as_slice() else { return Ok(()) };
    let title = |what: &str| format!("{what}: {} agents against {}", many.agents, few.agents);
    let [(rates, waits, used), (rates_few, waits_few, used_few)] = [large, small].map(|[a, b, c]| (a, b, c));
    table.against(&title("tool calls"), "calls/s", rates, rates_few, Some(Goal::AtLeast(1.0 / 1.10)));
    table.against(&title("tool calls, p99"), "µs", waits, waits_few, Some(Goal::AtMost(1.10)));
    table.against(&title("tool calls, processor"), "µs", used, used_few, Some(Goal::AtMost(1.10)));
    for (_, _, server, _, _) in sides {
        server.stop()?;
    }
    Ok(())
}
