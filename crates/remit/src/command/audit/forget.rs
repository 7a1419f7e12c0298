//! `remit audit erase|hold|disclose`: clients of the admin API, because the server holds the keys.

use super::source::say;
use crate::{args::AdminArg, client::AdminClient, keys, stdout::print_json};
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
pub(crate) struct Erase {
    /// Whom to forget: `user:NAME`, `agent:NAME`, or a data subject as `<resource type>:<id>`
    #[arg(long, value_name = "SUBJECT")]
    subject: String,
    /// The legal basis, recorded in plain; must not name the subject
    #[arg(long, value_name = "TEXT")]
    basis: String,
    /// Why, in more words; kept beside the log, never in it; must not name the subject either
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    admin: AdminArg,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Hold {
    /// Let nothing of a subject be destroyed until released
    Add(Erase),
    /// Release a subject
    Release {
        /// The subject, as it was held
        #[arg(long, value_name = "SUBJECT")]
        subject: String,
        /// Why; kept beside the log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        admin: AdminArg,
    },
    /// List the holds
    List(AdminArg),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Disclose {
    /// Where to write the disclosure file; it is readable by its owner alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Only the keys of this subject (repeatable; default: all keys)
    #[arg(long = "subject", value_name = "SUBJECT")]
    subjects: Vec<String>,
    #[command(flatten)]
    admin: AdminArg,
}

pub(super) async fn erase(args: &Erase) -> Result<()> {
    let body = json!({"subject": args.subject, "legal_basis": args.basis, "reason": args.reason});
    let answer = AdminClient::of(&args.admin)?.send(Method::POST, "ledger/erasures", Some(&body)).await?;
    if args.admin.config.json {
        return print_json(&answer);
    }
    outln!("Erased. What was recorded about them is unreadable, here and in every copy; every proof still holds.");
    outln!("  announced by record {}, completed by {}", text(&answer, "record"), text(&answer, "completed"));
    outln!("  backups of keys.db made before now still hold the key: destroy or replace them");
    let unreadable = answer.get("unreadable_agents").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in unreadable {
        outln!("  the row of agent {name} in the database cannot be read: look whether it is about them");
    }
    Ok(())
}

pub(super) async fn hold(args: &Hold) -> Result<()> {
    match args {
        Hold::Add(args) => {
            let body = json!({"subject": args.subject, "legal_basis": args.basis, "reason": args.reason});
            let answer = AdminClient::of(&args.admin)?.send(Method::POST, "ledger/holds", Some(&body)).await?;
            done(&answer, args.admin.config.json, "On hold")
        }
        Hold::Release { subject, reason, admin } => {
            let body = json!({"subject": subject, "reason": reason});
            let answer = AdminClient::of(admin)?.send(Method::DELETE, "ledger/holds", Some(&body)).await?;
            done(&answer, admin.config.json, "Released")
        }
        Hold::List(admin) => {
            let answer = AdminClient::of(admin)?.send(Method::GET, "ledger/holds", None).await?;
            if admin.config.json {
                return print_json(&answer);
            }
            let holds = answer.get("holds").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for hold in holds {
                let since = hold.get("since").map(ToString::to_string).unwrap_or_default();
                say(&[format!("{} {} since {since}", text(hold, "subject_ref"), text(hold, "subject"))]);
            }
            outln!("{} on hold", holds.len());
            Ok(())
        }
    }
}

fn done(answer: &Value, as_json: bool, word: &str) -> Result<()> {
    if as_json {
        return print_json(answer);
    }
    outln!("{word}: {}, recorded as {}", text(answer, "subject_ref"), text(answer, "record"));
    Ok(())
}

pub(super) async fn disclose(args: &Disclose) -> Result<()> {
    let subjects = (!args.subjects.is_empty()).then_some(&args.subjects);
    let body = subjects.map_or_else(|| json!({}), |subjects| json!({"subjects": subjects}));
    let answer = AdminClient::of(&args.admin)?.send(Method::POST, "ledger/disclosures", Some(&body)).await?;
    let file = answer.get("disclosure").context("the server answered without a disclosure")?;
    keys::write_private(&args.out, file.to_string().as_bytes())?;
    let count = file.get("keys").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    if args.admin.config.json {
        return print_json(&json!({"out": args.out, "keys": count, "record": answer.get("record")}));
    }
    outln!("{count} keys in {}, recorded as {}", args.out.display(), text(&answer, "record"));
    outln!("  anyone with the file and a copy of the ledger can read what these keys seal");
    Ok(())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
