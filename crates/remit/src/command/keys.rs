//! `remit keys …`: the keys that the server signs tokens with. A new private key is made here, in the server's key folder;
//! the server is told its public half.

use crate::{
    args::{AdminArg, KeysCommand, KeysRevoke, KeysRotate},
    client::{AdminClient, Refused},
    keys,
    stdout::print_json,
};
use anyhow::{Context as _, Result, bail};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use http::Method;
use remit_clock::Ambient;
use remit_model::UnixTime;
use serde_json::{Map, Value, json};
use std::{fs, path::PathBuf};

/// Runs the command.
pub(crate) async fn run(command: &KeysCommand, ambient: &Ambient) -> Result<()> {
    match command {
        KeysCommand::List(admin) => show(&AdminClient::of(admin)?.send(Method::GET, "keys", None).await?, admin),
        KeysCommand::Rotate(args) => rotate(args, ambient).await,
        KeysCommand::Revoke(args) => revoke(args, ambient).await,
    }
}

async fn rotate(args: &KeysRotate, ambient: &Ambient) -> Result<()> {
    let admin = AdminClient::of(&args.admin)?;
    let present = admin.send(Method::GET, "keys", None).await?;
    remove_spent(&admin, &present)?;
    let after = if args.now { Some(0) } else { args.after };
    let mut asked = Map::new();
    asked.extend(after.map(|seconds| ("after".to_owned(), json!(seconds))));
    let answer = match of_stage(&present, "next") {
        Some(next) if after.is_none() => bail!(
            "{} is published already and signs from {}; `--now` or `--after` changes when",
            text(next, "kid"),
            time(next, "signs_from")
        ),
        Some(_) => admin.send(Method::POST, "keys", Some(&Value::Object(asked))).await?,
        None => with_new_key(&admin, ambient, "keys", asked).await?,
    };
    show(&answer, &args.admin)
}

async fn revoke(args: &KeysRevoke, ambient: &Ambient) -> Result<()> {
    let admin = AdminClient::of(&args.admin)?;
    let present = admin.send(Method::GET, "keys", None).await?;
    let key = keys_of(&present).find(|key| text(key, "kid") == args.kid);
    let key = key.with_context(|| format!("there is no key `{}`; `remit keys list` names them", args.kid))?;
    let path = format!("keys/{}/revoke", args.kid);
    // Something has to sign afterwards.
    let answer = if text(key, "stage") == "signing" && of_stage(&present, "next").is_none() {
        with_new_key(&admin, ambient, &path, Map::new()).await?
    } else {
        admin.send(Method::POST, &path, Some(&json!({}))).await?
    };
    remove_spent(&admin, &answer)?;
    show(&answer, &args.admin)
}

/// Makes a key and names it to the server. CRASH: the private key is on disk before the server knows it; a file that the server
/// does not know signs nothing.
async fn with_new_key(admin: &AdminClient, ambient: &Ambient, path: &str, mut asked: Map<String, Value>) -> Result<Value> {
    let (file, key) = keys::create_issuer(&admin.keys_dir, ambient)?;
    asked.insert("key".to_owned(), key.public().to_jwk());
    let answer = admin.send(Method::POST, path, Some(&Value::Object(asked))).await;
    if let Err(error) = &answer
        && error.is::<Refused>()
    {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    answer
}

/// Removes the private keys of those that sign no more; their public halves are with the server.
fn remove_spent(admin: &AdminClient, present: &Value) -> Result<()> {
    let spent = |kid: &str| {
        let mut stages = keys_of(present).filter(|key| text(key, "kid") == kid).map(|key| text(key, "stage"));
        stages.any(|stage| matches!(stage, "retiring" | "retired" | "revoked"))
    };
    let files: Vec<PathBuf> = keys::issuer_files(&admin.keys_dir)?;
    for file in files {
        // A file that cannot be read says of itself why, when the server starts.
        let Ok(key) = keys::read_key(&file) else { continue };
        if spent(key.public().thumbprint()) {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    Ok(())
}

fn show(answer: &Value, admin: &AdminArg) -> Result<()> {
    if admin.config.json {
        return print_json(answer);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(120);
    table.set_header(["KEY", "STAGE", "ALGORITHM", "SIGNS FROM", "ACCEPTED UNTIL"]);
    for key in keys_of(answer) {
        let end = if text(key, "stage") == "revoked" { time(key, "revoked") } else { time(key, "accepted_until") };
        let missing = key.get("at_hand") == Some(&json!(false));
        let stage = format!("{}{}", text(key, "stage"), if missing { ", its file is missing" } else { "" });
        table.add_row([text(key, "kid").to_owned(), stage, text(key, "algorithm").to_owned(), time(key, "signs_from"), end]);
    }
    outln!("{}", table.trim_fmt());
    if let Some(record) = answer.get("record").and_then(Value::as_str) {
        outln!("recorded as {record}");
    }
    Ok(())
}

fn keys_of(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.get("keys").and_then(Value::as_array).into_iter().flatten()
}

fn of_stage<'a>(answer: &'a Value, stage: &str) -> Option<&'a Value> {
    keys_of(answer).find(|key| text(key, "stage") == stage)
}

fn text<'a>(key: &'a Value, name: &str) -> &'a str {
    key.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn time(key: &Value, name: &str) -> String {
    key.get(name).and_then(Value::as_i64).map(|seconds| UnixTime(seconds).utc()).unwrap_or_default()
}
