//! The command line: its commands. What each does is in its own file.

use crate::{
    args::{AgentCommand, ConfigArg, ConfigCommand, Connect, Demo, Init, LoginServer, TokenCommand},
    command::audit::AuditCommand,
    witness::Witness,
};
use clap::{Parser, Subcommand};

/// Identity orchestration for AI agents: who acts, by whose authority, within which limits, with proof.
#[derive(Debug, Parser)]
#[command(name = "remit", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole story on embedded defaults in one process, then verify and replay its ledger
    Demo(Demo),
    /// Write remit.yaml, keys, a first policy and an admin credential
    Init(Init),
    /// Run the server
    Serve(ConfigArg),
    /// Watch somebody else's ledger: cosign its heads as long as each extends the last
    Witness(Witness),
    /// Check or describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The agent registry
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Connect an MCP client (stdio) to a server behind Remit
    Connect(Connect),
    /// Let a person sign in for an agent; `remit connect --login` then acts for them
    Login(LoginServer),
    /// Look at tokens, or exchange one, while debugging
    #[command(subcommand)]
    Token(TokenCommand),
    /// The ledger
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The reference of every command, as Markdown
    #[command(hide = true)]
    Reference,
    /// End the process groups named on standard input when it closes; the server starts this for itself
    #[command(hide = true)]
    Guard,
}
