//! `remit audit prove`: one field of one record, shown to a stranger and checked by one.

use super::source::{Source, find, say};
use crate::{bounded_read, config::witnesses, stdout::print_json};
use anyhow::{Context as _, Result, bail};
use clap::{ArgGroup, Args};
use remit_ledger::{
    field_proof::{FIELD_PROOF_LIMIT, FieldProof},
    note::VerifyingKey,
    policy::Policy,
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("trusted").args(["vkey", "policy"]).multiple(true))]
pub(crate) struct Prove {
    /// Record id or index
    #[arg(required_unless_present = "check")]
    record: Option<String>,
    /// JSON Pointer of the value to show: a committed one, or a plain member of the record
    #[arg(long, value_name = "POINTER", required_unless_present = "check")]
    field: Option<String>,
    /// Where to write the proof (default: standard output)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Check this proof instead of making one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "field", "out"], requires = "trusted")]
    check: Option<PathBuf>,
    /// The log's verifier key (C2SP vkey), from a source you trust
    #[arg(long, value_name = "VKEY", requires = "check")]
    vkey: Option<String>,
    /// The logs to believe, and the witnesses that must have cosigned: a C2SP tlog-policy file
    #[arg(long, value_name = "FILE", requires = "check")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

/// `false` when the proof does not hold.
pub(super) fn run(args: &Prove) -> Result<bool> {
    if let Some(file) = &args.check {
        return check(args, file);
    }
    let (Some(wanted), Some(field)) = (&args.record, &args.field) else { bail!("name a record and --field") };
    let reader = args.source.open()?;
    let (index, record) = find(&reader, wanted)?;
    let proof = FieldProof::of(&reader, index, field)?;
    let bytes = proof.to_bytes();
    let Some(out) = &args.out else {
        outln!("{}", String::from_utf8_lossy(&bytes));
        return Ok(true);
    };
    fs::write(out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    if args.source.config.json {
        print_json(
            &json!({"out": out, "record": record.record_id(), "index": index, "field": field, "disclosed": proof.field.is_some()}),
        )?;
    } else if proof.field.is_some() {
        outln!("{}: shows `{field}` of record {index}, and no other value", out.display());
    } else {
        outln!(
            "{}: `{field}` is a plain member, so this proves no more than that record {index} is in the log as it is",
            out.display()
        );
    }
    Ok(true)
}

fn check(args: &Prove, file: &Path) -> Result<bool> {
    let bytes = bounded_read::read(file, FIELD_PROOF_LIMIT)?;
    let policy = trusted(args)?;
    let proof = match FieldProof::parse(&bytes).and_then(|proof| proof.verify(&policy).map(|judged| (proof, judged))) {
        Ok(proof) => proof,
        Err(error) if args.source.config.json => {
            print_json(&json!({"ok": false, "error": error.to_string()}))?;
            return Ok(false);
        }
        Err(error) => {
            say(&[format!("NOT PROVED: {error}")]);
            return Ok(false);
        }
    };
    let (proof, (record, judgement)) = proof;
    let field = proof.field.as_ref();
    if args.source.config.json {
        let shown = field.map(|field| json!({"path": field.path, "value": field.value()}));
        print_json(
            &json!({"ok": true, "index": proof.proof.index, "record": record.value(), "field": shown, "origin": judgement.checkpoint.origin}),
        )?;
        return Ok(true);
    }
    let at = format!("record {} ({}) of {}", proof.proof.index, record.record_id(), judgement.checkpoint.origin);
    match field {
        Some(field) => say(&[format!("PROVED: in {at}, `{}` is {}", field.path, field.value().unwrap_or_default())]),
        None => {
            say(&[format!("PROVED: inclusion only: {at} is in the log as the proof has it; no committed value is shown")]);
        }
    }
    Ok(true)
}

/// What the proof is judged by. Where both are given, the policy must be one for that very log.
fn trusted(args: &Prove) -> Result<Policy> {
    let key = args.vkey.as_deref().map(|vkey| VerifyingKey::parse(vkey.trim()).context("--vkey")).transpose()?;
    match (&args.policy, key) {
        (Some(file), key) => {
            let policy = witnesses::read(file).context("--policy")?;
            if key.is_some_and(|key| policy.logs().all(|log| *log != key)) {
                bail!("{} does not name the log of --vkey", file.display());
            }
            Ok(policy)
        }
        (None, Some(key)) => Policy::threshold(key, Vec::new(), 0).context("--vkey"),
        (None, None) => bail!("give --vkey or --policy"),
    }
}
