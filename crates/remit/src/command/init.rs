//! `remit init`: everything a first server needs, written once and never overwritten.

use crate::{args::Init, config::log_origin, keys};
use anyhow::{Context as _, Result, bail};
use remit_clock::Ambient;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What was written, and the two secrets that are shown once.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) config: PathBuf,
    pub(crate) account: String,
    pub(crate) password: String,
    pub(crate) vkey: String,
}

/// Runs the command.
pub(crate) fn run(args: &Init, ambient: &Ambient) -> Result<()> {
    let written = write(&args.dir, &args.listen, &args.account, ambient)?;
    if args.json {
        outln!(
            "{}",
            json!({"config": written.config, "account": written.account, "password": written.password, "vkey": written.vkey})
        );
        return Ok(());
    }
    let config = written.config.display();
    outln!("Wrote {config}, keys, a first policy and an admin credential.\n");
    outln!("  Sign-in account   {} (password, shown this once: {})", written.account, written.password);
    outln!(
        "  Ledger key        {}\n                    give it to your auditor; `remit audit verify` takes it as --vkey\n",
        written.vkey
    );
    outln!(
        "Next:\n  remit serve -c {config}\n  remit agent add planner -c {config} --scope 'helpdesk:*'\n  remit connect helpdesk --agent planner --login -c {config}"
    );
    Ok(())
}

/// Writes a fresh folder for a server on `listen`.
///
/// # Errors
/// When `remit.yaml` is already there, or the folder cannot be written.
pub(crate) fn write(dir: &Path, listen: &str, account: &str, ambient: &Ambient) -> Result<Written> {
    let config = dir.join("remit.yaml");
    if config.exists() {
        bail!("{} is already there; remove it or choose another --dir", config.display());
    }
    let account =
        remit_model::AgentId::parse(account).map_err(|refusal| anyhow::anyhow!("--account: {}", refusal.reason))?.to_string();
    listen.parse::<std::net::SocketAddr>().with_context(|| format!("--listen: `{listen}` is not ADDRESS:PORT"))?;
    for folder in ["", "keys", "policies", "agents"] {
        keys::private_folder(&dir.join(folder))?;
    }
    let vkey = keys::create(&dir.join("keys"), &log_origin(listen), ambient)?;
    let password = ambient.entropy.token(15);
    let hash = remit_authority::hash_password(&password, &ambient.entropy).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    keys::write_private(&dir.join(format!("keys/{account}.argon2")), hash.as_bytes())?;
    for (name, text) in remit_policy::Bundle::starter() {
        std::fs::write(dir.join("policies").join(name), text).with_context(|| format!("cannot write policies/{name}"))?;
    }
    std::fs::write(&config, template(listen, &account)).with_context(|| format!("cannot write {}", config.display()))?;
    Ok(Written { config, account, password, vkey })
}

fn template(listen: &str, account: &str) -> String {
    format!(
        r#"# Every key, with its meaning: `remit config schema`. Problems with this file: `remit config check`.
server:
  listen: {listen}
  public_url: http://{listen}

identity_providers:
  - type: local
    accounts:
      - name: {account}
        password_hash_file: keys/{account}.argon2
        entitlements: ["helpdesk:*"]

mcp_servers:
  # The built-in sample: tickets, customers with personal data, refunds. Put your own beside it, with `url` for a
  # streamable HTTP server or `command` for a stdio one.
  helpdesk:
    title: Helpdesk
    sample: helpdesk
    tools:
      # `subject` says whom a call is about: `remit audit erase --subject customer:C-001` forgets what was recorded of it.
      tickets_list:
        class: read
        classification: internal
        title: List support tickets
        subject: {{ type: customer, argument: /customer_id }}
      tickets_read: {{ class: read, classification: confidential, title: Read a support ticket }}
      tickets_update: {{ class: write, classification: internal, title: Change a ticket's status or note }}
      tickets_export: {{ class: read, classification: confidential, title: Export all tickets }}
      customers_read:
        class: read
        classification: pii
        title: Read a customer's personal data
        subject: {{ type: customer, argument: /id }}
      refund_create: {{ class: payment, classification: confidential, title: Pay money back to a customer }}
      admin_purge: {{ class: admin, classification: confidential, title: Delete all helpdesk data }}

policies:
  dir: policies
"#
    )
}
