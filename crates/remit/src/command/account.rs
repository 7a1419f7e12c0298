//! `remit account …`: the accounts of `remit.yaml`, and their password hashes.

use crate::{
    args::{AccountAdd, AccountCommand, AccountPassword},
    bounded_read,
    config::{self, Account, IdentityProvider, Loaded},
    keys,
    stdout::print_json,
};
use anyhow::{Context as _, Result, bail};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use remit_clock::Ambient;
use remit_model::{AgentId, display};
use serde_json::{Value, json};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Longest password taken, in bytes.
const PASSWORD_LIMIT: u64 = 1024;
/// Shortest password taken, in characters (NIST SP 800-63B-4 section 3.1.1.2).
const PASSWORD_LEAST: usize = 15;

/// Runs the command.
///
/// # Errors
/// The configuration has problems, or a file cannot be read or written.
pub(crate) async fn run(command: &AccountCommand, ambient: &Ambient) -> Result<()> {
    match command {
        AccountCommand::Hash { json } => {
            let hash = hash(&typed()?, ambient)?;
            if *json {
                return print_json(&json!({"hash": hash}));
            }
            outln!("{hash}");
            Ok(())
        }
        AccountCommand::Passkey(command) => super::passkey::run(command).await,
        AccountCommand::Add(args) => add(args, ambient),
        AccountCommand::Passwd(args) => passwd(args, ambient),
        AccountCommand::List(args) => {
            let loaded = config::load(&args.config).map_err(|problems| config::report(&problems))?;
            list(&loaded, args.json)
        }
    }
}

/// Writes the hash, and prints what to put into the file: comments and order there are the operator's.
fn add(args: &AccountAdd, ambient: &Ambient) -> Result<()> {
    let loaded = config::load(&args.config.config).map_err(|problems| config::report(&problems))?;
    let name = AgentId::parse(&args.name).map_err(|refusal| anyhow::anyhow!("{}", refusal.reason))?;
    if accounts(&loaded).any(|account| account.name == name.as_str()) {
        bail!("there is an account `{name}` already; `remit account passwd {name}` changes its password");
    }
    let (password, shown) = password(args.password_stdin, ambient)?;
    let file = loaded.config.server.keys_dir.join(format!("{name}.argon2"));
    keys::write_private(&loaded.at(&file), hash(&password, ambient)?.as_bytes())?;
    let entitlements = if args.entitlements.is_empty() { vec!["helpdesk:*".to_owned()] } else { args.entitlements.clone() };
    let block = format!(
        "      - name: {name}\n        password_hash_file: {}\n        entitlements: {}\n",
        file.display(),
        json!(entitlements)
    );
    if args.config.json {
        return print_json(&json!({"account": name, "password": shown, "password_hash_file": file, "yaml": block}));
    }
    if let Some(password) = shown {
        outln!("Password of {name}, shown this once: {password}");
    }
    outln!("Put this below `accounts:` in {}:\n\n{block}", args.config.config.display());
    outln!("Then send SIGHUP to the server, or restart it.");
    Ok(())
}

fn passwd(args: &AccountPassword, ambient: &Ambient) -> Result<()> {
    let loaded = config::load(&args.config.config).map_err(|problems| config::report(&problems))?;
    let known = || accounts(&loaded).map(|account| account.name.as_str()).collect::<Vec<_>>().join(", ");
    let account = accounts(&loaded).find(|account| account.name == args.name);
    let account = account.with_context(|| format!("there is no account `{}`; there are: {}", args.name, known()))?;
    let (password, shown) = password(args.password_stdin, ambient)?;
    replace(&loaded.at(&account.password_hash_file), &hash(&password, ambient)?)?;
    if args.config.json {
        return print_json(&json!({"account": account.name, "password": shown}));
    }
    if let Some(password) = shown {
        outln!("Password of {}, shown this once: {password}", account.name);
    }
    outln!("Send SIGHUP to the server, or restart it; the old password works until then.");
    Ok(())
}

fn accounts(loaded: &Loaded) -> impl Iterator<Item = &Account> {
    loaded.config.identity_providers.iter().flat_map(|IdentityProvider::Local { accounts }| accounts)
}

fn list(loaded: &Loaded, as_json: bool) -> Result<()> {
    if as_json {
        let accounts: Vec<Value> = accounts(loaded)
            .map(|account| {
                json!({
                    "name": account.name, "display_name": account.display_name, "disabled": account.disabled,
                    "entitlements": account.entitlements, "authorization_details": account.authorization_details,
                })
            })
            .collect();
        return print_json(&json!({"accounts": accounts}));
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(120);
    table.set_header(["ACCOUNT", "STATUS", "DISPLAY NAME", "ENTITLEMENTS"]);
    for account in accounts(loaded) {
        let detailed = account.authorization_details.is_some().then_some("authorization details");
        let may = account.entitlements.iter().map(String::as_str).chain(detailed).collect::<Vec<_>>().join(" ");
        table.add_row([
            display::escape(&account.name).into_owned(),
            if account.disabled { "disabled" } else { "active" }.to_owned(),
            display::escape(account.display_name.as_deref().unwrap_or_default()).into_owned(),
            display::escape(&may).into_owned(),
        ]);
    }
    outln!("{}", table.trim_fmt());
    Ok(())
}

/// The password to set, and what to show of it: a generated one, once.
fn password(from_stdin: bool, ambient: &Ambient) -> Result<(String, Option<String>)> {
    if from_stdin {
        return Ok((typed()?, None));
    }
    let made = ambient.entropy.token(15);
    Ok((made.clone(), Some(made)))
}

fn typed() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(PASSWORD_LIMIT + 2)
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")?;
    let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if password.len() as u64 > PASSWORD_LIMIT || password.contains('\n') {
        bail!("the password on standard input must be one line of at most {PASSWORD_LIMIT} bytes");
    }
    if password.chars().count() < PASSWORD_LEAST {
        bail!("the password must have at least {PASSWORD_LEAST} characters");
    }
    Ok(password.to_owned())
}

fn hash(password: &str, ambient: &Ambient) -> Result<String> {
    remit_authority::hash_password(password, &ambient.entropy).map_err(|fault| anyhow::anyhow!("{fault}"))
}

/// Puts a new hash in place of the present one in one step, so that the server reads either the old or the new.
fn replace(file: &Path, hash: &str) -> Result<()> {
    // A file that is no secret of ours, or a mounted one, is not for us to replace.
    bounded_read::read(file, 64 << 10)?;
    let mut fresh = PathBuf::from(file).into_os_string();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    keys::write_private(&fresh, hash.as_bytes())?;
    fs::rename(&fresh, file).with_context(|| format!("cannot replace {}", file.display()))
}
