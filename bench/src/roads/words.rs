//! The commands of `remit-bench` beside measuring: programs that measurements start, and a driver for other tools.

use super::{
    drive::{self, Driven},
    floor, plain,
    road::{ROADS, Road},
    upstream,
};
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
remit-bench world --dir DIR
    write a world: keys, remit.yaml, policies. Then run `remit serve -c DIR/remit.yaml` in it, also under a profiler
remit-bench drive --road NAME --dir DIR [--requests N] [--connections N] [--warm-up N] [--serve]
    send requests of one road to the server of a world and check every answer; start the MCP server behind it, and
    with --serve the server as well (REMIT_BIN names another than the one beside this program). Agents are registered
    and tokens fetched first, over a dozen requests. Prints one line of JSON. Roads:
    client-credentials, exchange-1, exchange-4, exchange-1-fresh, call, call-change, call-masked, call-streamed,
    refusal, introspection, authzen
remit-bench upstream|echo --port PORT          the MCP server behind the gateway; a server that only answers
remit-bench floor-server --dir DIR --port PORT the floor of every road, with the keys of a world
remit-bench proxy --port PORT --upstream PORT  a plain reverse proxy";

/// Runs a command; `false` when the words are none.
pub(crate) fn run(words: &[String]) -> Result<bool> {
    let Some((command, options)) = words.split_first() else { return Ok(false) };
    let options = Options(options);
    match command.as_str() {
        "world" => drive::world(&PathBuf::from(options.required("--dir")?))?,
        "drive" => drive::drive(&driven(&options)?)?,
        "upstream" => upstream::serve(options.number("--port")?)?,
        "floor-server" => floor::serve(&PathBuf::from(options.required("--dir")?), options.number("--port")?)?,
        "echo" => plain::echo(options.number("--port")?)?,
        "proxy" => plain::proxy(options.number("--port")?, options.number("--upstream")?)?,
        "help" | "--help" | "-h" => println!("{}\n\n{USAGE}", crate::USAGE),
        _ => return Ok(false),
    }
    Ok(true)
}

fn driven(options: &Options<'_>) -> Result<Driven> {
    let name = options.required("--road")?;
    let known = || ROADS.map(|(name, _)| name).join(", ");
    Ok(Driven {
        road: Road::named(name).with_context(|| format!("there is no road {name:?}; there are {}", known()))?,
        dir: options.required("--dir")?.into(),
        requests: options.number_or("--requests", 1_000)?,
        connections: options.number_or("--connections", 1)?,
        warm_up: options.number_or("--warm-up", 0)?,
        serve: options.given("--serve"),
    })
}

struct Options<'a>(&'a [String]);

impl Options<'_> {
    fn given(&self, name: &str) -> bool {
        self.0.iter().any(|word| word == name)
    }

    fn value(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| word == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&str> {
        self.value(name).with_context(|| format!("{name} is missing\n{USAGE}"))
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Result<N> {
        match self.required(name)?.parse() {
            Ok(number) => Ok(number),
            Err(_) => bail!("{name} takes a number"),
        }
    }

    fn number_or<N: std::str::FromStr>(&self, name: &str, otherwise: N) -> Result<N> {
        if self.given(name) { self.number(name) } else { Ok(otherwise) }
    }
}
