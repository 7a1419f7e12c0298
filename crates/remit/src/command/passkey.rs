//! `remit account passkey …`: people's passkeys, through the admin API.

use crate::{args::PasskeyCommand, client::AdminClient, stdout::print_json};
use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use http::Method;
use remit_model::display;
use serde_json::{Value, json};

/// Runs the command.
///
/// # Errors
/// The configuration has problems, or the server refuses.
pub(crate) async fn run(command: &PasskeyCommand) -> Result<()> {
    match command {
        PasskeyCommand::List(account) => {
            let admin = AdminClient::of(&account.admin)?;
            let answer = admin.send(Method::GET, &format!("accounts/{}/passkeys", account.name), None).await?;
            show(&answer, account.admin.config.json)
        }
        PasskeyCommand::Remove(args) => {
            let admin = AdminClient::of(&args.account.admin)?;
            let path = format!("accounts/{}/passkeys/{}", args.account.name, args.id);
            show(&admin.send(Method::DELETE, &path, None).await?, args.account.admin.config.json)
        }
        PasskeyCommand::Link(args) => {
            let admin = AdminClient::of(&args.account.admin)?;
            let path = format!("accounts/{}/passkey-link", args.account.name);
            let answer = admin.send(Method::POST, &path, Some(&json!({"hours": args.hours}))).await?;
            if args.account.admin.config.json {
                return print_json(&answer);
            }
            let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            outln!("{}", text("link"));
            outln!(
                "Good once, until {}. Give it to {} alone: the first browser that opens it adds a passkey.",
                text("until"),
                text("account")
            );
            Ok(())
        }
    }
}

fn show(answer: &Value, as_json: bool) -> Result<()> {
    if as_json {
        return print_json(answer);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(120);
    table.set_header(["PASSKEY", "NAME", "ADDED", "LAST USED", "WHERE"]);
    for passkey in answer["passkeys"].as_array().into_iter().flatten() {
        let text = |name: &str| display::escape(passkey[name].as_str().unwrap_or("never")).into_owned();
        let place = if passkey["synced"] == true { "all devices" } else { "one device" };
        table.add_row([text("id"), text("label"), text("added"), text("used"), place.to_owned()]);
    }
    outln!("{}", table.trim_fmt());
    Ok(())
}
