//! `remit account …`: the people who can sign in with a password. The configuration lists some; the others are in the server's
//! database, and change without a restart. Passwords stay here: the server gets hashes.

use crate::{
    args::{AccountAdd, AccountCommand, AccountName, AccountPassword, AdminArg},
    bounded_read,
    client::AdminClient,
    config::{self, Account, Loaded},
    keys,
    stdout::print_json,
};
use anyhow::{Context as _, Result, bail};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use http::Method;
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
        AccountCommand::Add(args) => add(args, ambient).await,
        AccountCommand::Passwd(args) => passwd(args, ambient).await,
        AccountCommand::Disable(args) => change(args, "disable").await,
        AccountCommand::Enable(args) => change(args, "enable").await,
        AccountCommand::List(admin) => list(admin).await,
    }
}

async fn add(args: &AccountAdd, ambient: &Ambient) -> Result<()> {
    let loaded = load(&args.admin)?;
    let name = AgentId::parse(&args.name).map_err(|refusal| anyhow::anyhow!("{}", refusal.reason))?;
    if accounts(&loaded).any(|account| account.name == name.as_str()) {
        bail!("there is an account `{name}` already; `remit account passwd {name}` changes its password");
    }
    let entitlements = if args.entitlements.is_empty() { vec!["helpdesk:*".to_owned()] } else { args.entitlements.clone() };
    if args.yaml {
        return add_yaml(args, &loaded, &name, &entitlements, ambient);
    }
    let (password, shown) = password(args.password_stdin, ambient)?;
    let asked = json!({
        "name": name, "display_name": args.display_name, "password_hash": hash(&password, ambient)?,
        "scope": entitlements.join(" "),
    });
    let answer = AdminClient::of(&args.admin)?.send(Method::POST, "accounts", Some(&asked)).await?;
    done(&args.admin, answer, shown)
}

/// Writes the hash, and prints what to put into the file: comments and order there are the operator's.
fn add_yaml(args: &AccountAdd, loaded: &Loaded, name: &AgentId, entitlements: &[String], ambient: &Ambient) -> Result<()> {
    let (password, shown) = password(args.password_stdin, ambient)?;
    let file = loaded.config.server.keys_dir.join(format!("{name}.argon2"));
    keys::write_private(&loaded.at(&file), hash(&password, ambient)?.as_bytes())?;
    let block = format!(
        "      - name: {name}\n        password_hash_file: {}\n        entitlements: {}\n",
        file.display(),
        json!(entitlements)
    );
    if args.admin.config.json {
        return print_json(&json!({"account": name, "password": shown, "password_hash_file": file, "yaml": block}));
    }
    if let Some(password) = shown {
        outln!("Password of {name}, shown this once: {password}");
    }
    outln!("Put this below `accounts:` in {}:\n\n{block}", args.admin.config.config.display());
    outln!("Then send SIGHUP to the server, or restart it.");
    Ok(())
}

async fn passwd(args: &AccountPassword, ambient: &Ambient) -> Result<()> {
    let loaded = load(&args.admin)?;
    let Some(account) = accounts(&loaded).find(|account| account.name == args.name) else {
        let (password, shown) = password(args.password_stdin, ambient)?;
        let asked = json!({"password_hash": hash(&password, ambient)?});
        let path = format!("accounts/{}/password", named(&args.name)?);
        let answer = AdminClient::of(&args.admin)?.send(Method::POST, &path, Some(&asked)).await?;
        return done(&args.admin, answer, shown);
    };
    let (password, shown) = password(args.password_stdin, ambient)?;
    replace(&loaded.at(&account.password_hash_file), &hash(&password, ambient)?)?;
    if args.admin.config.json {
        return print_json(&json!({"account": account.name, "password": shown}));
    }
    if let Some(password) = shown {
        outln!("Password of {}, shown this once: {password}", account.name);
    }
    outln!("The configuration lists this account: send SIGHUP to the server, or restart it; the old password works until then.");
    Ok(())
}

async fn change(args: &AccountName, verb: &str) -> Result<()> {
    let path = format!("accounts/{}/{verb}", named(&args.name)?);
    done(&args.admin, AdminClient::of(&args.admin)?.send(Method::POST, &path, None).await?, None)
}

/// A name as it may stand in a path.
fn named(name: &str) -> Result<AgentId> {
    AgentId::parse(name).map_err(|refusal| anyhow::anyhow!("{}", refusal.reason))
}

fn load(admin: &AdminArg) -> Result<Loaded> {
    config::load(&admin.config.config).map_err(|problems| config::report(&problems))
}

/// Says what became of the account, and shows a generated password once.
fn done(admin: &AdminArg, mut answer: Value, password: Option<String>) -> Result<()> {
    if admin.config.json {
        if let (Some(members), Some(password)) = (answer.as_object_mut(), password) {
            members.insert("password".to_owned(), json!(password));
        }
        return print_json(&answer);
    }
    let account = answer.get("account").cloned().unwrap_or_default();
    if let Some(password) = password {
        outln!("Password of {}, shown this once: {password}", text(&account, "name"));
    }
    outln!("{} ({}), {}", text(&account, "name"), text(&account, "display_name"), text(&account, "status"));
    for line in texts(&account, "may") {
        outln!("  may: {line}");
    }
    let owned: Vec<&str> = texts(&account, "owns").collect();
    if !owned.is_empty() {
        outln!("  owns {}; `remit agent update NAME --owner user:NAME` names another owner", owned.join(", "));
    }
    if let Some(record) = answer.get("record").and_then(Value::as_str) {
        outln!("  recorded as {record}");
    }
    Ok(())
}

async fn list(admin: &AdminArg) -> Result<()> {
    let answer = AdminClient::of(admin)?.send(Method::GET, "accounts", None).await?;
    if admin.config.json {
        return print_json(&answer);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(120);
    table.set_header(["ACCOUNT", "STATUS", "MANAGED BY", "DISPLAY NAME", "MAY"]);
    for account in answer.get("accounts").and_then(Value::as_array).into_iter().flatten() {
        let may: Vec<&str> = texts(account, "may").collect();
        table.add_row([
            display::escape(text(account, "name")).into_owned(),
            text(account, "status").to_owned(),
            text(account, "managed").replace('_', " "),
            display::escape(text(account, "display_name")).into_owned(),
            may.join("\n"),
        ]);
    }
    outln!("{}", table.trim_fmt());
    Ok(())
}

fn text<'a>(account: &'a Value, name: &str) -> &'a str {
    account.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn texts<'a>(account: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    account.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn accounts(loaded: &Loaded) -> impl Iterator<Item = &Account> {
    config::accounts(&loaded.config.identity_providers)
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
