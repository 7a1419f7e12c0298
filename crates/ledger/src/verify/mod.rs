//! Offline verification: a copied directory and nothing else, against a key the verifier already trusts.
//!
//! Order of record.md §1.11: checkpoint signature, tree and tiles, then for each record canonical form, hash,
//! signature under the key of its epoch, sequence, commitments and time. Custody and decision replay are built on top
//! of this by the insight crate. Every failing check is one line with the record's index; hostile bytes make lines,
//! never a panic.

mod heads;
mod members;
mod records;
mod report;
mod sessions;
mod tiles;
mod trust;

pub use report::{Check, Report};
pub use trust::{Against, Trust};

use crate::{checkpoint::Checkpoint, dir::Reader, hash::Hash, note::VerifyingKey, record::Record, tile::WIDTH, tree};
use heads::Heads;
use records::Records;
use std::path::Path;
use tiles::Tiles;

/// Verifies the log in `dir`.
pub fn verify(dir: &Path, trust: &Trust) -> Report {
    let mut report = Report::default();
    match Reader::open(dir) {
        Ok(reader) => verify_reader(&reader, trust, &mut report),
        Err(error) => report.fail("checkpoint", None, error),
    }
    report.close();
    report
}

/// Verifies a log read from anywhere.
pub fn verify_log(reader: &Reader, trust: &Trust) -> Report {
    let mut report = Report::default();
    verify_reader(reader, trust, &mut report);
    report.close();
    report
}

fn verify_reader(reader: &Reader, trust: &Trust, report: &mut Report) {
    report.size = reader.len();
    let key = trusted_key(reader, trust, report);
    if let Some(key) = &key {
        match Checkpoint::open(reader.checkpoint_note(), key) {
            Ok(_) => report.pass("checkpoint"),
            Err(error) => report.fail("checkpoint", None, error),
        }
    }
    if let Some(policy) = &trust.policy {
        heads::quorum(reader, policy, trust.now, report);
    }
    let heads = key.as_ref().map(|key| Heads::of(reader, trust, key, report)).unwrap_or_default();
    walk(reader, &heads, report);
}

/// The key to check the checkpoint with: the caller's, or the one the log states about itself.
fn trusted_key(reader: &Reader, trust: &Trust, report: &mut Report) -> Option<VerifyingKey> {
    let stated = || {
        let first = reader.record(0).ok()?;
        let keys = first.is_start().then(|| first.ext("keys"))??;
        keys.get("log")?.as_str().map(str::to_owned)
    };
    let origin = &reader.checkpoint().origin;
    let listed = || trust.policy.as_ref()?.logs().find(|key| key.name() == origin).map(ToString::to_string);
    let brought = trust.vkey.as_ref().map(|vkey| vkey.trim().to_owned()).or_else(listed);
    report.independent = brought.is_some();
    let vkey = brought.or_else(stated);
    let Some(vkey) = vkey else {
        report.fail("checkpoint", None, "no verifier key was given and the log states none");
        return None;
    };
    VerifyingKey::parse(&vkey).map_err(|error| report.fail("checkpoint", None, error)).ok()
}

/// One pass over all entries.
fn walk(reader: &Reader, heads: &Heads, report: &mut Report) {
    let mut frontier = tree::Frontier::default();
    let mut tiles = Tiles::new(reader);
    let mut records = Records::new(reader);
    heads.compare(reader, &frontier, report);
    for number in 0..reader.len().div_ceil(WIDTH) {
        let bundle = match reader.bundle(number) {
            Ok(bundle) => bundle,
            Err(error) => {
                // Nothing after a missing bundle can be placed in the tree, and a forged size must not keep us busy.
                report.fail("tree", Some(number * WIDTH), error);
                return;
            }
        };
        for (index, entry) in (number * WIDTH..).zip(bundle.iter()) {
            let leaf = tree::leaf_hash(entry);
            frontier.push(leaf);
            tiles.push(leaf, report);
            heads.compare(reader, &frontier, report);
            match Record::parse(entry) {
                Ok(record) => records.check(index, &record, report),
                Err(error) => report.fail("canonical", Some(index), error),
            }
            report.records += 1;
        }
    }
    let parted = tiles.finish(report);
    records.finish(report);
    let root: Hash = frontier.root();
    report.root = Some(root);
    if root == reader.checkpoint().root {
        report.pass("tree");
    } else {
        report.fail("tree", parted, "the entries do not add up to the root in the checkpoint");
    }
}
