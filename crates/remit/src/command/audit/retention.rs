//! `remit audit retention`: by class, how far back values can still be read, from a ledger folder alone.

use super::source::Source;
use crate::stdout::print_json;
use anyhow::{Context as _, Result};
use clap::Args;
use remit_ledger::proof::Proof;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::PathBuf};

#[derive(Clone, Debug, Args)]
pub(crate) struct Retention {
    /// Write the inclusion proof (C2SP tlog-proof) of the oldest record that still has values
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

/// What one class still holds.
#[derive(Debug, Default)]
struct Held {
    oldest: Option<(u64, String)>,
    records: u64,
    with_values: u64,
}

pub(super) fn run(args: &Retention) -> Result<()> {
    let reader = args.source.open()?;
    let mut classes: BTreeMap<String, Held> = BTreeMap::new();
    for index in 0..reader.len() {
        let record = reader.record(index)?;
        let held = classes.entry(record.text("/retention/class").unwrap_or_default().to_owned()).or_default();
        held.records += 1;
        if reader.side_as_stored(index)?.is_some_and(|side| !side.is_closed()) {
            held.with_values += 1;
            held.oldest.get_or_insert_with(|| (index, record.text("/time/wall").unwrap_or_default().to_owned()));
        }
    }
    let oldest = classes.values().filter_map(|held| held.oldest.as_ref()).map(|(index, _)| *index).min();
    if let (Some(out), Some(index)) = (&args.out, oldest) {
        fs::write(out, Proof::of(&reader, index)?.to_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
    }
    if args.source.config.json {
        let view = |(class, held): (&String, &Held)| {
            let (index, time) = held.oldest.clone().unzip();
            json!({"class": class, "records": held.records, "with_values": held.with_values, "oldest": index, "time": time})
        };
        return print_json(&Value::Array(classes.iter().map(view).collect()));
    }
    for (class, held) in &classes {
        let since = held.oldest.as_ref().map_or_else(
            || "no value is left".to_owned(),
            |(index, time)| format!("{} still with values, the oldest is record {index} of {time}", held.with_values),
        );
        outln!("{class}: {} records; {since}", held.records);
    }
    if let (Some(out), Some(index)) = (&args.out, oldest) {
        outln!("proof of record {index} in {}", out.display());
    }
    Ok(())
}
