//! The demo's world: a real server on a loopback port with everything `remit init` writes, two MCP servers, one human and
//! two registered agents, each with its own key. Nothing in it is special; it is what a first user has.

use super::human::Human;
use crate::{
    args::{AdminArg, ConfigArg},
    client::{AdminClient, AgentClient, HttpClient, TokenSource},
    command::init,
    config::{self, Loaded},
    server::{
        listener,
        wire::{self, Running},
    },
};
use anyhow::{Context as _, Result};
use http::Method;
use remit_clock::Ambient;
use remit_token::{Algorithm, PrivateKey};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Where agents send the human's answer in this story; nothing listens there.
pub(super) const CALLBACK: &str = "http://127.0.0.1/callback";

/// Everything the story happens in.
#[derive(Debug)]
pub(super) struct World {
    pub(super) issuer: String,
    pub(super) helpdesk: String,
    pub(super) payroll: String,
    pub(super) web: HttpClient,
    pub(super) admin: AdminClient,
    pub(super) human: Human,
    pub(super) planner: AgentClient,
    pub(super) summarizer: AgentClient,
    /// Holds a key of its own and no authority at all.
    pub(super) thief: AgentClient,
    pub(super) running: Running,
    pub(super) loaded: Loaded,
    pub(super) ambient: Ambient,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl World {
    /// Builds the world in `dir`.
    pub(super) async fn build(dir: &Path, ambient: &Ambient) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free loopback port")?;
        let listen = listener.local_addr()?.to_string();
        let written = init::write(dir, &listen, "alice", ambient)?;
        second_server(&written.config)?;
        let loaded = config::load(&written.config).map_err(|problems| config::report(&problems))?;
        let running = wire::start(&loaded, ambient).await?;
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(listener::serve(listener, None, running.router.clone(), stopped));
        let issuer = loaded.config.server.public_url.clone();
        let web = HttpClient::new()?;
        let admin =
            AdminClient::of(&AdminArg { config: ConfigArg { config: written.config.clone(), json: false }, admin_url: None })?;
        let cast = Cast { web: &web, issuer: &issuer, ambient };
        let (planner, summarizer, thief) = (cast.agent("planner")?, cast.agent("summarizer")?, cast.agent("planner")?);
        cast.register(&admin, "planner", "Planner", &planner, json!(["helpdesk:*"])).await?;
        cast.register(
            &admin,
            "summarizer",
            "Summarizer",
            &summarizer,
            json!(["helpdesk:tickets_list", "helpdesk:tickets_read", "helpdesk:refund_create"]),
        )
        .await?;
        Ok(Self {
            helpdesk: format!("{issuer}/mcp/helpdesk"),
            payroll: format!("{issuer}/mcp/payroll"),
            human: Human::new(web.clone(), &written.account, &written.password),
            issuer,
            web,
            admin,
            planner,
            summarizer,
            thief,
            running,
            loaded,
            ambient: ambient.clone(),
            stop,
            serving,
        })
    }

    /// The published ledger.
    pub(super) fn ledger(&self) -> PathBuf {
        self.running.store.ledger_dir().to_owned()
    }

    /// How often a tool of the helpdesk really ran.
    pub(super) fn ran(&self, tool: &str) -> u64 {
        self.running.desks.get("helpdesk").map_or(0, |desk| desk.calls_of(tool))
    }

    /// The number of a record, from its id.
    pub(super) async fn record_number(&self, id: Option<&str>) -> Result<Option<u64>> {
        let Some(id) = id else { return Ok(None) };
        Ok(self.admin.send(Method::GET, &format!("records/{id}"), None).await?.get("index").and_then(Value::as_u64))
    }

    /// The number of the latest record: that of the step that has just ended, since the story has one thread.
    pub(super) async fn latest(&self) -> Result<Option<u64>> {
        Ok(self.admin.send(Method::GET, "records?limit=1", None).await?.pointer("/records/0/index").and_then(Value::as_u64))
    }

    /// Stops the server as SIGTERM would.
    pub(super) async fn close(self) -> Result<()> {
        let _ = self.stop.send(true);
        self.serving.await?;
        self.running.close().await?;
        Ok(())
    }
}

struct Cast<'a> {
    web: &'a HttpClient,
    issuer: &'a str,
    ambient: &'a Ambient,
}

impl Cast<'_> {
    fn agent(&self, name: &str) -> Result<AgentClient> {
        let key = PrivateKey::generate(Algorithm::Ed25519, &mut |bytes| self.ambient.entropy.fill(bytes))
            .map_err(|fault| anyhow::anyhow!("{fault}"))?;
        let source = TokenSource::Itself { resource: self.issuer.to_owned(), scope: None };
        Ok(AgentClient::new(self.web.clone(), self.issuer, &format!("agent:{name}"), Arc::new(key), source, self.ambient.clone()))
    }

    async fn register(&self, admin: &AdminClient, name: &str, shown: &str, agent: &AgentClient, scopes: Value) -> Result<()> {
        let scopes: Vec<&str> = scopes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut details = Vec::new();
        for scope in scopes {
            let action = scope.strip_prefix("helpdesk:").unwrap_or(scope);
            details.push(json!({"type": "tool_access", "locations": [format!("{}/mcp/helpdesk", self.issuer)], "actions": [action], "delegate": {"to": ["*"], "depth": 2}}));
        }
        let asked = json!({
            "name": name, "display_name": shown, "owner": "user:alice", "keys": [agent.key().public().to_jwk()],
            "redirect_uris": [CALLBACK], "authorization_details": details,
        });
        admin.send(Method::POST, "agents", Some(&asked)).await?;
        Ok(())
    }
}

/// A second MCP server, so that a token can be meant for another one, and entitlements that may be handed on.
fn second_server(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let with = text.replace("\npolicies:\n", "\n  payroll:\n    title: Payroll\n    sample: helpdesk\n\npolicies:\n");
    std::fs::write(file, with).with_context(|| format!("cannot write {}", file.display()))
}
