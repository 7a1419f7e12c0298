//! Arguments that the commands share, and those of the smaller commands.

use crate::command::agent_credentials::CredentialArgs;
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};
use remit_model::Binding;
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

/// Which configuration file, and where the admin API of that server is.
#[derive(Clone, Debug, Args)]
pub(crate) struct AdminArg {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Where the admin API is (default: `server.admin_url`, or the address that the server listens on)
    #[arg(long, value_name = "URL")]
    pub(crate) admin_url: Option<String>,
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
#[expect(clippy::large_enum_variant, reason = "read once, from the command line")]
pub(crate) enum PolicyCommand {
    /// List every mistake of the policies with file, line and reason
    Check(ConfigArg),
    /// Ask the policies one question: allow or deny, and which policy says so; exits with 1 on a denial
    Test(PolicyTest),
}

/// What the policies can be asked about.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum PolicyAction {
    #[default]
    Call,
    List,
    Delegate,
    ReadField,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyTest {
    /// The agent that acts; repeated, each further one is a sub-agent of the one before
    #[arg(long = "agent", value_name = "NAME")]
    pub(crate) agents: Vec<String>,
    /// The person whose authority it is; without one, the first agent's own
    #[arg(long, value_name = "NAME")]
    pub(crate) human: Option<String>,
    /// What is asked about
    #[arg(long, value_enum, default_value_t, value_name = "ACTION")]
    pub(crate) action: PolicyAction,
    /// The server
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    /// The tool
    #[arg(long, value_name = "TOOL")]
    pub(crate) tool: Option<String>,
    /// The arguments of the call, a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) args: Option<String>,
    /// When: an RFC 3339 time, a date, or a duration ago (default: now)
    #[arg(long, value_name = "WHEN")]
    pub(crate) at: Option<String>,
    /// What the authority was delegated for
    #[arg(long, value_name = "TEXT")]
    pub(crate) purpose: Option<String>,
    /// Seconds since the person authenticated
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) auth_age: i64,
    /// The authentication context class that the person reached
    #[arg(long, value_name = "CLASS")]
    pub(crate) acr: Option<String>,
    /// A method by which the person authenticated, such as `pwd` (repeatable)
    #[arg(long, value_name = "METHOD")]
    pub(crate) amr: Vec<String>,
    /// As if the person had signed with a passkey what they agreed to
    #[arg(long)]
    pub(crate) root_signed: bool,
    /// For `read-field`: the class of the fields
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// For `delegate`: the agent that receives the authority
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<String>,
    /// For `delegate`: for how many seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub(crate) lifetime: i64,
    /// The agents' owner, instead of the registered one
    #[arg(long, value_name = "user:NAME")]
    pub(crate) owner: Option<String>,
    /// A label of the agents, instead of the registered ones (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Do not ask the server how the agents are registered
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArg,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProviderCommand {
    /// Print what to add to remit.yaml for an OpenID Connect provider, and what to register there
    Add(ProviderAdd),
    /// Fetch a provider's metadata and keys, and say what is wrong
    Test(ProviderTest),
    /// List the providers
    List(ConfigArg),
}

#[derive(Debug, Args)]
pub(crate) struct ProviderAdd {
    /// Its name here: at most 20 of a-z, 0-9 and '-'
    pub(crate) name: String,
    /// Its issuer identifier
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: String,
    /// The client that Remit is at the provider
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: String,
    /// What everybody whom it lets in may do, as a scope (repeatable)
    #[arg(long = "entitlement", value_name = "SCOPE")]
    pub(crate) entitlements: Vec<String>,
    /// Prove to be the client with a new private key instead of a secret
    #[arg(long)]
    pub(crate) key: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

#[derive(Debug, Args)]
pub(crate) struct ProviderTest {
    /// Its name in remit.yaml
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Hash the password on standard input, for `password_hash_file`
    Hash {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add an account to the running server
    Add(AccountAdd),
    /// Give an account a new password
    Passwd(AccountPassword),
    /// Stop an account, and at once everything that was done on its behalf
    Disable(AccountName),
    /// Let a disabled account sign in again; what it handed out before stays ended
    Enable(AccountName),
    /// List the accounts
    List(AdminArg),
    /// See and remove a person's passkeys, or make a link with which they add one
    #[command(subcommand)]
    Passkey(PasskeyCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PasskeyCommand {
    /// List a person's passkeys
    List(AccountName),
    /// Remove one; it signs no one in from now on, and what it signed stays signed
    Remove(PasskeyRemove),
    /// Print a link with which the person adds a passkey; it works once
    Link(PasskeyLink),
}

#[derive(Debug, Args)]
pub(crate) struct AccountName {
    /// The sign-in name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) admin: AdminArg,
}

#[derive(Debug, Args)]
pub(crate) struct PasskeyRemove {
    #[command(flatten)]
    pub(crate) account: AccountName,
    /// The passkey, as `list` prints it
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct PasskeyLink {
    #[command(flatten)]
    pub(crate) account: AccountName,
    /// For how many hours the link is good, 168 at most
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    pub(crate) hours: i64,
}

#[derive(Debug, Args)]
pub(crate) struct AccountAdd {
    /// The sign-in name: a-z, 0-9, '.', '_', '-'
    pub(crate) name: String,
    /// What the person may do, as a scope (repeatable; default: `helpdesk:*`)
    #[arg(long = "entitlement", value_name = "SCOPE")]
    pub(crate) entitlements: Vec<String>,
    /// Shown on pages
    #[arg(long, value_name = "TEXT")]
    pub(crate) display_name: Option<String>,
    /// Read the password from standard input instead of making one
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Only write the password hash into the key folder, and print what to add to remit.yaml
    #[arg(long, conflicts_with = "admin_url")]
    pub(crate) yaml: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArg,
}

#[derive(Debug, Args)]
pub(crate) struct AccountPassword {
    /// The sign-in name
    pub(crate) name: String,
    /// Read the password from standard input instead of making one
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArg,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the signing keys and where each is in its life
    List(AdminArg),
    /// Make the next signing key; the present one is accepted until its last token has expired
    Rotate(KeysRotate),
    /// Refuse at once, everywhere, whatever this key signed
    Revoke(KeysRevoke),
}

#[derive(Debug, Args)]
pub(crate) struct KeysRotate {
    /// Let the next key sign at once, although others may not know it yet
    #[arg(long, conflicts_with = "after")]
    pub(crate) now: bool,
    /// Let the next key sign after this long (default: 660, as long as others may cache the published keys)
    #[arg(long, value_name = "SECONDS")]
    pub(crate) after: Option<u32>,
    #[command(flatten)]
    pub(crate) admin: AdminArg,
}

#[derive(Debug, Args)]
pub(crate) struct KeysRevoke {
    /// The key, as `remit keys list` names it
    pub(crate) kid: String,
    #[command(flatten)]
    pub(crate) admin: AdminArg,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Register an agent, with a new key of its own
    Add(AgentAdd),
    /// List the agents
    List(AdminArg),
    /// Show one agent
    Show(AgentName),
    /// Change an agent: what is not named stays
    Update(AgentUpdate),
    /// Replace an agent's key; the present one stops working at once
    RotateKey(RotateKey),
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
    pub(crate) admin: AdminArg,
}

/// What an agent is registered with, and what can be changed later.
#[derive(Debug, Args)]
pub(crate) struct AgentSettings {
    /// The most this agent may ever do, as scopes: `helpdesk:tickets_read`, or `helpdesk:*` (repeatable)
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(crate) scopes: Vec<String>,
    /// The same as RFC 9396 authorization details in a JSON file
    #[arg(long, value_name = "FILE", conflicts_with = "scopes")]
    pub(crate) authorization_details: Option<PathBuf>,
    /// Redirect URI for sign-in on behalf of a human (repeatable). An agent with a key has the loopback one of
    /// `remit connect --login` besides; a public one only if it names no other
    #[arg(long = "redirect-uri", value_name = "URI")]
    pub(crate) redirect_uris: Vec<String>,
    /// Where other agents call this agent: a URI of its own, https or loopback
    #[arg(long, value_name = "URI")]
    pub(crate) endpoint: Option<String>,
    /// A label for policies (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,
    /// What its access tokens are bound to. `danger_bearer` binds them to nothing: a copy of one works
    #[arg(long, value_name = "BINDING")]
    pub(crate) binding: Option<BindingArg>,
    /// With `--binding danger_bearer`: whether the agent may also call tools that change something
    #[arg(long, value_name = "BOOL")]
    pub(crate) danger_bearer_writes: Option<bool>,
}

/// What an agent's access tokens are bound to.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum BindingArg {
    /// A key that the agent proves with each request (RFC 9449)
    Dpop,
    /// The certificate of its connection (RFC 8705)
    Mtls,
    /// Nothing (RFC 6750)
    DangerBearer,
}

impl From<BindingArg> for Binding {
    fn from(named: BindingArg) -> Self {
        match named {
            BindingArg::Dpop => Self::Dpop,
            BindingArg::Mtls => Self::Mtls,
            BindingArg::DangerBearer => Self::DangerBearer,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AgentUpdate {
    /// The agent's name
    pub(crate) name: String,
    /// The accountable human
    #[arg(long, value_name = "user:NAME")]
    pub(crate) owner: Option<String>,
    /// Shown on consent pages
    #[arg(long, value_name = "TEXT")]
    pub(crate) display_name: Option<String>,
    #[command(flatten)]
    pub(crate) settings: AgentSettings,
    #[command(flatten)]
    pub(crate) credentials: CredentialArgs,
    /// Whether the agent may also act on its own, without a person
    #[arg(long, value_name = "BOOL")]
    pub(crate) autonomous: Option<bool>,
    /// Remove a label (repeatable); `endpoint` is one
    #[arg(long = "remove-label", value_name = "NAME")]
    pub(crate) remove_labels: Vec<String>,
    #[command(flatten)]
    pub(crate) admin: AdminArg,
}

#[derive(Debug, Args)]
pub(crate) struct RotateKey {
    /// The agent's name
    pub(crate) name: String,
    /// Use this public key (JWK file) instead of making a key pair here
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    /// The private key file to replace (default: agents/NAME.pem beside the configuration)
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) admin: AdminArg,
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
    #[command(flatten)]
    pub(crate) settings: AgentSettings,
    #[command(flatten)]
    pub(crate) credentials: CredentialArgs,
    /// Let the agent also act on its own, without a person, up to its ceiling
    #[arg(long, conflicts_with = "public")]
    pub(crate) autonomous: bool,
    /// Register a public client: it has no key, and acts only for people who sign in
    #[arg(long, conflicts_with_all = ["public_key", "key"])]
    pub(crate) public: bool,
    /// Use this public key (JWK file) instead of making a key pair here
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    pub(crate) public_key: Option<PathBuf>,
    /// Where to write the new private key (default: agents/NAME.pem beside the configuration)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) admin: AdminArg,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AgentArgs {
    /// The agent to act as
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: String,
    /// The agent's private key (default: agents/NAME.pem beside the configuration)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Prove to be the agent with the token in this file instead of a key of the agent: that of a Kubernetes service account or a CI
    /// run, a JWT-SVID, or what `spire-agent api fetch jwt -output json` prints. It is read for each request. A new key that is never
    /// written down binds the tokens, unless `--key` names one
    #[arg(long, value_name = "FILE")]
    pub(crate) workload_token: Option<PathBuf>,
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
    /// Act with the access token in this file, which another agent handed over with `remit token exchange --child`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["login", "scope", "authorization_details", "purpose"])]
    pub(crate) token_file: Option<PathBuf>,
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
