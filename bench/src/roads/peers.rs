//! Peers in the same run: other programs that do a part of the same work, one worker each, on the same core in turns.
//!
//! Each row says what the peer leaves out. The row of a peer that is not installed says so, and the run goes on.

use super::{
    client::{Client, Spoilt},
    load::{self, Expect, Outcome, Pace, Prepared},
    machine::{self, Process, SERVER},
    pair::Side,
    road::{Road, Stock},
    world::World,
};
use crate::{
    Scale,
    rounds::Figures,
    table::{Goal, Table},
};
use anyhow::{Context as _, Result};
use remit_token::PrivateKey;
use serde_json::json;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const CONNECTIONS: usize = 16;
const REQUESTS: &str = "requests/s";
/// A peer that compiles while it runs has had enough after so many requests.
const WARM_UP: usize = 1_500;
const ENVOY: &str = include_str!("../../peers/envoy.yaml");

/// What one side sends in a round.
type Batch<'a> = &'a dyn Fn(usize) -> Result<Arc<Vec<Prepared>>>;

/// One side of a comparison.
struct Runner<'a> {
    address: SocketAddr,
    batch: Batch<'a>,
}

pub(crate) fn run(folder: &Path, scale: &Scale, table: &mut Table) -> Result<()> {
    let world = World::make(folder)?;
    let _upstream = world.upstream()?;
    let installed = installed();
    let server = world.serve()?;
    let address = world.address();

    let title = "client credentials against oidc-provider (keeps tokens in memory, records nothing)";
    match oidc_provider(&world, &installed) {
        Ok((peer, client)) => {
            let stock = Stock::gather(&world, Road::Credentials)?;
            let ours = Runner { address, batch: &|count| stock.good_requests(count) };
            let theirs = Runner { address: peer.address, batch: &|count| credentials(&client, count) };
            compare((title, REQUESTS), &ours, &theirs, scale, Some(Goal::AtLeast(4.0)), table)?;
        }
        Err(why) => absent(title, &why, table),
    }

    let stock = Stock::gather(&world, Road::Call)?;
    let ours = Runner { address, batch: &|count| stock.good_requests(count) };
    let bearer = stock.bearer()?;
    let bearers = |count| Ok(Arc::new(vec![bearer.clone(); count]));
    let title = "tool call against Envoy (a token verified and a role checked; no proof, no policy, no record)";
    match envoy(&world, &installed) {
        Ok(peer) => {
            let theirs = Runner { address: peer.address, batch: &bearers };
            compare((title, REQUESTS), &ours, &theirs, scale, Some(Goal::AtLeast(0.8)), table)?;
        }
        Err(why) => absent(title, &why, table),
    }

    let port = remit_testkit::port();
    let (number, upstream) = (port.to_string(), world.ports.upstream.to_string());
    let proxy = Side::own(&["proxy", "--port", &number, "--upstream", &upstream], port, &folder.join("proxy.log"))?;
    let title = "tool call against a plain hyper proxy (checks and records nothing)";
    compare((title, REQUESTS), &ours, &Runner { address: proxy.address, batch: &bearers }, scale, None, table)?;
    drop(proxy);

    let title = "decisions against Cerbos (one policy, over HTTP; it checks no token and records nothing)";
    match cerbos(&world, &installed) {
        Ok(peer) => {
            let (stock, question) = (Stock::gather(&world, Road::Evaluation)?, question());
            let ours = Runner { address, batch: &|count| stock.good_requests(count) };
            let theirs = Runner { address: peer.address, batch: &|count| Ok(Arc::new(vec![question.clone(); count])) };
            compare((title, "decisions/s"), &ours, &theirs, scale, None, table)?;
        }
        Err(why) => absent(title, &why, table),
    }
    server.stop()
}

/// Rounds in turns; the row is the ratio of each round.
fn compare(
    (title, unit): (&str, &'static str),
    product: &Runner<'_>,
    peer: &Runner<'_>,
    scale: &Scale,
    goal: Option<Goal>,
    table: &mut Table,
) -> Result<()> {
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    let (mut speed_of_ours, mut speed_of_theirs) = (warm(product)?, warm(peer)?);
    for round in 0..scale.rounds {
        for first in if round % 2 == 0 { [true, false] } else { [false, true] } {
            let (runner, figures, speed) =
                if first { (product, &mut ours, &mut speed_of_ours) } else { (peer, &mut theirs, &mut speed_of_theirs) };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let requests = (runner.batch)((*speed * scale.round.as_secs_f64() * 1.3) as usize + 200)?;
            let outcome = send(runner, &requests, scale.round)?;
            *speed = outcome.rate();
            figures.push(outcome.rate());
        }
    }
    table.against(title, unit, &ours, &theirs, goal);
    Ok(())
}

fn warm(runner: &Runner<'_>) -> Result<f64> {
    let requests = (runner.batch)(WARM_UP)?;
    Ok(send(runner, &requests, Duration::from_secs(5))?.rate())
}

fn send(runner: &Runner<'_>, requests: &Arc<Vec<Prepared>>, span: Duration) -> Result<Outcome> {
    load::run(runner.address, requests, Pace::Closed { connections: CONNECTIONS }, span)
}

fn absent(title: &str, why: &anyhow::Error, table: &mut Table) {
    eprintln!("bench:   {title}: {why:#}");
    table.alone(&format!("{title}: not installed"), "", &Figures::default(), None);
}

/// Where `cargo xtask bench` puts peers: beside the programs it builds.
fn installed() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).unwrap_or(Path::new("")).join("bench-peers")
}

