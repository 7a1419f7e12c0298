//! The end of the story: the ledger, copied away from its server, proves all of it.

use super::{
    tell::{Teller, Told},
    world::World,
};
use crate::command::audit::{self, Proof};
use anyhow::{Context as _, Result};
use remit_ledger::{Keyring, Reader, Trust, vault};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) async fn tell(tell: &mut Teller, world: &World, dir: &Path) -> Result<()> {
    tell.chapter("The proof: a copy of the ledger folder, and nothing else");
    world.running.store.publish().await?;
    let copy = dir.join("auditor");
    copy_folder(&world.ledger(), &copy)?;
    let vkey = world.running.vkey.clone();
    let keys = disclosure(world, &dir.join("disclosure.json"))?;
    let proof = audit::prove(&copy, &Trust { vkey: Some(vkey), ..Trust::default() }, Some(keys));
    log(tell, &proof);
    custody(tell, &proof);
    replay(tell, &proof);
    recorded(tell, &copy)
}

/// What the operator hands the auditor besides: the keys that open the sealed values.
fn disclosure(world: &World, file: &Path) -> Result<Keyring> {
    let origin = Reader::open(&world.ledger())?.checkpoint().origin.clone();
    let keys = world.running.store.disclose(None)?;
    let bytes = json!({"schema": vault::DISCLOSURE, "origin": origin, "keys": keys, "subjects": {}}).to_string();
    fs::write(file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Keyring::from_disclosure(bytes.as_bytes())?)
}

fn log(tell: &mut Teller, proof: &Proof) {
    let failures: Vec<String> = proof.log.failures().map(|check| format!("{}: {}", check.name, check.detail)).collect();
    let checks = proof.log.checks.iter().filter(|check| check.ok).map(|check| check.name).collect::<Vec<_>>().join(", ");
    let mut shown = vec![
        format!("{} records; hold: {checks}", proof.log.records),
        format!("root {}", proof.log.root.map(|root| root.to_string()).unwrap_or_default()),
    ];
    shown.extend(failures);
    tell.step(
        "The copied ledger verifies offline: signature, tree, tiles, every record",
        Told {
            shown,
            held: proof.log.ok() && proof.log.independent && proof.log.unknown_outcomes.is_empty(),
            result: "verified".into(),
            record: None,
        },
    );
}

fn custody(tell: &mut Teller, proof: &Proof) {
    let Some(report) = &proof.custody else { return };
    let mut shown = vec![format!(
        "{} chains, {} hops: each signed by its delegator, each only narrower and no longer",
        report.chains, report.hops
    )];
    shown.extend(report.failures.iter().map(|failure| format!("record {}: {}", failure.index, failure.detail)));
    tell.step(
        "The chain of custody holds, hop by hop",
        Told { shown, held: report.ok() && report.hops >= 2 && report.undisclosed == 0, result: "holds".into(), record: None },
    );
}

fn replay(tell: &mut Teller, proof: &Proof) {
    let Some(report) = &proof.replay else { return };
    let mut shown = vec![format!("{} of {} decisions come out the same", report.agree, report.decisions)];
    shown.extend(report.mismatches.iter().map(|mismatch| format!("record {}: {}", mismatch.index, mismatch.detail)));
    tell.step(
        "Every decision is re-evaluated from its pinned policies and inputs",
        Told {
            shown,
            held: report.ok() && report.decisions > 0 && report.undisclosed == 0,
            result: format!("{} agree", report.agree),
            record: None,
        },
    );
}

/// The codes the agents were told are the codes the ledger holds.
fn recorded(tell: &mut Teller, copy: &Path) -> Result<()> {
    let reader = Reader::open(copy).context("the copy cannot be read")?;
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (index, result) in tell.recorded() {
        let record = reader.record(index)?;
        let code = record.text("/decision/reason_code");
        if record.outcome() == "denied" || code.is_some_and(|code| code == result) {
            checked += 1;
            if code != Some(result) {
                wrong.push(format!("record {index} says {}, the caller was told {result}", code.unwrap_or("nothing")));
            }
        }
    }
    let held = wrong.is_empty() && checked >= 10;
    let mut shown = vec![format!("{checked} refusals in the ledger, each with the code its caller was told")];
    shown.extend(wrong);
    tell.step(
        "Every refusal above is a record of its own",
        Told { shown, held, result: format!("{checked} recorded"), record: None },
    );
    Ok(())
}

fn copy_folder(from: &Path, to: &PathBuf) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
