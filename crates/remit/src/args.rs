//! Arguments that the commands share, and those of the smaller commands.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which configuration file.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArg {
    /// Configuration file
    #[arg(short, long, default_value = "remit.yaml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave when the story is told; exit 0 only if all of it held
    #[arg(long)]
    pub(crate) once: bool,
    /// Where to keep the demo's keys, database and ledger (default: a fresh temporary folder)
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print one JSON object for each step
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Folder to write into; made when missing
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Address and port the server will listen on
    #[arg(long, default_value = "127.0.0.1:8420", value_name = "ADDRESS:PORT")]
    pub(crate) listen: String,
    /// Name of the first account that can sign in
    #[arg(long, default_value = "alice", value_name = "NAME")]
    pub(crate) account: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List every error with file, line and reason
    Check(ConfigArg),
    /// Print the JSON Schema of remit.yaml
    Schema {
        /// Accepted for uniformity; the schema is JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Ask an upstream which tools it offers, and print them as YAML to paste into remit.yaml
    Tools(ServerName),
}

#[derive(Debug, Args)]
pub(crate) struct ServerName {
    /// The server's name in `mcp_servers`
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Register an agent, with a new key of its own
    Add(AgentAdd),
    /// List the agents
    List(ConfigArg),
    /// Show one agent
    Show(AgentName),
    /// Stop an agent at once; its tokens and those of its sub-agents are refused from now on
    Quarantine(AgentName),
    /// Let a quarantined agent act again
    Activate(AgentName),
    /// Remove an agent for good; its name is never reused
    Retire(AgentName),
}

#[derive(Debug, Args)]
pub(crate) struct AgentName {
    /// The agent's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

#[derive(Debug, Args)]
pub(crate) struct AgentAdd {
    /// The agent's name: a-z, 0-9, '.', '_', '-'
    pub(crate) name: String,
    /// The accountable human
    #[arg(long, value_name = "user:NAME")]
    pub(crate) owner: Option<String>,
    /// Shown on consent pages
    #[arg(long, value_name = "TEXT")]
    pub(crate) display_name: Option<String>,
    /// The most this agent may ever do, as scopes: `helpdesk:tickets_read`, or `helpdesk:*` (repeatable)
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(crate) scopes: Vec<String>,
    /// The same as RFC 9396 authorization details in a JSON file
    #[arg(long, value_name = "FILE", conflicts_with = "scopes")]
    pub(crate) authorization_details: Option<PathBuf>,
    /// Redirect URI for sign-in on behalf of a human (repeatable); `remit connect --login` needs none
    #[arg(long = "redirect-uri", value_name = "URI")]
    pub(crate) redirect_uris: Vec<String>,
    /// Use this public key (JWK file) instead of making a key pair here
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    /// Where to write the new private key (default: agents/NAME.pem beside the configuration)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AgentArgs {
    /// The agent to act as
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: String,
    /// The agent's private key (default: agents/NAME.pem beside the configuration)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The server's public URL (default: from the configuration)
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Configuration file, read for the defaults above
    #[arg(short, long, default_value = "remit.yaml", value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// What a person is asked to allow.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LoginRequest {
    /// Scopes to ask for (default: all the agent may do at this server)
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// RFC 9396 authorization details to ask for, a JSON file; `delegate` in one lets the agent pass authority on
    #[arg(long, value_name = "FILE", conflicts_with = "scope")]
    pub(crate) authorization_details: Option<PathBuf>,
    /// What it is for: shown to the person, recorded, and given to the policies
    #[arg(long, value_name = "TEXT")]
    pub(crate) purpose: Option<String>,
}

impl LoginRequest {
    /// The authorization details as text.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn details(&self) -> Result<Option<String>> {
        let read = |file: &PathBuf| std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
        self.authorization_details.as_ref().map(read).transpose()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The server's name, as in /mcp/NAME
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
    #[command(flatten)]
    pub(crate) request: LoginRequest,
    /// Act on behalf of a person, who signs in with a browser: before with `remit login`, or when it is first needed
    #[arg(long)]
    pub(crate) login: bool,
    /// Accepted for uniformity; standard output carries MCP alone
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoginServer {
    /// The server's name, as in /mcp/NAME
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
    #[command(flatten)]
    pub(crate) request: LoginRequest,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "read once, from the command line")]
pub(crate) enum TokenCommand {
    /// Show a token's header and claims without checking them
    Inspect {
        /// The token; `-` reads standard input
        token: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Get a token for an agent, or narrow the one on standard input (RFC 8693)
    Exchange(Exchange),
}

#[derive(Debug, Args)]
pub(crate) struct Exchange {
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
    /// The server the token is for, as in /mcp/NAME
    #[arg(long, value_name = "NAME", required_unless_present = "resource")]
    pub(crate) server: Option<String>,
    /// The resource the token is for, in full, instead of a server
    #[arg(long, value_name = "URI", conflicts_with = "server")]
    pub(crate) resource: Option<String>,
    #[command(flatten)]
    pub(crate) request: LoginRequest,
    /// Get the token for a person, who signs in with a browser, instead of for the agent itself
    #[arg(long, conflicts_with = "subject_token")]
    pub(crate) login: bool,
    /// Narrow the access token on standard input instead of asking for a first one
    #[arg(long)]
    pub(crate) subject_token: bool,
    /// What to call the token in the ledger, so that its use can be found: `remit audit search --label`
    #[arg(long, value_name = "TEXT", conflicts_with = "login")]
    pub(crate) label: Option<String>,
    /// Hand the narrowed token to this sub-agent; its identity token comes from --child-key
    #[arg(long, value_name = "NAME", requires = "child_key", requires = "subject_token")]
    pub(crate) child: Option<String>,
    /// The sub-agent's private key
    #[arg(long, value_name = "FILE")]
    pub(crate) child_key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