fn there(file: PathBuf) -> Result<PathBuf> {
    if file.is_file() { Ok(file) } else { Err(anyhow::anyhow!("there is no {}", file.display())) }
}

fn oidc_provider(world: &World, installed: &Path) -> Result<(Side, Client)> {
    let script = there(installed.join("oidc-provider.mjs"))?;
    let port = remit_testkit::port();
    let client = Client::of(world)?.at(port);
    let agent = client.agent(0)?;
    let mut jwk = agent.key.public().to_jwk();
    if let Some(members) = jwk.as_object_mut() {
        // It looks for the key that the assertion's header names.
        members.insert("kid".to_owned(), json!(agent.key.public().thumbprint()));
        members.insert("use".to_owned(), json!("sig"));
    }
    let file = world.dir.join("client.jwk.json");
    fs::write(&file, jwk.to_string())?;
    let words = [&script.display().to_string(), &port.to_string(), &file.display().to_string(), &agent.subject()];
    let words = words.map(String::as_str);
    let process = Process::listening(Path::new("node"), &words, SERVER, &world.dir.join("oidc-provider.log"), port)?;
    Ok((Side { process, address: machine::local(port) }, client))
}

fn credentials(client: &Client, count: usize) -> Result<Arc<Vec<Prepared>>> {
    let fields = [("grant_type", "client_credentials"), ("scope", "bench:small bench:large")];
    let expect = Expect::Good("\"access_token\"");
    let made = (0..count)
        .map(|_| Ok(Prepared { bytes: client.form(client.agent(0)?, "/token", &fields, Spoilt::No)?, expect }))
        .collect::<Result<Vec<_>>>();
    Ok(Arc::new(made?))
}

fn envoy(world: &World, installed: &Path) -> Result<Side> {
    let places = fs::read_dir(installed.join("python/lib")).context("Envoy is not there")?;
    let program = places
        .filter_map(Result::ok)
        .map(|place| place.path().join("site-packages/envoy/_bin/envoy"))
        .find(|program| program.is_file())
        .context("Envoy is not there")?;
    let port = remit_testkit::port();
    let pem = fs::read_to_string(world.dir.join("keys/issuer.pem"))?;
    let issuer = PrivateKey::from_pkcs8_pem(pem.trim_end()).ok().context("issuer.pem")?;
    let text = ENVOY
        .replace("port_value: PORT", &format!("port_value: {port}"))
        .replace("port_value: UPSTREAM", &format!("port_value: {}", world.ports.upstream))
        .replace("issuer: ISSUER", &format!("issuer: {}", world.issuer()))
        .replace("exact: SUBJECT", "exact: agent:hop0")
        .replace("'JWKS'", &format!("'{}'", json!({"keys": [issuer.public().to_jwk()]})));
    let file = world.dir.join("envoy.yaml");
    fs::write(&file, text)?;
    let file = file.display().to_string();
    let words = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error", "-c", &file];
    let process = Process::listening(&program, &words, SERVER, &world.dir.join("envoy.log"), port)?;
    Ok(Side { process, address: machine::local(port) })
}

/// What Cerbos is asked: what the decision point of ours is asked as well.
fn question() -> Prepared {
    let question = json!({
        "requestId": "1", "principal": {"id": "agent:hop1", "roles": ["agent"], "attr": {"depth": 1}},
        "resources": [{"actions": ["call"], "resource": {"kind": "tool", "id": "bench/small", "attr": {"class": "read"}}}],
    });
    let headers = [("content-type", "application/json")];
    let bytes = super::http::request("POST", "/api/check/resources", "127.0.0.1", &headers, &question.to_string());
    Prepared { bytes, expect: Expect::Good("EFFECT_ALLOW") }
}

fn cerbos(world: &World, installed: &Path) -> Result<Side> {
    let program = there(installed.join("node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64"))?;
    let (port, other) = (remit_testkit::port(), remit_testkit::port());
    let set = [
        format!("--set=server.httpListenAddr=127.0.0.1:{port}"),
        format!("--set=server.grpcListenAddr=127.0.0.1:{other}"),
        "--set=storage.driver=disk".to_owned(),
        format!("--set=storage.disk.directory={}", installed.join("cerbos").display()),
        "--set=telemetry.disabled=true".to_owned(),
    ];
    let words: Vec<&str> = ["server", "--log-level=error"].into_iter().chain(set.iter().map(String::as_str)).collect();
    let process = Process::listening(&program, &words, SERVER, &world.dir.join("cerbos.log"), port)?;
    Ok(Side { process, address: machine::local(port) })
}
