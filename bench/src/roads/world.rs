//! The world a road leads through: a folder with everything `remit serve` needs, agents with keys of their own, and an MCP
//! server with the tools that are called.
//!
//! The folder outlives the process that made it, so that another program can run the server under a profiler:
//! everything a client needs is read from it again.

use super::{
    http::{self, Answer},
    machine::{self, LOAD, Process, SERVER},
};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use remit_model::json::sha256;
use remit_token::{Algorithm, PrivateKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

/// Hops of the longest chain: the first agent acts on its own account, each hands a part to the next.
pub(crate) const HOPS: usize = 8;
/// The number of the agent that asks for decisions, and does nothing else.
pub(crate) const ASKER: usize = HOPS + 1;
/// Tools that the first agent may use, and hand on.
pub(crate) const TOOLS: [&str; 4] = ["small", "large", "stream", "change"];
/// A tool that exists and that no agent was granted.
pub(crate) const UNGRANTED: &str = "closed";

/// Records that setting up and running a server leaves besides.
const BESIDES: u64 = 64;

/// Where things listen.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) server: u16,
    pub(crate) upstream: u16,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) ports: Ports,
}

impl World {
    /// Writes a fresh world with `remit init` and a configuration of its own.
    pub(crate) fn make(dir: &Path) -> Result<Self> {
        let ports = Ports { server: remit_testkit::port(), upstream: remit_testkit::port() };
        let listen = format!("127.0.0.1:{}", ports.server);
        let dir_text = dir.display().to_string();
        let made = Command::new(remit()?).args(["init", "--dir", &dir_text, "--listen", &listen, "--json"]).output()?;
        ensure!(made.status.success(), "remit init failed: {}", String::from_utf8_lossy(&made.stderr));
        fs::write(dir.join("remit.yaml"), configuration(ports))?;
        fs::write(dir.join("world.json"), serde_json::to_string(&ports)?)?;
        Ok(Self { dir: dir.to_owned(), ports })
    }

    /// The world that lies in a folder.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let file = dir.join("world.json");
        let text = fs::read_to_string(&file).with_context(|| format!("no world in {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), ports: serde_json::from_str(&text)? })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        machine::local(self.ports.server)
    }

    /// The issuer, which is also what clients put into `Host`.
    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.host())
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.ports.server)
    }

    /// The protected resource.
    pub(crate) fn resource(&self) -> String {
        format!("{}/mcp/bench", self.issuer())
    }

    /// The decision point, which is a protected resource as well.
    pub(crate) fn desk(&self) -> String {
        format!("{}/access/v1", self.issuer())
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.dir.join("remit.yaml")
    }

    /// Starts `remit serve`, pinned to the core of servers, and registers the agents if they are not.
    pub(crate) fn serve(&self) -> Result<Process> {
        let process = self.start()?;
        self.register()?;
        Ok(process)
    }

    /// The same without looking at the agents.
    pub(crate) fn start(&self) -> Result<Process> {
        let file = self.configuration().display().to_string();
        let (process, _) = Process::start(&remit()?, &["serve", "-c", &file, "--json"], SERVER, &self.dir.join("server.log"))?;
        Ok(process)
    }

    /// Starts the MCP server that calls are forwarded to, on the core of the load.
    pub(crate) fn upstream(&self) -> Result<Process> {
        let program = std::env::current_exe()?;
        let port = self.ports.upstream.to_string();
        Ok(Process::start(&program, &["upstream", "--port", &port], LOAD, &self.dir.join("upstream.log"))?.0)
    }

    /// Makes the agents known through the admin API.
    pub(crate) fn register(&self) -> Result<()> {
        let known = self.admin("GET", "agents", "")?.json(200)?;
        let known = known.get("agents").and_then(Value::as_array).map_or(0, Vec::len);
        let agents = agents()?;
        if known >= agents.len() {
            return Ok(());
        }
        for (number, agent) in agents.into_iter().enumerate() {
            let ceiling = match number {
                ASKER => details(&self.desk(), &["evaluate"], 0),
                _ => details(&self.resource(), &TOOLS, HOPS),
            };
            let asked = json!({
                "name": agent.name, "owner": "user:alice", "keys": [agent.key.public().to_jwk()],
                "authorization_details": ceiling, "acts": "either",
            });
            self.admin("POST", "agents", &asked.to_string())?.json(201)?;
        }
        Ok(())
    }

    /// One request to the admin API.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let credential = fs::read_to_string(self.dir.join("keys/admin.token"))?;
        let authorization = format!("Bearer {}", credential.trim_end());
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        http::once(self.address(), &http::request(method, &format!("/admin/v1/{path}"), &self.host(), &headers, body))
    }

    /// Checks the ledger of a server that has stopped: it verifies, and has a record for everything that was done. What
    /// was refused may have one.
    pub(crate) fn accounts_for(&self, done: u64, refused: u64) -> Result<()> {
        let report = remit_ledger::verify(&self.dir.join("ledger"), &remit_ledger::Trust::default());
        ensure!(report.ok(), "the ledger does not verify: {report}");
        let most = done + refused + BESIDES;
        ensure!((done..=most).contains(&report.records), "{} records, where {done} to {most} must be", report.records);
        Ok(())
    }
}

