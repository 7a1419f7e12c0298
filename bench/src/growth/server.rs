//! The real server with few and with many agents: how long until it is ready, what it holds, what a call costs.

use super::{agents, crowd, fill, roads};
use crate::{
    Scale,
    roads::{
        http,
        machine::Process,
        world::{self, World},
    },
    rounds::{self, Figures},
    table::{Goal, Table},
};
use anyhow::{Result, anyhow, ensure};
use remit_model::{Agent, AgentId, AgentStatus, Authority, time::UnixTime};
use rusqlite::{Connection, params};
use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

/// How long an idle server is watched.
const IDLE: Duration = Duration::from_secs(5);
/// Everything that a hundred thousand agents may take, in MiB, and one that does nothing beyond its own data, in bytes.
const MEMORY: f64 = 250.0;
const PER_AGENT: f64 = 2_048.0;

pub(super) struct Measured {
    pub(super) agents: usize,
    pub(super) world: World,
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
            roads::run(few, many, scale, table)?;
            crowd::run(many, scale, Goal::AtMost(MEMORY), table)?;
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
    // Long enough to kill a server before it publishes what was filled in.
    let file = many.world.configuration();
    let text = fs::read_to_string(&file)?;
    fs::write(&file, format!("{text}ledger:\n  publish_every_ms: 10000\n"))?;
    let (took, server) = ready(&many.world)?;
    // It is killed, not stopped: what was filled in is no real record, and a server that stops publishes.
    drop(server);
    let name = format!("start with {} agents and {records} records", many.agents);
    table.alone(&name, "s", &single(took), Some(Goal::AtMost(3.0)));
    Ok(())
}

pub(super) fn single(value: f64) -> Figures {
    let mut figures = Figures::default();
    figures.push(value);
    figures
}

/// Makes a world with so many agents, starts a server in it twice, and watches it rest.
fn start(dir: &Path, agents: usize, table: &mut Table) -> Result<Measured> {
    let world = World::make(dir)?;
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
        let mut insert =
            tx.prepare("INSERT INTO world (tenant, kind, key, body, revision) VALUES ('main', 'agent', ?1, ?2, 1)")?;
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
    let agent = Agent {
        id: AgentId::parse(&name).map_err(|refusal| anyhow!("{refusal}"))?,
        display_name: name.clone(),
        owner: "user:alice".to_owned(),
        status: AgentStatus::Active,
        keys: vec![world::Agent::named(name.clone())?.key.public().to_jwk()],
        redirect_uris: Vec::new(),
        ceiling: Authority::parse(&ceiling).map_err(|refusal| anyhow!("{refusal}"))?,
        labels: BTreeMap::from([("team".to_owned(), format!("t{}", number % 100))]),
        acts: remit_model::Acts::default(),
        client: remit_model::ClientProfile::default(),
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
