//! `remit audit search`: records by who, what, which and when, from an index beside the ledger.

use super::{
    source::Source,
    table::{self, Row},
};
use crate::{config, keys, stdout::print_json};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use remit_clock::Ambient;
use remit_insight::{
    moment_ns,
    search::{Dimension, Hits, Index, Query, SearchError, labelled, terms},
};
use remit_ledger::{Reader, Record, record::Pepper};
use remit_model::{PrincipalKind, TenantId, display, json::sha256_label};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Args)]
pub(crate) struct Search {
    /// A person in the chain: NAME or user:NAME, or ref:… as records have it (repeatable: any of them)
    #[arg(long, value_name = "PERSON")]
    human: Vec<String>,
    /// An agent in the chain: NAME or agent:NAME, or ref:… (repeatable)
    #[arg(long, value_name = "AGENT")]
    agent: Vec<String>,
    /// A tool or action: NAME or SERVER/NAME (repeatable)
    #[arg(long, value_name = "TOOL")]
    tool: Vec<String>,
    /// A kind of resource, or one resource: TYPE, TYPE:ID or TYPE:ref:… (repeatable)
    #[arg(long, value_name = "RESOURCE")]
    resource: Vec<String>,
    /// A field asked for, returned or masked, as a JSON Pointer (repeatable)
    #[arg(long, value_name = "/FIELD")]
    field: Vec<String>,
    /// A refusal or outcome code (repeatable)
    #[arg(long, value_name = "CODE")]
    code: Vec<String>,
    /// A policy that determined the decision, by id or digest (repeatable)
    #[arg(long, value_name = "POLICY")]
    policy: Vec<String>,
    /// A task: the id of its delegation chain (txn) (repeatable)
    #[arg(long, value_name = "TXN")]
    task: Vec<String>,
    /// A token: its jti, or the digest of it that records have, sha-256:… (repeatable)
    #[arg(long, value_name = "JTI")]
    token: Vec<String>,
    /// What a token was labelled when it was issued: its use, and that of every token taken from it (repeatable)
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// A session (repeatable)
    #[arg(long, value_name = "ID")]
    session: Vec<String>,
    /// A record type (repeatable)
    #[arg(long = "type", value_name = "TYPE")]
    kind: Vec<String>,
    /// Not before: 30d, 12h, an RFC 3339 time or a date
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Before then
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Most records to show, newest first
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// The index file (default: index.db beside the ledger folder)
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// Make the index anew from the ledger
    #[arg(long)]
    rebuild: bool,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &Search, ambient: &Ambient) -> Result<()> {
    let reader = args.source.open()?;
    let query = query(args, &reader, ambient.clock.now().wall_ns)?;
    let dir = args.source.folder()?;
    let file = args.index.clone().unwrap_or_else(|| dir.join("..").join("index.db"));
    let unusable = || format!("{}: choose another file with --index", file.display());
    let indexed = |index| indexed(index, &query, &args.label, &reader).with_context(unusable);
    let mut found = if args.rebuild { None } else { indexed(Index::open(&file))? };
    if found.is_none() {
        // Asked for, or the file is damaged, or was changed by something else: the ledger is what counts.
        found = indexed(Index::anew(&file))?;
    }
    let Some((hits, records)) = found else { bail!("the search index does not fit the ledger even when made anew") };
    show(args, &reader, &hits, &records)?;
    if hits.total == 0 { hint(args, &reader, &file) } else { Ok(()) }
}

type Found = (Hits, Vec<(u64, Record)>);

/// What an index finds once it is up to date; `None` when it is of no use and must be made anew.
fn indexed(index: Result<Index, SearchError>, query: &Query, labels: &[String], reader: &Reader) -> Result<Option<Found>> {
    let found = index.and_then(|mut index| {
        index.catch_up(reader)?;
        let mut query = query.clone();
        if !labels.is_empty() {
            query.all.push(labelled(&index, reader, labels)?);
        }
        look(&index, &query, reader)
    });
    match found {
        Err(error) if error.is_damage() => Ok(None),
        found => Ok(found?),
    }
}

/// The hits with their records; `None` when a record is not what the index says.
fn look(index: &Index, query: &Query, reader: &Reader) -> Result<Option<Found>, SearchError> {
    let hits = index.search(query)?;
    let mut records = Vec::new();
    for index in &hits.records {
        if *index >= reader.len() {
            return Ok(None);
        }
        let record = reader.record(*index)?;
        let has = terms(&record);
        if !query.all.iter().all(|group| group.iter().any(|term| has.contains(term))) {
            return Ok(None);
        }
        records.push((*index, record));
    }
    Ok(Some((hits, records)))
}

