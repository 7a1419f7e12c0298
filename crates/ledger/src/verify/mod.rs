//! Offline verification: a copied directory and nothing else, against a key the verifier already trusts.
//!
//! Order of record.md §1.11: checkpoint signature, tree and tiles, then for each record canonical form, hash,
//! signature under the key of its epoch, sequence, commitments and time. Custody and decision replay are built on top
//! of this by the insight crate. Every failing check is one line with the record's index; hostile bytes make lines,
//! never a panic.

mod records;
mod report;
mod tiles;

pub use report::{Check, Report};

use crate::{checkpoint::Checkpoint, dir::Reader, hash::Hash, note::VerifyingKey, record::Record, tile::WIDTH, tree};
use records::Records;
use std::path::Path;
use tiles::Tiles;

/// What the verifier brings along.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The log's verifier key (vkey line). Without it the key inside the log is used and the report says that this
    /// proves consistency, not origin.
    pub vkey: Option<String>,
    /// A checkpoint note of this log seen before: the log must be an extension of it.
    pub earlier: Option<Vec<u8>>,
}

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
    let earlier = trust.earlier.as_deref().zip(key.as_ref()).and_then(|(note, key)| earlier(note, key, reader, report));
    walk(reader, earlier.as_ref(), report);
}

/// The key to check the checkpoint with: the caller's, or the one the log states about itself.
fn trusted_key(reader: &Reader, trust: &Trust, report: &mut Report) -> Option<VerifyingKey> {
    let stated = || {
        let first = reader.record(0).ok()?;
        let keys = first.is_start().then(|| first.ext("keys"))??;
        keys.get("log")?.as_str().map(str::to_owned)
    };
    report.independent = trust.vkey.is_some();
    let vkey = match &trust.vkey {
        Some(vkey) => Some(vkey.trim().to_owned()),
        None => stated(),
    };
    let Some(vkey) = vkey else {
        report.fail("checkpoint", None, "no verifier key was given and the log states none");
        return None;
    };
    VerifyingKey::parse(&vkey).map_err(|error| report.fail("checkpoint", None, error)).ok()
}

/// The earlier checkpoint, if it is one of this log and not longer than it.
fn earlier(note: &[u8], key: &VerifyingKey, reader: &Reader, report: &mut Report) -> Option<Checkpoint> {
    let checkpoint = match Checkpoint::open(note, key) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            report.fail("extension", None, format!("the earlier checkpoint is not one of this log: {error}"));
            return None;
        }
    };
    if checkpoint.size > reader.len() {
        let detail = format!("the log had {} entries before and has {} now", checkpoint.size, reader.len());
        report.fail("extension", Some(reader.len()), detail);
        return None;
    }
    Some(checkpoint)
}

/// One pass over all entries.
fn walk(reader: &Reader, earlier: Option<&Checkpoint>, report: &mut Report) {
    let mut frontier = tree::Frontier::default();
    let mut tiles = Tiles::new(reader);
    let mut records = Records::new(reader);
    compare_earlier(earlier, &frontier, report);
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
            compare_earlier(earlier, &frontier, report);
            match Record::parse(entry) {
                Ok(record) => records.check(index, &record, report),
                Err(error) => report.fail("canonical", Some(index), error),
            }
            report.records += 1;
        }
    }
    tiles.finish(report);
    records.finish(report);
    let root: Hash = frontier.root();
    report.root = Some(root);
    if root == reader.checkpoint().root {
        report.pass("tree");
    } else {
        report.fail("tree", None, "the entries do not add up to the root in the checkpoint");
    }
}

fn compare_earlier(earlier: Option<&Checkpoint>, frontier: &tree::Frontier, report: &mut Report) {
    let Some(earlier) = earlier.filter(|earlier| earlier.size == frontier.size()) else { return };
    if earlier.root == frontier.root() {
        report.pass("extension");
    } else {
        let detail = format!("the first {} entries are not those of the earlier checkpoint", earlier.size);
        report.fail("extension", None, detail);
    }
}
