//! The command line: its commands. What each does is in its own file.

use crate::{
    args::{
        AccountCommand, AgentCommand, ConfigArg, ConfigCommand, Connect, Demo, Init, KeysCommand, LoginServer, PolicyCommand,
        ProviderCommand, ServerCommand, TokenCommand,
    },
    command::{audit::AuditCommand, revoke::Revoke},
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
    /// Watch another server's ledger: cosign its heads as long as each extends the last
    Witness(Witness),
    /// Check or describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The upstream servers
    #[command(subcommand)]
    Server(ServerCommand),
    /// The people who can sign in
    #[command(subcommand)]
    Account(AccountCommand),
    /// The identity providers that people sign in at
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Check the policies, or ask them one question
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// The agent registry
    #[command(subcommand)]
    Agent(AgentCommand),
    /// The keys that the server signs tokens with
    #[command(subcommand)]
    Keys(KeysCommand),
    /// End everything of a person, an agent, a chain, a server or a key that was issued until now
    Revoke(Revoke),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    /// The visible commands that do something, with their words.
    fn leaves(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
        let mut below = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help").peekable();
        if below.peek().is_none() {
            found.push((words.to_owned(), command.clone()));
        }
        for inner in below {
            leaves(inner, &format!("{words} {}", inner.get_name()), found);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_takes_json_and_says_what_it_is() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "remit", &mut found);
        assert!(found.len() > 20, "{} commands", found.len());
        for (words, command) in found {
            assert!(command.get_arguments().any(|argument| argument.get_long() == Some("json")), "`{words}` has no --json");
            assert!(command.get_about().is_some(), "`{words}` is not described");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "`{words}`: {} is not described", argument.get_id());
            }
        }
    }

    #[test]
    fn arguments_that_do_not_belong_together_are_refused_by_name() {
        for (line, named) in [
            ("", "Usage: remit <COMMAND>"),
            ("sevre", "unrecognized subcommand 'sevre'"),
            ("agent add", "<NAME>"),
            ("agent add a --scope x --authorization-details f", "--authorization-details"),
            ("agent retire", "<NAME>"),
            (
                "revoke",
                "<--user <NAME>|--agent <NAME>|--client <CLIENT_ID>|--owner <SUBJECT>|--chain <TXN>|--resource <SERVER>|--key <THUMBPRINT>>",
            ),
            ("revoke --agent a --key k", "--agent"),
            ("connect", "<SERVER>"),
            ("connect desk", "--agent"),
            ("connect desk --agent a --scope x --authorization-details f", "--authorization-details"),
            ("login desk", "--agent"),
            ("token inspect", "<TOKEN>"),
            ("token exchange --agent a", "--server"),
            ("token exchange --agent a --server s --resource r", "--resource"),
            ("token exchange --agent a --server s --login --subject-token", "--subject-token"),
            ("token exchange --agent a --server s --child c", "--child-key"),
            ("token exchange --agent a --server s --child c --child-key k", "--subject-token"),
            ("serve --config", "--config"),
            ("init --listen", "--listen"),
            ("audit verify --no-such-flag", "--no-such-flag"),
        ] {
            let words = ["remit"].into_iter().chain(line.split_whitespace());
            let Err(refused) = Cli::try_parse_from(words) else { panic!("accepted: remit {line}") };
            assert!(refused.to_string().contains(named), "remit {line}: {refused}");
        }
    }
}