fn query(args: &Search, reader: &Reader, now: u64) -> Result<Query> {
    let names = Names::of(args, reader);
    let mut all = Vec::new();
    for (dimension, values) in [
        (Dimension::Tool, &args.tool),
        (Dimension::Field, &args.field),
        (Dimension::Code, &args.code),
        (Dimension::Policy, &args.policy),
        (Dimension::Task, &args.task),
        (Dimension::Session, &args.session),
        (Dimension::Type, &args.kind),
    ] {
        all.push(values.iter().map(|value| dimension.term(value)).collect());
    }
    all.push(args.token.iter().map(|jti| Dimension::Token.term(&jti_digest(jti))).collect());
    for (dimension, kind, values) in
        [(Dimension::Human, PrincipalKind::Human, &args.human), (Dimension::Agent, PrincipalKind::Agent, &args.agent)]
    {
        let mut group = Vec::new();
        for value in values {
            group.extend(names.subject(kind, value)?.iter().map(|reference| dimension.term(reference)));
        }
        all.push(group);
    }
    let resources = args.resource.iter().map(|value| names.resource(value)).collect::<Result<Vec<_>>>()?;
    all.push(resources);
    all.retain(|group: &Vec<String>| !group.is_empty());
    let moment = |text: &Option<String>, flag: &str| {
        text.as_deref().map(|text| moment_ns(text, now)).transpose().map_err(|why| anyhow!("{flag}: {why}"))
    };
    Ok(Query { all, since: moment(&args.since, "--since")?, until: moment(&args.until, "--until")?, limit: args.limit })
}

/// Records hold the digest of a token's `jti` only.
fn jti_digest(jti: &str) -> String {
    if jti.starts_with("sha-256:") { jti.to_owned() } else { sha256_label(jti.as_bytes()) }
}

/// How names become the pseudonyms that records hold: by the installation's secret, or by a disclosure file.
struct Names<'r> {
    reader: &'r Reader,
    pepper: Option<(Pepper, TenantId, String)>,
}

impl<'r> Names<'r> {
    fn of(args: &Search, reader: &'r Reader) -> Self {
        let pepper = config::load(&args.source.config.config).ok().and_then(|loaded| {
            let keys = keys::read(&loaded.at(&loaded.config.server.keys_dir)).ok()?;
            Some((Pepper::new(&keys.pepper), loaded.tenant.clone(), loaded.config.server.public_url.clone()))
        });
        Self { reader, pepper }
    }

    fn subject(&self, kind: PrincipalKind, name: &str) -> Result<Vec<String>> {
        if let Some(reference) = name.strip_prefix("ref:") {
            return Ok(vec![reference.to_owned()]);
        }
        let name = full(kind, name);
        let disclosed = self.reader.keys().into_iter().flat_map(|keys| keys.subjects_named(&name));
        let mut found: Vec<String> = disclosed.map(str::to_owned).collect();
        if let Some((pepper, tenant, issuer)) = &self.pepper {
            found.push(pepper.subject_ref(tenant.as_str(), issuer, &name));
        }
        if found.is_empty() {
            bail!(
                "records name people and agents by pseudonyms: give the configuration (-c), a disclosure file that names {name} (--keys), or ref:…"
            );
        }
        Ok(found)
    }

    fn resource(&self, value: &str) -> Result<String> {
        let Some((kind, id)) = value.split_once(':') else { return Ok(Dimension::Resource.term(value)) };
        if let Some(reference) = id.strip_prefix("ref:") {
            return Ok(Dimension::Resource.term(&format!("{kind}:{reference}")));
        }
        let Some((pepper, tenant, _)) = &self.pepper else {
            bail!("records name resources by pseudonyms: give the configuration (-c), or {kind}:ref:…");
        };
        Ok(Dimension::Resource.term(&format!("{kind}:{}", pepper.resource_ref(tenant.as_str(), kind, id))))
    }
}

fn show(args: &Search, reader: &Reader, hits: &Hits, records: &[(u64, Record)]) -> Result<()> {
    let rows = records.iter().map(|(index, record)| Row::of(reader, *index, record)).collect::<Result<Vec<_>>>()?;
    if args.source.config.json {
        let rows: Vec<Value> = rows.iter().map(Row::to_json).collect();
        return print_json(&json!({"total": hits.total, "records": rows}));
    }
    table::print(&rows);
    outln!("{} of {} records", records.len(), hits.total);
    Ok(())
}

/// Says which of the names that were asked for no record has: a mistyped one looks like one that did nothing.
fn hint(args: &Search, reader: &Reader, file: &Path) -> Result<()> {
    let names = Names::of(args, reader);
    let index = Index::open(file)?;
    for (dimension, kind, values) in
        [(Dimension::Human, PrincipalKind::Human, &args.human), (Dimension::Agent, PrincipalKind::Agent, &args.agent)]
    {
        for value in values {
            let group = names.subject(kind, value)?.iter().map(|reference| dimension.term(reference)).collect();
            let alone = Query { all: vec![group], since: None, until: None, limit: 1 };
            if index.search(&alone)?.total == 0 {
                let what = if kind == PrincipalKind::Human { "person" } else { "agent" };
                eprintln!(
                    "No record has the {what} `{}` in its chain; `remit {} list` shows which there are.",
                    display::escape(&full(kind, value)),
                    if kind == PrincipalKind::Human { "account" } else { "agent" }
                );
            }
        }
    }
    Ok(())
}

/// The subject that a person means by a name: `planner` among agents is `agent:planner`.
fn full(kind: PrincipalKind, name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { kind.subject(name) }
}