/// One agent and its key.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) key: PrivateKey,
}

impl Agent {
    /// Its key is the same each time: nothing that is worth anything hangs on it.
    pub(crate) fn named(name: String) -> Result<Self> {
        let seed = sha256(format!("remit-bench {name}").as_bytes());
        let key = PrivateKey::from_seed(Algorithm::Es256, &seed).map_err(|fault| anyhow!("{fault}"))?;
        Ok(Self { name, key })
    }

    pub(crate) fn subject(&self) -> String {
        format!("agent:{}", self.name)
    }
}

/// The agents of every world.
pub(crate) fn agents() -> Result<Vec<Agent>> {
    (0..=ASKER).map(|number| Agent::named(if number == ASKER { "asker".to_owned() } else { format!("hop{number}") })).collect()
}

/// A grant of these tools that may be handed on `depth` times more.
pub(crate) fn details(resource: &str, tools: &[&str], depth: usize) -> Value {
    let mut grant = json!({"type": "tool_access", "locations": [resource], "actions": tools});
    if let (Some(members), 1..) = (grant.as_object_mut(), depth) {
        members.insert("delegate".to_owned(), json!({"to": ["*"], "depth": depth}));
    }
    json!([grant])
}

/// The program under test: `REMIT_BIN`, or the one beside this program.
pub(crate) fn remit() -> Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the caller says which program is measured")]
    if let Ok(named) = std::env::var("REMIT_BIN") {
        return Ok(named.into());
    }
    let beside = std::env::current_exe()?.with_file_name("remit");
    if !beside.is_file() {
        bail!("there is no {}: build it in the same profile, or name another with REMIT_BIN", beside.display());
    }
    Ok(beside)
}

fn configuration(ports: Ports) -> String {
    let Ports { server, upstream } = ports;
    let class = |tool: &str| if tool == "change" { "write" } else { "read" };
    let tools = TOOLS.iter().chain(&[UNGRANTED]).map(|tool| format!("      {tool}: {{ class: {} }}", class(tool)));
    let tools = tools.collect::<Vec<_>>().join("\n");
    format!(
        "server:\n  listen: 127.0.0.1:{server}\n  public_url: http://127.0.0.1:{server}\n\
         identity_providers:\n  - type: local\n    accounts:\n      - name: alice\n        password_hash_file: keys/alice.argon2\n\
         agents:\n  access_token_lifetime: 3600\n  chain_depth: {HOPS}\n\
           \x20 rate_limits: {{ tokens: {{ per_second: 1000000 }}, calls: {{ per_second: 1000000 }} }}\n\
         authzen:\n  enabled: true\n\
         mcp_servers:\n  bench:\n    url: http://127.0.0.1:{upstream}/mcp\n    tools:\n{tools}\n\
         policies:\n  dir: policies\nobserve:\n  log: warn\n"
    )
}
