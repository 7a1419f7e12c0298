//! `remit audit reconcile`: double entry, compared.

use super::source::Source;
use crate::{args::AdminArg, bounded_read, client::AdminClient, stdout::print_json};
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use http::Method;
use remit_clock::Ambient;
use remit_insight::{Scope, moment_ns, reconcile, upstream_log};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Longest upstream's log that is read, in bytes: some million calls, all of which are held in memory.
const UPSTREAM_LIMIT: usize = 512 << 20;

#[derive(Clone, Debug, Args)]
pub(crate) struct Reconcile {
    /// The ledger folder (default: from the configuration)
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// An upstream's own log: JSON lines with `call`, `digest` and `name`
    #[arg(long, value_name = "FILE")]
    upstream: Option<PathBuf>,
    /// The server that the upstream's log is of, as in /mcp/NAME
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Only records since then: 30d, 12h, an RFC 3339 time or a date
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Have the server write what it came to into the ledger
    #[arg(long)]
    record: bool,
    #[command(flatten)]
    source: Source,
}

pub(super) async fn run(mut args: Reconcile, ambient: Ambient) -> Result<bool> {
    if let Some(folder) = args.folder.take() {
        args.source.dir = Some(folder);
    }
    let (record, config) = (args.record, args.source.config.clone());
    let (report, log_digest) = tokio::task::spawn_blocking(move || compare(&args, &ambient)).await??;
    let mut written = Value::Null;
    if record {
        let mut summary = report.summary();
        if let (Some(digest), Some(summary)) = (log_digest, summary.as_object_mut()) {
            summary.insert("upstream_log".to_owned(), json!(digest));
        }
        written = AdminClient::of(&AdminArg { config: config.clone(), admin_url: None })?
            .send(Method::POST, "reconcile", Some(&summary))
            .await?;
    }
    if config.json {
        let mut value = serde_json::to_value(&report)?;
        if let Some(value) = value.as_object_mut() {
            value.insert("ok".to_owned(), json!(report.ok()));
            value.extend(written.get("record").map(|record| ("record".to_owned(), record.clone())));
        }
        print_json(&value)?;
    } else {
        out!("{report}");
        if let Some(record) = written.get("record").and_then(Value::as_str) {
            outln!("recorded as {record}");
        }
    }
    Ok(report.ok())
}

fn upstream(file: &Path) -> Result<String> {
    let bytes = bounded_read::read(file, UPSTREAM_LIMIT).context("--upstream")?;
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", file.display()))
}

fn compare(args: &Reconcile, ambient: &Ambient) -> Result<(remit_insight::Reconciliation, Option<String>)> {
    let now = ambient.clock.now().wall_ns;
    let since_ns = args.since.as_deref().map(|text| moment_ns(text, now)).transpose().map_err(|why| anyhow!("--since: {why}"))?;
    let text = args.upstream.as_deref().map(upstream).transpose()?;
    let calls = text.as_deref().map(upstream_log).transpose().map_err(|why| anyhow!("the upstream's log: {why}"))?;
    let reader = args.source.open()?;
    let report = reconcile(&reader, calls.as_deref(), &Scope { server: args.server.clone(), since_ns })?;
    Ok((report, text.map(|text| remit_model::json::sha256_label(text.as_bytes()))))
}
