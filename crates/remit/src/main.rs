//! The `remit` binary: configuration, wiring, commands. It holds no rules; those live in the parts it wires.
//!
//! Exit status: 0 good, 1 a check failed or the work could not be done, 2 used wrongly,
//! 141 standard output was closed early.

#[macro_use]
mod stdout;

mod args;
mod bounded_read;
mod cli;
mod client;
mod command;
mod config;
mod demo;
mod keys;
mod server;
mod tls_files;
mod witness;

use anyhow::Result;
use clap::Parser as _;
use cli::{Cli, Command};
use client::connect;
use command::{agent, audit, init, reference, token};
use remit_clock::{Ambient, Clock};
use std::{io::IsTerminal as _, process::ExitCode, time::Duration};
use tracing_subscriber::EnvFilter;

/// A call allocates some thousand times; this one gives memory back and takes no lock that threads share.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Guard) {
        remit_gateway::guard(std::io::stdin().lock());
        return ExitCode::SUCCESS;
    }
    let quiet = !matches!(cli.command, Command::Serve(_) | Command::Witness(_));
    let done =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from).and_then(|runtime| {
            let done = runtime.block_on(run(cli.command));
            // Standard input may still be held by a blocking read; nothing is owed to it.
            runtime.shutdown_timeout(Duration::from_millis(100));
            done
        });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            if quiet {
                eprintln!("remit: {error:#}");
            } else {
                tracing::error!("{error:#}");
            }
            ExitCode::from(1)
        }
    }
}

/// Runs one command; `false` means that a check failed.
async fn run(command: Command) -> Result<bool> {
    let ambient = Ambient::system();
    match command {
        Command::Demo(args) => {
            let _ = logs("warn");
            return demo::run(&args, &ambient).await;
        }
        Command::Init(args) => init::run(&args, &ambient)?,
        Command::Serve(args) => {
            let loaded = config::load(&args.config).map_err(|problems| config::report(&problems))?;
            let set_log = logs(&loaded.config.observe.log);
            for warning in &loaded.missing {
                tracing::warn!("{warning}");
            }
            let settle = Duration::from_secs(loaded.config.ledger.clock_settle_s);
            let ambient = Ambient { clock: Clock::system_settling(settle), ..ambient };
            server::serve::run(&loaded, args.json, &ambient, set_log).await?;
        }
        Command::Witness(args) => {
            let _ = logs("info");
            witness::run(&args, &ambient).await?;
        }
        Command::Config(command) => return Ok(command::config::run(&command, ambient.clock.unix())),
        Command::Server(command) => {
            let _ = logs("warn");
            command::server::run(&command).await?;
        }
        Command::Account(command) => command::account::run(&command, &ambient).await?,
        Command::Provider(command) => return command::provider::run(&command, &ambient).await,
        Command::Policy(command) => return command::policy::run(&command, &ambient).await,
        Command::Agent(command) => agent::run(&command, &ambient).await?,
        Command::Keys(command) => command::keys::run(&command, &ambient).await?,
        Command::Revoke(args) => command::revoke::run(args).await?,
        Command::Connect(args) => {
            let _ = logs("warn");
            connect::run(&args, &ambient).await?;
        }
        Command::Login(args) => {
            let _ = logs("warn");
            client::login::run(&args, &ambient).await?;
        }
        Command::Token(command) => token::run(&command, &ambient).await?,
        Command::Audit(command) => return audit::run(&command, &ambient).await,
        Command::Reference => out!("{}", reference::markdown()),
        Command::Guard => {}
    }
    Ok(true)
}

/// Logs go to standard error, so that standard output stays the command's answer. Returns what sets another filter.
fn logs(filter: &str) -> impl Fn(&str) -> Result<()> + Send + Sync + use<> {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    let _ = subscriber.try_init();
    move |filter| Ok(handle.reload(EnvFilter::try_new(filter)?)?)
}
