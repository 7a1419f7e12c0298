//! `remit audit …`: reads a ledger folder. Needs neither the server nor its database. One file a command.

mod bundle;
mod explain;
mod export;
mod field;
mod forget;
mod keys;
mod new_file;
mod reconcile;
mod replay;
mod retention;
mod search;
mod show;
mod source;
mod table;
mod verify;
mod view;
mod what_if;

pub(crate) use verify::{Proof, prove};

use anyhow::Result;
use clap::Subcommand;
use remit_clock::Ambient;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show one record, or the latest ones
    Show(source::OneRecord),
    /// Say in plain words who, what, why, how and when
    Explain(source::OneRecord),
    /// Verify a ledger folder; needs neither the server nor its database
    Verify(verify::Verify),
    /// Prove one field of one record and show nothing else, or check such a proof
    Prove(field::Prove),
    /// Forget a person or a thing: destroy the keys of what was recorded about them
    Erase(forget::Erase),
    /// Legal holds: whose values must not be destroyed
    #[command(subcommand)]
    Hold(forget::Hold),
    /// Write the keys of sealed values to a file for an auditor; recorded
    Disclose(forget::Disclose),
    /// Show by class how far back values can still be read
    Retention(retention::Retention),
    /// Re-evaluate every recorded decision from its pinned policies and inputs
    Replay(replay::Replay),
    /// Say which past decisions other policies would have made differently
    WhatIf(what_if::WhatIf),
    /// Pair token service, gateway and an upstream's own log, and show what stands alone
    Reconcile(reconcile::Reconcile),
    /// Write records in the formats of other systems, proofs, or a bundle for an auditor
    Export(export::Export),
    /// Find records by who, what, which and when
    Search(Box<search::Search>),
    /// Print the JSON Schema of a record
    Schema {
        /// Accepted for uniformity; the schema is JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command; `false` when a check failed.
pub(crate) async fn run(command: &AuditCommand, ambient: &Ambient) -> Result<bool> {
    match command {
        AuditCommand::Reconcile(args) => return reconcile::run(args.clone(), ambient.clone()).await,
        AuditCommand::Erase(args) => return forget::erase(args).await.map(|()| true),
        AuditCommand::Hold(args) => return forget::hold(args).await.map(|()| true),
        AuditCommand::Disclose(args) => return forget::disclose(args).await.map(|()| true),
        _ => {}
    }
    let (command, ambient) = (command.clone(), ambient.clone());
    tokio::task::spawn_blocking(move || match &command {
        AuditCommand::Show(args) => show::run(args).map(|()| true),
        AuditCommand::Explain(args) => explain::run(args).map(|()| true),
        AuditCommand::Verify(args) => verify::run(args, &ambient),
        AuditCommand::Replay(args) => replay::run(args, &ambient),
        AuditCommand::Prove(args) => field::run(args),
        AuditCommand::Retention(args) => retention::run(args).map(|()| true),
        // Answered above: they need the server, not the folder.
        AuditCommand::Erase(_) | AuditCommand::Hold(_) | AuditCommand::Disclose(_) => Ok(false),
        AuditCommand::WhatIf(args) => what_if::run(args, &ambient),
        AuditCommand::Reconcile(_) => Ok(true),
        AuditCommand::Export(args) => export::run(args, &ambient).map(|()| true),
        AuditCommand::Search(args) => search::run(args, &ambient).map(|()| true),
        AuditCommand::Schema { .. } => {
            out!("{}", remit_ledger::record::JSON_SCHEMA);
            Ok(true)
        }
    })
    .await?
}
